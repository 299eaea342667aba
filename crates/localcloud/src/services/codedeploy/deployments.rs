//! Creating, stopping, continuing and listing deployments.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{Creator, Deployment, Phase, RollbackEvent, RollbackInfo, StopRequest, Verdict, newest};
use super::{appspec, configs, groups};
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::ids;
use crate::services::{paging, parse};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    application_name: String,
    deployment_group_name: Option<String>,
    revision: Option<Value>,
    deployment_config_name: Option<String>,
    description: Option<String>,
    auto_rollback_configuration: Option<Value>,
    override_alarm_configuration: Option<Value>,
}

pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Create = parse(input)?;
    let name = input
        .deployment_group_name
        .ok_or_else(|| ApiError::new("DeploymentGroupNameRequiredException", "A deployment group name is required"))?;
    let group = groups::find(cloud, &input.application_name, &name)?;
    let revision =
        input.revision.ok_or_else(|| ApiError::new("RevisionRequiredException", "A revision is required"))?;
    let appspec = appspec::read(&revision)?;
    let config = input
        .deployment_config_name
        .or_else(|| group.settings["deploymentConfigName"].as_str().map(str::to_owned))
        .unwrap_or_else(|| configs::DEFAULT.to_owned());
    let routing = configs::find(cloud, &config)?.routing;
    let mut settings = groups::settings(&group)?;
    let mut group_settings = group.settings.clone();
    if let Some(rollback) = input.auto_rollback_configuration {
        settings.rollback_on = groups::rollback_events(&rollback);
        group_settings["autoRollbackConfiguration"] = rollback;
    }
    if let Some(alarms) = input.override_alarm_configuration {
        settings.alarms = groups::alarm_names(&alarms);
        settings.ignore_alarm_poll_failure = alarms["ignorePollAlarmFailure"] == true;
        group_settings["overrideAlarmConfiguration"] = alarms;
    }
    let deployment = Deployment {
        id: deployment_id(),
        application: group.application.clone(),
        group: group.name.clone(),
        description: input.description,
        config,
        routing,
        creator: Creator::User,
        revision,
        appspec,
        previous_revision: None,
        settings,
        group_settings,
        created: cloud.clock().now(),
        started: None,
        completed: None,
        phase: Phase::Created,
        sides: None,
        green_weight: 0,
        test_traffic_moved: false,
        events: Deployment::pending_events(),
        stop: None,
        continue_traffic: false,
        continue_termination: false,
        error: None,
        rollback: RollbackInfo::default(),
        notice: None,
    };
    cloud.store().write(|tx| {
        let all: BTreeMap<String, Deployment> = tx.all().into_iter().collect();
        if let Some(active) = newest(&all, &group.application, &group.name, |other| !other.phase.ended()) {
            return Err(ApiError::new(
                "DeploymentLimitExceededException",
                format!("The Deployment Group '{}' already has an active Deployment '{}'", group.name, active.id),
            ));
        }
        let mut deployment = deployment.clone();
        deployment.previous_revision =
            newest(&all, &group.application, &group.name, |other| other.phase == Phase::Ended(Verdict::Succeeded))
                .map(|previous| previous.revision.clone());
        tx.put(&deployment.id, &deployment);
        Ok(())
    })?;
    Ok(json!({"deploymentId": deployment.id}))
}

/// An id as AWS makes them: `d-` and nine capitals and digits.
pub(super) fn deployment_id() -> String {
    format!("d-{}", ids::alphanumeric(9).to_ascii_uppercase())
}

pub(super) fn find(cloud: &Cloud, id: &str) -> Result<Deployment, ApiError> {
    cloud.store().get(id).ok_or_else(|| does_not_exist(id))
}

fn does_not_exist(id: &str) -> ApiError {
    ApiError::new("DeploymentDoesNotExistException", format!("The deployment {id} could not be found"))
}

