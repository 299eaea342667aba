//! ECS: task definitions, blue/green services with task sets, and the scheduler that runs their tasks.
//!
//! Only services with the CODE_DEPLOY deployment controller are supported: ECS's own deployments are a later step.

mod clusters;
mod launch;
mod output;
mod records;
pub(crate) mod scheduler;
mod service_api;
mod task_definitions;
mod task_sets;
mod tasks;

use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::{Service, unsupported_operation};

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateCluster" => clusters::create(cloud, input),
        "DescribeClusters" => clusters::describe(cloud, input),
        "ListClusters" => clusters::list(cloud),
        "DeleteCluster" => clusters::delete(cloud, input),
        "RegisterTaskDefinition" => task_definitions::register(cloud, input),
        "DescribeTaskDefinition" => task_definitions::describe(cloud, input),
        "ListTaskDefinitions" => task_definitions::list(cloud, input),
        "DeregisterTaskDefinition" => task_definitions::deregister(cloud, input),
        "CreateService" => service_api::create(cloud, input),
        "DescribeServices" => service_api::describe(cloud, input),
        "UpdateService" => service_api::update(cloud, input),
        "DeleteService" => service_api::delete(cloud, input),
        "ListServices" => service_api::list(cloud, input),
        "CreateTaskSet" => task_sets::create(cloud, input),
        "DescribeTaskSets" => task_sets::describe(cloud, input),
        "UpdateTaskSet" => task_sets::update(cloud, input),
        "DeleteTaskSet" => task_sets::delete(cloud, input),
        "UpdateServicePrimaryTaskSet" => task_sets::update_primary(cloud, input),
        "ListTasks" => tasks::list(cloud, input),
        "DescribeTasks" => tasks::describe(cloud, input),
        "StopTask" => tasks::stop(cloud, input),
        _ => Err(unsupported_operation(Service::Ecs, operation)),
    }
}

/// The last part of an ARN or a name.
fn short(name_or_arn: &str) -> &str {
    name_or_arn.rsplit('/').next().unwrap_or(name_or_arn)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", message)
}
