//! Creating, changing and deleting stacks.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::changes::changes;
use super::engine::{Work, in_deletion_order};
use super::records::{Definition, Operation, OperationKind, Phase, Stack, Status, find_stack, importer, stack};
use super::resources::{kind, unknown_type};
use super::template::{GivenParameter, Template, invalid};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::ids;
use crate::services::parse;

/// What a caller wants a stack to be; common to stacks and change sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Request {
    pub(super) stack_name: String,
    #[serde(default)]
    template_body: Option<String>,
    #[serde(default, rename = "TemplateURL")]
    template_url: Option<String>,
    #[serde(default)]
    use_previous_template: bool,
    #[serde(default)]
    parameters: Vec<GivenParameter>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    tags: Option<Vec<Value>>,
    #[serde(default, rename = "NotificationARNs")]
    notification_arns: Option<Vec<String>>,
    #[serde(default, rename = "RoleARN")]
    role_arn: Option<String>,
    #[serde(default)]
    disable_rollback: bool,
    #[serde(default)]
    on_failure: Option<String>,
    #[serde(default)]
    enable_termination_protection: bool,
    #[serde(default)]
    client_request_token: Option<String>,
}

impl Request {
    /// The definition, checked. `existing` is the stack it is for, if there is one.
    pub(super) fn definition(&self, existing: Option<&Stack>) -> Result<Definition, ApiError> {
        let previous = existing.filter(|stack| stack.status != Status::ReviewInProgress);
        let body = match (&self.template_body, &self.template_url, previous) {
            (Some(body), _, _) => body.clone(),
            (None, Some(_), _) => return Err(ApiError::unsupported("a template at a TemplateURL (send TemplateBody)")),
            (None, None, Some(stack)) if self.use_previous_template => stack.definition.template.clone(),
            _ => return Err(invalid("Either Template URL or Template Body must be specified.")),
        };
        let template = Template::parse(&body)?;
        let unknown = template.resources.iter().find(|(_, resource)| kind(&resource.kind).is_none());
        if let Some((logical, resource)) = unknown {
            let message = unknown_type(&resource.kind, logical);
            return Err(invalid(format!("Template format error: Unrecognized resource types: {message}")));
        }
        template.check_capabilities(&self.capabilities)?;
        let empty = BTreeMap::new();
        let before = previous.map_or(&empty, |stack| &stack.definition.parameters);
        let parameters = template.parameter_values(&self.parameters, before)?;
        let kept = previous.map(|stack| stack.definition.clone()).unwrap_or_default();
        Ok(Definition {
            template: body,
            description: template.description,
            parameters,
            capabilities: self.capabilities.clone(),
            tags: self.tags.clone().unwrap_or(kept.tags),
            notification_arns: self.notification_arns.clone().unwrap_or(kept.notification_arns),
            role_arn: self.role_arn.clone().or(kept.role_arn),
        })
    }
}

/// A stack of which nothing exists yet.
pub(super) fn new_stack(cloud: &Cloud, name: &str) -> Result<Stack, ApiError> {
    let starts = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic());
    let well_formed = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '-');
    if !starts || !well_formed || name.len() > 128 {
        return Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        )));
    }
    Ok(Stack {
        id: cloud.arn("cloudformation", format_args!("stack/{name}/{}", ids::uuid())),
        name: name.to_owned(),
        status: Status::ReviewInProgress,
        status_reason: None,
        created: cloud.clock().now(),
        updated: None,
        deleted: None,
        definition: Definition::default(),
        change_set_id: None,
        termination_protection: false,
        disable_rollback: false,
        outputs: vec![],
        imports: Default::default(),
        resources: BTreeMap::new(),
        operation: None,
        event_count: 0,
    })
}

/// Begins to make a stack what a definition says.
pub(super) fn begin(cloud: &Cloud, mut stack: Stack, definition: Definition, token: Option<String>) {
    let creating = stack.status == Status::ReviewInProgress;
    let previous = (std::mem::replace(&mut stack.definition, definition), stack.outputs.clone(), stack.imports.clone());
    stack.imports.clear();
    if !creating {
        stack.updated = Some(cloud.clock().now());
    }
    stack.operation = Some(Operation {
        kind: if creating { OperationKind::Create } else { OperationKind::Update },
        phase: Phase::Forward,
        previous,
        steps: BTreeMap::new(),
        deletions: vec![],
        retain: vec![],
        token,
    });
    let mut work = Work::new(cloud, stack);
    let status = if creating { Status::CreateInProgress } else { Status::UpdateInProgress };
    work.stack_event(status, Some("User Initiated".to_owned()));
    work.save();
}

