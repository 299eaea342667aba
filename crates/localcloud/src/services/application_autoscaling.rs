//! Application Auto Scaling: targets, policies and scheduled actions are recorded. Nothing scales on them here yet,
//! and DescribeScalingActivities truly has nothing to tell.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::ids;
use crate::services::{Service, unsupported_operation};
use crate::store::Record;

/// A scalable target, a policy or a scheduled action, in AWS's own shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    kind: EntryKind,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum EntryKind {
    Target,
    Policy,
    Action,
}

impl Record for Entry {
    const TABLE: &'static str = "application-autoscaling/entry";
}

impl EntryKind {
    fn name_member(self) -> Option<&'static str> {
        match self {
            Self::Target => None,
            Self::Policy => Some("PolicyName"),
            Self::Action => Some("ScheduledActionName"),
        }
    }

    fn key(self, input: &Value) -> String {
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        let name = self.name_member().map(text).unwrap_or_default();
        let target = [text("ServiceNamespace"), text("ResourceId"), text("ScalableDimension")].join("|");
        format!("{target}|{self:?}|{name}")
    }
}

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "RegisterScalableTarget" => register(cloud, input),
        "DeregisterScalableTarget" => delete(cloud, EntryKind::Target, &input),
        "DescribeScalableTargets" => {
            Ok(json!({"ScalableTargets": list(cloud, EntryKind::Target, &input, "ResourceIds", "ResourceId")}))
        }
        "PutScalingPolicy" => put_policy(cloud, input),
        "DeleteScalingPolicy" => delete(cloud, EntryKind::Policy, &input),
        "DescribeScalingPolicies" => {
            Ok(json!({"ScalingPolicies": list(cloud, EntryKind::Policy, &input, "PolicyNames", "PolicyName")}))
        }
        "PutScheduledAction" => put_action(cloud, input),
        "DeleteScheduledAction" => delete(cloud, EntryKind::Action, &input),
        "DescribeScheduledActions" => Ok(
            json!({"ScheduledActions": list(cloud, EntryKind::Action, &input, "ScheduledActionNames", "ScheduledActionName")}),
        ),
        "DescribeScalingActivities" => Ok(json!({"ScalingActivities": []})),
        _ => Err(unsupported_operation(Service::ApplicationAutoscaling, operation)),
    }
}

fn register(cloud: &Cloud, mut input: Value) -> Result<Value, ApiError> {
    let key = EntryKind::Target.key(&input);
    let before = cloud.store().get::<Entry>(&key).map(|entry| entry.value);
    let arn = cloud.arn("application-autoscaling", format_args!("scalable-target/{}", ids::alphanumeric(28)));
    let role = format!(
        "arn:aws:iam::{ACCOUNT}:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"
    );
    // What a later call leaves out stays as it was.
    let kept = |name: &str, default: Value| before.as_ref().map(|before| before[name].clone()).unwrap_or(default);
    let defaults = [
        ("MinCapacity", Value::Null),
        ("MaxCapacity", Value::Null),
        ("RoleARN", role.into()),
        ("ScalableTargetARN", arn.into()),
        ("CreationTime", json!(cloud.clock().now())),
    ];
    for (name, default) in defaults {
        if input[name].is_null() {
            input[name] = kept(name, default);
        }
    }
    if input["MinCapacity"].is_null() || input["MaxCapacity"].is_null() {
        return Err(ApiError::new(
            "ValidationException",
            "Both MinCapacity and MaxCapacity must be specified when a scalable target is registered for the first time",
        ));
    }
    if input["MinCapacity"].as_i64() > input["MaxCapacity"].as_i64() {
        return Err(ApiError::new("ValidationException", "Maximum capacity cannot be less than minimum capacity"));
    }
    let arn = input["ScalableTargetARN"].clone();
    if let Some(members) = input.as_object_mut() {
        members.shift_remove("Tags");
    }
    cloud.store().put(&key, &Entry { kind: EntryKind::Target, value: input });
    Ok(json!({"ScalableTargetARN": arn}))
}

fn require_target(cloud: &Cloud, input: &Value) -> Result<(), ApiError> {
    if cloud.store().get::<Entry>(&EntryKind::Target.key(input)).is_some() {
        return Ok(());
    }
    Err(ApiError::new(
        "ObjectNotFoundException",
        format!(
            "No scalable target found for service namespace: {}, resource ID: {}, scalable dimension: {}",
            input["ServiceNamespace"].as_str().unwrap_or_default(),
            input["ResourceId"].as_str().unwrap_or_default(),
            input["ScalableDimension"].as_str().unwrap_or_default()
        ),
    ))
}

fn put_policy(cloud: &Cloud, mut input: Value) -> Result<Value, ApiError> {
    require_target(cloud, &input)?;
    let key = EntryKind::Policy.key(&input);
    let before = cloud.store().get::<Entry>(&key).map(|entry| entry.value);
    let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
    let resource = format!(
        "scalingPolicy:{}:resource/{}/{}:policyName/{}",
        ids::uuid(),
        text("ServiceNamespace"),
        text("ResourceId"),
        text("PolicyName")
    );
    let arn = before.as_ref().map_or_else(|| cloud.arn("autoscaling", resource).into(), |b| b["PolicyARN"].clone());
    let created = before.map_or_else(|| json!(cloud.clock().now()), |before| before["CreationTime"].clone());
    input["PolicyARN"] = arn.clone();
    input["CreationTime"] = created;
    if input["PolicyType"].is_null() {
        input["PolicyType"] = "StepScaling".into();
    }
    cloud.store().put(&key, &Entry { kind: EntryKind::Policy, value: input });
    Ok(json!({"PolicyARN": arn, "Alarms": []}))
}

fn put_action(cloud: &Cloud, mut input: Value) -> Result<Value, ApiError> {
    require_target(cloud, &input)?;
    let resource = format!("scheduledAction:{}", ids::uuid());
    input["ScheduledActionARN"] = cloud.arn("autoscaling", resource).into();
    input["CreationTime"] = json!(cloud.clock().now());
    cloud.store().put(&EntryKind::Action.key(&input), &Entry { kind: EntryKind::Action, value: input });
    Ok(json!({}))
}

fn delete(cloud: &Cloud, kind: EntryKind, input: &Value) -> Result<Value, ApiError> {
    let key = kind.key(input);
    if !cloud.store().delete::<Entry>(&key) {
        return Err(ApiError::new("ObjectNotFoundException", format!("No {kind:?} found for {key}")));
    }
    if kind == EntryKind::Target {
        // A target takes its policies and actions with it.
        let prefix = key.trim_end_matches("Target|").to_owned();
        for (key, _) in cloud.store().all::<Entry>() {
            if key.starts_with(&prefix) {
                cloud.store().delete::<Entry>(&key);
            }
        }
    }
    Ok(json!({}))
}

fn list(cloud: &Cloud, kind: EntryKind, input: &Value, names: &str, member: &str) -> Vec<Value> {
    let same = |value: &Value, name: &str| input[name].is_null() || input[name] == value[name];
    let names = input[names].as_array();
    let entries = cloud.store().find(|entry: &Entry| {
        entry.kind == kind
            && ["ServiceNamespace", "ResourceId", "ScalableDimension"].iter().all(|name| same(&entry.value, name))
            && names.is_none_or(|names| names.contains(&entry.value[member]))
    });
    entries.into_iter().map(|entry| entry.value).collect()
}
