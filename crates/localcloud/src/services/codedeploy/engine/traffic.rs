//! Weights on listeners: the only place where a deployment moves traffic.

use serde_json::{Value, json};

use super::{Color, failure};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::Service;
use crate::services::codedeploy::records::{Deployment, Failure, Sides};

/// The target groups that a listener forwards to, with their weights.
pub(super) async fn weights(cloud: &Cloud, listener: &str) -> Result<Vec<(String, u64)>, ApiError> {
    let answer = cloud.call(Service::Elbv2, "DescribeListeners", json!({"ListenerArns": [listener]})).await?;
    let action = &answer["Listeners"][0]["DefaultActions"][0];
    let shares = action["ForwardConfig"]["TargetGroups"].as_array().cloned().unwrap_or_default();
    let weight =
        |share: &Value| Some((share["TargetGroupArn"].as_str()?.to_owned(), share["Weight"].as_u64().unwrap_or(1)));
    let shares: Vec<_> = shares.iter().filter_map(weight).collect();
    Ok(match (shares.is_empty(), action["TargetGroupArn"].as_str()) {
        (true, Some(only)) => vec![(only.to_owned(), 1)],
        _ => shares,
    })
}

/// Gives green this many percent of a listener.
async fn set(cloud: &Cloud, listener: &str, sides: &Sides, green: u32) -> Result<(), ApiError> {
    let green = u64::from(green.min(100));
    let wanted = [(sides.blue.group_arn.clone(), 100 - green), (sides.green.group_arn.clone(), green)];
    if weights(cloud, listener).await? == wanted {
        return Ok(());
    }
    let groups: Vec<Value> =
        wanted.iter().map(|(arn, weight)| json!({"TargetGroupArn": arn, "Weight": weight})).collect();
    let action = json!([{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]);
    cloud.call(Service::Elbv2, "ModifyListener", json!({"ListenerArn": listener, "DefaultActions": action})).await?;
    Ok(())
}

/// Gives green this many percent of production traffic.
pub(super) async fn production(cloud: &Cloud, deployment: &Deployment, green: u32) -> Result<(), Failure> {
    let Some(sides) = &deployment.sides else { return Ok(()) };
    set(cloud, &deployment.settings.production, sides, green)
        .await
        .map_err(|error| failure("ELASTIC_LOAD_BALANCING_INVALID", "Production traffic cannot be moved", &error))
}

/// Sends all test traffic to one side; false when the group has no test listener.
pub(super) async fn test(cloud: &Cloud, deployment: &Deployment, to: Color) -> Result<bool, Failure> {
    let (Some(sides), Some(listener)) = (&deployment.sides, &deployment.settings.test) else { return Ok(false) };
    let green = if to == Color::Green { 100 } else { 0 };
    set(cloud, listener, sides, green)
        .await
        .map_err(|error| failure("ELASTIC_LOAD_BALANCING_INVALID", "Test traffic cannot be moved", &error))?;
    Ok(true)
}
