//! Reading stacks, their resources, events and templates.

use serde_json::{Value, json};

use super::records::{Definition, Event, Resource, Stack, Status, exports, stack};
use super::template::{Template, invalid};
use crate::cloud::Cloud;
use crate::error::ApiError;

/// A definition's parameters in AWS's shape; secrets as stars.
pub(super) fn parameters(definition: &Definition) -> Value {
    let template = Template::parse(&definition.template).ok();
    let hidden = |key: &str| template.as_ref().and_then(|t| t.parameters.get(key)).is_some_and(|p| p.no_echo);
    definition
        .parameters
        .iter()
        .map(|(key, value)| {
            json!({"ParameterKey": key, "ParameterValue": if hidden(key) { "****" } else { value.as_str() }})
        })
        .collect()
}

fn view(stack: &Stack) -> Value {
    let outputs: Vec<Value> = stack
        .outputs
        .iter()
        .map(|output| {
            json!({
                "OutputKey": output.key, "OutputValue": output.value,
                "Description": output.description, "ExportName": output.export,
            })
        })
        .collect();
    json!({
        "StackId": stack.id, "StackName": stack.name, "ChangeSetId": stack.change_set_id,
        "Description": stack.definition.description, "Parameters": parameters(&stack.definition),
        "CreationTime": stack.created, "LastUpdatedTime": stack.updated, "DeletionTime": stack.deleted,
        "RollbackConfiguration": {}, "StackStatus": stack.status, "StackStatusReason": stack.status_reason,
        "DisableRollback": stack.disable_rollback, "NotificationARNs": stack.definition.notification_arns,
        "Capabilities": stack.definition.capabilities, "Outputs": outputs, "RoleARN": stack.definition.role_arn,
        "Tags": stack.definition.tags, "EnableTerminationProtection": stack.termination_protection,
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
    })
}

/// DescribeStacks.
pub(super) fn describe_stacks(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let stacks = match input["StackName"].as_str() {
        Some(name) => vec![stack(cloud, name)?],
        None => {
            let mut stacks = cloud.store().find(|stack: &Stack| stack.status != Status::DeleteComplete);
            stacks.sort_by_key(|stack| std::cmp::Reverse(stack.created));
            stacks
        }
    };
    Ok(json!({"Stacks": stacks.iter().map(view).collect::<Vec<_>>()}))
}

/// ListStacks.
pub(super) fn list_stacks(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let filter = input["StackStatusFilter"].as_array().cloned().unwrap_or_default();
    let mut stacks = cloud.store().find(|stack: &Stack| {
        filter.is_empty() || serde_json::to_value(stack.status).is_ok_and(|status| filter.contains(&status))
    });
    stacks.sort_by_key(|stack| std::cmp::Reverse(stack.created));
    let summary = |stack: &Stack| {
        json!({
            "StackId": stack.id, "StackName": stack.name, "TemplateDescription": stack.definition.description,
            "CreationTime": stack.created, "LastUpdatedTime": stack.updated, "DeletionTime": stack.deleted,
            "StackStatus": stack.status, "StackStatusReason": stack.status_reason,
            "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
        })
    };
    Ok(json!({"StackSummaries": stacks.iter().map(summary).collect::<Vec<_>>()}))
}

/// How many events one answer has, as on AWS.
const EVENTS_PER_PAGE: usize = 100;

/// DescribeStackEvents, newest first.
pub(super) fn events(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let stack = stack(cloud, input["StackName"].as_str().unwrap_or_default())?;
    let prefix = format!("{}#", stack.id);
    let mut events = cloud.store().all::<Event>();
    events.retain(|(key, event)| key.starts_with(&prefix) && event.status.may_be_an_event());
    events.reverse();
    let start = input["NextToken"].as_str().and_then(|token| token.parse::<usize>().ok()).unwrap_or(0);
    let page: Vec<Value> = events
        .iter()
        .skip(start)
        .take(EVENTS_PER_PAGE)
        .map(|(_, event)| {
            json!({
                "StackId": event.stack_id, "EventId": event.id, "StackName": event.stack_name,
                "LogicalResourceId": event.logical, "PhysicalResourceId": event.physical,
                "ResourceType": event.kind, "Timestamp": event.at, "ResourceStatus": event.status,
                "ResourceStatusReason": event.reason, "ResourceProperties": event.properties,
                "ClientRequestToken": event.token,
            })
        })
        .collect();
    let next = start + page.len();
    let token = (next < events.len()).then(|| next.to_string());
    Ok(json!({"StackEvents": page, "NextToken": token}))
}

fn resource_view(stack: &Stack, logical: &str, resource: &Resource, time: &str) -> Value {
    json!({
        "StackName": stack.name, "StackId": stack.id, "LogicalResourceId": logical,
        "PhysicalResourceId": resource.physical, "ResourceType": resource.kind, time: resource.changed,
        "ResourceStatus": resource.status, "ResourceStatusReason": resource.reason,
        "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
    })
}

