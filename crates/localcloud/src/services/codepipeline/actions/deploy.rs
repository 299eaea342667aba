//! The CodeDeployToECS action: renders the task definition and the appspec, registers the one, deploys the other.
//!
//! <https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECSbluegreen.html>

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::execution::{ActionRun, Execution};
use super::{Progress, Success};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::Service;

/// Registers the task definition and creates the deployment.
pub(super) async fn start(
    cloud: &Cloud,
    execution: &Execution,
    configuration: &BTreeMap<String, String>,
    run: &ActionRun,
) -> Result<Progress, ApiError> {
    let group = json!({
        "applicationName": configuration.get("ApplicationName"),
        "deploymentGroupName": configuration.get("DeploymentGroupName"),
    });
    // The description carries the action's id, so that a start repeated after a kill finds its deployment.
    let description = format!("pipeline {} execution {} action {}", execution.pipeline, execution.id, run.id);
    if let Some(id) = find(cloud, &group, &description).await? {
        return Ok(Progress::running(id));
    }
    let failed = |reason: String| ApiError::new("ConfigurationError", reason);
    let task_definition = read_template(
        execution,
        configuration,
        "TaskDefinitionTemplateArtifact",
        "TaskDefinitionTemplatePath",
        "taskdef.json",
    )
    .map_err(failed)?;
    let task_definition = with_images(execution, configuration, task_definition).map_err(failed)?;
    let task_definition: Value = serde_json::from_str(&task_definition)
        .map_err(|error| failed(format!("the task definition template is not JSON: {error}")))?;
    let appspec =
        read_template(execution, configuration, "AppSpecTemplateArtifact", "AppSpecTemplatePath", "appspec.yaml")
            .map_err(failed)?;

    let registered = cloud.call(Service::Ecs, "RegisterTaskDefinition", task_definition).await?;
    let arn = registered["taskDefinition"]["taskDefinitionArn"].as_str().unwrap_or_default();
    let appspec = appspec.replace("<TASK_DEFINITION>", arn);
    let digest: String = Sha256::digest(appspec.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut request = group;
    request["description"] = json!(description);
    request["revision"] =
        json!({ "revisionType": "AppSpecContent", "appSpecContent": { "content": appspec, "sha256": digest } });
    let created = cloud.call(Service::CodeDeploy, "CreateDeployment", request).await?;
    Ok(Progress::running(created["deploymentId"].as_str().unwrap_or_default()))
}

async fn find(cloud: &Cloud, group: &Value, description: &str) -> Result<Option<String>, ApiError> {
    let listed = cloud.call(Service::CodeDeploy, "ListDeployments", group.clone()).await?;
    let ids: Vec<Value> = listed["deployments"].as_array().into_iter().flatten().take(25).cloned().collect();
    if ids.is_empty() {
        return Ok(None);
    }
    let found = cloud.call(Service::CodeDeploy, "BatchGetDeployments", json!({ "deploymentIds": ids })).await?;
    let mut deployments = found["deploymentsInfo"].as_array().into_iter().flatten();
    let ours = deployments.find(|deployment| deployment["description"] == description);
    Ok(ours.and_then(|deployment| deployment["deploymentId"].as_str()).map(str::to_owned))
}

/// Reads a template from its artifact.
fn read_template(
    execution: &Execution,
    configuration: &BTreeMap<String, String>,
    artifact_key: &str,
    path_key: &str,
    default_path: &str,
) -> Result<String, String> {
    let artifact = configuration.get(artifact_key).map(String::as_str).unwrap_or_default();
    let path = configuration.get(path_key).map_or(default_path, String::as_str);
    read_file(execution, artifact, path)
}

fn read_file(execution: &Execution, artifact: &str, path: &str) -> Result<String, String> {
    let content = execution.artifacts.get(artifact).ok_or_else(|| format!("there is no artifact {artifact}"))?;
    let folder = content.folder().map_err(|reason| format!("{artifact}/{path}: {reason}"))?;
    if Path::new(path).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Err(format!("{artifact}/{path}: the path leaves the artifact"));
    }
    fs::read_to_string(folder.join(path)).map_err(|error| format!("{artifact}/{path} cannot be read: {error}"))
}

/// Replaces `<IMAGE1_NAME>` and its like by the image of the artifact's `imageDetail.json`.
fn with_images(
    execution: &Execution,
    configuration: &BTreeMap<String, String>,
    template: String,
) -> Result<String, String> {
    let mut rendered = template;
    for number in 1..=4 {
        let Some(artifact) = configuration.get(&format!("Image{number}ArtifactName")) else { continue };
        let placeholder =
            configuration.get(&format!("Image{number}ContainerName")).map_or("IMAGE1_NAME", String::as_str);
        let detail = read_file(execution, artifact, "imageDetail.json")?;
        let detail: Value = serde_json::from_str(&detail)
            .map_err(|error| format!("{artifact}/imageDetail.json is not JSON: {error}"))?;
        let image =
            detail["ImageURI"].as_str().ok_or_else(|| format!("{artifact}/imageDetail.json has no ImageURI"))?;
        rendered = rendered.replace(&format!("<{placeholder}>"), image);
    }
    Ok(rendered)
}

/// Follows the deployment by its own id to its end.
pub(super) async fn follow(cloud: &Cloud, run: &ActionRun) -> Progress {
    let Some(id) = &run.external_id else { return Progress::Unchanged };
    let deployment = match cloud.call(Service::CodeDeploy, "GetDeployment", json!({ "deploymentId": id })).await {
        Ok(deployment) => deployment,
        Err(error) => return error.into(),
    };
    let info = &deployment["deploymentInfo"];
    match info["status"].as_str() {
        Some("Succeeded") => {
            Progress::Succeeded(Success { summary: Some("Deployment succeeded".to_owned()), ..Success::default() })
        }
        Some(status @ ("Failed" | "Stopped")) => {
            let message = info["errorInformation"]["message"].as_str().unwrap_or("no reason was recorded");
            Progress::failed("JobFailed", format!("deployment {id} ended as {status}: {message}"))
        }
        status if status.map(str::to_owned) != run.external_summary => {
            Progress::Running { external_id: None, token: None, summary: status.map(str::to_owned) }
        }
        _ => Progress::Unchanged,
    }
}
