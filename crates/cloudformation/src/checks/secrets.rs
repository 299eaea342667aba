//! Secrets in plain text.

use super::document::Field;
use super::{Report, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "plaintext-secret", finds: "secrets written down in variables", check: plaintext },
    Rule { name: "secret-value", finds: "secrets whose value is in the template", check: secret_value },
];

/// Last words of a variable that holds a secret.
const SECRET_NAMES: [&str; 11] = [
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
    "SECRET_KEY",
    "CREDENTIALS",
];
/// First letters of well-known kinds of keys.
const KEY_BEGINNINGS: [&str; 9] = [
    "AKIA",
    "ASIA",
    "ghp_",
    "github_pat_",
    "sk-",
    "xoxb-",
    "glpat-",
    "-----BEGIN ",
    "https://hooks.slack.com/services/",
];

fn plaintext(report: &mut Report<'_>) {
    let containers = report
        .resources("AWS::ECS::TaskDefinition")
        .flat_map(|definition| definition.at("ContainerDefinitions").items())
        .flat_map(|container| container.at("Environment").items());
    let builds = report
        .resources("AWS::CodeBuild::Project")
        .flat_map(|project| project.at("Environment").at("EnvironmentVariables").items())
        .filter(|variable| matches!(variable.at("Type").text(), None | Some("PLAINTEXT")));
    let listed = containers.chain(builds).map(|variable| (variable.at("Name").text(), variable.at("Value")));
    let functions = report
        .resources("AWS::Lambda::Function")
        .flat_map(|function| function.at("Environment").at("Variables").members())
        .map(|(name, value)| (Some(name), value));
    for (name, value) in listed.chain(functions).collect::<Vec<_>>() {
        if let Some(problem) = problem(name.unwrap_or_default(), &value) {
            report.add(&value, problem, "keep it in Secrets Manager and refer to it");
        }
    }
}

fn problem(name: &str, value: &Field<'_>) -> Option<String> {
    let text = value.rendered()?;
    if text.contains("{{resolve:secretsmanager") || text.contains("{{resolve:ssm-secure") {
        return Some(format!("`{name}` is resolved into plain text"));
    }
    if text.is_empty() {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    if SECRET_NAMES.iter().any(|end| upper == *end || upper.ends_with(&format!("_{end}"))) {
        return Some(format!("`{name}` is a secret in plain text"));
    }
    let password = text.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    let password = password.is_some_and(|(user, _)| user.contains(':') && !user.contains('/'));
    let token = text.starts_with("eyJ") && text.matches('.').count() == 2;
    let key = KEY_BEGINNINGS.iter().any(|start| text.starts_with(start) && text.len() >= start.len() + 8);
    (password || token || key).then(|| format!("the value of `{name}` is a credential in plain text"))
}

fn secret_value(report: &mut Report<'_>) {
    for secret in report.resources("AWS::SecretsManager::Secret") {
        let value = secret.at("SecretString");
        let hint = "generate it, or set it once outside of CloudFormation";
        report.require(value.text().is_none(), &value, || "anyone who reads the template knows it".into(), hint);
    }
}
