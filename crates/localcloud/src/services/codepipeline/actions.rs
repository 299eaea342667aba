//! The actions: what starting and following each kind means.
//!
//! Every start may be repeated: a kill between the start and its record leads to the same build, or finds the same deployment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::declaration::{Action, Provider};
use super::execution::{ActionRun, ArtifactContent, Execution, SourceRevision};
use super::{push, variables};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::Service;

mod deploy;

/// How far an action has come.
pub(super) enum Progress {
    /// Nothing to write down.
    Unchanged,
    /// It runs.
    Running { external_id: Option<String>, token: Option<String>, summary: Option<String> },
    /// It has failed for good.
    Failed { code: String, message: String, external_id: Option<String> },
    /// It has succeeded.
    Succeeded(Success),
}

/// What a successful action leaves behind.
#[derive(Default)]
pub(super) struct Success {
    pub(super) summary: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) outputs: BTreeMap<String, String>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) artifacts: BTreeMap<String, ArtifactContent>,
    pub(super) revision: Option<SourceRevision>,
}

impl Progress {
    fn running(external_id: impl Into<String>) -> Self {
        Self::Running { external_id: Some(external_id.into()), token: None, summary: None }
    }

    fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed { code: code.to_owned(), message: message.into(), external_id: None }
    }
}

impl From<ApiError> for Progress {
    fn from(error: ApiError) -> Self {
        Self::failed("JobFailed", error.to_string())
    }
}

/// Starts an action.
pub(super) async fn start(cloud: &Cloud, execution: &Execution, action: &Action, run: &ActionRun) -> Progress {
    let configuration: Result<BTreeMap<String, String>, String> = action
        .configuration
        .iter()
        .map(|(key, value)| Ok((key.clone(), variables::resolve(execution, value)?)))
        .collect();
    let configuration = match configuration {
        Ok(configuration) => configuration,
        Err(reason) => return Progress::failed("ConfigurationError", reason),
    };
    match action.provider() {
        Ok(Provider::Source) => source(cloud, execution, action),
        Ok(Provider::CodeBuild) => start_build(cloud, execution, action, &configuration, run).await,
        Ok(Provider::Approval) => Progress::Running {
            external_id: None,
            token: Some(super::execution::new_id()),
            summary: configuration.get("CustomData").cloned(),
        },
        Ok(Provider::CodeDeployToEcs) => {
            deploy::start(cloud, execution, &configuration, run).await.unwrap_or_else(Progress::from)
        }
        Err(error) => error.into(),
    }
}

/// Looks how far a started action has come.
pub(super) async fn follow(cloud: &Cloud, execution: &Execution, action: &Action, run: &ActionRun) -> Progress {
    match action.provider() {
        Ok(Provider::CodeBuild) => follow_build(cloud, action, run).await,
        Ok(Provider::Approval) => approval_timeout(cloud, run),
        Ok(Provider::CodeDeployToEcs) => deploy::follow(cloud, run).await,
        Ok(Provider::Source) => source(cloud, execution, action),
        Err(error) => error.into(),
    }
}

/// <https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html>
fn source(cloud: &Cloud, execution: &Execution, action: &Action) -> Progress {
    let configured = |key: &str| action.configuration.get(key).cloned().unwrap_or_default();
    let (repository, branch) = (configured("FullRepositoryId"), configured("BranchName"));
    let head = format!("refs/heads/{branch}");
    let revision = execution.source_overrides.get(&action.name).unwrap_or(&head);
    let commit = match push::resolve(cloud, &repository, revision) {
        Ok(commit) => commit,
        Err(reason) => return Progress::failed("JobFailed", reason),
    };
    let outputs = BTreeMap::from([
        ("CommitId".to_owned(), commit.id.clone()),
        ("BranchName".to_owned(), branch),
        ("CommitMessage".to_owned(), commit.message.clone()),
        ("AuthorDate".to_owned(), commit.author_date),
        ("FullRepositoryName".to_owned(), repository.clone()),
        ("ConnectionArn".to_owned(), configured("ConnectionArn")),
    ]);
    let content = ArtifactContent::Commit { repository, commit: commit.id.clone() };
    let artifacts: BTreeMap<_, _> =
        action.output_artifacts.iter().map(|artifact| (artifact.name.clone(), content.clone())).collect();
    let revision = SourceRevision {
        action: action.name.clone(),
        artifact: action.output_artifacts.first().map(|artifact| artifact.name.clone()).unwrap_or_default(),
        commit: commit.id.clone(),
        message: commit.message.clone(),
    };
    Progress::Succeeded(Success {
        summary: Some(commit.message),
        external_id: Some(commit.id),
        variables: in_namespace(action, &outputs),
        outputs,
        artifacts,
        revision: Some(revision),
    })
}

