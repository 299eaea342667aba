//! Load balancers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{Listener, LoadBalancer, Pair, Rule, TargetGroup};
use super::{page, random_id, validation};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

/// How long a new load balancer says `provisioning`, in model time.
const PROVISIONING: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    name: String,
    #[serde(default)]
    subnets: Vec<String>,
    #[serde(default)]
    subnet_mappings: Vec<SubnetMapping>,
    #[serde(default)]
    security_groups: Vec<String>,
    scheme: Option<String>,
    #[serde(default)]
    tags: Vec<Pair>,
    r#type: Option<String>,
    ip_address_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SubnetMapping {
    subnet_id: Option<String>,
}

pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Create = parse(input)?;
    check_name("load balancer", &input.name)?;
    if let Some(kind) = input.r#type.as_deref().filter(|kind| *kind != "application") {
        return Err(ApiError::unsupported(format_args!("a load balancer of type {kind}")));
    }
    let mut subnets = input.subnets;
    subnets.extend(input.subnet_mappings.into_iter().filter_map(|mapping| mapping.subnet_id));
    let name = input.name;
    let new = LoadBalancer {
        load_balancer_arn: cloud.arn("elasticloadbalancing", format_args!("loadbalancer/app/{name}/{}", random_id())),
        load_balancer_name: name.clone(),
        created_time: cloud.clock().now(),
        scheme: input.scheme.unwrap_or_else(|| "internet-facing".to_owned()),
        ip_address_type: input.ip_address_type.unwrap_or_else(|| "ipv4".to_owned()),
        subnets,
        security_groups: input.security_groups,
        attributes: super::attributes::load_balancer_defaults(),
        tags: input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
    };
    let record = cloud.store().write(|tx| {
        let existing = tx.all::<LoadBalancer>().into_iter().map(|(_, lb)| lb).find(|lb| lb.load_balancer_name == name);
        match existing {
            // Creating what exists, exactly as it exists, is not an error on AWS.
            Some(existing)
                if existing.scheme == new.scheme
                    && existing.subnets == new.subnets
                    && existing.security_groups == new.security_groups =>
            {
                Ok(existing)
            }
            Some(_) => Err(ApiError::new(
                "DuplicateLoadBalancerName",
                format!("A load balancer with the same name '{name}' exists, but with different settings"),
            )),
            None => {
                tx.put(&new.load_balancer_arn, &new);
                Ok(new)
            }
        }
    })?;
    Ok(json!({"LoadBalancers": [description(cloud, &record)]}))
}

/// The name rule that load balancers and target groups share.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), ApiError> {
    let well_formed = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if well_formed {
        return Ok(());
    }
    Err(validation(format!(
        "The {what} name '{name}' must have 1 to 32 alphanumeric characters or hyphens, and must not begin or end with a hyphen"
    )))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Describe {
    #[serde(default)]
    load_balancer_arns: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    marker: Option<String>,
    page_size: Option<usize>,
}

pub(super) fn describe(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Describe = parse(input)?;
    let all = cloud.store().find::<LoadBalancer>(|_| true);
    for arn in &input.load_balancer_arns {
        if !all.iter().any(|lb| lb.load_balancer_arn == *arn) {
            return Err(not_found(arn));
        }
    }
    for name in &input.names {
        if !all.iter().any(|lb| lb.load_balancer_name == *name) {
            return Err(ApiError::new("LoadBalancerNotFound", format!("Load balancers '[{name}]' not found")));
        }
    }
    let everything = input.load_balancer_arns.is_empty() && input.names.is_empty();
    let wanted = all
        .iter()
        .filter(|lb| {
            everything
                || input.load_balancer_arns.contains(&lb.load_balancer_arn)
                || input.names.contains(&lb.load_balancer_name)
        })
        .map(|lb| description(cloud, lb))
        .collect();
    page("LoadBalancers", wanted, input.page_size, input.marker.as_deref())
}

fn not_found(arn: &str) -> ApiError {
    ApiError::new("LoadBalancerNotFound", format!("Load balancer '{arn}' not found"))
}

/// The load balancer of an ARN.
pub(super) fn get(cloud: &Cloud, arn: &str) -> Result<LoadBalancer, ApiError> {
    cloud.store().get(arn).ok_or_else(|| not_found(arn))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    load_balancer_arn: String,
}

pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let Delete { load_balancer_arn: arn } = parse(input)?;
    // AWS answers with success when it does not exist.
    let Some(record) = cloud.store().get::<LoadBalancer>(&arn) else { return Ok(json!({})) };
    if record.attributes.get("deletion_protection.enabled").is_some_and(|value| value == "true") {
        return Err(ApiError::new(
            "OperationNotPermitted",
            format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled"),
        ));
    }
    let _: Result<(), Infallible> = cloud.store().write(|tx| {
        for (listener_arn, listener) in tx.all::<Listener>() {
            if listener.load_balancer_arn == arn {
                for (rule_arn, rule) in tx.all::<Rule>() {
                    if rule.listener_arn == listener_arn {
                        tx.delete::<Rule>(&rule_arn);
                    }
                }
                tx.delete::<Listener>(&listener_arn);
            }
        }
        tx.delete::<LoadBalancer>(&arn);
        Ok(())
    });
    cloud.data_plane().apply(cloud);
    Ok(json!({}))
}

fn description(cloud: &Cloud, record: &LoadBalancer) -> Value {
    let state = if cloud.clock().elapsed(record.created_time) < PROVISIONING { "provisioning" } else { "active" };
    let zones: Vec<Value> = record
        .subnets
        .iter()
        .zip(["a", "c", "d"].iter().cycle())
        .map(|(subnet, letter)| {
            json!({"ZoneName": format!("{}{letter}", cloud.region()), "SubnetId": subnet, "LoadBalancerAddresses": []})
        })
        .collect();
    json!({
        "LoadBalancerArn": record.load_balancer_arn,
        "DNSName": "127.0.0.1",
        "CanonicalHostedZoneId": "ZLOCALCLOUD",
        "CreatedTime": record.created_time,
        "LoadBalancerName": record.load_balancer_name,
        "Scheme": record.scheme,
        "State": {"Code": state},
        "Type": "application",
        "AvailabilityZones": zones,
        "SecurityGroups": record.security_groups,
        "IpAddressType": record.ip_address_type,
    })
}

/// The load balancers whose listeners forward to each target group.
pub(super) fn by_target_group(cloud: &Cloud) -> BTreeMap<String, Vec<String>> {
    let listeners = cloud.store().find::<Listener>(|_| true);
    let rules = cloud.store().find::<Rule>(|_| true);
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for listener in &listeners {
        let own_rules = rules.iter().filter(|rule| rule.listener_arn == listener.listener_arn);
        let actions = std::iter::once(&listener.default_action).chain(own_rules.map(|rule| &rule.action));
        for group in actions.flat_map(super::records::Action::groups) {
            let owners = found.entry(group.to_owned()).or_default();
            if !owners.contains(&listener.load_balancer_arn) {
                owners.push(listener.load_balancer_arn.clone());
            }
        }
    }
    found
}

/// The target groups of a load balancer.
pub(super) fn groups_of(cloud: &Cloud, arn: &str) -> Vec<TargetGroup> {
    let owners = by_target_group(cloud);
    cloud.store().find::<TargetGroup>(|group| {
        owners.get(&group.target_group_arn).is_some_and(|owners| owners.iter().any(|owner| owner == arn))
    })
}
