//! Projects.

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::Project;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

fn name(request: &Value) -> Result<String, ApiError> {
    request["name"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| ApiError::new("InvalidInputException", "Project name is required"))
}

pub(super) fn create(cloud: &Cloud, request: Value) -> Result<Value, ApiError> {
    let now = cloud.clock().now();
    let project = Project { name: name(&request)?, created: now, modified: now, request, builds: 0 };
    cloud.store().write(|tx| {
        if tx.get::<Project>(&project.name).is_some() {
            let message =
                format!("Project already exists: {}", cloud.arn("codebuild", format_args!("project/{}", project.name)));
            return Err(ApiError::new("ResourceAlreadyExistsException", message));
        }
        tx.put(&project.name, &project);
        Ok(())
    })?;
    Ok(json!({ "project": view(cloud, &project) }))
}

/// Members that the request leaves out stay as they are.
pub(super) fn update(cloud: &Cloud, request: Value) -> Result<Value, ApiError> {
    let name = name(&request)?;
    let now = cloud.clock().now();
    let updated = cloud.store().update::<Project>(&name, |project| {
        for (key, value) in request.as_object().into_iter().flatten() {
            project.request[key] = value.clone();
        }
        project.modified = now;
    });
    Ok(json!({ "project": view(cloud, &updated.ok_or_else(|| not_found(&name))?) }))
}

#[derive(Deserialize)]
struct NamesInput {
    names: Vec<String>,
}

pub(super) fn batch_get(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let NamesInput { names } = parse(input)?;
    let (mut found, mut missing) = (vec![], vec![]);
    for name in names {
        match get(cloud, &name) {
            Ok(project) => found.push(view(cloud, &project)),
            Err(_) => missing.push(name),
        }
    }
    Ok(json!({ "projects": found, "projectsNotFound": missing }))
}

pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    cloud.store().delete::<Project>(&name(&input)?);
    Ok(json!({}))
}

pub(super) fn list(cloud: &Cloud) -> Result<Value, ApiError> {
    let names: Vec<String> = cloud.store().all::<Project>().into_iter().map(|(name, _)| name).collect();
    Ok(json!({ "projects": names }))
}

/// The project of a name or ARN.
pub(super) fn get(cloud: &Cloud, name_or_arn: &str) -> Result<Project, ApiError> {
    let name = name_or_arn.rsplit('/').next().unwrap_or(name_or_arn);
    cloud.store().get::<Project>(name).ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", format!("Project cannot be found: {name}"))
}

fn view(cloud: &Cloud, project: &Project) -> Value {
    let mut view = project.request.clone();
    view["arn"] = json!(cloud.arn("codebuild", format_args!("project/{}", project.name)));
    view["created"] = json!(project.created);
    view["lastModified"] = json!(project.modified);
    if view["timeoutInMinutes"].is_null() {
        view["timeoutInMinutes"] = json!(60);
    }
    view
}
