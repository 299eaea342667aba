//! Target groups and their health check settings.

use std::convert::Infallible;

use serde::Deserialize;
use serde_json::{Value, json};

use super::load_balancers::{by_target_group, check_name, get as load_balancer, groups_of};
use super::records::{HealthCheck, Listener, Pair, Rule, Target, TargetGroup};
use super::{groups_in_use, page, random_id, validation};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    name: String,
    protocol: Option<String>,
    protocol_version: Option<String>,
    port: Option<u16>,
    vpc_id: Option<String>,
    target_type: Option<String>,
    #[serde(default)]
    tags: Vec<Pair>,
    #[serde(flatten)]
    check: CheckInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CheckInput {
    health_check_protocol: Option<String>,
    health_check_port: Option<String>,
    health_check_enabled: Option<bool>,
    health_check_path: Option<String>,
    health_check_interval_seconds: Option<u64>,
    health_check_timeout_seconds: Option<u64>,
    healthy_threshold_count: Option<u32>,
    unhealthy_threshold_count: Option<u32>,
    matcher: Option<Matcher>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Matcher {
    http_code: Option<String>,
    grpc_code: Option<String>,
}

impl CheckInput {
    /// `base` with what was given, checked against AWS's bounds.
    fn over(self, base: HealthCheck) -> Result<HealthCheck, ApiError> {
        if let Some(protocol) = self.health_check_protocol.filter(|protocol| protocol != "HTTP") {
            return Err(ApiError::unsupported(format_args!("a health check over {protocol}")));
        }
        if self.health_check_enabled == Some(false) {
            return Err(validation("Health check enabled must be true for target groups with target type 'ip'"));
        }
        if self.matcher.as_ref().is_some_and(|matcher| matcher.grpc_code.is_some()) {
            return Err(ApiError::unsupported("a gRPC health check"));
        }
        let check = HealthCheck {
            port: self.health_check_port.unwrap_or(base.port),
            path: self.health_check_path.unwrap_or(base.path),
            interval_seconds: self.health_check_interval_seconds.unwrap_or(base.interval_seconds),
            timeout_seconds: self.health_check_timeout_seconds.unwrap_or(base.timeout_seconds),
            healthy_threshold: self.healthy_threshold_count.unwrap_or(base.healthy_threshold),
            unhealthy_threshold: self.unhealthy_threshold_count.unwrap_or(base.unhealthy_threshold),
            matcher: self.matcher.and_then(|matcher| matcher.http_code).unwrap_or(base.matcher),
        };
        if check.port != "traffic-port" && !check.port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(validation(format!("Health check port '{}' must be 'traffic-port' or 1 to 65535", check.port)));
        }
        if !check.path.starts_with('/') || check.path.len() > 1024 || check.path.contains(char::is_whitespace) {
            return Err(validation(format!("Health check path '{}' must begin with a '/' character", check.path)));
        }
        for (what, value, low, high) in [
            ("Health check interval", check.interval_seconds, 5, 300),
            ("Health check timeout", check.timeout_seconds, 2, 120),
            ("Healthy threshold count", u64::from(check.healthy_threshold), 2, 10),
            ("Unhealthy threshold count", u64::from(check.unhealthy_threshold), 2, 10),
        ] {
            if !(low..=high).contains(&value) {
                return Err(validation(format!("{what} '{value}' must be from {low} to {high}")));
            }
        }
        if check.timeout_seconds >= check.interval_seconds {
            return Err(validation(format!(
                "Health check interval '{}' must be greater than the timeout '{}'",
                check.interval_seconds, check.timeout_seconds
            )));
        }
        if code_ranges(&check.matcher).is_none() {
            return Err(validation(format!(
                "Health check matcher HTTP code '{}' must be within 200 to 499",
                check.matcher
            )));
        }
        Ok(check)
    }
}

