//! The first part of a deployment: which side is which, and green made ready.

use std::time::Duration;

use serde_json::{Value, json};

use super::{cause, change, ecs, failure, restore, traffic};
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::services::Service;
use crate::services::codedeploy::records::{Deployment, EventStatus, Failure, Lifecycle, Phase, Side, Sides};

/// How long green may take to become steady, in model time; AWS's own limit.
const STEADY_WITHIN: Duration = Duration::from_secs(3600);

fn invalid(code: &str, message: String) -> Failure {
    Failure { code: code.to_owned(), message }
}

/// Finds out which target group serves production now. That one is blue, whatever its place in the pair.
pub(super) async fn begin(cloud: &Cloud, deployment: &Deployment) -> Result<(), Failure> {
    let settings = &deployment.settings;
    let elb = |error| failure("ELASTIC_LOAD_BALANCING_INVALID", "The load balancer cannot be read", &error);
    let mut pair = vec![];
    for name in &settings.target_groups {
        let found = cloud.call(Service::Elbv2, "DescribeTargetGroups", json!({"Names": [name]})).await.map_err(elb)?;
        pair.push((found["TargetGroups"][0]["TargetGroupArn"].as_str().unwrap_or_default().to_owned(), name.clone()));
    }
    let weights = traffic::weights(cloud, &settings.production).await.map_err(elb)?;
    let weight = |arn: &str| weights.iter().find(|(group, _)| group == arn).map_or(0, |(_, weight)| *weight);
    if pair.iter().all(|(arn, _)| weight(arn) == 0) {
        let message = format!(
            "The production listener {} sends traffic to neither {} nor {}",
            settings.production, settings.target_groups[0], settings.target_groups[1]
        );
        return Err(invalid("ELASTIC_LOAD_BALANCING_INVALID", message));
    }
    if weight(&pair[1].0) > weight(&pair[0].0) {
        pair.swap(0, 1);
    }

    check_service(cloud, deployment).await?;
    let sets = restore::task_sets(cloud, deployment)
        .await
        .map_err(|error| failure("INVALID_ECS_SERVICE", "The task sets cannot be read", &error))?;
    let serves = |set: &&Value, arn: &str| {
        set["loadBalancers"].as_array().into_iter().flatten().any(|lb| lb["targetGroupArn"] == arn)
    };
    let live = sets.iter().filter(|set| serves(set, &pair[0].0)).max_by_key(|set| set["status"] == "PRIMARY");
    let Some(live) = live else {
        let message = format!(
            "The service {} has no task set on the target group {}, which gets production's traffic",
            settings.service, pair[0].1
        );
        return Err(invalid("INVALID_ECS_SERVICE", message));
    };
    let side = |index: usize, set: Option<&Value>| Side {
        group_arn: pair[index].0.clone(),
        group_name: pair[index].1.clone(),
        task_set: set.and_then(|set| set["id"].as_str()).map(str::to_owned),
        task_definition: set.and_then(|set| set["taskDefinition"].as_str()).map(str::to_owned),
    };
    let green = Side { task_definition: Some(deployment.appspec.task_definition.clone()), ..side(1, None) };
    let sides = Sides { blue: side(0, Some(live)), green };
    let now = cloud.clock().now();
    change(cloud, deployment, |it| {
        it.started = Some(now);
        it.sides = Some(sides);
        it.end(Lifecycle::BeforeInstall, EventStatus::Succeeded, now);
        it.begin(Lifecycle::Install, now);
        it.phase = Phase::Install { since: now };
    });
    Ok(())
}

async fn check_service(cloud: &Cloud, deployment: &Deployment) -> Result<(), Failure> {
    let settings = &deployment.settings;
    let described =
        ecs(cloud, "DescribeServices", json!({"cluster": settings.cluster, "services": [settings.service]}))
            .await
            .map_err(|error| failure("INVALID_ECS_SERVICE", "The service cannot be read", &error))?;
    let service = &described["services"][0];
    if service["status"] != "ACTIVE" {
        let message = format!("The service {} is not active in the cluster {}", settings.service, settings.cluster);
        return Err(invalid("INVALID_ECS_SERVICE", message));
    }
    if service["deploymentController"]["type"] != "CODE_DEPLOY" {
        let message = format!("The service {} does not have the deployment controller CODE_DEPLOY", settings.service);
        return Err(invalid("INVALID_ECS_SERVICE", message));
    }
    Ok(())
}

