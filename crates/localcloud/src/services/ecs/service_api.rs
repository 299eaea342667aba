//! Services with the CODE_DEPLOY controller.

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{LoadBalancer, ServiceRecord, ServiceStatus, Task, TaskSet, TaskState, tasks_of};
use super::{clusters, invalid, short, task_definitions, task_sets};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateInput {
    #[serde(default = "default_cluster")]
    cluster: String,
    service_name: String,
    task_definition: Option<String>,
    #[serde(default)]
    desired_count: u32,
    #[serde(default)]
    load_balancers: Vec<LoadBalancer>,
    deployment_controller: Option<Controller>,
    #[serde(default)]
    health_check_grace_period_seconds: u32,
    #[serde(default)]
    network_configuration: Value,
}

fn default_cluster() -> String {
    "default".to_owned()
}

#[derive(Deserialize)]
struct Controller {
    #[serde(rename = "type")]
    kind: String,
}

pub(super) fn create(cloud: &Cloud, request: Value) -> Result<Value, ApiError> {
    let input: CreateInput = parse(request.clone())?;
    let controller = input.deployment_controller.as_ref().map_or("ECS", |controller| controller.kind.as_str());
    if controller != "CODE_DEPLOY" {
        return Err(ApiError::unsupported(format_args!("an ECS service with the deployment controller {controller}")));
    }
    let cluster = clusters::get(cloud, &input.cluster)?;
    let task_definition =
        input.task_definition.as_deref().ok_or_else(|| invalid("TaskDefinition can not be blank."))?;
    let task_definition = task_definitions::get_active(cloud, task_definition)?;
    task_sets::check_load_balancers(&task_definition, &input.load_balancers)?;
    if input.load_balancers.is_empty() {
        return Err(invalid("A load balancer is required for a service with the CODE_DEPLOY deployment controller."));
    }
    let now = cloud.clock().now();
    let service = ServiceRecord {
        name: input.service_name,
        cluster: cluster.name,
        desired_count: input.desired_count,
        grace_period_seconds: input.health_check_grace_period_seconds,
        status: ServiceStatus::Active,
        created: now,
        primary: task_sets::new_id(),
        events: vec![],
        request,
    };
    let primary = TaskSet {
        id: service.primary.clone(),
        service: service.key(),
        task_definition: task_definitions::arn(cloud, &task_definition),
        load_balancers: input.load_balancers,
        scale: 100.0,
        draining: false,
        created: now,
        updated: now,
        steady: false,
        stability_at: now,
        client_token: None,
        external_id: None,
        network: input.network_configuration,
        failures: 0,
        last_launch: None,
    };
    cloud.store().write(|tx| {
        if tx.get::<ServiceRecord>(&service.key()).is_some_and(|existing| existing.status != ServiceStatus::Inactive) {
            return Err(invalid("Creation of service was not idempotent."));
        }
        tx.put(&service.key(), &service);
        tx.put(&primary.id, &primary);
        Ok(())
    })?;
    Ok(json!({ "service": view(cloud, &service) }))
}

#[derive(Deserialize)]
struct DescribeInput {
    #[serde(default = "default_cluster")]
    cluster: String,
    services: Vec<String>,
}

