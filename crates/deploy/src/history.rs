//! `history`: who deployed what, when, and how it ended.

use std::collections::HashMap;

use aws_sdk_codedeploy::types::DeploymentStatus;
use aws_sdk_sts::primitives::{DateTime, DateTimeFormat};
use serde_json::{Value, json};

use crate::codedeploy::{self, Deployment, seconds_between};
use crate::context::Context;
use crate::error::Error;
use crate::{live, pipeline};

/// The newest deployments of an environment.
pub(crate) async fn read(context: &Context, limit: usize) -> Result<Value, Error> {
    let deployments = match codedeploy::recent(context, limit).await {
        Err(error) if error.aws_code().is_some_and(|code| code.ends_with("DoesNotExistException")) => Vec::new(),
        other => other?,
    };
    let executions = executions(context).await?;
    let mut digests: HashMap<String, (Option<String>, Option<String>)> = HashMap::new();
    let mut rows = Vec::new();
    for deployment in deployments {
        let arn = deployment.revision.as_ref().and_then(codedeploy::task_definition);
        let (digest, commit) = match &arn {
            Some(arn) => match digests.get(arn) {
                Some(known) => known.clone(),
                None => {
                    let found = version(context, arn).await;
                    digests.insert(arn.clone(), found.clone());
                    found
                }
            },
            None => (None, None),
        };
        let execution =
            executions.iter().find(|(_, commit_of)| commit.as_deref().is_some_and(|c| commit_of.starts_with(c)));
        rows.push(json!({
            "deployment": deployment.id,
            "when": deployment.created.as_ref().and_then(text),
            "who": deployment.creator,
            "what": deployment.description,
            "commit": execution.map(|(_, commit)| commit.clone()).or(commit),
            "digest": digest,
            "verdict": verdict(&deployment),
            "cause": deployment.error,
            "seconds": seconds_between(deployment.created.as_ref(), deployment.completed.as_ref()),
            "rolled_back_by": deployment.rollback,
            "task_definition": arn,
        }));
    }
    Ok(json!({"schema": 1, "environment": context.environment.name.as_str(), "deployments": rows}))
}

fn text(time: &DateTime) -> Option<String> {
    time.fmt(DateTimeFormat::DateTime).ok()
}

fn verdict(deployment: &Deployment) -> &'static str {
    match deployment.status {
        DeploymentStatus::Succeeded => "succeeded",
        DeploymentStatus::Failed | DeploymentStatus::Stopped if deployment.rollback.is_some() => "rolled_back",
        DeploymentStatus::Failed | DeploymentStatus::Stopped => "failed",
        _ => "running",
    }
}

/// Digest and abbreviated commit of a task definition. What is gone is unknown, not an error.
async fn version(context: &Context, arn: &str) -> (Option<String>, Option<String>) {
    let Ok(definition) = live::task_definition(context, arn).await else { return (None, None) };
    let digest = live::image_of(&definition, context.names().service()).as_deref().and_then(live::digest_of);
    let commit = match &digest {
        Some(digest) => live::short_commit(context, digest).await.unwrap_or_default(),
        None => None,
    };
    (digest, commit)
}

/// Ids and full commits of the pipeline's executions.
async fn executions(context: &Context) -> Result<Vec<(String, String)>, Error> {
    match pipeline::executions(context).await {
        Ok(executions) => Ok(executions
            .iter()
            .filter_map(|execution| {
                let commit = pipeline::commit_of(execution)?.to_owned();
                Some((execution.pipeline_execution_id.clone()?, commit))
            })
            .collect()),
        Err(error) if error.aws_code() == Some("PipelineNotFoundException") => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A table for people.
pub(crate) fn summary(document: &Value) -> String {
    let rows = document["deployments"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return "no deployments yet\n".to_owned();
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut table = String::new();
    for row in rows {
        let commit = text(&row["commit"]);
        let seconds = row["seconds"].as_f64().map(|seconds| format!("{seconds:.0}s")).unwrap_or_default();
        table.push_str(&format!(
            "{:<21} {:<12} {:<12} {:>6} {:<18} {} {}\n",
            text(&row["when"]),
            text(&row["verdict"]),
            commit.get(..12).unwrap_or(&commit),
            seconds,
            text(&row["who"]),
            text(&row["deployment"]),
            row["cause"].as_str().or(row["what"].as_str()).unwrap_or_default(),
        ));
    }
    table
}
