//! CodeConnections: a connection is available at once, since the repositories behind it are local checkouts.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::ids;
use crate::services::{Service, parse, unsupported_operation};
use crate::store::Record;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Connection {
    arn: String,
    name: String,
    provider_type: Option<String>,
    host_arn: Option<String>,
}

impl Record for Connection {
    const TABLE: &'static str = "codeconnections/connection";
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    connection_name: String,
    provider_type: Option<String>,
    host_arn: Option<String>,
    #[serde(default)]
    tags: Vec<Value>,
}

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateConnection" => create(cloud, parse(input)?),
        "GetConnection" => Ok(json!({"Connection": view(&find(cloud, &input)?)})),
        "ListConnections" => list(cloud, &input),
        "DeleteConnection" => {
            let connection = find(cloud, &input)?;
            cloud.store().delete::<Connection>(&connection.arn);
            Ok(json!({}))
        }
        _ => Err(unsupported_operation(Service::CodeConnections, operation)),
    }
}

fn create(cloud: &Cloud, input: Create) -> Result<Value, ApiError> {
    let arn = cloud.arn("codeconnections", format_args!("connection/{}", ids::uuid()));
    let connection = Connection {
        arn: arn.clone(),
        name: input.connection_name,
        provider_type: input.provider_type,
        host_arn: input.host_arn,
    };
    cloud.store().put(&arn, &connection);
    Ok(json!({"ConnectionArn": arn, "Tags": input.tags}))
}

fn list(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let wanted = input["ProviderTypeFilter"].as_str();
    let kept = |connection: &Connection| wanted.is_none() || connection.provider_type.as_deref() == wanted;
    Ok(json!({"Connections": cloud.store().find(kept).iter().map(view).collect::<Vec<_>>()}))
}

fn find(cloud: &Cloud, input: &Value) -> Result<Connection, ApiError> {
    let arn = input["ConnectionArn"].as_str().unwrap_or_default();
    cloud
        .store()
        .get(arn)
        .ok_or_else(|| ApiError::new("ResourceNotFoundException", format!("Could not find connection with ARN: {arn}")))
}

fn view(connection: &Connection) -> Value {
    json!({
        "ConnectionName": connection.name, "ConnectionArn": connection.arn,
        "ProviderType": connection.provider_type, "OwnerAccountId": ACCOUNT,
        "ConnectionStatus": "AVAILABLE", "HostArn": connection.host_arn,
    })
}
