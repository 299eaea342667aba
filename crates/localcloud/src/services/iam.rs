//! IAM: roles and their policies are recorded; nothing here is ever allowed or denied by them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::ids;
use crate::services::{Service, unsupported_operation};
use crate::store::Record;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Role {
    name: String,
    path: String,
    id: String,
    created: Timestamp,
    trust: String,
    description: Option<String>,
    tags: Value,
    policies: BTreeMap<String, String>,
    attached: BTreeSet<String>,
}

impl Record for Role {
    const TABLE: &'static str = "iam/role";
}

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
    match operation {
        "CreateRole" => create(cloud, &input),
        "GetRole" => Ok(json!({"Role": view(&find(cloud, &text("RoleName"))?)})),
        "DeleteRole" => {
            let role = find(cloud, &text("RoleName"))?;
            if !role.policies.is_empty() || !role.attached.is_empty() {
                return Err(ApiError::new(
                    "DeleteConflictException",
                    "Cannot delete entity, must delete policies first.",
                )
                .with_status(409));
            }
            cloud.store().delete::<Role>(&role.name);
            Ok(json!({}))
        }
        "PutRolePolicy" => change(cloud, &text("RoleName"), |role| {
            role.policies.insert(text("PolicyName"), text("PolicyDocument"));
        }),
        "DeleteRolePolicy" => {
            policy(&find(cloud, &text("RoleName"))?, &text("PolicyName"))?;
            change(cloud, &text("RoleName"), |role| {
                role.policies.remove(&text("PolicyName"));
            })
        }
        "GetRolePolicy" => {
            let role = find(cloud, &text("RoleName"))?;
            let document = percent_encoded(&policy(&role, &text("PolicyName"))?);
            Ok(json!({"RoleName": role.name, "PolicyName": input["PolicyName"], "PolicyDocument": document}))
        }
        "AttachRolePolicy" => change(cloud, &text("RoleName"), |role| {
            role.attached.insert(text("PolicyArn"));
        }),
        "DetachRolePolicy" => change(cloud, &text("RoleName"), |role| {
            role.attached.remove(&text("PolicyArn"));
        }),
        _ => Err(unsupported_operation(Service::Iam, operation)),
    }
}

fn create(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let text = |name: &str| input[name].as_str().map(str::to_owned);
    let role = Role {
        name: text("RoleName").unwrap_or_default(),
        path: text("Path").unwrap_or_else(|| "/".to_owned()),
        id: format!("AROA{}", ids::alphanumeric(17).to_uppercase()),
        created: cloud.clock().now(),
        trust: text("AssumeRolePolicyDocument").unwrap_or_default(),
        description: text("Description"),
        tags: input["Tags"].clone(),
        policies: BTreeMap::new(),
        attached: BTreeSet::new(),
    };
    cloud.store().write(|tx| {
        if tx.get::<Role>(&role.name).is_some() {
            let message = format!("Role with name {} already exists.", role.name);
            return Err(ApiError::new("EntityAlreadyExistsException", message).with_status(409));
        }
        tx.put(&role.name, &role);
        Ok(())
    })?;
    Ok(json!({"Role": view(&role)}))
}

fn find(cloud: &Cloud, name: &str) -> Result<Role, ApiError> {
    cloud.store().get(name).ok_or_else(|| not_found(format!("The role with name {name} cannot be found.")))
}

fn change(cloud: &Cloud, name: &str, change: impl FnOnce(&mut Role)) -> Result<Value, ApiError> {
    find(cloud, name)?;
    cloud.store().update(name, change);
    Ok(json!({}))
}

fn policy(role: &Role, name: &str) -> Result<String, ApiError> {
    let found = role.policies.get(name).cloned();
    found.ok_or_else(|| not_found(format!("The role policy with name {name} cannot be found.")))
}

fn not_found(message: String) -> ApiError {
    ApiError::new("NoSuchEntityException", message).with_status(404)
}

fn view(role: &Role) -> Value {
    json!({
        "Path": role.path, "RoleName": role.name, "RoleId": role.id,
        "Arn": format!("arn:aws:iam::{ACCOUNT}:role{}{}", role.path, role.name), "CreateDate": role.created,
        "AssumeRolePolicyDocument": percent_encoded(&role.trust), "Description": role.description, "Tags": role.tags,
    })
}

/// IAM gives policy documents percent-encoded (RFC 3986).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
