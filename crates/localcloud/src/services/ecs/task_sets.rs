//! Task sets: the two sides of a blue/green deployment.

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{LoadBalancer, ServiceRecord, ServiceStatus, TaskDefinition, TaskSet, TaskState, tasks_of};
use super::task_definitions::Definition;
use super::{clusters, invalid, service_api, short, task_definitions};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateInput {
    cluster: String,
    service: String,
    task_definition: String,
    #[serde(default)]
    load_balancers: Vec<LoadBalancer>,
    scale: Option<Scale>,
    client_token: Option<String>,
    external_id: Option<String>,
    network_configuration: Option<Value>,
}

#[derive(Deserialize)]
struct Scale {
    value: Option<f64>,
    unit: Option<String>,
}

impl Scale {
    fn percent(&self) -> Result<f64, ApiError> {
        if self.unit.as_deref().is_some_and(|unit| unit != "PERCENT") {
            return Err(ApiError::unsupported("a task set scale that is not in percent"));
        }
        match self.value.unwrap_or(0.0) {
            value if (0.0..=100.0).contains(&value) => Ok(value),
            value => Err(invalid(format!("Scale {value} is not between 0 and 100 percent."))),
        }
    }
}

/// Repeating a creation with the same client token answers with the task set that it made before.
pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: CreateInput = parse(input)?;
    let service = service_api::get(cloud, &input.cluster, &input.service)?;
    if service.status != ServiceStatus::Active {
        return Err(ApiError::new("ServiceNotActiveException", "The specified service is not active."));
    }
    let task_definition = task_definitions::get_active(cloud, &input.task_definition)?;
    check_load_balancers(&task_definition, &input.load_balancers)?;
    let scale = input.scale.as_ref().map_or(Ok(100.0), Scale::percent)?;
    let now = cloud.clock().now();
    let set = cloud.store().write(|tx| {
        let sets = tx.all::<TaskSet>().into_iter().map(|(_, set)| set).filter(|set| set.service == service.key());
        let sets: Vec<TaskSet> = sets.collect();
        if let Some(same) =
            sets.iter().find(|set| input.client_token.is_some() && set.client_token == input.client_token)
        {
            return Ok(same.clone());
        }
        if sets.iter().filter(|set| !set.draining).count() >= 2 {
            return Err(ApiError::new(
                "LimitExceededException",
                "A service may have two task sets that are not draining.",
            ));
        }
        let network = input.network_configuration.clone();
        let primary = sets.iter().find(|set| set.id == service.primary);
        let set = TaskSet {
            id: new_id(),
            service: service.key(),
            task_definition: task_definitions::arn(cloud, &task_definition),
            load_balancers: input.load_balancers.clone(),
            scale,
            draining: false,
            created: now,
            updated: now,
            steady: false,
            stability_at: now,
            client_token: input.client_token.clone(),
            external_id: input.external_id.clone(),
            network: network.or_else(|| primary.map(|set| set.network.clone())).unwrap_or(Value::Null),
            failures: 0,
            last_launch: None,
        };
        tx.put(&set.id, &set);
        Ok(set)
    })?;
    Ok(json!({ "taskSet": view(cloud, &service, &set) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeInput {
    cluster: String,
    service: String,
    task_sets: Option<Vec<String>>,
}

pub(super) fn describe(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: DescribeInput = parse(input)?;
    let service = service_api::get(cloud, &input.cluster, &input.service)?;
    let sets = cloud.store().find::<TaskSet>(|set| set.service == service.key());
    let wanted: Option<Vec<&str>> = input.task_sets.as_ref().map(|ids| ids.iter().map(|id| as_id(id)).collect());
    let found: Vec<&TaskSet> =
        sets.iter().filter(|set| wanted.as_ref().is_none_or(|wanted| wanted.contains(&set.id.as_str()))).collect();
    let missing = wanted.iter().flatten().filter(|id| !sets.iter().any(|set| set.id == **id));
    let failures: Vec<Value> = missing.map(|id| json!({ "arn": id, "reason": "MISSING" })).collect();
    let views: Vec<Value> = found.into_iter().map(|set| view(cloud, &service, set)).collect();
    Ok(json!({ "taskSets": views, "failures": failures }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateInput {
    cluster: String,
    service: String,
    task_set: String,
    scale: Scale,
}

pub(super) fn update(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: UpdateInput = parse(input)?;
    let (service, set) = get(cloud, &input.cluster, &input.service, &input.task_set)?;
    let (scale, now) = (input.scale.percent()?, cloud.clock().now());
    let updated = cloud.store().update::<TaskSet>(&set.id, |set| {
        set.scale = scale;
        set.updated = now;
    });
    Ok(json!({ "taskSet": view(cloud, &service, &updated.unwrap_or(set)) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteInput {
    cluster: String,
    service: String,
    task_set: String,
}

/// The task set drains: its tasks leave their target group, finish their requests and stop; then it is gone.
pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: DeleteInput = parse(input)?;
    let (service, set) = get(cloud, &input.cluster, &input.service, &input.task_set)?;
    if set.id == service.primary {
        return Err(invalid("The primary task set cannot be deleted."));
    }
    let now = cloud.clock().now();
    let updated = cloud.store().update::<TaskSet>(&set.id, |set| {
        set.draining = true;
        set.updated = now;
    });
    Ok(json!({ "taskSet": view(cloud, &service, &updated.unwrap_or(set)) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrimaryInput {
    cluster: String,
    service: String,
    primary_task_set: String,
}

pub(super) fn update_primary(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: PrimaryInput = parse(input)?;
    let (service, set) = get(cloud, &input.cluster, &input.service, &input.primary_task_set)?;
    if set.draining {
        return Err(invalid("A draining task set cannot become the primary one."));
    }
    let updated = cloud.store().update::<ServiceRecord>(&service.key(), |service| service.primary = set.id.clone());
    Ok(json!({ "taskSet": view(cloud, &updated.unwrap_or(service), &set) }))
}

fn get(cloud: &Cloud, cluster: &str, service: &str, id: &str) -> Result<(ServiceRecord, TaskSet), ApiError> {
    let service = service_api::get(cloud, cluster, service)?;
    let set = cloud.store().get::<TaskSet>(as_id(id)).filter(|set| set.service == service.key());
    let set = set.ok_or_else(|| ApiError::new("TaskSetNotFoundException", "The specified task set was not found."))?;
    Ok((service, set))
}

/// The id of a task set's id or ARN: `ecs-svc/123` ends both.
fn as_id(id_or_arn: &str) -> &str {
    id_or_arn.rfind("ecs-svc/").map_or(id_or_arn, |start| &id_or_arn[start..])
}

pub(super) fn new_id() -> String {
    let digits = uuid::Uuid::new_v4().as_u128() % 10_000_000_000_000_000_000;
    format!("ecs-svc/{digits:019}")
}

/// Every load balancer must name a container and a port that the task definition has.
pub(super) fn check_load_balancers(
    task_definition: &TaskDefinition,
    load_balancers: &[LoadBalancer],
) -> Result<(), ApiError> {
    let definition = Definition::of(task_definition)?;
    let container = definition.container();
    for balancer in load_balancers {
        if balancer.container_name != container.name {
            return Err(invalid(format!(
                "The container {} does not exist in the task definition.",
                balancer.container_name
            )));
        }
        if !container.port_mappings.iter().any(|mapping| mapping.container_port == balancer.container_port) {
            return Err(invalid(format!(
                "The container {} did not have a container port {} defined.",
                container.name, balancer.container_port
            )));
        }
    }
    Ok(())
}

pub(super) fn view(cloud: &Cloud, service: &ServiceRecord, set: &TaskSet) -> Value {
    let tasks = tasks_of(cloud, &set.id);
    let count = |states: &[TaskState]| tasks.iter().filter(|task| states.contains(&task.state)).count();
    let status = match (set.draining, set.id == service.primary) {
        (true, _) => "DRAINING",
        (false, true) => "PRIMARY",
        (false, false) => "ACTIVE",
    };
    let mut view = json!({
        "id": set.id,
        "taskSetArn": cloud.arn("ecs", format_args!("task-set/{}/{}/{}", service.cluster, service.name, set.id)),
        "serviceArn": service.arn(cloud),
        "clusterArn": clusters::arn(cloud, &service.cluster),
        "startedBy": "CODE_DEPLOY",
        "status": status,
        "taskDefinition": set.task_definition,
        "computedDesiredCount": set.wanted(service),
        "pendingCount": count(&[TaskState::Provisioning, TaskState::Pending]),
        "runningCount": count(&[TaskState::Running]),
        "createdAt": set.created,
        "updatedAt": set.updated,
        "launchType": "FARGATE",
        "loadBalancers": set.load_balancers,
        "serviceRegistries": [],
        "scale": { "value": set.scale, "unit": "PERCENT" },
        "stabilityStatus": if set.steady { "STEADY_STATE" } else { "STABILIZING" },
        "stabilityStatusAt": set.stability_at,
        "tags": [],
    });
    if let Some(external) = &set.external_id {
        view["externalId"] = json!(external);
    }
    if !set.network.is_null() {
        view["networkConfiguration"] = set.network.clone();
    }
    view
}

/// The last part of a task set's id, which names its things in files.
pub(super) fn number(id: &str) -> &str {
    short(id)
}
