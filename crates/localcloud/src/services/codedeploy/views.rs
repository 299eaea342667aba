//! Deployments and their targets as AWS describes them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::deployments::find;
use super::records::{Creator, Deployment, EventStatus, Phase, Side, Verdict};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct One {
    deployment_id: String,
}

pub(super) fn get(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let One { deployment_id } = parse(input)?;
    Ok(json!({"deploymentInfo": description(&find(cloud, &deployment_id)?)}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Many {
    deployment_ids: Vec<String>,
}

pub(super) fn batch_get(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let Many { deployment_ids } = parse(input)?;
    if deployment_ids.len() > 25 {
        return Err(ApiError::new("BatchLimitExceededException", "At most 25 deployments may be asked for"));
    }
    let found = deployment_ids.iter().filter_map(|id| cloud.store().get::<Deployment>(id));
    Ok(json!({"deploymentsInfo": found.map(|deployment| description(&deployment)).collect::<Vec<_>>()}))
}

fn description(deployment: &Deployment) -> Value {
    let group = &deployment.group_settings;
    let mut info = json!({
        "applicationName": deployment.application,
        "deploymentGroupName": deployment.group,
        "deploymentConfigName": deployment.config,
        "deploymentId": deployment.id,
        "revision": deployment.revision,
        "status": deployment.status(),
        "createTime": deployment.created,
        "deploymentOverview": overview(deployment),
        "creator": match deployment.creator {
            Creator::User => "user",
            Creator::Rollback => "codeDeployRollback",
        },
        "ignoreApplicationStopFailures": false,
        "updateOutdatedInstancesOnly": false,
        "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        "instanceTerminationWaitTimeStarted": matches!(
            deployment.phase,
            Phase::Wait { .. } | Phase::Terminate | Phase::Ended(Verdict::Succeeded)
        ),
        "fileExistsBehavior": "DISALLOW",
        "deploymentStatusMessages": deployment.notice.iter().collect::<Vec<_>>(),
        "computePlatform": "ECS",
        "rollbackInfo": deployment.rollback,
    });
    for (key, value) in [
        ("description", deployment.description.as_ref().map(|text| json!(text))),
        ("previousRevision", deployment.previous_revision.clone()),
        ("startTime", deployment.started.map(|at| json!(at))),
        ("completeTime", deployment.completed.map(|at| json!(at))),
        (
            "errorInformation",
            deployment.error.as_ref().map(|error| json!({"code": error.code, "message": error.message})),
        ),
        ("autoRollbackConfiguration", group.get("autoRollbackConfiguration").cloned()),
        ("blueGreenDeploymentConfiguration", group.get("blueGreenDeploymentConfiguration").cloned()),
        ("loadBalancerInfo", group.get("loadBalancerInfo").cloned()),
        ("overrideAlarmConfiguration", group.get("overrideAlarmConfiguration").cloned()),
    ] {
        if let Some(value) = value {
            info[key] = value;
        }
    }
    info
}

fn target_status(deployment: &Deployment) -> &'static str {
    match deployment.phase {
        Phase::Created => "Pending",
        Phase::Ready { .. } => "Ready",
        Phase::Ended(Verdict::Succeeded) => "Succeeded",
        Phase::Ended(_) => "Failed",
        _ => "InProgress",
    }
}

fn overview(deployment: &Deployment) -> Value {
    let mut counts = json!({"Pending": 0, "InProgress": 0, "Succeeded": 0, "Failed": 0, "Skipped": 0, "Ready": 0});
    counts[target_status(deployment)] = json!(1);
    counts
}

fn target_id(deployment: &Deployment) -> String {
    format!("{}:{}", deployment.settings.cluster, deployment.settings.service)
}

pub(super) fn list_targets(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let One { deployment_id } = parse(input)?;
    let deployment = find(cloud, &deployment_id)?;
    Ok(json!({"targetIds": [target_id(&deployment)]}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OneTarget {
    deployment_id: String,
    target_id: String,
}

pub(super) async fn get_target(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let OneTarget { deployment_id, target_id } = parse(input)?;
    Ok(json!({"deploymentTarget": target(cloud, &find(cloud, &deployment_id)?, &target_id).await?}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManyTargets {
    deployment_id: String,
    target_ids: Vec<String>,
}

pub(super) async fn batch_get_targets(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let ManyTargets { deployment_id, target_ids } = parse(input)?;
    let deployment = find(cloud, &deployment_id)?;
    let mut targets = vec![];
    for id in &target_ids {
        targets.push(target(cloud, &deployment, id).await?);
    }
    Ok(json!({"deploymentTargets": targets}))
}

async fn target(cloud: &Cloud, deployment: &Deployment, id: &str) -> Result<Value, ApiError> {
    if id != target_id(deployment) {
        return Err(ApiError::new(
            "DeploymentTargetDoesNotExistException",
            format!("The deployment {} has no target {id}", deployment.id),
        ));
    }
    let settings = &deployment.settings;
    let last_updated = deployment.events.iter().filter_map(|event| event.end_time.or(event.start_time)).max();
    let mut events = json!(deployment.events);
    // Before they begin AWS shows events without times, and with diagnostics only when there is something to say.
    if let (Some(notice), Some(index)) =
        (&deployment.notice, deployment.events.iter().position(|event| event.status == EventStatus::InProgress))
    {
        events[index]["diagnostics"] = json!({"errorCode": "UnknownError", "message": notice});
    }
    Ok(json!({
        "deploymentTargetType": "ECSTarget",
        "ecsTarget": {
            "deploymentId": deployment.id,
            "targetId": id,
            "targetArn": cloud.arn("ecs", format_args!("service/{}/{}", settings.cluster, settings.service)),
            "lastUpdatedAt": last_updated.unwrap_or(deployment.created),
            "lifecycleEvents": events,
            "status": target_status(deployment),
            "taskSetsInfo": task_sets(cloud, deployment).await,
        },
    }))
}

async fn task_sets(cloud: &Cloud, deployment: &Deployment) -> Vec<Value> {
    let Some(sides) = &deployment.sides else { return vec![] };
    let settings = &deployment.settings;
    let described = super::engine::ecs(
        cloud,
        "DescribeTaskSets",
        json!({"cluster": settings.cluster, "service": settings.service}),
    )
    .await
    .unwrap_or_default();
    let live = |side: &Side| {
        let sets = described["taskSets"].as_array().into_iter().flatten();
        sets.into_iter().find(|set| set["id"].as_str() == side.task_set.as_deref()).cloned()
    };
    let entry = |side: &Side, label: &str, weight: u32| {
        let id = side.task_set.as_ref()?;
        let mut entry = json!({
            "identifer": id,
            "trafficWeight": f64::from(weight),
            "targetGroup": {"name": side.group_name},
            "taskSetLabel": label,
        });
        match live(side) {
            Some(set) => {
                entry["desiredCount"] = set["computedDesiredCount"].clone();
                entry["pendingCount"] = set["pendingCount"].clone();
                entry["runningCount"] = set["runningCount"].clone();
                entry["status"] = set["status"].clone();
            }
            None => {
                for key in ["desiredCount", "pendingCount", "runningCount"] {
                    entry[key] = json!(0);
                }
                entry["status"] = json!("DRAINING");
            }
        }
        Some(entry)
    };
    let blue = entry(&sides.blue, "Blue", 100 - deployment.green_weight.min(100));
    let green = entry(&sides.green, "Green", deployment.green_weight);
    blue.into_iter().chain(green).collect()
}