/// Creates green when it is not there, and waits for it.
pub(super) async fn step(cloud: &Cloud, deployment: &Deployment, since: Timestamp) -> Result<(), Failure> {
    let sides = deployment
        .sides
        .as_ref()
        .ok_or_else(|| invalid("INTERNAL_ERROR", "The deployment does not know its target groups".to_owned()))?;
    let update_error = |what: &'static str| move |error| failure("ECS_UPDATE_ERROR", what, &error);
    let Some(id) = &sides.green.task_set else {
        // Both groups on the listener: a group that no listener names is not checked for health. Also takes back
        // what an earlier deployment left on green when it was stopped half-way.
        traffic::production(cloud, deployment, 0).await?;
        restore::remove_leftovers(cloud, deployment)
            .await
            .map_err(update_error("An old task set cannot be removed"))?;
        let id = create(cloud, deployment, sides).await?;
        change(cloud, deployment, |it| {
            if let Some(sides) = &mut it.sides {
                sides.green.task_set = Some(id);
            }
        });
        return Ok(());
    };
    let sets = restore::task_sets(cloud, deployment).await.map_err(update_error("The new task set cannot be read"))?;
    let Some(set) = sets.iter().find(|set| set["id"] == **id) else {
        return Err(invalid("ECS_UPDATE_ERROR", format!("The new task set {id} was deleted by someone else")));
    };
    if set["stabilityStatus"] == "STEADY_STATE" {
        let now = cloud.clock().now();
        change(cloud, deployment, |it| {
            it.notice = None;
            it.end(Lifecycle::Install, EventStatus::Succeeded, now);
            it.end(Lifecycle::AfterInstall, EventStatus::Succeeded, now);
            it.begin(Lifecycle::AllowTestTraffic, now);
            it.phase = Phase::TestTraffic;
        });
        return Ok(());
    }
    let cause = cause::find(cloud, deployment).await.or_else(|| deployment.notice.clone());
    if cloud.clock().elapsed(since) >= STEADY_WITHIN {
        let mut message = "The new task set did not become steady within 60 minutes".to_owned();
        if let Some(cause) = cause {
            message = format!("{message}. {cause}");
        }
        return Err(invalid("HEALTH_CONSTRAINTS", message));
    }
    if cause != deployment.notice {
        change(cloud, deployment, |it| it.notice = cause);
    }
    Ok(())
}

/// The id of green, created now or by an earlier try that a kill cut off.
async fn create(cloud: &Cloud, deployment: &Deployment, sides: &Sides) -> Result<String, Failure> {
    let settings = &deployment.settings;
    let error = |error| failure("ECS_UPDATE_ERROR", "The new task set cannot be created", &error);
    let sets = restore::task_sets(cloud, deployment).await.map_err(error)?;
    let id = |set: &Value| set["id"].as_str().map(str::to_owned);
    if let Some(known) = sets.iter().find(|set| set["externalId"] == deployment.id).and_then(id) {
        return Ok(known);
    }
    let mut input = json!({
        "cluster": settings.cluster,
        "service": settings.service,
        "externalId": deployment.id,
        "clientToken": deployment.id,
        "taskDefinition": deployment.appspec.task_definition,
        "scale": {"unit": "PERCENT", "value": 100.0},
        "loadBalancers": [{
            "targetGroupArn": sides.green.group_arn,
            "containerName": deployment.appspec.container_name,
            "containerPort": deployment.appspec.container_port,
        }],
    });
    let blue = sets.iter().find(|set| set["id"].as_str() == sides.blue.task_set.as_deref());
    for member in ["networkConfiguration", "launchType", "capacityProviderStrategy", "platformVersion"] {
        let own = deployment.appspec.overrides.get(member);
        let inherited = blue.and_then(|set| set.get(member));
        if let Some(value) = own.or(inherited).filter(|value| !value.is_null()) {
            input[member] = value.clone();
        }
    }
    // ECS takes a launch type or a strategy, not both.
    if input["capacityProviderStrategy"].as_array().is_some_and(|strategy| !strategy.is_empty())
        && let Value::Object(members) = &mut input
    {
        members.remove("launchType");
    } else if let Value::Object(members) = &mut input {
        members.remove("capacityProviderStrategy");
    }
    let created = ecs(cloud, "CreateTaskSet", input).await.map_err(error)?;
    id(&created["taskSet"])
        .ok_or_else(|| invalid("ECS_UPDATE_ERROR", "ECS created a task set without an id".to_owned()))
}
