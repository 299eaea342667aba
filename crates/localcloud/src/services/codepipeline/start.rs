//! Starting executions.

use serde::Deserialize;
use serde_json::{Value, json};

use super::declaration::{Declaration, Provider};
use super::execution::{Execution, Trigger, TriggerKind, of_pipeline};
use super::pipelines;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartInput {
    name: String,
    client_request_token: Option<String>,
    #[serde(default)]
    source_revisions: Vec<SourceOverride>,
    #[serde(default)]
    variables: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceOverride {
    action_name: String,
    revision_type: String,
    revision_value: String,
}

/// A repeated client token answers with the execution that it started before.
pub(super) fn start_pipeline_execution(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: StartInput = parse(input)?;
    if !input.variables.is_empty() {
        return Err(ApiError::unsupported("a pipeline variable"));
    }
    let (pipeline, declaration) = pipelines::load(cloud, &input.name)?;
    if let Some(token) = &input.client_request_token {
        let earlier = of_pipeline(cloud, &input.name).into_iter().find(|e| e.client_token.as_ref() == Some(token));
        if let Some(earlier) = earlier {
            return Ok(json!({ "pipelineExecutionId": earlier.id }));
        }
    }
    let caller = format!("arn:aws:iam::{}:user/local", crate::cloud::ACCOUNT);
    let trigger = Trigger { kind: TriggerKind::StartPipelineExecution, detail: caller };
    let mut execution = Execution::new(cloud, &declaration, pipeline.version, trigger);
    execution.client_token = input.client_request_token;
    for source in input.source_revisions {
        check_override(&declaration, &source)?;
        execution.source_overrides.insert(source.action_name, source.revision_value);
    }
    cloud.store().put(&execution.id, &execution);
    Ok(json!({ "pipelineExecutionId": execution.id }))
}

fn check_override(declaration: &Declaration, source: &SourceOverride) -> Result<(), ApiError> {
    let mut actions = declaration.stages.iter().flat_map(|stage| &stage.actions);
    let known = actions.any(|action| action.name == source.action_name && action.provider() == Ok(Provider::Source));
    if !known {
        return Err(ApiError::new(
            "ValidationException",
            format!(
                "Source revision override names '{}', which is not a source action of the pipeline",
                source.action_name
            ),
        ));
    }
    if source.revision_type != "COMMIT_ID" {
        return Err(ApiError::unsupported(format_args!("a source revision of type {}", source.revision_type)));
    }
    Ok(())
}
