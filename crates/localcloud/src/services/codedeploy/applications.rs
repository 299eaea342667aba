//! Applications.

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{Application, Deployment, Group};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;
use crate::{ids, services::paging};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    application_name: String,
    compute_platform: Option<String>,
}

pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Create = parse(input)?;
    require_ecs(input.compute_platform.as_deref())?;
    let application =
        Application { id: ids::uuid(), name: input.application_name.clone(), created: cloud.clock().now() };
    cloud.store().write(|tx| {
        if tx.get::<Application>(&application.name).is_some() {
            return Err(ApiError::new(
                "ApplicationAlreadyExistsException",
                format!("An application with the name {} already exists", application.name),
            ));
        }
        tx.put(&application.name, &application);
        Ok(())
    })?;
    Ok(json!({"applicationId": application.id}))
}

/// Only ECS is played here; AWS's own default is `Server`.
pub(super) fn require_ecs(platform: Option<&str>) -> Result<(), ApiError> {
    match platform.unwrap_or("Server") {
        "ECS" => Ok(()),
        other => Err(ApiError::unsupported(format_args!("CodeDeploy's compute platform {other}"))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    application_name: String,
}

pub(super) fn find(cloud: &Cloud, name: &str) -> Result<Application, ApiError> {
    cloud.store().get(name).ok_or_else(|| {
        ApiError::new("ApplicationDoesNotExistException", format!("No application found for name: {name}"))
    })
}

pub(super) fn get(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let Named { application_name } = parse(input)?;
    let application = find(cloud, &application_name)?;
    Ok(json!({"application": {
        "applicationId": application.id,
        "applicationName": application.name,
        "createTime": application.created,
        "linkedToGitHub": false,
        "computePlatform": "ECS",
    }}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    next_token: Option<String>,
}

pub(super) fn list(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let List { next_token } = parse(input)?;
    let names = cloud.store().all::<Application>().into_iter().map(|(name, _)| name).collect();
    let (names, next) = paging::page(names, 100, next_token.as_deref(), "InvalidNextTokenException")?;
    let mut answer = json!({"applications": names});
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    Ok(answer)
}

pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let Named { application_name } = parse(input)?;
    cloud.store().write(|tx| {
        let running = tx.all::<Deployment>().into_iter().map(|(_, deployment)| deployment);
        if let Some(running) = running
            .into_iter()
            .find(|deployment| deployment.application == application_name && !deployment.phase.ended())
        {
            return Err(ApiError::new(
                "InvalidApplicationNameException",
                format!("The application {application_name} has the active deployment {}", running.id),
            ));
        }
        for (key, group) in tx.all::<Group>() {
            if group.application == application_name {
                tx.delete::<Group>(&key);
            }
        }
        tx.delete::<Application>(&application_name);
        Ok(())
    })?;
    Ok(json!({}))
}
