//! `environments/<name>/environment.yaml`: one environment.

mod data;
mod defaults;
mod deployment;
mod image;
mod notification;
mod operation;
mod platform;
mod security;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::Error;
use crate::name::EnvironmentName;
use crate::project::Project;
use crate::source::{Source, read};
use crate::validate;

pub use data::{DataSettings, ManagedSecret, Rotation};
pub(crate) use defaults::LOG_RETENTIONS;
pub use deployment::{Canary, DeploymentSettings, Engine, HookSettings, Linear, Strategy, TimeTargets};
pub use image::{Day, ImageSettings, ScanException, ScanSettings, Severity, SignatureSettings, Unscanned};
pub use notification::{NotificationSettings, SlackSettings};
pub use operation::{
    AlarmSettings, AutoscalingSettings, AutoscalingTargets, ChatSettings, ConversationStore, CostSettings,
    ProtectionSettings, Schedule,
};
pub use platform::{
    Architecture, Capacity, EdgeSettings, Endpoint, HealthCheckSettings, Nat, NetworkSettings, TaskSettings,
};
pub use security::{Encryption, SecuritySettings};

/// One environment, complete and consistent.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Which one.
    pub name: EnvironmentName,
    /// Account and region.
    pub location: Location,
    /// VPC, zones and ways out.
    pub network: NetworkSettings,
    /// What the internet sees.
    pub edge: EdgeSettings,
    /// What an image must show before it runs here.
    pub image: ImageSettings,
    /// Size and kind of a task.
    pub task: TaskSettings,
    /// When a task counts as healthy and when as gone.
    pub health_check: HealthCheckSettings,
    /// How a new version takes over.
    pub deployment: DeploymentSettings,
    /// How many tasks.
    pub autoscaling: AutoscalingSettings,
    /// What answers and where conversations are kept.
    pub chat: ChatSettings,
    /// Variable of the container -> name of a secret in Secrets Manager.
    pub secrets: BTreeMap<String, String>,
    /// Variable of the container -> name of a parameter in Parameter Store.
    pub parameters: BTreeMap<String, String>,
    /// Secrets and parameters that the environment's own data stack holds.
    pub data: DataSettings,
    /// When people are told. Default: in an account with the defaults of each alarm, on the embedded endpoint never.
    pub alarms: Option<AlarmSettings>,
    /// Keys, logs and firewall.
    pub security: SecuritySettings,
    /// Assumptions behind the monthly cost.
    pub cost: CostSettings,
    /// What must not happen by mistake.
    pub protection: ProtectionSettings,
}

/// The file: [`Environment`] without what the directory's name says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "where")]
    location: Location,
    network: NetworkSettings,
    edge: EdgeSettings,
    #[serde(default)]
    image: ImageSettings,
    task: TaskSettings,
    #[serde(default)]
    health_check: HealthCheckSettings,
    deployment: DeploymentSettings,
    autoscaling: AutoscalingSettings,
    #[serde(default)]
    chat: ChatSettings,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    #[serde(default)]
    data: DataSettings,
    alarms: Option<AlarmSettings>,
    #[serde(default)]
    security: SecuritySettings,
    #[serde(default)]
    cost: CostSettings,
    #[serde(default)]
    protection: ProtectionSettings,
}

/// Where an environment is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Location {
    /// AWS account, twelve digits in quotes. Nothing = the embedded endpoint.
    pub account: Option<String>,
    /// AWS region; default: the project's.
    pub region: Option<String>,
}

impl Environment {
    /// Name of the file in the environment's directory.
    pub const FILE: &str = "environment.yaml";

    /// The account of the embedded endpoint.
    pub const EMBEDDED_ACCOUNT: &str = "000000000000";

    /// Reads `<directory>/<name>/environment.yaml`, where `directory` holds all environments (`environments/`).
    pub fn load(directory: &Path, name: EnvironmentName) -> Result<Self, Error> {
        let path = directory.join(name.as_str()).join(Self::FILE);
        let text = read(&path, "run it at the root of the checkout, or name the directory of the environments")?;
        Self::parse(&path.display().to_string(), &text, name)
    }

    /// Reads all environments; the problems of all files together.
    pub fn load_all(directory: &Path) -> Result<Vec<Self>, Error> {
        let mut environments = Vec::new();
        let mut problems = Vec::new();
        for name in EnvironmentName::ALL {
            match Self::load(directory, name) {
                Ok(environment) => environments.push(environment),
                Err(Error::Invalid(found)) => problems.extend(found),
                Err(unreadable @ Error::Unreadable { .. }) => return Err(unreadable),
            }
        }
        if problems.is_empty() { Ok(environments) } else { Err(Error::Invalid(problems)) }
    }

    /// Parses and checks the text of an `environment.yaml`; `file` is its name in messages.
    pub fn parse(file: &str, text: &str, name: EnvironmentName) -> Result<Self, Error> {
        let source = Source { file, text };
        let parsed: File = source.parse()?;
        let alarms = parsed.alarms.or_else(|| parsed.location.account.is_some().then(AlarmSettings::default));
        let environment = Environment {
            name,
            location: parsed.location,
            network: parsed.network,
            edge: parsed.edge,
            image: parsed.image,
            task: parsed.task,
            health_check: parsed.health_check,
            deployment: parsed.deployment,
            autoscaling: parsed.autoscaling,
            chat: parsed.chat,
            secrets: parsed.secrets,
            parameters: parsed.parameters,
            data: parsed.data,
            alarms,
            security: parsed.security,
            cost: parsed.cost,
            protection: parsed.protection,
        };
        validate::environment(&environment, &source)?;
        Ok(environment)
    }

    /// The account that ARNs name: the environment's own, or the embedded endpoint's.
    pub fn account(&self) -> &str {
        self.location.account.as_deref().unwrap_or(Self::EMBEDDED_ACCOUNT)
    }

    /// The region: the environment's own, or the project's.
    pub fn region<'a>(&'a self, project: &'a Project) -> &'a str {
        self.location.region.as_deref().unwrap_or(&project.region)
    }

    /// The embedded endpoint's address if this environment has no account.
    pub fn endpoint<'a>(&self, project: &'a Project) -> Option<&'a str> {
        self.location.account.is_none().then_some(project.local.endpoint.as_str())
    }
}
