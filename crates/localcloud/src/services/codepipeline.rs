//! CodePipeline V2: executions of source, build, approval and ECS blue/green deploy actions, with stage locks.
//!
//! <https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts-how-it-works.html>

mod actions;
mod approval;
mod control;
mod declaration;
pub(crate) mod engine;
mod execution;
mod pipelines;
mod push;
mod start;
mod variables;
mod views;

use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::{Service, unsupported_operation};

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreatePipeline" => pipelines::create(cloud, input),
        "UpdatePipeline" => pipelines::update(cloud, input),
        "GetPipeline" => pipelines::get(cloud, input),
        "DeletePipeline" => pipelines::delete(cloud, input),
        "ListPipelines" => pipelines::list(cloud),
        "StartPipelineExecution" => start::start_pipeline_execution(cloud, input),
        "GetPipelineState" => views::pipeline_state(cloud, input),
        "GetPipelineExecution" => views::pipeline_execution(cloud, input),
        "ListPipelineExecutions" => views::list_executions(cloud, input),
        "ListActionExecutions" => views::list_action_executions(cloud, input),
        "PutApprovalResult" => approval::put_result(cloud, input),
        "StopPipelineExecution" => control::stop(cloud, input),
        "RetryStageExecution" => control::retry(cloud, input),
        "DisableStageTransition" => control::disable_transition(cloud, input),
        "EnableStageTransition" => control::enable_transition(cloud, input),
        _ => Err(unsupported_operation(Service::CodePipeline, operation)),
    }
}

/// The answer where a pipeline does not exist.
fn pipeline_not_found(name: &str) -> ApiError {
    ApiError::new(
        "PipelineNotFoundException",
        format!("Account '{}' does not have a pipeline with name '{name}'", crate::cloud::ACCOUNT),
    )
}
