//! CodeBuild projects and Lambda functions.

use super::document::Field;
use super::{Report, Rule, yaml};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "docker-without-privilege", finds: "builds that call Docker without privileged mode", check: docker },
    Rule { name: "buildspec", finds: "buildspecs that CodeBuild cannot read", check: buildspec },
    Rule { name: "build-logs", finds: "builds whose output is lost", check: logs },
    Rule {
        name: "build-timeout",
        finds: "builds and functions that may run longer than AWS lets them",
        check: timeout,
    },
];

fn projects<'a>(report: &Report<'a>) -> impl Iterator<Item = Field<'a>> + use<'a> {
    report.resources("AWS::CodeBuild::Project")
}

/// The buildspec, if it is written in the template and not the name of a file.
fn inline(project: &Field<'_>) -> Option<(String, serde_json::Value)> {
    let text = project.at("Source").at("BuildSpec").rendered()?;
    if !text.contains('\n') && !text.trim_start().starts_with('{') {
        return None;
    }
    let parsed = yaml::to_json(&text).unwrap_or(serde_json::Value::Null);
    Some((text, parsed))
}

fn docker(report: &mut Report<'_>) {
    for project in projects(report) {
        let Some((text, _)) = inline(&project) else { continue };
        let calls = ["docker build", "docker run", "docker buildx", "docker push", "dockerd"];
        let called = calls.iter().find(|call| text.contains(*call));
        let privileged = project.at("Environment").at("PrivilegedMode");
        let holds = called.is_none() || privileged.may_be_true();
        let problem = || format!("`{}` finds no Docker daemon", called.unwrap_or(&""));
        report.require(holds, &privileged, problem, "set PrivilegedMode, or build the image without Docker");
    }
}

fn buildspec(report: &mut Report<'_>) {
    let phases = ["install", "pre_build", "build", "post_build"];
    for project in projects(report) {
        let field = project.at("Source").at("BuildSpec");
        let Some((_, parsed)) = inline(&project) else { continue };
        let version = parsed["version"].as_f64().or_else(|| parsed["version"].as_str()?.parse().ok());
        let hint = "write version: 0.2 and phases: install, pre_build, build, post_build";
        report.require(version == Some(0.2), &field, || "has no version 0.2".into(), hint);
        let found = parsed["phases"].as_object();
        report.require(found.is_some(), &field, || "has no phases".into(), hint);
        let unknown = found.into_iter().flat_map(|found| found.keys()).find(|name| !phases.contains(&name.as_str()));
        report.require(
            unknown.is_none(),
            &field,
            || format!("has the phase `{}`", unknown.map_or("", |name| name)),
            hint,
        );
    }
}

fn logs(report: &mut Report<'_>) {
    for project in projects(report) {
        let status = project.at("LogsConfig").at("CloudWatchLogs").at("Status");
        let bucket = project.at("LogsConfig").at("S3Logs").at("Status");
        let kept = status.text() != Some("DISABLED") || bucket.text() == Some("ENABLED");
        report.require(kept, &status, || "its output goes nowhere".into(), "enable CloudWatch logs");
    }
}

fn timeout(report: &mut Report<'_>) {
    let builds = projects(report).map(|project| (project.at("TimeoutInMinutes"), 5.0, 2160.0));
    let functions = report.resources("AWS::Lambda::Function").map(|function| (function.at("Timeout"), 1.0, 900.0));
    for (field, low, high) in builds.chain(functions).collect::<Vec<_>>() {
        let holds = field.number().is_none_or(|number| (low..=high).contains(&number));
        report.require(holds, &field, || format!("is outside {low} to {high}"), "keep within what AWS takes");
    }
}
