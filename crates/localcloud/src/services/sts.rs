//! STS: there is one account and everyone who reaches the endpoint is its user.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::ids;
use crate::services::{Service, parse, unsupported_operation};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AssumeRole {
    role_arn: String,
    role_session_name: String,
    duration_seconds: Option<u64>,
}

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "GetCallerIdentity" => Ok(json!({
            "UserId": "AIDALOCALCLOUD000000",
            "Account": ACCOUNT,
            "Arn": format!("arn:aws:iam::{ACCOUNT}:user/localcloud"),
        })),
        "AssumeRole" => assume_role(cloud, parse(input)?),
        _ => Err(unsupported_operation(Service::Sts, operation)),
    }
}

fn assume_role(cloud: &Cloud, input: AssumeRole) -> Result<Value, ApiError> {
    let role = input.role_arn.split_once(":role/").map(|(_, role)| role.rsplit('/').next().unwrap_or(role));
    let Some(role) = role.filter(|role| !role.is_empty()) else {
        return Err(ApiError::new("ValidationError", format!("{} is invalid", input.role_arn)));
    };
    let session = &input.role_session_name;
    let lifetime = input.duration_seconds.unwrap_or(3600);
    Ok(json!({
        "Credentials": {
            "AccessKeyId": format!("ASIA{}", ids::alphanumeric(16).to_uppercase()),
            "SecretAccessKey": ids::alphanumeric(40),
            "SessionToken": ids::alphanumeric(64),
            "Expiration": cloud.clock().now().seconds() + lifetime as f64,
        },
        "AssumedRoleUser": {
            "AssumedRoleId": format!("AROALOCALCLOUD000000:{session}"),
            "Arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}"),
        },
    }))
}