fn already_completed(deployment: &Deployment) -> ApiError {
    ApiError::new(
        "DeploymentAlreadyCompletedException",
        format!("The deployment {} has already completed: {}", deployment.id, deployment.status()),
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stop {
    deployment_id: String,
    auto_rollback_enabled: Option<bool>,
}

pub(super) fn stop(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Stop = parse(input)?;
    cloud.store().write(|tx| {
        let mut deployment: Deployment =
            tx.get(&input.deployment_id).ok_or_else(|| does_not_exist(&input.deployment_id))?;
        match deployment.phase {
            Phase::Ended(_) | Phase::CleanUp { .. } => return Err(already_completed(&deployment)),
            Phase::Terminate => {
                return Err(ApiError::new(
                    "DeploymentAlreadyCompletedException",
                    format!(
                        "The deployment {} serves all traffic and its original task set is being terminated; deploy the earlier revision instead",
                        deployment.id
                    ),
                ));
            }
            Phase::Restore { .. } => {
                return Err(ApiError::new(
                    "UnsupportedActionForDeploymentTypeException",
                    format!("The deployment {} is a rollback and cannot be stopped", deployment.id),
                ));
            }
            _ => {}
        }
        let by_settings = deployment.settings.rollback_on.contains(&RollbackEvent::StopOnRequest);
        deployment
            .stop
            .get_or_insert(StopRequest { rollback: input.auto_rollback_enabled.unwrap_or(by_settings) });
        tx.put(&deployment.id, &deployment);
        Ok(())
    })?;
    Ok(json!({"status": "Pending", "statusMessage": "Stopping deployment. This may take a moment."}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Continue {
    deployment_id: Option<String>,
    deployment_wait_type: Option<String>,
}

pub(super) fn proceed(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Continue = parse(input)?;
    let id = input
        .deployment_id
        .ok_or_else(|| ApiError::new("DeploymentIdRequiredException", "A deployment id is required"))?;
    let termination = match input.deployment_wait_type.as_deref() {
        None | Some("READY_WAIT") => false,
        Some("TERMINATION_WAIT") => true,
        Some(other) => {
            return Err(ApiError::new(
                "InvalidDeploymentWaitTypeException",
                format!("The deployment wait type '{other}' is not READY_WAIT or TERMINATION_WAIT"),
            ));
        }
    };
    cloud.store().write(|tx| {
        let mut deployment: Deployment = tx.get(&id).ok_or_else(|| does_not_exist(&id))?;
        match (&deployment.phase, termination) {
            (Phase::Ended(_), _) => return Err(already_completed(&deployment)),
            (Phase::Ready { .. }, false) => deployment.continue_traffic = true,
            (Phase::Wait { .. }, true) => deployment.continue_termination = true,
            _ => {
                return Err(ApiError::new(
                    "DeploymentIsNotInReadyStateException",
                    format!("The deployment {id} does not wait for this; its status is {}", deployment.status()),
                ));
            }
        }
        tx.put(&id, &deployment);
        Ok(())
    })?;
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    application_name: Option<String>,
    deployment_group_name: Option<String>,
    #[serde(default)]
    include_only_statuses: Vec<String>,
    create_time_range: Option<Range>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Range {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

pub(super) fn list(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: List = parse(input)?;
    if let (Some(application), Some(group)) = (&input.application_name, &input.deployment_group_name) {
        groups::find(cloud, application, group)?;
    }
    let range = input.create_time_range.unwrap_or(Range { start: None, end: None });
    let mut deployments = cloud.store().find::<Deployment>(|deployment| {
        input.application_name.as_ref().is_none_or(|name| deployment.application == *name)
            && input.deployment_group_name.as_ref().is_none_or(|name| deployment.group == *name)
            && (input.include_only_statuses.is_empty()
                || input.include_only_statuses.iter().any(|status| status == deployment.status()))
            && range.start.is_none_or(|start| deployment.created >= start)
            && range.end.is_none_or(|end| deployment.created <= end)
    });
    deployments.sort_by_key(|deployment| std::cmp::Reverse(deployment.created));
    let ids = deployments.into_iter().map(|deployment| deployment.id).collect();
    let (ids, next) = paging::page(ids, 100, input.next_token.as_deref(), "InvalidNextTokenException")?;
    let mut answer = json!({"deployments": ids});
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    Ok(answer)
}
