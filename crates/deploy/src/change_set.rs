//! CloudFormation change sets: create, read, guard, execute, and name the first failure.

use std::collections::HashSet;

use aws_sdk_cloudformation::types::{
    Capability, ChangeSetStatus, ChangeSetType, Parameter, Stack as Deployed, StackEvent, StackStatus,
};
use cloudformation::Stack;
use serde::Serialize;

use crate::call::{Pace, failed};
use crate::context::Context;
use crate::error::{Error, Message};

/// A change to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) action: String,
    pub(crate) logical_id: String,
    pub(crate) resource_type: String,
    /// `True`, `False` or `Conditional`.
    pub(crate) replacement: Option<String>,
    /// Properties that change.
    pub(crate) properties: Vec<String>,
}

/// A change set that waits for its execution.
#[derive(Debug, Clone)]
pub(crate) struct ChangeSet {
    pub(crate) id: String,
    pub(crate) stack: String,
    pub(crate) changes: Vec<Change>,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Value(String),
    Previous,
}

/// A stack as it is deployed; nothing if it does not exist or was never executed.
pub(crate) async fn stack(context: &Context, name: &str) -> Result<Option<Deployed>, Error> {
    let output = context.clients.cloudformation.describe_stacks().stack_name(name).send().await;
    match output.map_err(failed(format!("read stack {name}"))) {
        Ok(output) => Ok(output.stacks.unwrap_or_default().into_iter().find(|stack| {
            !matches!(stack.stack_status, Some(StackStatus::ReviewInProgress | StackStatus::DeleteComplete))
        })),
        Err(error) if error.aws_code() == Some("ValidationError") && error.to_string().contains("does not exist") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Creates a change set and waits until it is computed; nothing if it contains no change.
pub(crate) async fn create(
    context: &Context,
    stack: &Stack,
    exists: bool,
    parameters: &[(String, Given)],
) -> Result<Option<ChangeSet>, Error> {
    let client = &context.clients.cloudformation;
    let parameters = parameters.iter().map(|(key, given)| {
        let parameter = Parameter::builder().parameter_key(key);
        match given {
            Given::Value(value) => parameter.parameter_value(value).build(),
            Given::Previous => parameter.use_previous_value(true).build(),
        }
    });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let output = client
        .create_change_set()
        .stack_name(&stack.name)
        .change_set_name(format!("deploy-{}", now.as_millis()))
        .change_set_type(if exists { ChangeSetType::Update } else { ChangeSetType::Create })
        .template_body(stack.body())
        .set_capabilities(Some(stack.capabilities.iter().map(|name| Capability::from(*name)).collect()))
        .set_parameters(Some(parameters.collect()))
        .send()
        .await
        .map_err(failed(format!("create a change set of stack {}", stack.name)))?;
    let id = output.id.ok_or_else(|| Error::unexpected("the change set has no id", "AWS answered without it", ""))?;
    let mut pace = Pace::new();
    loop {
        let output = client
            .describe_change_set()
            .change_set_name(&id)
            .stack_name(&stack.name)
            .send()
            .await
            .map_err(failed(format!("read the change set of stack {}", stack.name)))?;
        match output.status {
            Some(ChangeSetStatus::CreateComplete) => {
                let changes = output.changes.unwrap_or_default().iter().filter_map(change).collect();
                return Ok(Some(ChangeSet { id, stack: stack.name.clone(), changes }));
            }
            Some(ChangeSetStatus::Failed) => {
                let why = output.status_reason.unwrap_or_default();
                discard(context, &stack.name, &id).await;
                if why.contains("didn't contain changes") || why.contains("No updates are to be performed") {
                    return Ok(None);
                }
                return Err(Error::unexpected(format!("the change set of stack {} failed", stack.name), why, ""));
            }
            _ => pace.next().await,
        }
    }
}

/// Deletes a change set that will not be executed. A leftover one harms nobody, so failures are ignored.
pub(crate) async fn discard(context: &Context, stack: &str, id: &str) {
    let _ = context.clients.cloudformation.delete_change_set().change_set_name(id).stack_name(stack).send().await;
}

fn change(change: &aws_sdk_cloudformation::types::Change) -> Option<Change> {
    let resource = change.resource_change.as_ref()?;
    let mut properties: Vec<_> = resource
        .details
        .as_deref()
        .unwrap_or_default()
        .iter()
        .filter_map(|detail| detail.target.as_ref()?.name.clone())
        .collect();
    properties.sort();
    properties.dedup();
    Some(Change {
        action: resource.action.as_ref().map(|action| action.as_str().to_owned()).unwrap_or_default(),
        logical_id: resource.logical_resource_id.clone().unwrap_or_default(),
        resource_type: resource.resource_type.clone().unwrap_or_default(),
        replacement: resource.replacement.as_ref().map(|replacement| replacement.as_str().to_owned()),
        properties,
    })
}

/// What an update of a stack must not do behind the back of a live service: move versions or traffic.
pub(crate) fn guard(changes: &[Change]) -> Vec<Message> {
    changes.iter().filter_map(|change| danger(change).map(|why| (change, why))).map(refusal).collect()
}

fn danger(change: &Change) -> Option<&'static str> {
    let removes = change.action == "Remove" || matches!(change.replacement.as_deref(), Some("True" | "Conditional"));
    let touches = |property: &str| change.properties.iter().any(|name| name == property);
    match (change.action.as_str(), change.resource_type.as_str()) {
        ("Add", _) => None,
        (_, "AWS::ECS::TaskDefinition") => Some("it changes a task definition, which only deployments may do"),
        (_, "AWS::ElasticLoadBalancingV2::Listener") if touches("DefaultActions") => {
            Some("it resets the weights of a listener")
        }
        (_, "AWS::ElasticLoadBalancingV2::TargetGroup" | "AWS::ElasticLoadBalancingV2::Listener") if removes => {
            Some("it replaces what traffic goes through")
        }
        (_, "AWS::ECS::Service") if touches("LoadBalancers") => Some("it moves the service to another target group"),
        (
            _,
            "AWS::ECS::Service"
            | "AWS::ECS::Cluster"
            | "AWS::ElasticLoadBalancingV2::LoadBalancer"
            | "AWS::CodeDeploy::DeploymentGroup"
            | "AWS::CodeDeploy::Application"
            | "AWS::Logs::LogGroup"
            | "AWS::ECR::Repository",
        ) if removes => Some("it replaces or removes what the live service depends on"),
        _ => None,
    }
}

fn refusal((change, why): (&Change, &'static str)) -> Message {
    Message::new(
        format!("{} {} ({})", change.action, change.logical_id, change.resource_type),
        why,
        "if that is meant, repeat with --allow-live-changes at a quiet hour",
    )
}

/// Executes a change set and follows the stack until it has settled.
pub(crate) async fn execute(context: &Context, set: &ChangeSet) -> Result<(), Error> {
    let client = &context.clients.cloudformation;
    let before = newest_event(context, &set.stack).await;
    client
        .execute_change_set()
        .change_set_name(&set.id)
        .stack_name(&set.stack)
        .send()
        .await
        .map_err(failed(format!("execute the change set of stack {}", set.stack)))?;
    let mut pace = Pace::new();
    loop {
        pace.next().await;
        let fresh = events_since(context, &set.stack, before.as_deref()).await?;
        if context.progress.state(&format!("stack {}", set.stack), &stand(&fresh)) {
            pace.changed();
        }
        let status = stack(context, &set.stack).await?.and_then(|stack| stack.stack_status);
        match status {
            Some(StackStatus::CreateComplete | StackStatus::UpdateComplete) => return Ok(()),
            Some(status) if status.as_str().ends_with("_IN_PROGRESS") => {}
            status => {
                // Newest first: the last failure in the list is the first that happened, and the cause of the others.
                let first = fresh.iter().rev().find(|event| {
                    event.resource_status.as_ref().is_some_and(|status| status.as_str().ends_with("_FAILED"))
                });
                let why = first.map_or_else(String::new, |event| {
                    format!(
                        "{} ({}): {}",
                        event.logical_resource_id.as_deref().unwrap_or_default(),
                        event.resource_type.as_deref().unwrap_or_default(),
                        event.resource_status_reason.as_deref().unwrap_or("no reason given"),
                    )
                });
                let status = status.map_or_else(|| "gone".to_owned(), |status| status.as_str().to_owned());
                return Err(Error::unexpected(
                    format!("stack {} ended as {status}", set.stack),
                    why,
                    "repair the cause; a stack that never completed has to be deleted first",
                ));
            }
        }
    }
}

/// What a stack works on, in one line: `fresh` is newest first, so the first event of a resource is its state.
fn stand(fresh: &[StackEvent]) -> String {
    let mut seen = HashSet::new();
    let (mut done, mut open) = (0, Vec::new());
    for event in fresh.iter().filter(|event| event.physical_resource_id != event.stack_id) {
        let (Some(id), Some(status)) = (&event.logical_resource_id, &event.resource_status) else { continue };
        if !seen.insert(id.as_str()) {
            continue;
        }
        if status.as_str().ends_with("_IN_PROGRESS") {
            open.push(id.as_str());
        } else {
            done += 1;
        }
    }
    let waiting = if open.is_empty() { String::new() } else { format!(", working on {}", open.join(", ")) };
    format!("{done} resources done{waiting}")
}

/// The events of a stack that came after a known one, newest first. A stack that has lived long has many more.
async fn events_since(context: &Context, stack: &str, known: Option<&str>) -> Result<Vec<StackEvent>, Error> {
    let request = context.clients.cloudformation.describe_stack_events().stack_name(stack);
    let mut pages = request.into_paginator().items().send();
    let mut events = Vec::new();
    while let Some(event) = pages.try_next().await.map_err(failed(format!("read the events of stack {stack}")))? {
        if event.event_id.as_deref() == known && known.is_some() {
            break;
        }
        events.push(event);
    }
    Ok(events)
}

/// The id of a stack's newest event; nothing when the stack is new.
async fn newest_event(context: &Context, stack: &str) -> Option<String> {
    let output = context.clients.cloudformation.describe_stack_events().stack_name(stack).send().await;
    output.ok()?.stack_events?.into_iter().next()?.event_id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: &str, kind: &str, replacement: &str, properties: &[&str]) -> Change {
        Change {
            action: action.into(),
            logical_id: "X".into(),
            resource_type: kind.into(),
            replacement: Some(replacement.into()),
            properties: properties.iter().map(|p| (*p).to_owned()).collect(),
        }
    }

    #[test]
    fn what_moves_versions_or_traffic_is_refused() {
        let listener = "AWS::ElasticLoadBalancingV2::Listener";
        let group = "AWS::ElasticLoadBalancingV2::TargetGroup";
        for refused in [
            change("Modify", listener, "False", &["DefaultActions"]),
            change("Modify", group, "True", &["Port"]),
            change("Modify", group, "Conditional", &["VpcId"]),
            change("Remove", group, "False", &[]),
            change("Modify", "AWS::ECS::TaskDefinition", "True", &["Cpu"]),
            change("Modify", "AWS::ECS::Service", "False", &["LoadBalancers"]),
            change("Modify", "AWS::ECS::Service", "True", &["Cluster"]),
        ] {
            assert_eq!(guard(std::slice::from_ref(&refused)).len(), 1, "{refused:?}");
        }
        for allowed in [
            change("Modify", listener, "False", &["Tags"]),
            change("Modify", group, "False", &["HealthCheckPath"]),
            change("Add", "AWS::ECS::TaskDefinition", "False", &[]),
            change("Modify", "AWS::ECS::Service", "False", &["DesiredCount"]),
            change("Modify", "AWS::IAM::Role", "True", &[]),
        ] {
            assert_eq!(guard(std::slice::from_ref(&allowed)), [], "{allowed:?}");
        }
    }
}
