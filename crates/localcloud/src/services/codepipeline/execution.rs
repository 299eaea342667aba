//! An execution of a pipeline and its explicit states.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::declaration::Declaration;
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::store::Record;

/// One run of a pipeline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Execution {
    pub(super) id: String,
    pub(super) pipeline: String,
    pub(super) pipeline_version: u32,
    /// Order of start within the endpoint: queues keep it.
    pub(super) sequence: u64,
    pub(super) status: ExecutionStatus,
    pub(super) summary: Option<String>,
    pub(super) trigger: Trigger,
    pub(super) client_token: Option<String>,
    /// Commits asked for by source action, in place of the branch's head.
    pub(super) source_overrides: BTreeMap<String, String>,
    pub(super) started: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) stages: Vec<StageRun>,
    /// The stage the execution is in or waits to enter.
    pub(super) position: usize,
    /// `namespace.Name` to value.
    pub(super) variables: BTreeMap<String, String>,
    pub(super) artifacts: BTreeMap<String, ArtifactContent>,
    pub(super) revisions: Vec<SourceRevision>,
}

impl Record for Execution {
    const TABLE: &'static str = "codepipeline/execution";
}

/// <https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PipelineExecution.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ExecutionStatus {
    InProgress,
    Stopping,
    Stopped,
    Succeeded,
    Superseded,
    Failed,
}

impl ExecutionStatus {
    /// True while the execution can still move by itself.
    pub(super) fn is_open(self) -> bool {
        match self {
            Self::InProgress | Self::Stopping => true,
            Self::Stopped | Self::Succeeded | Self::Superseded | Self::Failed => false,
        }
    }
}

/// Why an execution started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Trigger {
    pub(super) kind: TriggerKind,
    pub(super) detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TriggerKind {
    CreatePipeline,
    StartPipelineExecution,
    WebhookV2,
}

/// What a source action resolved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SourceRevision {
    pub(super) action: String,
    pub(super) artifact: String,
    pub(super) commit: String,
    pub(super) message: String,
}

/// Where an artifact's content is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum ArtifactContent {
    /// A commit of a repository.
    Commit { repository: String, commit: String },
    /// The files that a build put out.
    Folder { path: PathBuf },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StageRun {
    pub(super) name: String,
    pub(super) status: Option<StageStatus>,
    pub(super) entered: Option<Timestamp>,
    pub(super) actions: Vec<ActionRun>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StageStatus {
    InProgress,
    Stopping,
    Stopped,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ActionRun {
    pub(super) name: String,
    /// Action execution id; new with every attempt.
    pub(super) id: String,
    /// `None` until it starts.
    pub(super) status: Option<ActionStatus>,
    pub(super) started: Option<Timestamp>,
    pub(super) updated: Option<Timestamp>,
    pub(super) summary: Option<String>,
    pub(super) token: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) external_summary: Option<String>,
    pub(super) error: Option<ActionError>,
    pub(super) outputs: BTreeMap<String, String>,
    pub(super) updated_by: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ActionStatus {
    InProgress,
    Abandoned,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ActionError {
    pub(super) code: String,
    pub(super) message: String,
}

impl ActionRun {
    fn new(name: String) -> Self {
        Self {
            name,
            id: new_id(),
            status: None,
            started: None,
            updated: None,
            summary: None,
            token: None,
            external_id: None,
            external_summary: None,
            error: None,
            outputs: BTreeMap::new(),
            updated_by: None,
        }
    }

    /// Puts the action back to before its start, for another attempt.
    pub(super) fn reset(&mut self) {
        *self = Self::new(std::mem::take(&mut self.name));
    }
}

impl Execution {
    /// A new execution before its first stage.
    pub(super) fn new(cloud: &Cloud, declaration: &Declaration, version: u32, trigger: Trigger) -> Self {
        let now = cloud.clock().now();
        Self {
            id: new_id(),
            pipeline: declaration.name.clone(),
            pipeline_version: version,
            sequence: next_sequence(cloud),
            status: ExecutionStatus::InProgress,
            summary: None,
            trigger,
            client_token: None,
            source_overrides: BTreeMap::new(),
            started: now,
            updated: now,
            stages: declaration.stages.iter().map(StageRun::new).collect(),
            position: 0,
            variables: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            revisions: vec![],
        }
    }

    /// The stage the execution holds: it has entered it and not left it. A stage is locked by its execution.
    pub(super) fn holds(&self, stage: usize) -> bool {
        self.status.is_open()
            && self.position == stage
            && matches!(
                self.stages.get(stage).and_then(|stage| stage.status),
                Some(StageStatus::InProgress | StageStatus::Stopping)
            )
    }

    /// True when the execution stands before `stage` and has not entered it.
    pub(super) fn waits_for(&self, stage: usize) -> bool {
        self.status == ExecutionStatus::InProgress
            && self.position == stage
            && self.stages.get(stage).is_some_and(|stage| stage.status.is_none())
    }
}

impl StageRun {
    fn new(stage: &super::declaration::Stage) -> Self {
        Self {
            name: stage.name.clone(),
            status: None,
            entered: None,
            actions: stage.actions.iter().map(|action| ActionRun::new(action.name.clone())).collect(),
        }
    }
}

/// Every execution of a pipeline in the order of their starts.
pub(super) fn of_pipeline(cloud: &Cloud, pipeline: &str) -> Vec<Execution> {
    let mut executions = cloud.store().find::<Execution>(|execution| execution.pipeline == pipeline);
    executions.sort_by_key(|execution| execution.sequence);
    executions
}

fn next_sequence(cloud: &Cloud) -> u64 {
    cloud.store().all::<Execution>().into_iter().map(|(_, execution)| execution.sequence).max().unwrap_or(0) + 1
}

/// A random identifier in the form of a UUID.
pub(super) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
