//! Stopping and retrying executions, and closing the way into a stage.

use serde::Deserialize;
use serde_json::{Value, json};

use super::declaration::{DisabledTransition, Pipeline};
use super::execution::{ActionStatus, Execution, ExecutionStatus, StageStatus, of_pipeline};
use super::pipeline_not_found;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopInput {
    pipeline_name: String,
    pipeline_execution_id: String,
    #[serde(default)]
    abandon: bool,
    reason: Option<String>,
}

/// Stop: actions in progress finish first, or are abandoned. What an abandoned action started goes on, as on AWS.
pub(super) fn stop(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: StopInput = parse(input)?;
    let now = cloud.clock().now();
    cloud.store().write(|tx| {
        let mut execution = tx
            .get::<Execution>(&input.pipeline_execution_id)
            .filter(|execution| execution.pipeline == input.pipeline_name)
            .ok_or_else(|| execution_not_found(&input.pipeline_execution_id))?;
        if !execution.status.is_open() {
            return Err(ApiError::new(
                "PipelineExecutionNotStoppableException",
                format!("Pipeline execution '{}' has already ended", execution.id),
            ));
        }
        if execution.status == ExecutionStatus::Stopping && !input.abandon {
            return Err(ApiError::new(
                "DuplicatedStopRequestException",
                format!("Pipeline execution '{}' is already stopping", execution.id),
            ));
        }
        execution.status = ExecutionStatus::Stopping;
        execution.summary = input.reason.clone();
        execution.updated = now;
        let position = execution.position;
        if let Some(stage) = execution.stages.get_mut(position) {
            if stage.status == Some(StageStatus::InProgress) {
                stage.status = Some(StageStatus::Stopping);
            }
            if input.abandon {
                for action in &mut stage.actions {
                    if action.status == Some(ActionStatus::InProgress) {
                        action.status = Some(ActionStatus::Abandoned);
                        action.updated = Some(now);
                    }
                }
            }
        }
        tx.put(&execution.id.clone(), &execution);
        Ok(json!({ "pipelineExecutionId": execution.id }))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryInput {
    pipeline_name: String,
    stage_name: String,
    pipeline_execution_id: String,
    retry_mode: RetryMode,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum RetryMode {
    FailedActions,
    AllActions,
}

/// Retries a failed stage in place, keeping the execution.
pub(super) fn retry(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: RetryInput = parse(input)?;
    let pipeline =
        cloud.store().get::<Pipeline>(&input.pipeline_name).ok_or_else(|| pipeline_not_found(&input.pipeline_name))?;
    let executions = of_pipeline(cloud, &input.pipeline_name);
    let now = cloud.clock().now();
    let latest_in_stage = executions
        .iter()
        .filter_map(|execution| {
            Some((execution.stages.iter().find(|stage| stage.name == input.stage_name)?.entered?, &execution.id))
        })
        .max()
        .map(|(_, id)| id.clone());
    cloud.store().write(|tx| {
        let mut execution = tx
            .get::<Execution>(&input.pipeline_execution_id)
            .filter(|execution| execution.pipeline == input.pipeline_name)
            .ok_or_else(|| execution_not_found(&input.pipeline_execution_id))?;
        let position = execution.position;
        let not_retryable = || {
            ApiError::new(
                "StageNotRetryableException",
                format!("Stage '{}' cannot be retried for this execution", input.stage_name),
            )
        };
        let stage = execution
            .stages
            .get_mut(position)
            .filter(|stage| stage.name == input.stage_name)
            .ok_or_else(not_retryable)?;
        if stage.status != Some(StageStatus::Failed) || execution.pipeline_version != pipeline.version {
            return Err(not_retryable());
        }
        if latest_in_stage.as_ref() != Some(&execution.id) {
            return Err(ApiError::new(
                "NotLatestPipelineExecutionException",
                "A newer execution has been in the stage since",
            ));
        }
        for action in &mut stage.actions {
            if input.retry_mode == RetryMode::AllActions || action.status != Some(ActionStatus::Succeeded) {
                action.reset();
            }
        }
        stage.status = Some(StageStatus::InProgress);
        stage.entered = Some(now);
        execution.status = ExecutionStatus::InProgress;
        execution.updated = now;
        tx.put(&execution.id.clone(), &execution);
        Ok(json!({ "pipelineExecutionId": execution.id }))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransitionInput {
    pipeline_name: String,
    stage_name: String,
    transition_type: String,
    #[serde(default)]
    reason: String,
}

pub(super) fn disable_transition(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let at = cloud.clock().now();
    change_transition(cloud, input, |pipeline, input| {
        let disabled = DisabledTransition { reason: input.reason.clone(), at };
        pipeline.disabled_transitions.insert(input.stage_name.clone(), disabled);
    })
}

pub(super) fn enable_transition(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    change_transition(cloud, input, |pipeline, input| {
        pipeline.disabled_transitions.remove(&input.stage_name);
    })
}

fn change_transition(
    cloud: &Cloud,
    input: Value,
    change: impl FnOnce(&mut Pipeline, &TransitionInput),
) -> Result<Value, ApiError> {
    let input: TransitionInput = parse(input)?;
    if input.transition_type != "Inbound" {
        return Err(ApiError::unsupported("an outbound transition"));
    }
    let (_, declaration) = super::pipelines::load(cloud, &input.pipeline_name)?;
    if !declaration.stages.iter().any(|stage| stage.name == input.stage_name) {
        return Err(ApiError::new(
            "StageNotFoundException",
            format!("There is no stage '{}' in the pipeline", input.stage_name),
        ));
    }
    cloud.store().update::<Pipeline>(&input.pipeline_name, |pipeline| change(pipeline, &input));
    Ok(Value::Null)
}

/// The answer where an execution does not exist.
pub(super) fn execution_not_found(id: &str) -> ApiError {
    ApiError::new(
        "PipelineExecutionNotFoundException",
        format!("No pipeline execution found with pipelineExecutionId '{id}'"),
    )
}
