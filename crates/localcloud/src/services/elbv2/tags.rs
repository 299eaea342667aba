//! Tags of everything that has an ARN here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{Listener, LoadBalancer, Pair, Rule, pairs};
use super::target_groups;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    resource_arns: Vec<String>,
    #[serde(default)]
    tags: Vec<Pair>,
    #[serde(default)]
    tag_keys: Vec<String>,
}

pub(super) fn add(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Input = parse(input)?;
    for arn in &input.resource_arns {
        change(cloud, arn, |tags| tags.extend(input.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone()))))?;
    }
    Ok(json!({}))
}

pub(super) fn remove(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Input = parse(input)?;
    for arn in &input.resource_arns {
        change(cloud, arn, |tags| tags.retain(|key, _| !input.tag_keys.contains(key)))?;
    }
    Ok(json!({}))
}

pub(super) fn describe(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Input = parse(input)?;
    let descriptions = input
        .resource_arns
        .iter()
        .map(|arn| Ok(json!({"ResourceArn": arn, "Tags": pairs(&change(cloud, arn, |_| ())?)})))
        .collect::<Result<Vec<_>, ApiError>>()?;
    Ok(json!({"TagDescriptions": descriptions}))
}

type Tags = BTreeMap<String, String>;

/// Changes the tags of the resource with this ARN and returns them.
fn change(cloud: &Cloud, arn: &str, change: impl FnOnce(&mut Tags)) -> Result<Tags, ApiError> {
    let store = cloud.store();
    if arn.contains(":loadbalancer/") {
        let record = store.update::<LoadBalancer>(arn, |record| change(&mut record.tags));
        return record
            .map(|record| record.tags)
            .ok_or_else(|| ApiError::new("LoadBalancerNotFound", format!("Load balancer '{arn}' not found")));
    }
    if arn.contains(":listener/") {
        let record = store.update::<Listener>(arn, |record| change(&mut record.tags));
        return record
            .map(|record| record.tags)
            .ok_or_else(|| ApiError::new("ListenerNotFound", format!("Listener '{arn}' not found")));
    }
    if arn.contains(":listener-rule/") {
        let record = store.update::<Rule>(arn, |record| change(&mut record.tags));
        return record
            .map(|record| record.tags)
            .ok_or_else(|| ApiError::new("RuleNotFound", format!("Rule '{arn}' not found")));
    }
    target_groups::update(cloud, arn, |record| change(&mut record.tags)).map(|record| record.tags)
}
