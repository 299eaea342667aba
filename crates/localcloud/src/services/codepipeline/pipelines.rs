//! Creating, reading and changing pipelines.

use serde::Deserialize;
use serde_json::{Value, json};

use super::declaration::{Declaration, Pipeline};
use super::execution::{Execution, Trigger, TriggerKind, of_pipeline};
use super::pipeline_not_found;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
struct PipelineInput {
    pipeline: Value,
    #[serde(default)]
    tags: Value,
}

#[derive(Deserialize)]
struct NameInput {
    name: String,
}

/// As on AWS, a new pipeline runs once at its creation.
/// <https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-create.html>
pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let PipelineInput { pipeline: mut declaration, tags } = parse(input)?;
    let parsed = Declaration::parse(&declaration)?;
    declaration["version"] = json!(1);
    let now = cloud.clock().now();
    let pipeline = Pipeline {
        declaration: declaration.clone(),
        version: 1,
        created: now,
        updated: now,
        seen_heads: super::push::heads(cloud, &parsed),
        disabled_transitions: Default::default(),
    };
    let trigger = Trigger { kind: TriggerKind::CreatePipeline, detail: parsed.name.clone() };
    let execution = Execution::new(cloud, &parsed, 1, trigger);
    cloud.store().write(|tx| {
        if tx.get::<Pipeline>(&parsed.name).is_some() {
            return Err(ApiError::new(
                "PipelineNameInUseException",
                format!(
                    "A pipeline with the name '{}' already exists in account '{}'",
                    parsed.name,
                    crate::cloud::ACCOUNT
                ),
            ));
        }
        tx.put(&parsed.name, &pipeline);
        tx.put(&execution.id, &execution);
        Ok(())
    })?;
    let mut output = json!({ "pipeline": declaration });
    if !tags.is_null() {
        output["tags"] = tags;
    }
    Ok(output)
}

pub(super) fn update(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let PipelineInput { pipeline: mut declaration, .. } = parse(input)?;
    let parsed = Declaration::parse(&declaration)?;
    let now = cloud.clock().now();
    let updated = cloud.store().update::<Pipeline>(&parsed.name, |pipeline| {
        pipeline.version += 1;
        pipeline.updated = now;
        declaration["version"] = json!(pipeline.version);
        pipeline.declaration = declaration;
    });
    let pipeline = updated.ok_or_else(|| pipeline_not_found(&parsed.name))?;
    Ok(json!({ "pipeline": pipeline.declaration }))
}

pub(super) fn get(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let NameInput { name } = parse(input)?;
    let pipeline = cloud.store().get::<Pipeline>(&name).ok_or_else(|| pipeline_not_found(&name))?;
    Ok(json!({
        "pipeline": pipeline.declaration,
        "metadata": {
            "pipelineArn": cloud.arn("codepipeline", &name),
            "created": pipeline.created,
            "updated": pipeline.updated,
        },
    }))
}

/// Deleting a pipeline that does not exist succeeds, as on AWS.
pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let NameInput { name } = parse(input)?;
    let executions = of_pipeline(cloud, &name);
    cloud.store().write(|tx| {
        tx.delete::<Pipeline>(&name);
        for execution in &executions {
            tx.delete::<Execution>(&execution.id);
        }
        Ok::<_, ApiError>(json!({}))
    })
}

pub(super) fn list(cloud: &Cloud) -> Result<Value, ApiError> {
    let pipelines = cloud.store().all::<Pipeline>();
    let summaries = pipelines.into_iter().map(|(name, pipeline)| {
        json!({
            "name": name,
            "version": pipeline.version,
            "pipelineType": pipeline.declaration["pipelineType"].as_str().unwrap_or("V1"),
            "executionMode": pipeline.declaration["executionMode"].as_str().unwrap_or("SUPERSEDED"),
            "created": pipeline.created,
            "updated": pipeline.updated,
        })
    });
    Ok(json!({ "pipelines": summaries.collect::<Vec<_>>() }))
}

/// A pipeline and its parsed declaration.
pub(super) fn load(cloud: &Cloud, name: &str) -> Result<(Pipeline, Declaration), ApiError> {
    let pipeline = cloud.store().get::<Pipeline>(name).ok_or_else(|| pipeline_not_found(name))?;
    let declaration = Declaration::parse(&pipeline.declaration)?;
    Ok((pipeline, declaration))
}
