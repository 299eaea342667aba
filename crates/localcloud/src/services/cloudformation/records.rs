//! What is recorded of stacks, their resources and events, and change sets.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::intrinsics::Attributes;
use super::template::{Policy, invalid};
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::store::Record;

/// The status of a stack or of a resource in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    ReviewInProgress,
    CreateInProgress,
    CreateComplete,
    CreateFailed,
    RollbackInProgress,
    RollbackComplete,
    RollbackFailed,
    UpdateInProgress,
    UpdateCompleteCleanupInProgress,
    UpdateComplete,
    UpdateFailed,
    UpdateRollbackInProgress,
    UpdateRollbackCompleteCleanupInProgress,
    UpdateRollbackComplete,
    UpdateRollbackFailed,
    DeleteInProgress,
    DeleteComplete,
    DeleteFailed,
    DeleteSkipped,
}

impl Status {
    /// True when a stack in this status can be changed.
    pub(super) fn can_be_updated(self) -> bool {
        matches!(self, Self::CreateComplete | Self::UpdateComplete | Self::UpdateRollbackComplete)
    }

    /// True when AWS's model allows an event with this status. AWS itself has stack events with the others, which
    /// clients that keep to the model cannot read.
    pub(super) fn may_be_an_event(self) -> bool {
        !matches!(
            self,
            Self::ReviewInProgress
                | Self::UpdateCompleteCleanupInProgress
                | Self::UpdateRollbackCompleteCleanupInProgress
        )
    }
}

/// A stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stack {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) status_reason: Option<String>,
    pub(super) created: Timestamp,
    pub(super) updated: Option<Timestamp>,
    pub(super) deleted: Option<Timestamp>,
    pub(super) definition: Definition,
    pub(super) change_set_id: Option<String>,
    pub(super) termination_protection: bool,
    pub(super) disable_rollback: bool,
    pub(super) outputs: Vec<OutputValue>,
    /// Names of the exports that it reads.
    pub(super) imports: BTreeSet<String>,
    pub(super) resources: BTreeMap<String, Resource>,
    pub(super) operation: Option<Operation>,
    pub(super) event_count: u64,
}

/// What the caller asked a stack to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Definition {
    pub(super) template: String,
    pub(super) description: Option<String>,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) capabilities: Vec<String>,
    pub(super) tags: Vec<Value>,
    pub(super) notification_arns: Vec<String>,
    pub(super) role_arn: Option<String>,
}

/// An output's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutputValue {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) description: Option<String>,
    pub(super) export: Option<String>,
}

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Resource {
    pub(super) kind: String,
    pub(super) physical: Option<String>,
    pub(super) properties: Value,
    pub(super) attributes: Attributes,
    pub(super) depends_on: BTreeSet<String>,
    pub(super) deletion: Policy,
    pub(super) update_replace: Policy,
    pub(super) status: Status,
    pub(super) reason: Option<String>,
    pub(super) changed: Timestamp,
}

/// What a stack is being made to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Operation {
    pub(super) kind: OperationKind,
    pub(super) phase: Phase,
    /// The definition and the outputs to come back to.
    pub(super) previous: (Definition, Vec<OutputValue>, BTreeSet<String>),
    pub(super) steps: BTreeMap<String, Step>,
    pub(super) deletions: Vec<Deletion>,
    /// Logical ids that DeleteStack was asked to leave.
    pub(super) retain: Vec<String>,
    pub(super) token: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum OperationKind {
    Create,
    Update,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Creating and changing resources.
    Forward,
    /// Changing resources back after a failed update.
    Restore,
    /// Deleting what is no longer wanted.
    Cleanup,
}

/// The progress of one resource through an operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) stage: Stage,
    /// The resource as it was.
    pub(super) before: Option<Resource>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    Keep,
    Create,
    Modify,
    Replace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// About to be called; after a restart perhaps called.
    Intended,
    /// Called, not yet settled.
    Called,
    Done,
    /// Changed back to what it was.
    Restored,
}

/// A resource to delete.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Deletion {
    pub(super) logical: String,
    pub(super) resource: Resource,
    pub(super) called: bool,
    pub(super) retain: bool,
}

/// A stack event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) stack_id: String,
    pub(super) stack_name: String,
    pub(super) logical: String,
    pub(super) physical: String,
    pub(super) kind: String,
    pub(super) at: Timestamp,
    pub(super) status: Status,
    pub(super) reason: Option<String>,
    pub(super) properties: Option<String>,
    pub(super) token: Option<String>,
}

/// A change set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ChangeSet {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) stack_id: String,
    pub(super) stack_name: String,
    pub(super) description: Option<String>,
    pub(super) creation: bool,
    pub(super) created: Timestamp,
    pub(super) definition: Definition,
    pub(super) changes: Vec<Value>,
    pub(super) failure: Option<String>,
    pub(super) execution: Execution,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Execution {
    Unavailable,
    Available,
    ExecuteInProgress,
    ExecuteComplete,
    ExecuteFailed,
    Obsolete,
}

impl Record for Stack {
    const TABLE: &'static str = "cloudformation/stack";
}

impl Record for Event {
    const TABLE: &'static str = "cloudformation/event";
}

impl Record for ChangeSet {
    const TABLE: &'static str = "cloudformation/change-set";
}

/// A stack by its name, or by its id, which finds a deleted one too.
pub(super) fn find_stack(cloud: &Cloud, name_or_id: &str) -> Option<Stack> {
    if name_or_id.starts_with("arn:") {
        return cloud.store().get(name_or_id);
    }
    cloud.store().find(|stack: &Stack| stack.name == name_or_id && stack.status != Status::DeleteComplete).pop()
}

/// The same, as an API operation needs it.
pub(super) fn stack(cloud: &Cloud, name_or_id: &str) -> Result<Stack, ApiError> {
    find_stack(cloud, name_or_id).ok_or_else(|| invalid(format!("Stack with id {name_or_id} does not exist")))
}

/// The exports of all stacks: name to value and exporting stack.
pub(super) fn exports(cloud: &Cloud) -> BTreeMap<String, (String, Stack)> {
    let stacks = cloud.store().find(|stack: &Stack| stack.status != Status::DeleteComplete);
    let mut exports = BTreeMap::new();
    for stack in stacks {
        for output in &stack.outputs {
            if let Some(name) = &output.export {
                exports.insert(name.clone(), (output.value.clone(), stack.clone()));
            }
        }
    }
    exports
}

/// The stack that reads an export, if any other does.
pub(super) fn importer(cloud: &Cloud, export: &str, of: &str) -> Option<String> {
    let reads =
        |stack: &Stack| stack.id != of && stack.status != Status::DeleteComplete && stack.imports.contains(export);
    cloud.store().find(reads).pop().map(|stack| stack.name)
}