pub(super) fn describe(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: DescribeInput = parse(input)?;
    let cluster = clusters::get(cloud, &input.cluster)?;
    let (mut found, mut failures) = (vec![], vec![]);
    for name in &input.services {
        match cloud.store().get::<ServiceRecord>(&format!("{}/{}", cluster.name, short(name))) {
            Some(service) => found.push(view(cloud, &service)),
            None => {
                let arn = cloud.arn("ecs", format_args!("service/{}/{}", cluster.name, short(name)));
                failures.push(json!({ "arn": arn, "reason": "MISSING" }));
            }
        }
    }
    Ok(json!({ "services": found, "failures": failures }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateInput {
    #[serde(default = "default_cluster")]
    cluster: String,
    service: String,
    desired_count: Option<u32>,
    health_check_grace_period_seconds: Option<u32>,
    task_definition: Option<String>,
    load_balancers: Option<Value>,
    network_configuration: Option<Value>,
    platform_version: Option<String>,
    #[serde(default)]
    force_new_deployment: bool,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html>
pub(super) fn update(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: UpdateInput = parse(input)?;
    let service = get(cloud, &input.cluster, &input.service)?;
    let by_deployment_only = input.task_definition.is_some()
        || input.load_balancers.is_some()
        || input.network_configuration.is_some()
        || input.platform_version.is_some()
        || input.force_new_deployment;
    if by_deployment_only {
        return Err(invalid(
            "Unable to update task definition on services with a CODE_DEPLOY deployment controller. Use AWS CodeDeploy to trigger a new deployment.",
        ));
    }
    let updated = cloud.store().update::<ServiceRecord>(&service.key(), |service| {
        service.desired_count = input.desired_count.unwrap_or(service.desired_count);
        service.grace_period_seconds = input.health_check_grace_period_seconds.unwrap_or(service.grace_period_seconds);
    });
    Ok(json!({ "service": view(cloud, &updated.unwrap_or(service)) }))
}

#[derive(Deserialize)]
struct DeleteInput {
    #[serde(default = "default_cluster")]
    cluster: String,
    service: String,
    #[serde(default)]
    force: bool,
}

pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: DeleteInput = parse(input)?;
    let service = get(cloud, &input.cluster, &input.service)?;
    if service.desired_count > 0 && !input.force {
        return Err(invalid("The service cannot be stopped while it is scaled above 0."));
    }
    let deleted =
        cloud.store().update::<ServiceRecord>(&service.key(), |service| service.status = ServiceStatus::Draining);
    Ok(json!({ "service": view(cloud, &deleted.unwrap_or(service)) }))
}

#[derive(Deserialize)]
struct ListInput {
    #[serde(default = "default_cluster")]
    cluster: String,
}

pub(super) fn list(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: ListInput = parse(input)?;
    let cluster = clusters::get(cloud, &input.cluster)?;
    let services = cloud
        .store()
        .find::<ServiceRecord>(|service| service.cluster == cluster.name && service.status != ServiceStatus::Inactive);
    Ok(json!({ "serviceArns": services.iter().map(|service| service.arn(cloud)).collect::<Vec<_>>() }))
}

/// The service of names or ARNs, unless it has been deleted.
pub(super) fn get(cloud: &Cloud, cluster: &str, service: &str) -> Result<ServiceRecord, ApiError> {
    let cluster = clusters::get(cloud, cluster)?;
    cloud
        .store()
        .get::<ServiceRecord>(&format!("{}/{}", cluster.name, short(service)))
        .filter(|service| service.status != ServiceStatus::Inactive)
        .ok_or_else(|| ApiError::new("ServiceNotFoundException", "Service not found."))
}

/// A CODE_DEPLOY service shows no deployments, only task sets.
fn view(cloud: &Cloud, service: &ServiceRecord) -> Value {
    let mut sets = cloud.store().find::<TaskSet>(|set| set.service == service.key());
    sets.sort_by_key(|set| set.created);
    let tasks: Vec<Task> = sets.iter().flat_map(|set| tasks_of(cloud, &set.id)).collect();
    let count = |states: &[TaskState]| tasks.iter().filter(|task| states.contains(&task.state)).count();
    let primary = sets.iter().find(|set| set.id == service.primary);
    let request = &service.request;
    let mut view = json!({
        "serviceArn": service.arn(cloud),
        "serviceName": service.name,
        "clusterArn": clusters::arn(cloud, &service.cluster),
        "status": service.status,
        "desiredCount": service.desired_count,
        "runningCount": count(&[TaskState::Running]),
        "pendingCount": count(&[TaskState::Provisioning, TaskState::Pending]),
        "deploymentController": { "type": "CODE_DEPLOY" },
        "deployments": [],
        "serviceRegistries": [],
        "placementConstraints": [],
        "placementStrategy": [],
        "schedulingStrategy": "REPLICA",
        "healthCheckGracePeriodSeconds": service.grace_period_seconds,
        "createdAt": service.created,
        "loadBalancers": primary.map(|set| json!(set.load_balancers)).unwrap_or(json!([])),
        "taskDefinition": primary.map(|set| json!(set.task_definition)).unwrap_or(request["taskDefinition"].clone()),
        "taskSets": sets.iter().map(|set| task_sets::view(cloud, service, set)).collect::<Vec<_>>(),
        "events": service
            .events
            .iter()
            .map(|event| json!({ "id": event.id, "createdAt": event.at, "message": event.message }))
            .collect::<Vec<_>>(),
    });
    for key in [
        "launchType",
        "capacityProviderStrategy",
        "platformVersion",
        "networkConfiguration",
        "enableECSManagedTags",
        "propagateTags",
        "tags",
    ] {
        if !request[key].is_null() {
            view[key] = request[key].clone();
        }
    }
    view
}
