//! Deployment configurations: how production traffic moves.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::applications::require_ecs;
use super::records::{Config, Deployment};
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::ids;
use crate::services::{paging, parse};

/// How production traffic moves; intervals in minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Routing {
    AllAtOnce,
    Canary { percentage: u32, interval: u64 },
    Linear { percentage: u32, interval: u64 },
}

/// One step of a shift: green's percentage, and how long it stays so before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) green: u32,
    pub(super) then_wait: Duration,
}

impl Routing {
    /// Step number `index`; the last one gives green everything.
    pub(super) fn step(self, index: usize) -> Step {
        let minutes = |interval| Duration::from_secs(interval * 60);
        let last = Step { green: 100, then_wait: Duration::ZERO };
        match self {
            Self::Canary { percentage, interval } if index == 0 => {
                Step { green: percentage, then_wait: minutes(interval) }
            }
            Self::AllAtOnce | Self::Canary { .. } => last,
            Self::Linear { percentage, interval } => {
                let green = u32::try_from(index + 1).unwrap_or(u32::MAX).saturating_mul(percentage);
                if green < 100 { Step { green, then_wait: minutes(interval) } } else { last }
            }
        }
    }

    fn describe(self) -> Value {
        match self {
            Self::AllAtOnce => json!({"type": "AllAtOnce"}),
            Self::Canary { percentage, interval } => json!({
                "type": "TimeBasedCanary",
                "timeBasedCanary": {"canaryPercentage": percentage, "canaryInterval": interval},
            }),
            Self::Linear { percentage, interval } => json!({
                "type": "TimeBasedLinear",
                "timeBasedLinear": {"linearPercentage": percentage, "linearInterval": interval},
            }),
        }
    }
}

/// The configuration of a group or deployment that names none.
pub(super) const DEFAULT: &str = "CodeDeployDefault.ECSAllAtOnce";

const PREDEFINED: [(&str, Routing); 5] = [
    (DEFAULT, Routing::AllAtOnce),
    ("CodeDeployDefault.ECSCanary10Percent5Minutes", Routing::Canary { percentage: 10, interval: 5 }),
    ("CodeDeployDefault.ECSCanary10Percent15Minutes", Routing::Canary { percentage: 10, interval: 15 }),
    ("CodeDeployDefault.ECSLinear10PercentEvery1Minutes", Routing::Linear { percentage: 10, interval: 1 }),
    ("CodeDeployDefault.ECSLinear10PercentEvery3Minutes", Routing::Linear { percentage: 10, interval: 3 }),
];

