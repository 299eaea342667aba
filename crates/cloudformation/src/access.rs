//! The role under which CloudFormation manages the stacks, made of what its own resource types say that they call.

use std::collections::BTreeSet;

use environment::{Environment, Project};
use serde_json::Value as Json;

use crate::policy::{Statement, document, role};
use crate::resources::TYPES;
use crate::resources::iam::ManagedPolicy;
use crate::stack::{Stack, Unsupported, tags, templates};
use crate::sub;
use crate::template::Template;
use crate::value::{ACCOUNT, Intrinsic, PARTITION, iam_arn};

/// Characters of a managed policy that AWS counts, less what its references grow by.
const POLICY_CHARACTERS: usize = 4_000;

/// Services whose readings are data, and not descriptions.
const DATA: [&str; 4] = ["kms", "s3", "secretsmanager", "ssm"];

/// What makes things that have no name before they exist.
const UNNAMED: [&str; 4] =
    ["codeconnections:CreateConnection", "ecs:DeregisterTaskDefinition", "ecs:RegisterTaskDefinition", "kms:CreateKey"];

/// The template of the role, for an administrator who creates it once and hands it to `infra apply`.
pub fn cloudformation_role(project: &Project, environments: &[Environment]) -> Result<Json, Unsupported> {
    let mut stacks = Vec::new();
    for environment in environments {
        stacks.extend(templates(project, environment)?);
    }
    let name = format!("{}-cloudformation", project.name);
    let mut template = Template::new(format!("{}: what CloudFormation may do", project.name), tags(project, None));
    let (described, managed): (Vec<_>, Vec<_>) = actions(&stacks).into_iter().partition(|action| describes(action));
    let described = chunks(&described).into_iter().map(|actions| {
        Statement::allow_unscoped("Describe", actions, "Most services describe by no resource; it reveals no data")
    });
    let managed = chunks(&managed).into_iter().map(|actions| {
        let resources = resources(project, &actions);
        Statement::allow("Manage", actions, resources)
    });
    let unnamed = Statement::allow_unscoped("Make", UNNAMED, "What they make has no name before it exists");
    let pass = Statement::allow("PassRoles", ["iam:PassRole"], roles(&stacks));
    let mut policies = Vec::new();
    for (statement, number) in described.chain(managed).chain([unnamed, pass]).zip(1..) {
        let reason = statement.reason();
        let policy = ManagedPolicy {
            managed_policy_name: Some(format!("{name}-{number}").into()),
            ..ManagedPolicy::new(document(&[statement]))
        };
        let mut policy = crate::template::Resource::new(policy);
        if let Some(reason) = reason {
            policy = policy.because("Unscoped", reason);
        }
        policies.push(template.add(format!("Policy{number}"), policy).reference().into());
    }
    let mut role = role(name, "What CloudFormation may do", "cloudformation.amazonaws.com", Vec::new());
    role.properties_mut().managed_policy_arns = Some(policies);
    let role = template.add("Role", role);
    template.output("RoleArn", "Create and update the stacks with it", &role.arn());
    Ok(template.finish())
}

/// What the types of these stacks call, without what is granted apart.
fn actions(stacks: &[Stack]) -> BTreeSet<&'static str> {
    let resources = stacks.iter().flat_map(|stack| stack.template["Resources"].as_object().into_iter().flatten());
    let kinds: BTreeSet<_> = resources.filter_map(|(_, resource)| resource["Type"].as_str()).collect();
    let permissions = TYPES.iter().filter(|facts| kinds.contains(facts.name)).flat_map(|facts| facts.permissions);
    permissions.copied().filter(|action| *action != "iam:PassRole" && !UNNAMED.contains(action)).collect()
}

fn describes(action: &str) -> bool {
    let (service, operation) = action.split_once(':').unwrap_or((action, ""));
    let reads = ["BatchGet", "Describe", "Get", "List"].iter().any(|verb| operation.starts_with(verb));
    reads && !DATA.contains(&service)
}

/// Actions in policies that AWS takes.
fn chunks(actions: &[&'static str]) -> Vec<Vec<&'static str>> {
    let mut chunks: Vec<Vec<&'static str>> = Vec::new();
    let mut room = 0;
    for action in actions {
        let size = action.len() + 3;
        if size > room {
            chunks.push(Vec::new());
            room = POLICY_CHARACTERS;
        }
        room -= size;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(action);
        }
    }
    chunks
}

/// What the services of these actions have in this account; in S3 and IAM, where names are ours, only what is ours.
fn resources(project: &Project, actions: &[&str]) -> Vec<Intrinsic> {
    let services: BTreeSet<_> = actions.iter().filter_map(|action| action.split(':').next()).collect();
    let ours = &project.name;
    let of = |service: &str| match service {
        "iam" => vec![
            iam_arn(format!("role/{ours}-*")),
            iam_arn(format!("policy/{ours}-*")),
            iam_arn("role/aws-service-role/*"),
        ],
        "s3" => vec![sub!["arn:", PARTITION, format!(":s3:::{ours}-*")]],
        _ => vec![sub!["arn:", PARTITION, format!(":{service}:*:"), ACCOUNT, ":*"]],
    };
    services.into_iter().flat_map(of).collect()
}

/// The roles that the stacks make: what CloudFormation may hand to services.
fn roles(stacks: &[Stack]) -> Vec<Intrinsic> {
    let resources = stacks.iter().flat_map(|stack| stack.template["Resources"].as_object().into_iter().flatten());
    let names: BTreeSet<_> = resources.filter_map(|(_, role)| role["Properties"]["RoleName"].as_str()).collect();
    names.into_iter().map(|name| iam_arn(format!("role/{name}"))).collect()
}
