//! How a new version takes over.

use serde::Deserialize;

use super::Architecture;
use crate::units::{Span, percent};

/// How a new version takes over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentSettings {
    /// Who moves the traffic.
    #[serde(default)]
    pub engine: Engine,
    /// In which steps.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub strategy: Strategy,
    /// How long the old version stays warm after the last step: the window of the instant rollback.
    #[serde(default)]
    pub bake: Span,
    /// Names of CloudWatch alarms that stop a deployment and roll it back, beside those of the environment's own
    /// `alarms` (at most 10 together).
    #[serde(default)]
    pub alarms: Vec<String>,
    /// Functions that try a new version before and while it takes traffic.
    pub hooks: Option<HookSettings>,
    /// Times that the computed budget must keep.
    #[serde(default)]
    pub targets: TimeTargets,
}

/// Who moves the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// AWS CodeDeploy, blue/green.
    #[default]
    Codedeploy,
    /// ECS itself.
    Ecs,
}

/// The functions ValidateCanary and MonitorCanary. Their code is built and uploaded apart from the stacks; the
/// service stack takes its place as parameters whose defaults stand here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSettings {
    /// Bucket of the functions' code, in the environment's region.
    pub code_bucket: String,
    /// Key of the zip file with a `bootstrap` binary for both; a new key is a new version.
    pub code_key: String,
    /// Processor architecture of that binary.
    #[serde(default)]
    pub architecture: Architecture,
    /// Conversations that ValidateCanary holds, and MonitorCanary adds to what customers say.
    #[serde(default = "twenty")]
    pub conversations: u32,
    /// The longest ValidateCanary runs, at most 15m. It counts towards the time of a deployment.
    #[serde(default = "two_minutes")]
    pub timeout: Span,
    /// The longest MonitorCanary waits for the metrics of its conversations, which CloudWatch has a few minutes later; at
    /// most 15m, and not longer than the bake.
    #[serde(default = "five_minutes")]
    pub watch: Span,
}

/// In which steps traffic moves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// At once.
    AllAtOnce,
    /// A share first, the rest after a while.
    Canary(Canary),
    /// Equal shares at equal times.
    Linear(Linear),
}

/// A share first, the rest after a while.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// The share, 1 to 99 percent.
    #[serde(deserialize_with = "percent")]
    pub percent: u8,
    /// How long it lasts, whole minutes.
    #[serde(rename = "for")]
    pub duration: Span,
}

/// Equal shares at equal times.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// The share of each step, 1 to 99 percent.
    #[serde(deserialize_with = "percent")]
    pub percent: u8,
    /// Time between steps, whole minutes.
    pub every: Span,
}

/// Times that the computed budget must keep.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeTargets {
    /// From the start of a deployment to its first production request, without the canary's own wait.
    pub deploy: Span,
    /// From the decision to roll back to the old version serving everything.
    pub rollback: Span,
}

impl Default for TimeTargets {
    fn default() -> Self {
        TimeTargets { deploy: Span::minutes(5), rollback: Span::minutes(5) }
    }
}

fn twenty() -> u32 {
    20
}

fn two_minutes() -> Span {
    Span::minutes(2)
}

fn five_minutes() -> Span {
    Span::minutes(5)
}

impl Strategy {
    /// Time from the first to the last step.
    pub fn duration(&self) -> Span {
        match self {
            Strategy::AllAtOnce => Span::seconds(0),
            Strategy::Canary(canary) => canary.duration,
            Strategy::Linear(linear) => {
                let steps = 100_u64.div_ceil(u64::from(linear.percent));
                Span::seconds(linear.every.as_seconds() * (steps - 1))
            }
        }
    }
}
