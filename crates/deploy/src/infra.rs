//! `infra plan|apply`: reviewed change sets over the stacks of an environment.

use cloudformation::{Stack, StackKind, templates};
use serde_json::{Value, json};

use crate::change_set::{self, ChangeSet, Given};
use crate::context::Context;
use crate::error::Error;
use crate::live;

/// What to do with the change sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Plan,
    Apply { allow_live_changes: bool },
}

/// Plans or applies all stacks of the environment that exist. New ones are created by `deploy`, which has an image.
pub(crate) async fn run(context: &Context, mode: Mode) -> Result<Value, Error> {
    let mut documents = Vec::new();
    let mut refused = Vec::new();
    let mut sets = Vec::new();
    for stack in templates(&context.project, &context.environment)? {
        let exists = change_set::stack(context, &stack.name).await?.is_some();
        if !exists {
            documents.push(json!({"stack": stack.name, "exists": false, "changes": []}));
            continue;
        }
        let set = update(context, &stack).await?;
        let changes = set.as_ref().map(|set| set.changes.clone()).unwrap_or_default();
        let findings = if stack.kind == StackKind::Service || stack.kind == StackKind::Registry {
            change_set::guard(&changes)
        } else {
            Vec::new()
        };
        let texts: Vec<_> = findings.iter().map(|finding| format!("{}: {}", finding.what, finding.why)).collect();
        documents.push(json!({"stack": stack.name, "exists": true, "changes": changes, "refused": texts}));
        refused.extend(findings);
        sets.extend(set);
    }
    let applied = match mode {
        Mode::Plan => false,
        Mode::Apply { allow_live_changes } if refused.is_empty() || allow_live_changes => {
            for set in &sets {
                change_set::execute(context, set).await?;
            }
            true
        }
        Mode::Apply { .. } => {
            discard_all(context, &sets).await;
            return Err(Error::Preflight(refused));
        }
    };
    if !applied {
        discard_all(context, &sets).await;
    }
    Ok(json!({
        "schema": 1,
        "environment": context.environment.name.as_str(),
        "applied": applied,
        "stacks": documents,
    }))
}

async fn discard_all(context: &Context, sets: &[ChangeSet]) {
    for set in sets {
        change_set::discard(context, &set.stack, &set.id).await;
    }
}

/// The change set of an existing stack. Parameters stay as they are; only when the service itself is touched are the
/// live task definition and count passed in, so that the update repeats them instead of what they once were.
async fn update(context: &Context, stack: &Stack) -> Result<Option<ChangeSet>, Error> {
    let previous: Vec<_> = stack.parameters.iter().map(|parameter| (parameter.name.clone(), Given::Previous)).collect();
    let Some(set) = change_set::create(context, stack, true, &previous).await? else { return Ok(None) };
    let touches_service = set.changes.iter().any(|change| change.resource_type == "AWS::ECS::Service");
    if stack.kind != StackKind::Service || !touches_service {
        return Ok(Some(set));
    }
    let Some(live) = live::read(context).await? else { return Ok(Some(set)) };
    change_set::discard(context, &stack.name, &set.id).await;
    let parameters: Vec<_> = previous
        .into_iter()
        .map(|(name, given)| match (name.as_str(), &live.task_definition) {
            ("TaskDefinition", Some(arn)) => (name, Given::Value(arn.clone())),
            ("DesiredCount", _) => (name, Given::Value(live.desired.to_string())),
            _ => (name, given),
        })
        .collect();
    change_set::create(context, stack, true, &parameters).await
}

/// A few lines for people.
pub(crate) fn summary(document: &Value) -> String {
    let mut text = String::new();
    for stack in document["stacks"].as_array().into_iter().flatten() {
        let name = stack["stack"].as_str().unwrap_or_default();
        let changes = stack["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let state = match (stack["exists"].as_bool(), changes.len()) {
            (Some(false), _) => "does not exist yet; `deploy staging` creates it".to_owned(),
            (_, 0) => "no changes".to_owned(),
            (_, count) => format!("{count} change(s)"),
        };
        text.push_str(&format!("{name}: {state}\n"));
        for change in changes {
            let properties: Vec<_> =
                change["properties"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let replacement = match change["replacement"].as_str() {
                Some("True") => " REPLACED",
                Some("Conditional") => " PERHAPS REPLACED",
                _ => "",
            };
            text.push_str(&format!(
                "  {} {} ({}){replacement} {}\n",
                change["action"].as_str().unwrap_or_default(),
                change["logical_id"].as_str().unwrap_or_default(),
                change["resource_type"].as_str().unwrap_or_default(),
                properties.join(", "),
            ));
        }
        for refused in stack["refused"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            text.push_str(&format!("  refused: {refused}\n"));
        }
    }
    text.push_str(if document["applied"] == true { "applied\n" } else { "nothing was changed\n" });
    text
}
