//! Attributes of load balancers and target groups: every key has a default and a check.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{LoadBalancer, Pair, pairs};
use super::{load_balancers, target_groups, validation};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

/// What a value may be.
enum Allowed {
    Seconds(u64, u64),
    /// `true` or `false`, both without an effect on this machine or with a real one.
    Switch,
    /// Only this value; anything else exists on AWS alone.
    Only(&'static str),
    OneOf(&'static [&'static str]),
    Text,
}

type Known = (&'static str, &'static str, Allowed);

const LOAD_BALANCER: &[Known] = &[
    ("access_logs.s3.enabled", "false", Allowed::Only("false")),
    ("access_logs.s3.bucket", "", Allowed::Text),
    ("access_logs.s3.prefix", "", Allowed::Text),
    ("client_keep_alive.seconds", "3600", Allowed::Seconds(60, 604_800)),
    ("connection_logs.s3.enabled", "false", Allowed::Only("false")),
    ("deletion_protection.enabled", "false", Allowed::Switch),
    ("idle_timeout.timeout_seconds", "60", Allowed::Seconds(1, 4000)),
    ("ipv6.deny_all_igw_traffic", "false", Allowed::Switch),
    ("load_balancing.cross_zone.enabled", "true", Allowed::Only("true")),
    ("routing.http.desync_mitigation_mode", "defensive", Allowed::OneOf(&["monitor", "defensive", "strictest"])),
    ("routing.http.drop_invalid_header_fields.enabled", "false", Allowed::Switch),
    ("routing.http.preserve_host_header.enabled", "false", Allowed::Switch),
    ("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", Allowed::Switch),
    ("routing.http.xff_client_port.enabled", "false", Allowed::Only("false")),
    ("routing.http.xff_header_processing.mode", "append", Allowed::OneOf(&["append"])),
    ("routing.http2.enabled", "true", Allowed::Switch),
    ("waf.fail_open.enabled", "false", Allowed::Switch),
    ("zonal_shift.config.enabled", "false", Allowed::Switch),
];

const TARGET_GROUP: &[Known] = &[
    ("deregistration_delay.timeout_seconds", "300", Allowed::Seconds(0, 3600)),
    ("load_balancing.algorithm.type", "round_robin", Allowed::OneOf(&["round_robin", "least_outstanding_requests"])),
    ("load_balancing.algorithm.anomaly_mitigation", "off", Allowed::Only("off")),
    (
        "load_balancing.cross_zone.enabled",
        "use_load_balancer_configuration",
        Allowed::OneOf(&["use_load_balancer_configuration", "true", "false"]),
    ),
    ("slow_start.duration_seconds", "0", Allowed::Only("0")),
    ("stickiness.enabled", "false", Allowed::Only("false")),
    ("stickiness.type", "lb_cookie", Allowed::OneOf(&["lb_cookie", "app_cookie"])),
    ("stickiness.lb_cookie.duration_seconds", "86400", Allowed::Seconds(1, 604_800)),
    ("stickiness.app_cookie.cookie_name", "", Allowed::Text),
    ("stickiness.app_cookie.duration_seconds", "86400", Allowed::Seconds(1, 604_800)),
    ("target_group_health.dns_failover.minimum_healthy_targets.count", "1", Allowed::Only("1")),
    ("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", Allowed::Only("off")),
    ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", Allowed::Only("1")),
    ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off", Allowed::Only("off")),
];

fn defaults(known: &[Known]) -> BTreeMap<String, String> {
    known.iter().map(|(key, value, _)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn load_balancer_defaults() -> BTreeMap<String, String> {
    defaults(LOAD_BALANCER)
}

pub(super) fn target_group_defaults() -> BTreeMap<String, String> {
    defaults(TARGET_GROUP)
}

fn check(what: &str, known: &[Known], attributes: &[Pair]) -> Result<(), ApiError> {
    for Pair { key, value } in attributes {
        let Some((_, _, allowed)) = known.iter().find(|(name, _, _)| name == key) else {
            return Err(ApiError::new(
                "InvalidConfigurationRequest",
                format!("{what} attribute key '{key}' is not recognized"),
            ));
        };
        let fits = match allowed {
            Allowed::Seconds(low, high) => value.parse::<u64>().is_ok_and(|seconds| (*low..=*high).contains(&seconds)),
            Allowed::Switch => value == "true" || value == "false",
            Allowed::OneOf(values) => values.contains(&value.as_str()),
            Allowed::Text => true,
            Allowed::Only(only) if value == only => true,
            Allowed::Only(_) => {
                return Err(ApiError::unsupported(format_args!("the {what} attribute {key} with value '{value}'")));
            }
        };
        if !fits {
            return Err(validation(format!("{what} attribute '{key}' has the invalid value '{value}'")));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LoadBalancerInput {
    load_balancer_arn: String,
    #[serde(default)]
    attributes: Vec<Pair>,
}

pub(super) fn describe_load_balancer(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: LoadBalancerInput = parse(input)?;
    let record = load_balancers::get(cloud, &input.load_balancer_arn)?;
    Ok(json!({"Attributes": pairs(&record.attributes)}))
}

pub(super) fn modify_load_balancer(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: LoadBalancerInput = parse(input)?;
    load_balancers::get(cloud, &input.load_balancer_arn)?;
    check("Load balancer", LOAD_BALANCER, &input.attributes)?;
    let record = cloud.store().update::<LoadBalancer>(&input.load_balancer_arn, |record| {
        record.attributes.extend(input.attributes.into_iter().map(|pair| (pair.key, pair.value)));
    });
    cloud.data_plane().apply(cloud);
    Ok(json!({"Attributes": record.map(|record| pairs(&record.attributes)).unwrap_or_default()}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TargetGroupInput {
    target_group_arn: String,
    #[serde(default)]
    attributes: Vec<Pair>,
}

pub(super) fn describe_target_group(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: TargetGroupInput = parse(input)?;
    let record = target_groups::get(cloud, &input.target_group_arn)?;
    Ok(json!({"Attributes": pairs(&record.attributes)}))
}

pub(super) fn modify_target_group(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: TargetGroupInput = parse(input)?;
    target_groups::get(cloud, &input.target_group_arn)?;
    check("Target group", TARGET_GROUP, &input.attributes)?;
    let record = target_groups::update(cloud, &input.target_group_arn, |record| {
        record.attributes.extend(input.attributes.into_iter().map(|pair| (pair.key, pair.value)));
    })?;
    cloud.data_plane().apply(cloud);
    Ok(json!({"Attributes": pairs(&record.attributes)}))
}