/// DescribeStackResources.
pub(super) fn describe_resources(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let stack = match (input["StackName"].as_str(), input["PhysicalResourceId"].as_str()) {
        (Some(name), _) => stack(cloud, name)?,
        (None, Some(physical)) => {
            let owns = |stack: &Stack| stack.resources.values().any(|r| r.physical.as_deref() == Some(physical));
            let found = cloud.store().find(owns).pop();
            found.ok_or_else(|| invalid(format!("Stack for {physical} does not exist")))?
        }
        _ => return Err(invalid("StackName or PhysicalResourceId must be specified")),
    };
    let only = input["LogicalResourceId"].as_str();
    let resources: Vec<Value> = stack
        .resources
        .iter()
        .filter(|(logical, _)| only.is_none_or(|only| only == logical.as_str()))
        .map(|(logical, resource)| resource_view(&stack, logical, resource, "Timestamp"))
        .collect();
    Ok(json!({"StackResources": resources}))
}

/// DescribeStackResource.
pub(super) fn describe_resource(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let stack = stack(cloud, input["StackName"].as_str().unwrap_or_default())?;
    let logical = input["LogicalResourceId"].as_str().unwrap_or_default();
    let resource = stack
        .resources
        .get(logical)
        .ok_or_else(|| invalid(format!("Resource {logical} does not exist for stack {}", stack.name)))?;
    Ok(json!({"StackResourceDetail": resource_view(&stack, logical, resource, "LastUpdatedTimestamp")}))
}

/// ListStackResources.
pub(super) fn list_resources(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let stack = stack(cloud, input["StackName"].as_str().unwrap_or_default())?;
    let summary = |(logical, resource): (&String, &Resource)| {
        let mut view = resource_view(&stack, logical, resource, "LastUpdatedTimestamp");
        if let Some(members) = view.as_object_mut() {
            members.shift_remove("StackName");
            members.shift_remove("StackId");
        }
        view
    };
    Ok(json!({"StackResourceSummaries": stack.resources.iter().map(summary).collect::<Vec<_>>()}))
}

/// ListExports.
pub(super) fn list_exports(cloud: &Cloud) -> Result<Value, ApiError> {
    let exports: Vec<Value> = exports(cloud)
        .into_iter()
        .map(|(name, (value, stack))| json!({"ExportingStackId": stack.id, "Name": name, "Value": value}))
        .collect();
    Ok(json!({"Exports": exports}))
}

/// GetTemplate.
pub(super) fn get_template(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let name = input["StackName"].as_str().ok_or_else(|| invalid("StackName must be specified"))?;
    let stack = stack(cloud, name)?;
    Ok(json!({"TemplateBody": stack.definition.template, "StagesAvailable": ["Original", "Processed"]}))
}

/// GetTemplateSummary.
pub(super) fn template_summary(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let body = match (input["TemplateBody"].as_str(), input["StackName"].as_str()) {
        (Some(body), _) => body.to_owned(),
        (None, Some(name)) => stack(cloud, name)?.definition.template,
        _ => return Err(invalid("Either TemplateBody or StackName must be specified")),
    };
    let template = Template::parse(&body)?;
    let parameters: Vec<Value> = template
        .parameters
        .iter()
        .map(|(key, parameter)| {
            json!({
                "ParameterKey": key, "DefaultValue": parameter.default, "ParameterType": parameter.kind,
                "NoEcho": parameter.no_echo, "Description": parameter.description,
            })
        })
        .collect();
    let kinds: std::collections::BTreeSet<_> = template.resources.values().map(|r| r.kind.clone()).collect();
    let (capabilities, reason) = capabilities(&template);
    Ok(json!({
        "Parameters": parameters, "Description": template.description, "Capabilities": capabilities,
        "CapabilitiesReason": reason, "ResourceTypes": kinds, "Version": "2010-09-09",
    }))
}

/// ValidateTemplate.
pub(super) fn validate_template(input: &Value) -> Result<Value, ApiError> {
    let Some(body) = input["TemplateBody"].as_str() else {
        return Err(invalid("Either Template URL or Template Body must be specified."));
    };
    let template = Template::parse(body)?;
    let parameters: Vec<Value> = template
        .parameters
        .iter()
        .map(|(key, parameter)| {
            json!({
                "ParameterKey": key, "DefaultValue": parameter.default,
                "NoEcho": parameter.no_echo, "Description": parameter.description,
            })
        })
        .collect();
    let (capabilities, reason) = capabilities(&template);
    Ok(json!({
        "Parameters": parameters, "Description": template.description,
        "Capabilities": capabilities, "CapabilitiesReason": reason,
    }))
}

fn capabilities(template: &Template) -> (Vec<&'static str>, Option<String>) {
    template.required_capabilities().map_or((vec![], None), |(needed, reason)| (vec![needed], Some(reason)))
}
