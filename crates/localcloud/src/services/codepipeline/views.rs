//! What the describing operations answer.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::control::execution_not_found;
use super::declaration::{Action, Declaration, Pipeline};
use super::execution::{ActionRun, ArtifactContent, Execution, of_pipeline};
use super::{pipeline_not_found, pipelines};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
struct NameInput {
    name: String,
}

/// `GetPipelineState`: every stage with its latest execution, the one that waits to enter, and its actions.
pub(super) fn pipeline_state(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let NameInput { name } = parse(input)?;
    let (pipeline, declaration) = pipelines::load(cloud, &name)?;
    let executions = of_pipeline(cloud, &name);
    let stages = declaration.stages.iter().enumerate().map(|(index, stage)| {
        let latest = executions
            .iter()
            .filter_map(|execution| {
                let run = execution.stages.get(index).filter(|run| run.name == stage.name)?;
                Some((run.entered?, execution.sequence, execution, run))
            })
            .max_by_key(|(entered, sequence, ..)| (*entered, *sequence));
        let waiting: Vec<Value> = executions
            .iter()
            .filter(|execution| execution.waits_for(index) && index > 0)
            .map(|execution| json!({ "pipelineExecutionId": execution.id, "status": "InProgress", "type": "STANDARD" }))
            .collect();
        let actions: Vec<Value> = stage
            .actions
            .iter()
            .map(|action| {
                let run = latest.and_then(|(.., execution, run)| {
                    Some((execution, run.actions.iter().find(|run| run.name == action.name)?))
                });
                action_state(action, run)
            })
            .collect();
        let mut state = json!({
            "stageName": stage.name,
            "inboundTransitionState": transition_state(&pipeline, &stage.name),
            "actionStates": actions,
        });
        if let Some(first) = waiting.first() {
            state["inboundExecution"] = first.clone();
            state["inboundExecutions"] = json!(waiting);
        }
        if let Some((.., execution, run)) = latest {
            state["latestExecution"] =
                json!({ "pipelineExecutionId": execution.id, "status": run.status, "type": "STANDARD" });
        }
        state
    });
    Ok(json!({
        "pipelineName": name,
        "pipelineVersion": pipeline.version,
        "stageStates": stages.collect::<Vec<_>>(),
        "created": pipeline.created,
        "updated": pipeline.updated,
    }))
}

fn transition_state(pipeline: &Pipeline, stage: &str) -> Value {
    match pipeline.disabled_transitions.get(stage) {
        None => json!({ "enabled": true }),
        Some(disabled) => {
            json!({ "enabled": false, "disabledReason": disabled.reason, "lastChangedAt": disabled.at })
        }
    }
}

fn action_state(action: &Action, run: Option<(&Execution, &ActionRun)>) -> Value {
    let mut state = json!({ "actionName": action.name });
    let Some((execution, run)) = run else { return state };
    if let Some(revision) = execution.revisions.iter().find(|revision| revision.action == action.name) {
        state["currentRevision"] = json!({
            "revisionId": revision.commit,
            "revisionChangeId": revision.commit,
            "created": execution.started,
        });
    }
    if let Some(status) = run.status {
        let mut latest = json!({ "actionExecutionId": run.id, "status": status });
        set(&mut latest, "lastStatusChange", run.updated);
        set(&mut latest, "summary", run.summary.as_ref());
        set(&mut latest, "lastUpdatedBy", run.updated_by.as_ref());
        // A token is for answering: as on AWS it is shown only while the approval waits.
        if status == super::execution::ActionStatus::InProgress {
            set(&mut latest, "token", run.token.as_ref());
        }
        set(&mut latest, "externalExecutionId", run.external_id.as_ref());
        if let Some(error) = &run.error {
            latest["errorDetails"] = json!({ "code": error.code, "message": error.message });
        }
        state["latestExecution"] = latest;
    }
    state
}

