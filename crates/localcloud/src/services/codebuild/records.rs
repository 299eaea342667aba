//! What CodeBuild remembers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::runtime::ProcessId;
use crate::store::Record;

/// A project; the key is its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Project {
    pub(super) name: String,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    /// As it was created or last updated.
    pub(super) request: Value,
    pub(super) builds: u64,
}

impl Record for Project {
    const TABLE: &'static str = "codebuild/project";
}

/// A build; the key is its id, `project:uuid`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Build {
    pub(super) id: String,
    pub(super) project: String,
    pub(super) number: u64,
    pub(super) token: Option<String>,
    pub(super) repository: String,
    /// What was asked for: a commit or a branch.
    pub(super) revision: String,
    pub(super) commit: Option<String>,
    pub(super) buildspec: Option<String>,
    /// Overrides of environment variables, by name; values are plain text or references.
    pub(super) variables: Vec<Variable>,
    pub(super) status: BuildStatus,
    pub(super) started: Timestamp,
    pub(super) ended: Option<Timestamp>,
    pub(super) phases: Vec<Phase>,
    pub(super) process: Option<ProcessId>,
    pub(super) stop_requested: bool,
    pub(super) logged_bytes: u64,
    pub(super) exported: BTreeMap<String, String>,
}

impl Record for Build {
    const TABLE: &'static str = "codebuild/build";
}

/// <https://docs.aws.amazon.com/codebuild/latest/APIReference/API_EnvironmentVariable.html>
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    #[serde(rename = "type", default)]
    pub(super) kind: VariableKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum VariableKind {
    #[default]
    Plaintext,
    ParameterStore,
    SecretsManager,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum BuildStatus {
    InProgress,
    Succeeded,
    Failed,
    TimedOut,
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum PhaseType {
    Submitted,
    Queued,
    Provisioning,
    DownloadSource,
    Install,
    PreBuild,
    Build,
    PostBuild,
    UploadArtifacts,
    Finalizing,
    Completed,
}

impl PhaseType {
    /// The phase of a buildspec's key.
    pub(super) fn of_buildspec(name: &str) -> Option<Self> {
        match name {
            "install" => Some(Self::Install),
            "pre_build" => Some(Self::PreBuild),
            "build" => Some(Self::Build),
            "post_build" => Some(Self::PostBuild),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Phase {
    pub(super) kind: PhaseType,
    pub(super) status: Option<PhaseStatus>,
    pub(super) started: Timestamp,
    pub(super) ended: Option<Timestamp>,
    pub(super) message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum PhaseStatus {
    Succeeded,
    Failed,
    Stopped,
    TimedOut,
}

impl Build {
    /// The part of the id that names its folders.
    pub(super) fn uuid(&self) -> &str {
        self.id.rsplit(':').next().unwrap_or(&self.id)
    }

    /// Begins a phase, ending the one before as succeeded.
    pub(super) fn enter(&mut self, kind: PhaseType, at: Timestamp) {
        self.leave(PhaseStatus::Succeeded, at, None);
        self.phases.push(Phase { kind, status: None, started: at, ended: None, message: None });
    }

    /// Ends the phase that runs.
    pub(super) fn leave(&mut self, status: PhaseStatus, at: Timestamp, message: Option<String>) {
        if let Some(phase) = self.phases.last_mut().filter(|phase| phase.status.is_none()) {
            phase.status = Some(status);
            phase.ended = Some(at);
            phase.message = message;
        }
    }

    /// Ends the build.
    pub(super) fn complete(&mut self, status: BuildStatus, at: Timestamp) {
        self.enter(PhaseType::Completed, at);
        self.status = status;
        self.ended = Some(at);
    }
}
