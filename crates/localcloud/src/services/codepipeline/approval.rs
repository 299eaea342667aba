//! Answers to manual approvals.

use serde::Deserialize;
use serde_json::{Value, json};

use super::declaration::Pipeline;
use super::execution::{ActionError, ActionStatus, Execution, StageStatus, of_pipeline};
use super::pipeline_not_found;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApprovalInput {
    pipeline_name: String,
    stage_name: String,
    action_name: String,
    result: ApprovalResult,
    token: String,
}

#[derive(Deserialize)]
struct ApprovalResult {
    summary: String,
    status: Answer,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Approved,
    Rejected,
}

/// <https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PutApprovalResult.html>
pub(super) fn put_result(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: ApprovalInput = parse(input)?;
    let pipeline =
        cloud.store().get::<Pipeline>(&input.pipeline_name).ok_or_else(|| pipeline_not_found(&input.pipeline_name))?;
    check_names(&pipeline, &input)?;
    let now = cloud.clock().now();
    let executions = of_pipeline(cloud, &input.pipeline_name);
    cloud.store().write(|tx| {
        for id in executions.iter().map(|execution| &execution.id) {
            let Some(mut execution) = tx.get::<Execution>(id) else { continue };
            let Some(stage) = execution.stages.iter_mut().find(|stage| stage.name == input.stage_name) else {
                continue;
            };
            let Some(action) = stage.actions.iter_mut().find(|action| action.name == input.action_name) else {
                continue;
            };
            if action.token.as_deref() != Some(input.token.as_str()) {
                continue;
            }
            if action.status != Some(ActionStatus::InProgress) || stage.status != Some(StageStatus::InProgress) {
                return Err(ApiError::new(
                    "ApprovalAlreadyCompletedException",
                    "The approval action has already been approved or rejected.",
                ));
            }
            action.summary = Some(input.result.summary.clone());
            action.updated = Some(now);
            action.updated_by = Some(format!("arn:aws:iam::{}:user/local", crate::cloud::ACCOUNT));
            match input.result.status {
                Answer::Approved => action.status = Some(ActionStatus::Succeeded),
                Answer::Rejected => {
                    action.status = Some(ActionStatus::Failed);
                    let message = format!("Rejected: {}", input.result.summary);
                    action.error = Some(ActionError { code: "ApprovalRejected".to_owned(), message });
                }
            }
            execution.updated = now;
            tx.put(id, &execution);
            return Ok(json!({ "approvedAt": now }));
        }
        Err(ApiError::new(
            "InvalidApprovalTokenException",
            "The approval request already received a response or has expired.",
        ))
    })
}

fn check_names(pipeline: &Pipeline, input: &ApprovalInput) -> Result<(), ApiError> {
    let stages = pipeline.declaration["stages"].as_array().into_iter().flatten();
    let stage = stages.into_iter().find(|stage| stage["name"] == input.stage_name.as_str()).ok_or_else(|| {
        ApiError::new("StageNotFoundException", format!("There is no stage '{}' in the pipeline", input.stage_name))
    })?;
    let mut actions = stage["actions"].as_array().into_iter().flatten();
    if actions.any(|action| action["name"] == input.action_name.as_str()) {
        return Ok(());
    }
    Err(ApiError::new(
        "ActionNotFoundException",
        format!("There is no action '{}' in stage '{}'", input.action_name, input.stage_name),
    ))
}
