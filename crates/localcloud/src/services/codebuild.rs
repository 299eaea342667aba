//! CodeBuild: runs a project's buildspec with bash in a clean checkout of the commit.
//!
//! The build image is inert: commands find the tools of this machine, in an environment that holds only what CodeBuild sets, what
//! the project sets, and what the endpoint was started with (`--build-env`).

mod builds;
mod buildspec;
pub(crate) mod engine;
mod projects;
mod records;
mod script;
mod source;

use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::{Service, unsupported_operation};

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateProject" => projects::create(cloud, input),
        "UpdateProject" => projects::update(cloud, input),
        "BatchGetProjects" => projects::batch_get(cloud, input),
        "DeleteProject" => projects::delete(cloud, input),
        "ListProjects" => projects::list(cloud),
        "StartBuild" => builds::start(cloud, input),
        "BatchGetBuilds" => builds::batch_get(cloud, input),
        "StopBuild" => builds::stop(cloud, input),
        "ListBuildsForProject" => builds::list(cloud, input),
        _ => Err(unsupported_operation(Service::CodeBuild, operation)),
    }
}
