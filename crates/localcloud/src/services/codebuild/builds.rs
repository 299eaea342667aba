//! Starting, describing and stopping builds.

use serde::Deserialize;
use serde_json::{Value, json};

use super::projects;
use super::records::{Build, BuildStatus, Phase, PhaseType, Project, Variable};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartInput {
    project_name: String,
    source_location_override: Option<String>,
    source_version: Option<String>,
    buildspec_override: Option<String>,
    idempotency_token: Option<String>,
    #[serde(default)]
    environment_variables_override: Vec<Variable>,
}

/// Repeating a start with the same token answers with the build that it started before.
pub(super) fn start(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: StartInput = parse(input)?;
    let project = projects::get(cloud, &input.project_name)?;
    let source = &project.request["source"];
    let repository = input.source_location_override.or_else(|| source["location"].as_str().map(str::to_owned));
    let repository = repository.ok_or_else(|| {
        ApiError::new("InvalidInputException", "Project source type CODEPIPELINE can be built by its pipeline only")
    })?;
    let now = cloud.clock().now();
    let build = cloud.store().write(|tx| {
        if let Some(token) = &input.idempotency_token {
            let mut builds = tx.all::<Build>().into_iter().map(|(_, build)| build);
            if let Some(same) = builds.find(|build| build.token.as_ref() == Some(token)) {
                return Ok::<_, ApiError>(same);
            }
        }
        let mut project = project.clone();
        project.builds += 1;
        tx.put::<Project>(&project.name, &project);
        let submitted = Phase { kind: PhaseType::Submitted, status: None, started: now, ended: None, message: None };
        let build = Build {
            id: format!("{}:{}", project.name, uuid::Uuid::new_v4()),
            number: project.builds,
            project: project.name,
            token: input.idempotency_token,
            repository,
            revision: input.source_version.unwrap_or_else(|| "HEAD".to_owned()),
            commit: None,
            buildspec: input.buildspec_override,
            variables: input.environment_variables_override,
            status: BuildStatus::InProgress,
            started: now,
            ended: None,
            phases: vec![submitted],
            process: None,
            stop_requested: false,
            logged_bytes: 0,
            exported: Default::default(),
        };
        tx.put(&build.id, &build);
        Ok(build)
    })?;
    Ok(json!({ "build": view(cloud, &build) }))
}

#[derive(Deserialize)]
struct IdsInput {
    ids: Vec<String>,
}

pub(super) fn batch_get(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let IdsInput { ids } = parse(input)?;
    let (mut found, mut missing) = (vec![], vec![]);
    for id in ids {
        match cloud.store().get::<Build>(&id) {
            Some(build) => found.push(view(cloud, &build)),
            None => missing.push(id),
        }
    }
    Ok(json!({ "builds": found, "buildsNotFound": missing }))
}

#[derive(Deserialize)]
struct IdInput {
    id: String,
}

pub(super) fn stop(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let IdInput { id } = parse(input)?;
    let stopped = cloud.store().update::<Build>(&id, |build| {
        build.stop_requested = build.status == BuildStatus::InProgress;
    });
    let build =
        stopped.ok_or_else(|| ApiError::new("ResourceNotFoundException", format!("Build cannot be found: {id}")))?;
    Ok(json!({ "build": view(cloud, &build) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListInput {
    project_name: String,
}

pub(super) fn list(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let ListInput { project_name } = parse(input)?;
    let project = projects::get(cloud, &project_name)?;
    let mut builds = cloud.store().find::<Build>(|build| build.project == project.name);
    builds.sort_by_key(|build| std::cmp::Reverse(build.number));
    let ids: Vec<&str> = builds.iter().take(100).map(|build| build.id.as_str()).collect();
    Ok(json!({ "ids": ids }))
}

/// The log group of a project's builds.
pub(super) fn log_group(project: &Project) -> String {
    let configured = project.request["logsConfig"]["cloudWatchLogs"]["groupName"].as_str();
    configured.map_or_else(|| format!("/aws/codebuild/{}", project.name), str::to_owned)
}

fn view(cloud: &Cloud, build: &Build) -> Value {
    let project = cloud.store().get::<Project>(&build.project);
    let phases = build.phases.iter().map(|phase| {
        let mut view = json!({ "phaseType": phase.kind, "startTime": phase.started });
        if let Some(status) = phase.status {
            view["phaseStatus"] = json!(status);
            let code = if phase.message.is_some() { "COMMAND_EXECUTION_ERROR" } else { "" };
            view["contexts"] = json!([{ "statusCode": code, "message": phase.message.as_deref().unwrap_or("") }]);
        }
        if let Some(ended) = phase.ended {
            view["endTime"] = json!(ended);
            view["durationInSeconds"] = json!((ended.millis() - phase.started.millis().min(ended.millis())) / 1000);
        }
        view
    });
    let exported = build.exported.iter().map(|(name, value)| json!({ "name": name, "value": value }));
    let mut view = json!({
        "id": build.id,
        "arn": cloud.arn("codebuild", format_args!("build/{}", build.id)),
        "buildNumber": build.number,
        "projectName": build.project,
        "startTime": build.started,
        "currentPhase": build.phases.last().map(|phase| phase.kind),
        "buildStatus": build.status,
        "buildComplete": build.status != BuildStatus::InProgress,
        "sourceVersion": build.revision,
        "phases": phases.collect::<Vec<_>>(),
        "exportedEnvironmentVariables": exported.collect::<Vec<_>>(),
        "initiator": "codepipeline",
    });
    if let Some(commit) = &build.commit {
        view["resolvedSourceVersion"] = json!(commit);
    }
    if let Some(ended) = build.ended {
        view["endTime"] = json!(ended);
    }
    if let Some(project) = project {
        view["logs"] = json!({ "groupName": log_group(&project), "streamName": build.uuid() });
    }
    view
}
