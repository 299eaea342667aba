//! The service `codebuild`.

use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::{Service, unsupported_operation};

/// Answers one operation.
pub(crate) async fn call(_cloud: &Cloud, operation: &str, _input: Value) -> Result<Value, ApiError> {
    Err(unsupported_operation(Service::CodeBuild, operation))
}
