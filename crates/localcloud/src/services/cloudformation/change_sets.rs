//! Change sets: a definition and what it would change, to be looked at before it is executed.

use serde_json::{Value, json};

use super::changes::changes;
use super::engine::Work;
use super::records::{ChangeSet, Execution, Stack, Status, find_stack, stack};
use super::stacks::{Request, begin, check_updatable, new_stack};
use super::template::invalid;
use super::views::parameters;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::ids;
use crate::services::parse;

/// CreateChangeSet. The changes are computed at once, so no client sees CREATE_PENDING.
pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let text = |name: &str| input[name].as_str().map(str::to_owned);
    let name = text("ChangeSetName").unwrap_or_default();
    let (description, kind) = (text("Description"), text("ChangeSetType"));
    let request: Request = parse(input.clone())?;
    let existing = find_stack(cloud, &request.stack_name);
    let creation = match kind.as_deref() {
        Some("CREATE") => true,
        Some("IMPORT") => return Err(ApiError::unsupported("a change set of type IMPORT")),
        _ => false,
    };
    let stack = match existing {
        Some(stack) if creation && stack.status != Status::ReviewInProgress => {
            return Err(ApiError::new(
                "AlreadyExistsException",
                format!(
                    "Stack [{}] already exists and cannot be created again with the changeSet [{name}].",
                    stack.name
                ),
            ));
        }
        Some(stack) if creation => stack,
        Some(stack) => {
            check_updatable(&stack)?;
            stack
        }
        None if creation => new_stack(cloud, &request.stack_name)?,
        None => return Err(invalid(format!("Stack [{}] does not exist", request.stack_name))),
    };
    let duplicate = |set: &ChangeSet| set.stack_id == stack.id && set.name == name;
    if !cloud.store().find(duplicate).is_empty() {
        return Err(ApiError::new("AlreadyExistsException", format!("ChangeSet {name} already exists")));
    }
    let definition = request.definition(Some(&stack))?;
    if cloud.store().get::<Stack>(&stack.id).is_none() {
        let mut work = Work::new(cloud, stack.clone());
        work.stack_event(Status::ReviewInProgress, Some("User Initiated".to_owned()));
        work.save();
    }
    let (changes, failure) = match changes(cloud, &stack, &definition) {
        Ok(changes) => (changes, None),
        Err(reason) => (vec![], Some(reason)),
    };
    let set = ChangeSet {
        id: cloud.arn("cloudformation", format_args!("changeSet/{name}/{}", ids::uuid())),
        name,
        stack_id: stack.id.clone(),
        stack_name: stack.name.clone(),
        description,
        creation,
        created: cloud.clock().now(),
        definition,
        changes,
        execution: if failure.is_none() { Execution::Available } else { Execution::Unavailable },
        failure,
    };
    cloud.store().put(&set.id, &set);
    Ok(json!({"Id": set.id, "StackId": stack.id}))
}

fn find(cloud: &Cloud, input: &Value) -> Result<ChangeSet, ApiError> {
    let name = input["ChangeSetName"].as_str().unwrap_or_default();
    let missing =
        || ApiError::new("ChangeSetNotFoundException", format!("ChangeSet [{name}] does not exist")).with_status(404);
    if name.starts_with("arn:") {
        return cloud.store().get(name).ok_or_else(missing);
    }
    let Some(stack_name) = input["StackName"].as_str() else {
        return Err(invalid("StackName must be specified if ChangeSetName is not specified as an ARN."));
    };
    let stack = stack(cloud, stack_name)?;
    cloud.store().find(|set: &ChangeSet| set.stack_id == stack.id && set.name == name).pop().ok_or_else(missing)
}

fn summary(set: &ChangeSet) -> Value {
    json!({
        "ChangeSetName": set.name, "ChangeSetId": set.id, "StackId": set.stack_id, "StackName": set.stack_name,
        "Description": set.description, "CreationTime": set.created, "ExecutionStatus": set.execution,
        "Status": if set.failure.is_some() { "FAILED" } else { "CREATE_COMPLETE" }, "StatusReason": set.failure,
        "IncludeNestedStacks": false, "ImportExistingResources": false,
    })
}

/// DescribeChangeSet.
pub(super) fn describe(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let set = find(cloud, input)?;
    let mut described = summary(&set);
    described["Parameters"] = parameters(&set.definition);
    described["NotificationARNs"] = json!(set.definition.notification_arns);
    described["Capabilities"] = json!(set.definition.capabilities);
    described["Tags"] = json!(set.definition.tags);
    described["Changes"] = json!(set.changes);
    described["RollbackConfiguration"] = json!({});
    Ok(described)
}

/// ListChangeSets.
pub(super) fn list(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let stack = stack(cloud, input["StackName"].as_str().unwrap_or_default())?;
    let sets = cloud.store().find(|set: &ChangeSet| set.stack_id == stack.id);
    Ok(json!({"Summaries": sets.iter().map(summary).collect::<Vec<_>>()}))
}

/// ExecuteChangeSet.
pub(super) fn execute(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let set = find(cloud, input)?;
    let mut stack = stack(cloud, &set.stack_id)?;
    if set.execution != Execution::Available {
        let status = serde_json::to_value(set.execution).unwrap_or_default();
        return Err(ApiError::new(
            "InvalidChangeSetStatus",
            format!(
                "ChangeSet [{}] cannot be executed in its current status of [{}]",
                set.id,
                status.as_str().unwrap_or_default()
            ),
        ));
    }
    let reviewed = stack.status == Status::ReviewInProgress && stack.operation.is_none();
    if !reviewed {
        check_updatable(&stack)?;
    }
    for mut other in cloud.store().find(|other: &ChangeSet| other.stack_id == stack.id) {
        // Executing one makes the others stale; AWS deletes them.
        if other.id == set.id {
            other.execution = Execution::ExecuteComplete;
            cloud.store().put(&other.id, &other);
        } else {
            cloud.store().delete::<ChangeSet>(&other.id);
        }
    }
    stack.change_set_id = Some(set.id.clone());
    stack.disable_rollback = input["DisableRollback"] == true;
    begin(cloud, stack, set.definition, input["ClientRequestToken"].as_str().map(str::to_owned));
    Ok(json!({}))
}

/// DeleteChangeSet. One that is not there is deleted.
pub(super) fn delete(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    match find(cloud, input) {
        Ok(set) => {
            cloud.store().delete::<ChangeSet>(&set.id);
            Ok(json!({}))
        }
        Err(error) if error.code == "ChangeSetNotFoundException" => Ok(json!({})),
        Err(error) => Err(error),
    }
}
