//! Tasks as targets: in service, healthy, out of service.

use std::time::Duration;

use serde_json::{Value, json};

use super::note_failure;
use crate::cloud::Cloud;
use crate::runtime::health::Verdict;
use crate::services::Service;
use crate::services::ecs::launch;
use crate::services::ecs::records::{
    Health, LoadBalancer, ServiceRecord, StopCode, Task, TaskSet, TaskState, add_event,
};
use crate::services::ecs::task_definitions::{self, Definition};
use crate::services::ecs::tasks::request_stop;

fn balancers(cloud: &Cloud, task: &Task) -> Vec<LoadBalancer> {
    cloud.store().get::<TaskSet>(&task.task_set).map(|set| set.load_balancers).unwrap_or_default()
}

fn target(task: &Task) -> Option<Value> {
    let (address, port) = task.address.as_ref()?;
    Some(json!({ "Id": address, "Port": port }))
}

/// Registers a task as a target of its load balancers: only then it counts as running.
pub(super) async fn register(cloud: &Cloud, task: &Task) {
    let Some(target) = target(task) else { return };
    for balancer in balancers(cloud, task) {
        let input = json!({ "TargetGroupArn": balancer.target_group_arn, "Targets": [target] });
        if let Err(error) = cloud.call(Service::Elbv2, "RegisterTargets", input).await {
            add_event(cloud, &task.service, format!("was unable to register a target: {error}"));
            return;
        }
    }
    let now = cloud.clock().now();
    cloud.store().update::<Task>(&task.id, |task| {
        task.state = TaskState::Running;
        task.started = Some(now);
    });
}

/// Takes a task out of its load balancers: they send it nothing new.
pub(super) async fn deregister(cloud: &Cloud, task: &Task) {
    let Some(target) = target(task) else { return };
    for balancer in balancers(cloud, task) {
        let input = json!({ "TargetGroupArn": balancer.target_group_arn, "Targets": [target] });
        if let Err(error) = cloud.call(Service::Elbv2, "DeregisterTargets", input).await {
            tracing::warn!(%error, task = task.id, "a target could not be deregistered");
        }
    }
}

/// The health of a task's target in a group.
struct TargetHealth {
    state: String,
    reason: String,
    description: String,
}

async fn target_health(cloud: &Cloud, task: &Task, balancer: &LoadBalancer) -> Option<TargetHealth> {
    let target = target(task)?;
    let input = json!({ "TargetGroupArn": balancer.target_group_arn, "Targets": [target] });
    let health = cloud.call(Service::Elbv2, "DescribeTargetHealth", input).await.ok()?;
    let health = &health["TargetHealthDescriptions"][0]["TargetHealth"];
    let text = |key: &str| health[key].as_str().unwrap_or_default().to_owned();
    Some(TargetHealth { state: text("State"), reason: text("Reason"), description: text("Description") })
}

/// True when the load balancer sends a task nothing any more and nothing is in flight.
pub(super) async fn out_of_service(cloud: &Cloud, task: &Task) -> bool {
    for balancer in balancers(cloud, task) {
        let health = target_health(cloud, task, &balancer).await;
        if health.is_some_and(|health| !matches!(health.state.as_str(), "unused" | "")) {
            return false;
        }
    }
    true
}

/// True when every task is healthy for its own check and for its load balancers.
pub(super) async fn all_healthy(cloud: &Cloud, set: &TaskSet, tasks: &[&Task]) -> bool {
    let definition = task_definitions::get(cloud, &set.task_definition).and_then(|record| Definition::of(&record));
    let checked = definition.is_ok_and(|definition| definition.container().health_check.is_some());
    for task in tasks {
        if checked && task.health != Health::Healthy {
            return false;
        }
        for balancer in &set.load_balancers {
            // A target group that no listener uses is not health-checked; there, running is all that can be asked.
            let health = target_health(cloud, task, balancer).await;
            let good = health.is_some_and(|health| match health.state.as_str() {
                "healthy" => true,
                "unused" => health.reason == "Target.NotInUse",
                _ => false,
            });
            if !good {
                return false;
            }
        }
    }
    true
}

/// Stops a task that its load balancer or its own health check finds unhealthy, once its grace period is over.
pub(super) async fn replace_unhealthy(cloud: &Cloud, task: &Task) {
    let Some(service) = cloud.store().get::<ServiceRecord>(&task.service) else { return };
    let health = match launch::folder(cloud, &task.id).health() {
        None => Health::Unknown,
        Some(Verdict::Healthy) => Health::Healthy,
        Some(Verdict::Unhealthy) => Health::Unhealthy,
    };
    if health != task.health {
        cloud.store().update::<Task>(&task.id, |task| task.health = health);
    }
    let started = task.started.unwrap_or(task.created);
    if cloud.clock().elapsed(started) < Duration::from_secs(u64::from(service.grace_period_seconds)) {
        return;
    }
    if health == Health::Unhealthy {
        note_failure(cloud, task);
        request_stop(cloud, &task.id, StopCode::ServiceSchedulerInitiated, "Task failed container health checks");
        return;
    }
    for balancer in balancers(cloud, task) {
        if let Some(TargetHealth { state, description, .. }) = target_health(cloud, task, &balancer).await
            && state == "unhealthy"
        {
            note_failure(cloud, task);
            let reason =
                format!("Task failed ELB health checks in (target-group {}) {description}", balancer.target_group_arn);
            request_stop(cloud, &task.id, StopCode::ServiceSchedulerInitiated, reason.trim());
            add_event(cloud, &task.service, format!("(task {}) is unhealthy: {description}", task.id));
            return;
        }
    }
}