fn in_namespace(action: &Action, outputs: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let Some(namespace) = &action.namespace else { return BTreeMap::new() };
    outputs.iter().map(|(name, value)| (format!("{namespace}.{name}"), value.clone())).collect()
}

async fn start_build(
    cloud: &Cloud,
    execution: &Execution,
    action: &Action,
    configuration: &BTreeMap<String, String>,
    run: &ActionRun,
) -> Progress {
    let input = action.input_artifacts.first().and_then(|input| execution.artifacts.get(&input.name));
    let Some(ArtifactContent::Commit { repository, commit }) = input else {
        return Progress::failed(
            "ConfigurationError",
            format!("the first input artifact of action {} must be a source", action.name),
        );
    };
    let variables: Value = match configuration.get("EnvironmentVariables").map(|text| serde_json::from_str(text)) {
        None => json!([]),
        Some(Ok(variables)) => variables,
        Some(Err(error)) => {
            return Progress::failed("ConfigurationError", format!("EnvironmentVariables is not JSON: {error}"));
        }
    };
    let request = json!({
        "projectName": configuration.get("ProjectName"),
        "idempotencyToken": run.id,
        "sourceLocationOverride": repository,
        "sourceVersion": commit,
        "environmentVariablesOverride": variables,
    });
    match cloud.call(Service::CodeBuild, "StartBuild", request).await {
        Ok(started) => Progress::running(started["build"]["id"].as_str().unwrap_or_default()),
        Err(error) => error.into(),
    }
}

async fn follow_build(cloud: &Cloud, action: &Action, run: &ActionRun) -> Progress {
    let Some(id) = &run.external_id else { return Progress::Unchanged };
    let builds = match cloud.call(Service::CodeBuild, "BatchGetBuilds", json!({ "ids": [id] })).await {
        Ok(builds) => builds,
        Err(error) => return error.into(),
    };
    let build = &builds["builds"][0];
    match build["buildStatus"].as_str() {
        Some("IN_PROGRESS") => {
            let phase = build["currentPhase"].as_str().map(str::to_owned);
            if phase == run.external_summary {
                return Progress::Unchanged;
            }
            Progress::Running { external_id: None, token: None, summary: phase }
        }
        Some("SUCCEEDED") => {
            let exported = build["exportedEnvironmentVariables"].as_array().into_iter().flatten();
            let outputs: BTreeMap<String, String> = exported
                .filter_map(|variable| {
                    Some((variable["name"].as_str()?.to_owned(), variable["value"].as_str()?.to_owned()))
                })
                .collect();
            let folder = cloud.data_dir().join("artifacts").join(id.rsplit(':').next().unwrap_or(id));
            let artifacts = action.output_artifacts.first();
            Progress::Succeeded(Success {
                variables: in_namespace(action, &outputs),
                outputs,
                artifacts: artifacts
                    .map(|artifact| (artifact.name.clone(), ArtifactContent::Folder { path: folder }))
                    .into_iter()
                    .collect(),
                ..Success::default()
            })
        }
        status => Progress::failed("JobFailed", build_failure(build, status.unwrap_or("unknown"))),
    }
}

/// The first phase that failed and what it said.
fn build_failure(build: &Value, status: &str) -> String {
    let phases = build["phases"].as_array().into_iter().flatten();
    let failed = phases.into_iter().find(|phase| !matches!(phase["phaseStatus"].as_str(), None | Some("SUCCEEDED")));
    let phase = failed.and_then(|phase| phase["phaseType"].as_str()).unwrap_or("UNKNOWN");
    let message = failed.and_then(|phase| phase["contexts"][0]["message"].as_str()).unwrap_or("no reason was recorded");
    format!("the build ended as {status} in phase {phase}: {message}")
}

/// Approvals end by themselves after seven days.
/// <https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html>
fn approval_timeout(cloud: &Cloud, run: &ActionRun) -> Progress {
    const LIMIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    match run.started {
        Some(started) if cloud.clock().elapsed(started) > LIMIT => {
            Progress::failed("ApprovalTimedOut", "nobody answered the approval within seven days")
        }
        _ => Progress::Unchanged,
    }
}