fn set(object: &mut Value, key: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        object[key] = json!(value);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecutionInput {
    pipeline_name: String,
    pipeline_execution_id: String,
}

pub(super) fn pipeline_execution(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: ExecutionInput = parse(input)?;
    if cloud.store().get::<Pipeline>(&input.pipeline_name).is_none() {
        return Err(pipeline_not_found(&input.pipeline_name));
    }
    let execution = cloud
        .store()
        .get::<Execution>(&input.pipeline_execution_id)
        .filter(|execution| execution.pipeline == input.pipeline_name)
        .ok_or_else(|| execution_not_found(&input.pipeline_execution_id))?;
    let revisions: Vec<Value> = execution
        .revisions
        .iter()
        .map(|revision| {
            json!({
                "name": revision.artifact,
                "revisionId": revision.commit,
                "revisionChangeIdentifier": revision.commit,
                "revisionSummary": revision.message,
                "created": execution.started,
            })
        })
        .collect();
    let mut output = json!({
        "pipelineName": execution.pipeline,
        "pipelineVersion": execution.pipeline_version,
        "pipelineExecutionId": execution.id,
        "status": execution.status,
        "artifactRevisions": revisions,
        "trigger": trigger(&execution),
        "executionMode": execution_mode(cloud, &execution.pipeline),
        "executionType": "STANDARD",
    });
    set(&mut output, "statusSummary", execution.summary.as_ref());
    Ok(json!({ "pipelineExecution": output }))
}

fn trigger(execution: &Execution) -> Value {
    json!({ "triggerType": execution.trigger.kind, "triggerDetail": execution.trigger.detail })
}

fn execution_mode(cloud: &Cloud, pipeline: &str) -> Value {
    pipelines::load(cloud, pipeline).map_or(Value::Null, |(_, declaration)| json!(declaration.execution_mode))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListInput {
    pipeline_name: String,
    max_results: Option<usize>,
    next_token: Option<String>,
    filter: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    pipeline_execution_id: Option<String>,
}

/// One page of a newest-first listing; the token is the index to go on from.
fn page(items: Vec<Value>, key: &str, input: &ListInput) -> Result<Value, ApiError> {
    let start = match &input.next_token {
        None => 0,
        Some(token) => {
            token.parse().map_err(|_| ApiError::new("InvalidNextTokenException", "The next token is not valid"))?
        }
    };
    let size = input.max_results.unwrap_or(100).clamp(1, 100);
    let more = items.len() > start + size;
    let mut output = Map::new();
    output.insert(key.to_owned(), items.into_iter().skip(start).take(size).collect());
    if more {
        output.insert("nextToken".to_owned(), json!((start + size).to_string()));
    }
    Ok(Value::Object(output))
}

pub(super) fn list_executions(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: ListInput = parse(input)?;
    if cloud.store().get::<Pipeline>(&input.pipeline_name).is_none() {
        return Err(pipeline_not_found(&input.pipeline_name));
    }
    let mode = execution_mode(cloud, &input.pipeline_name);
    let summaries = of_pipeline(cloud, &input.pipeline_name).into_iter().rev().map(|execution| {
        let revisions: Vec<Value> = execution
            .revisions
            .iter()
            .map(|revision| {
                json!({ "actionName": revision.action, "revisionId": revision.commit, "revisionSummary": revision.message })
            })
            .collect();
        let mut summary = json!({
            "pipelineExecutionId": execution.id,
            "status": execution.status,
            "startTime": execution.started,
            "lastUpdateTime": execution.updated,
            "sourceRevisions": revisions,
            "trigger": trigger(&execution),
            "executionMode": mode,
            "executionType": "STANDARD",
        });
        set(&mut summary, "statusSummary", execution.summary.as_ref());
        if let (true, Some(reason)) = (execution.status == super::execution::ExecutionStatus::Stopped, &execution.summary) {
            summary["stopTrigger"] = json!({ "reason": reason });
        }
        summary
    });
    page(summaries.collect(), "pipelineExecutionSummaries", &input)
}

pub(super) fn list_action_executions(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: ListInput = parse(input)?;
    let (_, declaration) = pipelines::load(cloud, &input.pipeline_name)?;
    let wanted = input.filter.as_ref().and_then(|filter| filter.pipeline_execution_id.clone());
    let mut details = vec![];
    for execution in of_pipeline(cloud, &input.pipeline_name) {
        if wanted.as_ref().is_none_or(|wanted| *wanted == execution.id) {
            for stage in &execution.stages {
                let runs = stage.actions.iter().filter(|action| action.status.is_some());
                details.extend(runs.map(|run| action_detail(&declaration, &execution, &stage.name, run)));
            }
        }
    }
    details.reverse();
    page(details, "actionExecutionDetails", &input)
}

fn action_detail(declaration: &Declaration, execution: &Execution, stage: &str, run: &ActionRun) -> Value {
    let action = declaration
        .stages
        .iter()
        .filter(|declared| declared.name == stage)
        .flat_map(|stage| &stage.actions)
        .find(|action| action.name == run.name);
    let artifacts = |names: Vec<&str>| -> Vec<Value> {
        names
            .into_iter()
            .filter(|name| execution.artifacts.contains_key(*name))
            .map(|name| json!({ "name": name }))
            .collect()
    };
    let mut result = json!({});
    set(&mut result, "externalExecutionId", run.external_id.as_ref());
    set(&mut result, "externalExecutionSummary", run.external_summary.as_ref());
    if let Some(error) = &run.error {
        result["errorDetails"] = json!({ "code": error.code, "message": error.message });
    }
    let mut detail = json!({
        "pipelineExecutionId": execution.id,
        "actionExecutionId": run.id,
        "pipelineVersion": execution.pipeline_version,
        "stageName": stage,
        "actionName": run.name,
        "status": run.status,
        "output": {
            "outputArtifacts": artifacts(action.iter().flat_map(|a| &a.output_artifacts).map(|a| a.name.as_str()).collect()),
            "executionResult": result,
            "outputVariables": run.outputs,
        },
    });
    set(&mut detail, "startTime", run.started);
    set(&mut detail, "lastUpdateTime", run.updated);
    set(&mut detail, "updatedBy", run.updated_by.as_ref());
    if let Some(action) = action {
        let mut input = json!({
            "actionTypeId": {
                "category": action.action_type_id.category,
                "owner": "AWS",
                "provider": action.action_type_id.provider,
                "version": "1",
            },
            "configuration": action.configuration,
            "inputArtifacts": artifacts(action.input_artifacts.iter().map(|a| a.name.as_str()).collect()),
        });
        set(&mut input, "namespace", action.namespace.as_ref());
        detail["input"] = input;
    }
    detail
}

impl ArtifactContent {
    /// The folder of an artifact that a build has put out.
    pub(super) fn folder(&self) -> Result<&std::path::Path, String> {
        match self {
            Self::Folder { path } => Ok(path),
            Self::Commit { repository, .. } => Err(format!(
                "the artifact is the source of {repository}; the embedded endpoint reads deployment files from a build's output only"
            )),
        }
    }
}
