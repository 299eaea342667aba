//! Describing and stopping tasks.

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{ServiceRecord, StopCode, Task, TaskState};
use super::task_definitions::{self, Definition};
use super::{clusters, short};
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListInput {
    #[serde(default = "default_cluster")]
    cluster: String,
    service_name: Option<String>,
    family: Option<String>,
    desired_status: Option<String>,
    started_by: Option<String>,
}

fn default_cluster() -> String {
    "default".to_owned()
}

pub(super) fn list(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: ListInput = parse(input)?;
    let cluster = clusters::get(cloud, &input.cluster)?;
    let stopped = input.desired_status.as_deref() == Some("STOPPED");
    let service = input.service_name.as_deref().map(|name| format!("{}/{}", cluster.name, short(name)));
    let mut tasks = cloud.store().find::<Task>(|task| {
        task.cluster == cluster.name
            && service.as_ref().is_none_or(|service| *service == task.service)
            && input
                .family
                .as_ref()
                .is_none_or(|family| short(&task.task_definition).starts_with(&format!("{family}:")))
            && input.started_by.as_ref().is_none_or(|by| *by == task.task_set)
            && stopped == wants_stopped(task)
    });
    tasks.sort_by_key(|task| task.created);
    let arns: Vec<String> = tasks.iter().rev().take(100).map(|task| task.arn(cloud)).collect();
    Ok(json!({ "taskArns": arns }))
}

fn wants_stopped(task: &Task) -> bool {
    task.stop_requested || task.state == TaskState::Stopped
}

#[derive(Deserialize)]
struct DescribeInput {
    #[serde(default = "default_cluster")]
    cluster: String,
    tasks: Vec<String>,
}

pub(super) fn describe(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: DescribeInput = parse(input)?;
    clusters::get(cloud, &input.cluster)?;
    let (mut found, mut failures) = (vec![], vec![]);
    for name in &input.tasks {
        match cloud.store().get::<Task>(short(name)) {
            Some(task) => found.push(view(cloud, &task)),
            None => failures.push(json!({ "arn": name, "reason": "MISSING" })),
        }
    }
    Ok(json!({ "tasks": found, "failures": failures }))
}

#[derive(Deserialize)]
struct StopInput {
    #[serde(default = "default_cluster")]
    cluster: String,
    task: String,
    reason: Option<String>,
}

pub(super) fn stop(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: StopInput = parse(input)?;
    clusters::get(cloud, &input.cluster)?;
    let reason = input.reason.unwrap_or_else(|| "Task stopped by user".to_owned());
    let stopped = request_stop(cloud, short(&input.task), StopCode::UserInitiated, &reason);
    let task = stopped.ok_or_else(|| super::invalid("The referenced task was not found."))?;
    Ok(json!({ "task": view(cloud, &task) }))
}

/// Asks for a task's stop; the first reason stays.
pub(super) fn request_stop(cloud: &Cloud, id: &str, code: StopCode, reason: &str) -> Option<Task> {
    let now = cloud.clock().now();
    cloud.store().update::<Task>(id, |task| {
        if task.state != TaskState::Stopped && !task.stop_requested {
            task.stop_requested = true;
            task.stopping = Some(now);
            task.stop_code.get_or_insert(code);
            task.stopped_reason.get_or_insert_with(|| reason.to_owned());
        }
    })
}

fn view(cloud: &Cloud, task: &Task) -> Value {
    let definition =
        task_definitions::get(cloud, &task.task_definition).and_then(|record| Definition::of(&record)).ok();
    let service = cloud.store().get::<ServiceRecord>(&task.service);
    let container_name = definition.as_ref().map_or("", |definition| definition.container().name.as_str());
    let mut container = json!({
        "containerArn": cloud.arn("ecs", format_args!("container/{}/{}/{container_name}", task.cluster, task.id)),
        "taskArn": task.arn(cloud),
        "name": container_name,
        "lastStatus": task.state,
        "networkBindings": [],
        "networkInterfaces": [],
        "healthStatus": task.health,
        "runtimeId": task.id,
    });
    if let Some(definition) = &definition {
        container["image"] = json!(definition.container().image);
    }
    set(&mut container, "imageDigest", task.image_digest.as_ref());
    set(&mut container, "exitCode", task.exit_code);
    set(&mut container, "reason", task.container_reason.as_ref());
    let mut view = json!({
        "taskArn": task.arn(cloud),
        "clusterArn": clusters::arn(cloud, &task.cluster),
        "taskDefinitionArn": task.task_definition,
        "group": format!("service:{}", service.as_ref().map_or("", |service| service.name.as_str())),
        "startedBy": task.task_set,
        "launchType": "FARGATE",
        "lastStatus": task.state,
        "desiredStatus": if wants_stopped(task) { "STOPPED" } else { "RUNNING" },
        "healthStatus": task.health,
        "connectivity": "CONNECTED",
        "createdAt": task.created,
        "containers": [container],
        "tags": [],
        "version": 1,
    });
    if let Some(definition) = &definition {
        set(&mut view, "cpu", definition.cpu.as_ref());
        set(&mut view, "memory", definition.memory.as_ref());
    }
    if let Some((address, _)) = &task.address {
        container = json!({ "privateIpv4Address": address, "attachmentId": task.id });
        view["containers"][0]["networkInterfaces"] = json!([container]);
        let details = json!([{ "name": "privateIPv4Address", "value": address }]);
        view["attachments"] =
            json!([{ "id": task.id, "type": "ElasticNetworkInterface", "status": "ATTACHED", "details": details }]);
    }
    set::<Timestamp>(&mut view, "startedAt", task.started);
    set(&mut view, "stoppingAt", task.stopping);
    set(&mut view, "stoppedAt", task.stopped);
    set(&mut view, "stopCode", task.stop_code);
    set(&mut view, "stoppedReason", task.stopped_reason.as_ref());
    view
}

fn set<T: serde::Serialize>(object: &mut Value, key: &str, value: Option<T>) {
    if let Some(value) = value {
        object[key] = json!(value);
    }
}
