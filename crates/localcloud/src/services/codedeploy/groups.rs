//! Deployment groups.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::records::{Deployment, Group, Phase, RollbackEvent, Settings, Verdict, group_key, newest};
use super::{applications, configs};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::ids;
use crate::services::{paging, parse};

/// The members of a group's input that are kept for its description.
const KEPT: [&str; 11] = [
    "deploymentConfigName",
    "serviceRoleArn",
    "triggerConfigurations",
    "alarmConfiguration",
    "autoRollbackConfiguration",
    "outdatedInstancesStrategy",
    "deploymentStyle",
    "blueGreenDeploymentConfiguration",
    "loadBalancerInfo",
    "ecsServices",
    "terminationHookEnabled",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    application_name: String,
    #[serde(alias = "currentDeploymentGroupName")]
    deployment_group_name: String,
    new_deployment_group_name: Option<String>,
}

fn kept(input: &Value) -> Map<String, Value> {
    let members =
        KEPT.iter().filter_map(|key| Some(((*key).to_owned(), input.get(key).filter(|v| !v.is_null())?.clone())));
    members.collect()
}

pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let mut settings = kept(&input);
    let names: Names = parse(input)?;
    applications::find(cloud, &names.application_name)?;
    settings.entry("deploymentConfigName").or_insert_with(|| json!(configs::DEFAULT));
    let group = Group {
        id: ids::uuid(),
        application: names.application_name,
        name: names.deployment_group_name,
        settings: Value::Object(settings),
    };
    check(cloud, &group)?;
    let key = group_key(&group.application, &group.name);
    cloud.store().write(|tx| {
        if tx.get::<Group>(&key).is_some() {
            return Err(ApiError::new(
                "DeploymentGroupAlreadyExistsException",
                format!("A deployment group with the name {} already exists", group.name),
            ));
        }
        tx.put(&key, &group);
        Ok(())
    })?;
    Ok(json!({"deploymentGroupId": group.id}))
}

/// Refuses what could never be deployed.
fn check(cloud: &Cloud, group: &Group) -> Result<(), ApiError> {
    configs::find(cloud, group.settings["deploymentConfigName"].as_str().unwrap_or(configs::DEFAULT))?;
    let style = &group.settings["deploymentStyle"];
    if style["deploymentType"] != "BLUE_GREEN" || style["deploymentOption"] != "WITH_TRAFFIC_CONTROL" {
        return Err(ApiError::new(
            "InvalidDeploymentStyleException",
            "For ECS deployment group, deployment type can be BLUE_GREEN only, and deployment option can be WITH_TRAFFIC_CONTROL only.",
        ));
    }
    if group.settings["triggerConfigurations"].as_array().is_some_and(|triggers| !triggers.is_empty()) {
        return Err(ApiError::unsupported("a deployment group with triggers"));
    }
    settings(group).map(|_| ())
}

/// A group's settings as a deployment needs them.
pub(super) fn settings(group: &Group) -> Result<Settings, ApiError> {
    let all = &group.settings;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let only = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([one]) => Some(one.clone()),
        _ => None,
    };
    let service = only(&all["ecsServices"]).ok_or_else(|| {
        ApiError::new(
            "InvalidECSServiceException",
            "For ECS deployment group, exactly one ecsServices entry is required.",
        )
    })?;
    let pair_error = |message: &str| ApiError::new("InvalidLoadBalancerInfoException", message);
    let pair = only(&all["loadBalancerInfo"]["targetGroupPairInfoList"]).ok_or_else(|| {
        pair_error("For ECS deployment group, exactly one targetGroupPairInfoList entry is required.")
    })?;
    let names: Vec<String> =
        pair["targetGroups"].as_array().into_iter().flatten().filter_map(|group| text(&group["name"])).collect();
    let target_groups = <[String; 2]>::try_from(names)
        .map_err(|_| pair_error("A target group pair must have exactly two target groups with names."))?;
    if target_groups[0] == target_groups[1] {
        return Err(pair_error("The two target groups of a pair must differ."));
    }
    let production = only(&pair["prodTrafficRoute"]["listenerArns"])
        .as_ref()
        .and_then(text)
        .ok_or_else(|| pair_error("A production traffic route must have exactly one listener."))?;
    let test = only(&pair["testTrafficRoute"]["listenerArns"]).as_ref().and_then(text);

    let blue_green = &all["blueGreenDeploymentConfiguration"];
    let ready = &blue_green["deploymentReadyOption"];
    let stops = ready["actionOnTimeout"] == "STOP_DEPLOYMENT";
    let ready_wait = stops.then(|| ready["waitTimeInMinutes"].as_u64().unwrap_or(0));
    let terminate = &blue_green["terminateBlueInstancesOnDeploymentSuccess"];
    if terminate["action"] == "KEEP_ALIVE" {
        return Err(ApiError::new(
            "InvalidBlueGreenDeploymentConfigurationException",
            "For ECS deployment group, terminateBlueInstancesOnDeploymentSuccess must have the action TERMINATE.",
        ));
    }
    let alarms = &all["alarmConfiguration"];
    Ok(Settings {
        cluster: text(&service["clusterName"]).unwrap_or_else(|| "default".to_owned()),
        service: text(&service["serviceName"]).unwrap_or_default(),
        target_groups,
        production,
        test,
        ready_wait,
        termination_wait: terminate["terminationWaitTimeInMinutes"].as_u64().unwrap_or(0),
        rollback_on: rollback_events(&all["autoRollbackConfiguration"]),
        alarms: alarm_names(alarms),
        ignore_alarm_poll_failure: alarms["ignorePollAlarmFailure"] == true,
    })
}

