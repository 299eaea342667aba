//! Clusters.

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{Cluster, ServiceRecord, ServiceStatus, Task, TaskState};
use super::short;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateInput {
    #[serde(default = "default_name")]
    cluster_name: String,
    #[serde(default)]
    settings: Value,
    #[serde(default)]
    capacity_providers: Value,
    #[serde(default)]
    tags: Value,
}

fn default_name() -> String {
    "default".to_owned()
}

/// As on AWS, creating a cluster that exists answers with it.
pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: CreateInput = parse(input)?;
    let cluster = cloud.store().get::<Cluster>(&input.cluster_name).unwrap_or(Cluster {
        name: input.cluster_name,
        settings: input.settings,
        capacity_providers: input.capacity_providers,
        tags: input.tags,
    });
    cloud.store().put(&cluster.name, &cluster);
    Ok(json!({ "cluster": view(cloud, &cluster) }))
}

#[derive(Deserialize)]
struct DescribeInput {
    #[serde(default)]
    clusters: Vec<String>,
}

pub(super) fn describe(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let DescribeInput { mut clusters } = parse(input)?;
    if clusters.is_empty() {
        clusters.push(default_name());
    }
    let (mut found, mut failures) = (vec![], vec![]);
    for name in &clusters {
        match cloud.store().get::<Cluster>(short(name)) {
            Some(cluster) => found.push(view(cloud, &cluster)),
            None => failures.push(json!({ "arn": arn(cloud, short(name)), "reason": "MISSING" })),
        }
    }
    Ok(json!({ "clusters": found, "failures": failures }))
}

pub(super) fn list(cloud: &Cloud) -> Result<Value, ApiError> {
    let arns: Vec<String> = cloud.store().all::<Cluster>().into_iter().map(|(name, _)| arn(cloud, &name)).collect();
    Ok(json!({ "clusterArns": arns }))
}

#[derive(Deserialize)]
struct DeleteInput {
    cluster: String,
}

pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let DeleteInput { cluster } = parse(input)?;
    let cluster = get(cloud, &cluster)?;
    let in_use = |service: &ServiceRecord| service.cluster == cluster.name && service.status != ServiceStatus::Inactive;
    if !cloud.store().find::<ServiceRecord>(in_use).is_empty() {
        return Err(ApiError::new(
            "ClusterContainsServicesException",
            "The Cluster cannot be deleted while Services are active.",
        ));
    }
    cloud.store().delete::<Cluster>(&cluster.name);
    let mut view = view(cloud, &cluster);
    view["status"] = json!("INACTIVE");
    Ok(json!({ "cluster": view }))
}

/// The cluster of a name or ARN.
pub(super) fn get(cloud: &Cloud, name_or_arn: &str) -> Result<Cluster, ApiError> {
    cloud
        .store()
        .get::<Cluster>(short(name_or_arn))
        .ok_or_else(|| ApiError::new("ClusterNotFoundException", format!("Cluster not found: {}", short(name_or_arn))))
}

pub(super) fn arn(cloud: &Cloud, name: &str) -> String {
    cloud.arn("ecs", format_args!("cluster/{name}"))
}

fn view(cloud: &Cloud, cluster: &Cluster) -> Value {
    let tasks = cloud.store().find::<Task>(|task| task.cluster == cluster.name);
    let count = |state: TaskState| tasks.iter().filter(|task| task.state == state).count();
    let services = cloud
        .store()
        .find::<ServiceRecord>(|service| service.cluster == cluster.name && service.status == ServiceStatus::Active);
    let mut view = json!({
        "clusterArn": arn(cloud, &cluster.name),
        "clusterName": cluster.name,
        "status": "ACTIVE",
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": count(TaskState::Running),
        "pendingTasksCount": count(TaskState::Provisioning) + count(TaskState::Pending),
        "activeServicesCount": services.len(),
    });
    for (key, value) in
        [("settings", &cluster.settings), ("capacityProviders", &cluster.capacity_providers), ("tags", &cluster.tags)]
    {
        if !value.is_null() {
            view[key] = value.clone();
        }
    }
    view
}
