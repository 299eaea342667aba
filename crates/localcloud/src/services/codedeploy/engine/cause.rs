//! Why green does not become steady, in a sentence for people: the first task that stopped, or a target's health.

use serde_json::{Value, json};

use super::ecs;
use crate::cloud::Cloud;
use crate::services::Service;
use crate::services::codedeploy::records::{Deployment, Side};

/// The cause as far as it can be seen now.
pub(super) async fn find(cloud: &Cloud, deployment: &Deployment) -> Option<String> {
    let green = &deployment.sides.as_ref()?.green;
    match stopped_task(cloud, deployment, green).await {
        Some(cause) => Some(cause),
        None => unhealthy_target(cloud, green).await,
    }
}

async fn stopped_task(cloud: &Cloud, deployment: &Deployment, green: &Side) -> Option<String> {
    let settings = &deployment.settings;
    let set = green.task_set.as_deref()?;
    let listed = json!({"cluster": settings.cluster, "serviceName": settings.service, "desiredStatus": "STOPPED"});
    let listed = ecs(cloud, "ListTasks", listed).await.ok()?;
    let arns: Vec<&Value> = listed["taskArns"].as_array()?.iter().take(100).collect();
    if arns.is_empty() {
        return None;
    }
    let described = ecs(cloud, "DescribeTasks", json!({"cluster": settings.cluster, "tasks": arns})).await.ok()?;
    let tasks = described["tasks"].as_array()?;
    let stopped_at = |task: &&Value| task["stoppedAt"].as_f64().map_or(u64::MAX, |at| (at * 1000.0) as u64);
    let first = tasks
        .iter()
        .filter(|task| task["startedBy"].as_str().is_some_and(|by| by.contains(set)) && task["lastStatus"] == "STOPPED")
        .min_by_key(stopped_at)?;
    let arn = first["taskArn"].as_str().unwrap_or_default();
    let mut cause = format!(
        "The task {} stopped: {}",
        arn.rsplit('/').next().unwrap_or(arn),
        first["stoppedReason"].as_str().unwrap_or("no reason was recorded")
    );
    for container in first["containers"].as_array().into_iter().flatten() {
        let name = container["name"].as_str().unwrap_or_default();
        if let Some(code) = container["exitCode"].as_i64() {
            cause.push_str(&format!("; container {name} exited with code {code}"));
        }
        if let Some(reason) = container["reason"].as_str() {
            cause.push_str(&format!("; container {name}: {reason}"));
        }
    }
    Some(cause)
}

async fn unhealthy_target(cloud: &Cloud, green: &Side) -> Option<String> {
    let health =
        cloud.call(Service::Elbv2, "DescribeTargetHealth", json!({"TargetGroupArn": green.group_arn})).await.ok()?;
    let target =
        health["TargetHealthDescriptions"].as_array()?.iter().find(|it| it["TargetHealth"]["State"] == "unhealthy")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(format!(
        "The target {}:{} in {} is unhealthy: {} ({})",
        text(&target["Target"]["Id"]),
        target["Target"]["Port"],
        green.group_name,
        text(&target["TargetHealth"]["Description"]),
        text(&target["TargetHealth"]["Reason"]),
    ))
}
