//! CodeDeploy for ECS: blue/green deployments whose every step is recorded, so that a killed endpoint goes on with them.
//!
//! The operations write what is asked; [`engine`] does it, through ECS and the load balancer's own operations.

mod applications;
mod appspec;
mod configs;
mod deployments;
pub(crate) mod engine;
mod groups;
mod records;
mod views;

use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::{Service, unsupported_operation};

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateApplication" => applications::create(cloud, input),
        "GetApplication" => applications::get(cloud, input),
        "ListApplications" => applications::list(cloud, input),
        "DeleteApplication" => applications::delete(cloud, input),
        "CreateDeploymentGroup" => groups::create(cloud, input),
        "GetDeploymentGroup" => groups::get(cloud, input),
        "UpdateDeploymentGroup" => groups::update(cloud, input),
        "ListDeploymentGroups" => groups::list(cloud, input),
        "DeleteDeploymentGroup" => groups::delete(cloud, input),
        "CreateDeploymentConfig" => configs::create(cloud, input),
        "GetDeploymentConfig" => configs::get(cloud, input),
        "ListDeploymentConfigs" => configs::list(cloud, input),
        "DeleteDeploymentConfig" => configs::delete(cloud, input),
        "CreateDeployment" => deployments::create(cloud, input),
        "StopDeployment" => deployments::stop(cloud, input),
        "ContinueDeployment" => deployments::proceed(cloud, input),
        "ListDeployments" => deployments::list(cloud, input),
        "GetDeployment" => views::get(cloud, input),
        "BatchGetDeployments" => views::batch_get(cloud, input),
        "ListDeploymentTargets" => views::list_targets(cloud, input),
        "GetDeploymentTarget" => views::get_target(cloud, input).await,
        "BatchGetDeploymentTargets" => views::batch_get_targets(cloud, input).await,
        "PutLifecycleEventHookExecutionStatus" => {
            Err(ApiError::unsupported("a lifecycle hook (no deployment here waits for one)"))
        }
        _ => Err(unsupported_operation(Service::CodeDeploy, operation)),
    }
}