/// The ranges of a matcher (`200`, `200-299`, `200,202`); `None` when malformed.
pub(crate) fn code_ranges(matcher: &str) -> Option<Vec<(u16, u16)>> {
    matcher
        .split(',')
        .map(|part| {
            let part = part.trim();
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let range: (u16, u16) = (low.parse().ok()?, high.parse().ok()?);
            (range.0 >= 200 && range.1 <= 499 && range.0 <= range.1).then_some(range)
        })
        .collect()
}

pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Create = parse(input)?;
    check_name("target group", &input.name)?;
    match input.protocol.as_deref() {
        Some("HTTP") => {}
        Some(other) => return Err(ApiError::unsupported(format_args!("a target group with protocol {other}"))),
        None => return Err(validation("A protocol must be specified")),
    }
    if let Some(version) = input.protocol_version.filter(|version| version != "HTTP1") {
        return Err(ApiError::unsupported(format_args!("a target group with protocol version {version}")));
    }
    match input.target_type.as_deref().unwrap_or("instance") {
        "ip" => {}
        other => return Err(ApiError::unsupported(format_args!("a target group with target type {other}"))),
    }
    let port = input.port.filter(|port| *port > 0).ok_or_else(|| validation("A port must be specified"))?;
    let defaults = HealthCheck {
        port: "traffic-port".to_owned(),
        path: "/".to_owned(),
        interval_seconds: 30,
        timeout_seconds: 5,
        healthy_threshold: 5,
        unhealthy_threshold: 2,
        matcher: "200".to_owned(),
    };
    let name = input.name;
    let new = TargetGroup {
        target_group_arn: cloud.arn("elasticloadbalancing", format_args!("targetgroup/{name}/{}", random_id())),
        target_group_name: name.clone(),
        port,
        vpc_id: input.vpc_id,
        health_check: input.check.over(defaults)?,
        attributes: super::attributes::target_group_defaults(),
        tags: input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
    };
    let record = cloud.store().write(|tx| {
        let existing = tx.all::<TargetGroup>().into_iter().map(|(_, group)| group);
        match existing.into_iter().find(|group| group.target_group_name == name) {
            Some(existing)
                if existing.port == new.port
                    && existing.vpc_id == new.vpc_id
                    && existing.health_check == new.health_check =>
            {
                Ok(existing)
            }
            Some(_) => Err(ApiError::new(
                "DuplicateTargetGroupName",
                format!("A target group with the same name '{name}' exists, but with different settings"),
            )),
            None => {
                tx.put(&new.target_group_arn, &new);
                Ok(new)
            }
        }
    })?;
    Ok(json!({"TargetGroups": [description(&record, &[])]}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Modify {
    target_group_arn: String,
    #[serde(flatten)]
    check: CheckInput,
}

pub(super) fn modify(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Modify = parse(input)?;
    let record = cloud.store().write(|tx| {
        let mut record: TargetGroup =
            tx.get(&input.target_group_arn).ok_or_else(|| not_found(&input.target_group_arn))?;
        record.health_check = input.check.over(record.health_check)?;
        tx.put(&record.target_group_arn, &record);
        Ok::<_, ApiError>(record)
    })?;
    let owners = by_target_group(cloud).remove(&record.target_group_arn).unwrap_or_default();
    Ok(json!({"TargetGroups": [description(&record, &owners)]}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Describe {
    load_balancer_arn: Option<String>,
    #[serde(default)]
    target_group_arns: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    marker: Option<String>,
    page_size: Option<usize>,
}

pub(super) fn describe(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Describe = parse(input)?;
    let all = match &input.load_balancer_arn {
        Some(arn) => {
            load_balancer(cloud, arn)?;
            groups_of(cloud, arn)
        }
        None => cloud.store().find::<TargetGroup>(|_| true),
    };
    if let Some(arn) =
        input.target_group_arns.iter().find(|arn| !all.iter().any(|group| group.target_group_arn == **arn))
    {
        return Err(not_found(arn));
    }
    if input.names.iter().any(|name| !all.iter().any(|group| group.target_group_name == *name)) {
        return Err(ApiError::new("TargetGroupNotFound", "One or more target groups not found"));
    }
    let everything = input.target_group_arns.is_empty() && input.names.is_empty();
    let owners = by_target_group(cloud);
    let wanted = all
        .iter()
        .filter(|group| {
            everything
                || input.target_group_arns.contains(&group.target_group_arn)
                || input.names.contains(&group.target_group_name)
        })
        .map(|group| description(group, owners.get(&group.target_group_arn).map_or(&[], Vec::as_slice)))
        .collect();
    page("TargetGroups", wanted, input.page_size, input.marker.as_deref())
}

pub(super) fn not_found(arn: &str) -> ApiError {
    ApiError::new("TargetGroupNotFound", format!("Target group '{arn}' not found"))
}

/// The target group of an ARN.
pub(super) fn get(cloud: &Cloud, arn: &str) -> Result<TargetGroup, ApiError> {
    cloud.store().get(arn).ok_or_else(|| not_found(arn))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    target_group_arn: String,
}

pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let Delete { target_group_arn: arn } = parse(input)?;
    cloud.store().write(|tx| {
        let listeners: Vec<Listener> = tx.all().into_iter().map(|(_, listener)| listener).collect();
        let rules: Vec<Rule> = tx.all().into_iter().map(|(_, rule)| rule).collect();
        if groups_in_use(&listeners, &rules).contains(&arn) {
            return Err(ApiError::new(
                "ResourceInUse",
                format!("Target group '{arn}' is currently in use by a listener or a rule"),
            ));
        }
        for (key, target) in tx.all::<Target>() {
            if target.target_group_arn == arn {
                tx.delete::<Target>(&key);
            }
        }
        tx.delete::<TargetGroup>(&arn);
        Ok(())
    })?;
    cloud.data_plane().apply(cloud);
    Ok(json!({}))
}

/// Changes a group's attributes or tags in place.
pub(super) fn update(cloud: &Cloud, arn: &str, change: impl FnOnce(&mut TargetGroup)) -> Result<TargetGroup, ApiError> {
    let updated: Result<Option<TargetGroup>, Infallible> = cloud.store().write(|tx| {
        let Some(mut group) = tx.get::<TargetGroup>(arn) else { return Ok(None) };
        change(&mut group);
        tx.put(arn, &group);
        Ok(Some(group))
    });
    updated.unwrap_or_default().ok_or_else(|| not_found(arn))
}

fn description(record: &TargetGroup, load_balancers: &[String]) -> Value {
    let check = &record.health_check;
    let mut description = json!({
        "TargetGroupArn": record.target_group_arn,
        "TargetGroupName": record.target_group_name,
        "Protocol": "HTTP",
        "ProtocolVersion": "HTTP1",
        "Port": record.port,
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": check.port,
        "HealthCheckEnabled": true,
        "HealthCheckIntervalSeconds": check.interval_seconds,
        "HealthCheckTimeoutSeconds": check.timeout_seconds,
        "HealthyThresholdCount": check.healthy_threshold,
        "UnhealthyThresholdCount": check.unhealthy_threshold,
        "HealthCheckPath": check.path,
        "Matcher": {"HttpCode": check.matcher},
        "LoadBalancerArns": load_balancers,
        "TargetType": "ip",
        "IpAddressType": "ipv4",
    });
    if let Some(vpc) = &record.vpc_id {
        description["VpcId"] = json!(vpc);
    }
    description
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_codes_ranges_and_lists() {
        assert_eq!(code_ranges("200"), Some(vec![(200, 200)]));
        assert_eq!(code_ranges("200-299,404"), Some(vec![(200, 299), (404, 404)]));
        for bad in ["", "199", "200-", "299-200", "500", "ok"] {
            assert_eq!(code_ranges(bad), None, "{bad}");
        }
    }
}