/// The alarms of an alarm configuration that is switched on.
pub(super) fn alarm_names(configuration: &Value) -> Vec<String> {
    if configuration["enabled"] != true {
        return vec![];
    }
    let alarms = configuration["alarms"].as_array().into_iter().flatten();
    alarms.filter_map(|alarm| alarm["name"].as_str().map(str::to_owned)).collect()
}

/// The events of an automatic rollback that is switched on.
pub(super) fn rollback_events(configuration: &Value) -> Vec<RollbackEvent> {
    if configuration["enabled"] != true {
        return vec![];
    }
    let events = configuration["events"].as_array().into_iter().flatten();
    events.filter_map(|event| serde_json::from_value(event.clone()).ok()).collect()
}

pub(super) fn find(cloud: &Cloud, application: &str, name: &str) -> Result<Group, ApiError> {
    applications::find(cloud, application)?;
    cloud.store().get(&group_key(application, name)).ok_or_else(|| {
        ApiError::new("DeploymentGroupDoesNotExistException", format!("No Deployment Group found for name: {name}"))
    })
}

pub(super) fn get(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let names: Names = parse(input)?;
    let group = find(cloud, &names.application_name, &names.deployment_group_name)?;
    let mut info = group.settings.clone();
    info["applicationName"] = json!(group.application);
    info["deploymentGroupId"] = json!(group.id);
    info["deploymentGroupName"] = json!(group.name);
    info["computePlatform"] = json!("ECS");
    let deployments: BTreeMap<String, Deployment> = cloud.store().all::<Deployment>().into_iter().collect();
    let last = |keep: &dyn Fn(&Deployment) -> bool| newest(&deployments, &group.application, &group.name, keep);
    if let Some(attempted) = last(&|_| true) {
        info["lastAttemptedDeployment"] = summary(attempted);
    }
    if let Some(succeeded) = last(&|deployment| deployment.phase == Phase::Ended(Verdict::Succeeded)) {
        info["lastSuccessfulDeployment"] = summary(succeeded);
        info["targetRevision"] = succeeded.revision.clone();
    }
    Ok(json!({"deploymentGroupInfo": info}))
}

fn summary(deployment: &Deployment) -> Value {
    let mut summary = json!({
        "deploymentId": deployment.id,
        "status": deployment.status(),
        "createTime": deployment.created,
    });
    if let Some(completed) = deployment.completed {
        summary["endTime"] = json!(completed);
    }
    summary
}

pub(super) fn update(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let changes = kept(&input);
    let names: Names = parse(input)?;
    if names.new_deployment_group_name.is_some_and(|new| new != names.deployment_group_name) {
        return Err(ApiError::unsupported("renaming a deployment group"));
    }
    let mut group = find(cloud, &names.application_name, &names.deployment_group_name)?;
    if let Value::Object(settings) = &mut group.settings {
        settings.extend(changes);
    }
    check(cloud, &group)?;
    cloud.store().put(&group_key(&group.application, &group.name), &group);
    Ok(json!({"hooksNotCleanedUp": []}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    application_name: String,
    next_token: Option<String>,
}

pub(super) fn list(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: List = parse(input)?;
    applications::find(cloud, &input.application_name)?;
    let groups = cloud.store().find::<Group>(|group| group.application == input.application_name);
    let names = groups.into_iter().map(|group| group.name).collect();
    let (names, next) = paging::page(names, 100, input.next_token.as_deref(), "InvalidNextTokenException")?;
    let mut answer = json!({"applicationName": input.application_name, "deploymentGroups": names});
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    Ok(answer)
}

pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let names: Names = parse(input)?;
    let (application, name) = (names.application_name, names.deployment_group_name);
    cloud.store().write(|tx| {
        let running = tx
            .all::<Deployment>()
            .into_iter()
            .map(|(_, deployment)| deployment)
            .find(|deployment| deployment.is_of(&application, &name) && !deployment.phase.ended());
        if let Some(running) = running {
            return Err(ApiError::new(
                "InvalidDeploymentGroupNameException",
                format!("The deployment group {name} has the active deployment {}", running.id),
            ));
        }
        tx.delete::<Group>(&group_key(&application, &name));
        Ok(())
    })?;
    Ok(json!({"hooksNotCleanedUp": []}))
}