/// The configuration of a name, created or AWS's own.
pub(super) fn find(cloud: &Cloud, name: &str) -> Result<Config, ApiError> {
    if let Some((index, (_, routing))) = PREDEFINED.iter().enumerate().find(|(_, (known, _))| *known == name) {
        let id = format!("00000000-0000-0000-0000-{index:012}");
        return Ok(Config { id, name: name.to_owned(), created: Timestamp(1_543_276_800_000), routing: *routing });
    }
    cloud.store().get(name).ok_or_else(|| {
        ApiError::new(
            "DeploymentConfigDoesNotExistException",
            format!("No deployment configuration found for name: {name}"),
        )
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    deployment_config_name: String,
    compute_platform: Option<String>,
    traffic_routing_config: Option<RoutingInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoutingInput {
    r#type: Option<String>,
    time_based_canary: Option<Canary>,
    time_based_linear: Option<Linear>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Canary {
    canary_percentage: u32,
    canary_interval: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linear {
    linear_percentage: u32,
    linear_interval: u64,
}

impl RoutingInput {
    fn read(self) -> Result<Routing, ApiError> {
        let routing = match (self.r#type.as_deref(), self.time_based_canary, self.time_based_linear) {
            (Some("AllAtOnce"), None, None) => Routing::AllAtOnce,
            (Some("TimeBasedCanary"), Some(canary), None) => {
                Routing::Canary { percentage: canary.canary_percentage, interval: canary.canary_interval }
            }
            (Some("TimeBasedLinear"), None, Some(linear)) => {
                Routing::Linear { percentage: linear.linear_percentage, interval: linear.linear_interval }
            }
            _ => return Err(invalid("The type and the configuration given for it do not fit together")),
        };
        if let Routing::Canary { percentage, interval } | Routing::Linear { percentage, interval } = routing {
            if !(1..=99).contains(&percentage) {
                return Err(invalid("The percentage must be from 1 to 99"));
            }
            if !(1..=2880).contains(&interval) {
                return Err(invalid("The interval must be from 1 to 2880 minutes"));
            }
        }
        Ok(routing)
    }
}

fn invalid(message: &str) -> ApiError {
    ApiError::new("InvalidTrafficRoutingConfigurationException", message)
}

pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Create = parse(input)?;
    require_ecs(input.compute_platform.as_deref())?;
    let name = input.deployment_config_name;
    if name.starts_with("CodeDeployDefault.") {
        return Err(ApiError::new(
            "InvalidDeploymentConfigNameException",
            format!("The name {name} is reserved: it begins with CodeDeployDefault."),
        ));
    }
    let routing = input
        .traffic_routing_config
        .ok_or_else(|| invalid("A traffic routing configuration is required for the ECS compute platform"))?
        .read()?;
    let config = Config { id: ids::uuid(), name: name.clone(), created: cloud.clock().now(), routing };
    cloud.store().write(|tx| {
        if tx.get::<Config>(&name).is_some() {
            return Err(ApiError::new(
                "DeploymentConfigAlreadyExistsException",
                format!("A deployment configuration with the name {name} already exists"),
            ));
        }
        tx.put(&name, &config);
        Ok(())
    })?;
    Ok(json!({"deploymentConfigId": config.id}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    deployment_config_name: String,
}

pub(super) fn get(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let Named { deployment_config_name } = parse(input)?;
    let config = find(cloud, &deployment_config_name)?;
    Ok(json!({"deploymentConfigInfo": {
        "deploymentConfigId": config.id,
        "deploymentConfigName": config.name,
        "createTime": config.created,
        "computePlatform": "ECS",
        "trafficRoutingConfig": config.routing.describe(),
    }}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    next_token: Option<String>,
}

pub(super) fn list(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let List { next_token } = parse(input)?;
    let created = cloud.store().all::<Config>().into_iter().map(|(name, _)| name);
    let names = PREDEFINED.iter().map(|(name, _)| (*name).to_owned()).chain(created).collect();
    let (names, next) = paging::page(names, 100, next_token.as_deref(), "InvalidNextTokenException")?;
    let mut answer = json!({"deploymentConfigsList": names});
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    Ok(answer)
}

pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let Named { deployment_config_name: name } = parse(input)?;
    if PREDEFINED.iter().any(|(known, _)| *known == name) {
        return Err(ApiError::new("InvalidOperationException", format!("{name} is AWS's own and cannot be deleted")));
    }
    cloud.store().write(|tx| {
        let groups = tx.all::<super::records::Group>();
        let deployments = tx.all::<Deployment>();
        let used = groups.iter().any(|(_, group)| group.settings["deploymentConfigName"] == name)
            || deployments.iter().any(|(_, deployment)| deployment.config == name && !deployment.phase.ended());
        if used {
            return Err(ApiError::new(
                "DeploymentConfigInUseException",
                format!("The deployment configuration {name} is in use"),
            ));
        }
        tx.delete::<Config>(&name);
        Ok(())
    })?;
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_shift_grows_and_ends_with_everything(percentage in 1..=99u32, interval in 1..60u64, linear: bool) {
            let routing = if linear { Routing::Linear { percentage, interval } } else { Routing::Canary { percentage, interval } };
            let mut green = 0;
            let steps = (0..).map(|index| routing.step(index)).take_while(|step| {
                let more = green < 100;
                green = step.green;
                more
            });
            let steps: Vec<Step> = steps.collect();
            prop_assert!(steps.windows(2).all(|pair| pair[0].green < pair[1].green));
            prop_assert_eq!(steps.last().map(|step| (step.green, step.then_wait)), Some((100, Duration::ZERO)));
            let expected = if linear { 100_usize.div_ceil(percentage as usize) } else { 2 };
            prop_assert_eq!(steps.len(), expected);
        }
    }
}
