//! Registration, draining and health of targets.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{Health, Listener, Rule, Target, TargetGroup, target_key};
use super::{groups_in_use, target_groups};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

/// How long a draining target is kept even when idle: a request that chose it just before is counted by then.
const SETTLE: Duration = Duration::from_millis(150);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    target_group_arn: String,
    #[serde(default)]
    targets: Vec<TargetInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TargetInput {
    id: String,
    port: Option<u16>,
    availability_zone: Option<String>,
}

impl TargetInput {
    fn address(&self, group: &TargetGroup) -> Result<SocketAddr, ApiError> {
        let id = self.id.parse::<IpAddr>().map_err(|_| {
            ApiError::new("ValidationError", format!("The IP address '{}' is not a valid IPv4 address", self.id))
        })?;
        Ok(SocketAddr::new(id, self.port.unwrap_or(group.port)))
    }
}

pub(super) fn register(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Input = parse(input)?;
    let group = target_groups::get(cloud, &input.target_group_arn)?;
    let mut targets = vec![];
    for target in &input.targets {
        let address = target.address(&group)?;
        if !address.ip().is_loopback() {
            return Err(ApiError::new(
                "InvalidTarget",
                format!(
                    "The target '{}' is not a loopback address; the embedded endpoint reaches nothing else",
                    target.id
                ),
            ));
        }
        targets.push(Target {
            target_group_arn: group.target_group_arn.clone(),
            id: address.ip(),
            port: address.port(),
            availability_zone: target.availability_zone.clone(),
            health: Health::Registering,
            draining_since: None,
        });
    }
    let _: Result<(), Infallible> = cloud.store().write(|tx| {
        for target in &targets {
            // Registering a registered target again changes nothing; a draining one starts anew.
            if tx.get::<Target>(&target.key()).is_none_or(|known| known.draining_since.is_some()) {
                tx.put(&target.key(), target);
            }
        }
        Ok(())
    });
    cloud.data_plane().apply(cloud);
    Ok(json!({}))
}

pub(super) fn deregister(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Input = parse(input)?;
    let group = target_groups::get(cloud, &input.target_group_arn)?;
    let now = cloud.clock().now();
    cloud.store().write(|tx| {
        for target in &input.targets {
            let address = target.address(&group)?;
            let registered = tx
                .all::<Target>()
                .into_iter()
                .map(|(_, known)| known)
                .filter(|known| known.target_group_arn == group.target_group_arn && known.id == address.ip())
                // Without a port AWS deregisters the address on every port.
                .filter(|known| target.port.is_none_or(|port| known.port == port));
            for mut known in registered {
                known.draining_since.get_or_insert(now);
                tx.put(&known.key(), &known);
            }
        }
        Ok::<_, ApiError>(())
    })?;
    cloud.data_plane().apply(cloud);
    Ok(json!({}))
}

/// Forgets drained targets: those without a request in flight, and those whose time is over. The delay is real time, for
/// it concerns real requests. True when others still drain.
pub(super) fn finish_draining(cloud: &Cloud) -> bool {
    let (mut left, mut finished) = (false, vec![]);
    for (key, target) in cloud.store().all::<Target>() {
        let Some(since) = target.draining_since else { continue };
        let delay = cloud
            .store()
            .get::<TargetGroup>(&target.target_group_arn)
            .and_then(|group| group.attributes.get("deregistration_delay.timeout_seconds")?.parse().ok())
            .map_or(Duration::ZERO, Duration::from_secs);
        let drained_for = cloud.clock().real_elapsed(since);
        let idle = cloud.data_plane().in_flight(&target.target_group_arn, target.address()) == 0;
        if (idle && drained_for >= SETTLE) || drained_for >= delay.max(SETTLE) {
            finished.push((key, since));
        } else {
            left = true;
        }
    }
    if !finished.is_empty() {
        let _: Result<(), Infallible> = cloud.store().write(|tx| {
            for (key, since) in &finished {
                if tx.get::<Target>(key).is_some_and(|target| target.draining_since == Some(*since)) {
                    tx.delete::<Target>(key);
                }
            }
            Ok(())
        });
        cloud.data_plane().apply(cloud);
    }
    left
}

pub(super) fn describe_health(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Input = parse(input)?;
    let group = target_groups::get(cloud, &input.target_group_arn)?;
    let used = groups_in_use(&cloud.store().find::<Listener>(|_| true), &cloud.store().find::<Rule>(|_| true))
        .contains(&group.target_group_arn);
    let descriptions: Vec<Value> = if input.targets.is_empty() {
        let targets = cloud.store().find::<Target>(|target| target.target_group_arn == group.target_group_arn);
        targets.iter().map(|target| description(&group, target, used)).collect()
    } else {
        let wanted = input.targets.iter().map(|target| {
            let address = target.address(&group)?;
            Ok(match cloud.store().get::<Target>(&target_key(&group.target_group_arn, address)) {
                Some(target) => description(&group, &target, used),
                None => json!({
                    "Target": {"Id": target.id, "Port": address.port()},
                    "TargetHealth": {
                        "State": "unused",
                        "Reason": "Target.NotRegistered",
                        "Description": "Target is not registered to the target group",
                    },
                }),
            })
        });
        wanted.collect::<Result<_, ApiError>>()?
    };
    Ok(json!({"TargetHealthDescriptions": descriptions}))
}

fn description(group: &TargetGroup, target: &Target, used: bool) -> Value {
    let mut identity = json!({"Id": target.id, "Port": target.port});
    if let Some(zone) = &target.availability_zone {
        identity["AvailabilityZone"] = json!(zone);
    }
    let check = &group.health_check.port;
    let port = if check == "traffic-port" { target.port.to_string() } else { check.clone() };
    json!({"Target": identity, "HealthCheckPort": port, "TargetHealth": health(target, used)})
}

fn health(target: &Target, used: bool) -> Value {
    let state = |state: &str, reason: &str, description: &str| json!({"State": state, "Reason": reason, "Description": description});
    if target.draining_since.is_some() {
        return state("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress");
    }
    if !used {
        return state(
            "unused",
            "Target.NotInUse",
            "Target group is not configured to receive traffic from the load balancer",
        );
    }
    match &target.health {
        Health::Registering => state("initial", "Elb.RegistrationInProgress", "Target registration is in progress"),
        Health::Checking => state("initial", "Elb.InitialHealthChecking", "Initial health checks in progress"),
        Health::Healthy => json!({"State": "healthy"}),
        Health::Unhealthy(failure) => state("unhealthy", failure.reason(), &failure.description()),
    }
}