/// CreateStack.
pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let request: Request = parse(input)?;
    if let Some(existing) = find_stack(cloud, &request.stack_name) {
        return Err(ApiError::new("AlreadyExistsException", format!("Stack [{}] already exists", existing.name)));
    }
    let definition = request.definition(None)?;
    let mut stack = new_stack(cloud, &request.stack_name)?;
    stack.termination_protection = request.enable_termination_protection;
    match request.on_failure.as_deref() {
        Some("DO_NOTHING") => stack.disable_rollback = true,
        Some("DELETE") => return Err(ApiError::unsupported("OnFailure DELETE")),
        _ => stack.disable_rollback = request.disable_rollback,
    }
    let id = stack.id.clone();
    begin(cloud, stack, definition, request.client_request_token);
    Ok(json!({"StackId": id}))
}

/// UpdateStack.
pub(super) fn update(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let request: Request = parse(input)?;
    let mut stack = stack(cloud, &request.stack_name)?;
    check_updatable(&stack)?;
    let definition = request.definition(Some(&stack))?;
    match changes(cloud, &stack, &definition) {
        Err(reason) if reason == super::changes::NO_CHANGES => {
            return Err(invalid("No updates are to be performed."));
        }
        Err(reason) => return Err(invalid(reason)),
        Ok(_) => {}
    }
    stack.disable_rollback = request.disable_rollback;
    let id = stack.id.clone();
    begin(cloud, stack, definition, request.client_request_token);
    Ok(json!({"StackId": id}))
}

/// Fails when a stack cannot be updated now.
pub(super) fn check_updatable(stack: &Stack) -> Result<(), ApiError> {
    if stack.operation.is_none() && stack.status.can_be_updated() {
        return Ok(());
    }
    let status = serde_json::to_value(stack.status).unwrap_or_default();
    Err(invalid(format!(
        "Stack:{} is in {} state and can not be updated.",
        stack.id,
        status.as_str().unwrap_or_default()
    )))
}

/// DeleteStack. A stack that is not there is deleted.
pub(super) fn delete(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let name = input["StackName"].as_str().unwrap_or_default();
    let Some(mut stack) = find_stack(cloud, name) else { return Ok(json!({})) };
    if stack.status == Status::DeleteComplete {
        return Ok(json!({}));
    }
    if stack.termination_protection {
        return Err(invalid(format!(
            "Stack [{}] cannot be deleted while TerminationProtection is enabled",
            stack.name
        )));
    }
    if let Some(operation) = &stack.operation {
        if operation.kind == OperationKind::Delete {
            return Ok(json!({}));
        }
        return Err(ApiError::unsupported(
            "deleting a stack while it is being created or updated (wait for it to end)",
        ));
    }
    let exported = stack.outputs.iter().filter_map(|output| output.export.as_ref());
    let used = exported.filter_map(|name| Some((name.clone(), importer(cloud, name, &stack.id)?))).next();
    let retain: Vec<String> = input["RetainResources"]
        .as_array()
        .map(|ids| ids.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let existing: Vec<_> = stack
        .resources
        .iter()
        .filter(|(_, resource)| !matches!(resource.status, Status::DeleteComplete | Status::DeleteSkipped))
        .map(|(logical, resource)| (logical.clone(), resource.clone()))
        .collect();
    if used.is_none() {
        stack.operation = Some(Operation {
            kind: OperationKind::Delete,
            phase: Phase::Cleanup,
            previous: (stack.definition.clone(), stack.outputs.clone(), stack.imports.clone()),
            steps: BTreeMap::new(),
            deletions: in_deletion_order(existing, &retain),
            retain,
            token: input["ClientRequestToken"].as_str().map(str::to_owned),
        });
    }
    let mut work = Work::new(cloud, stack);
    match used {
        None => work.stack_event(Status::DeleteInProgress, Some("User Initiated".to_owned())),
        Some((export, importer)) => work.stack_event(
            Status::DeleteFailed,
            Some(format!("Delete canceled. Cannot delete export {export} as it is in use by {importer}.")),
        ),
    }
    work.save();
    Ok(json!({}))
}

/// UpdateTerminationProtection.
pub(super) fn protect(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let stack = stack(cloud, input["StackName"].as_str().unwrap_or_default())?;
    let enable = input["EnableTerminationProtection"] == true;
    cloud.store().update(&stack.id, |stack: &mut Stack| stack.termination_protection = enable);
    Ok(json!({"StackId": stack.id}))
}
