//! `environments/project.yaml`: what the environments share.

use std::path::Path;

use serde::Deserialize;

use crate::error::Error;
use crate::settings::{Encryption, NotificationSettings};
use crate::source::{Source, read};
use crate::units::Span;
use crate::validate;

/// What the environments share.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Prefix of every resource name: `smartassist`.
    pub name: String,
    /// AWS region of environments that name none.
    #[serde(default = "default_region")]
    pub region: String,
    /// Name of the image repository: `smartassist/chatbot`.
    pub image_repository: String,
    /// Which images the repository keeps.
    #[serde(default)]
    pub registry: RegistrySettings,
    /// Whose keys encrypt what the environments share. Default: our own in an account, else AWS's.
    pub encryption: Option<Encryption>,
    /// Where commits come from.
    pub source: SourceSettings,
    /// The delivery pipeline.
    #[serde(default)]
    pub pipeline: PipelineSettings,
    /// Who is told about failed pipelines and waiting approvals.
    #[serde(default)]
    pub notify: NotificationSettings,
    /// How the image is built in CodeBuild.
    #[serde(default)]
    pub build: BuildSettings,
    /// The embedded endpoint, for environments without an account.
    #[serde(default)]
    pub local: LocalSettings,
}

/// Which images the repository keeps, newest first. Untagged ones go after a day.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySettings {
    /// Images that went to production: a rollback needs them.
    pub keep_production: u32,
    /// Images that went to staging.
    pub keep_staging: u32,
    /// Other images.
    pub keep_others: u32,
    /// Other accounts that may pull images, twelve digits each. The registry stack takes them as its parameter
    /// `PullAccounts`; these are its default.
    pub pull_accounts: Vec<String>,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        RegistrySettings { keep_production: 100, keep_staging: 50, keep_others: 200, pull_accounts: Vec::new() }
    }
}

/// Where commits come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// Kind of source.
    pub provider: SourceProvider,
    /// The repository: `owner/name`, in CodeCommit its name alone. It exists already.
    pub repository: String,
    /// Branch whose pushes start the pipeline.
    #[serde(default = "default_branch")]
    pub branch: String,
    /// ARN of an existing connection. Without it the delivery stack creates one, which a person
    /// then accepts once in the AWS console.
    pub connection_arn: Option<String>,
}

/// Kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SourceProvider {
    /// GitHub and others through CodeConnections (formerly CodeStar Connections).
    CodeStarSourceConnection,
    /// AWS CodeCommit, in the pipeline's own account and region.
    CodeCommit,
}

/// The delivery pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineSettings {
    /// Name; default: the project's name.
    pub name: Option<String>,
    /// How long an execution waits for its approval before it fails and people hear of it, 5m to 60d.
    pub approval_timeout: Span,
    /// After how long an approval that nobody answers sets off an alarm, in an account. A time not shorter than
    /// `approval_timeout` switches that off.
    pub approval_overdue: Span,
    /// Whether production is taken back when its alarm fires just after a deployment and, with the engine `ecs`, a
    /// stage that fails goes back to its last good execution; CodeDeploy does that by itself. Default: in an account.
    pub rollback_on_failure: Option<bool>,
    /// When production may be deployed, as the six fields of an AWS cron (UTC): `* 0-9 ? * MON-FRI *`. Default: always.
    pub window: Option<String>,
}

impl Default for PipelineSettings {
    fn default() -> Self {
        PipelineSettings {
            name: None,
            approval_timeout: Span::days(7),
            approval_overdue: Span::minutes(4 * 60),
            rollback_on_failure: None,
            window: None,
        }
    }
}

/// How the image is built in CodeBuild.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildSettings {
    /// What makes the image.
    pub builder: Builder,
    /// Container image that CodeBuild runs the buildspec in; it has cargo and a C linker.
    pub image: String,
    /// CodeBuild compute type.
    pub compute: String,
    /// Name of the secret in Secrets Manager with `username` and `password` of Docker Hub. Without it `image` and the
    /// images a Dockerfile builds on are pulled without an account, a few an hour.
    pub docker_hub: Option<String>,
    /// Alias of a key in KMS (ECC_NIST_P256, for SIGN_VERIFY) that signs what is built: `alias/smartassist-images`. Its public
    /// half belongs beside the environment files that demand signatures. The embedded endpoint has no KMS.
    pub signing_key: Option<String>,
    /// Address of a git repository with RustSec's advisory database (`https://github.com/rustsec/advisory-db`, or a mirror), for
    /// the scans that environments demand. Without it only ECR scans, which cannot read an image without a Linux distribution.
    pub advisories: Option<String>,
}

/// What makes the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Builder {
    /// Our own, from the binary straight to an OCI image. No Docker engine, so nothing is privileged.
    #[default]
    Oci,
    /// A Docker engine and the Dockerfile. The build container is privileged.
    Docker,
}

impl Builder {
    /// As `build-image --builder` takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Builder::Oci => "oci",
            Builder::Docker => "docker",
        }
    }
}

/// The embedded endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalSettings {
    /// Where it listens.
    pub endpoint: String,
}

fn default_region() -> String {
    "ap-northeast-1".to_owned()
}

fn default_branch() -> String {
    "main".to_owned()
}

impl Default for BuildSettings {
    fn default() -> Self {
        BuildSettings {
            builder: Builder::Oci,
            image: "rust:1.95-bookworm".to_owned(),
            compute: "BUILD_GENERAL1_MEDIUM".to_owned(),
            docker_hub: None,
            signing_key: None,
            advisories: None,
        }
    }
}

impl Default for LocalSettings {
    fn default() -> Self {
        LocalSettings { endpoint: "http://127.0.0.1:7400".to_owned() }
    }
}

impl Project {
    /// Name of the file in the directory of the environments.
    pub const FILE: &str = "project.yaml";

    /// Name of the ECS service, the container and the CodeDeploy deployment group.
    pub const SERVICE: &str = "chatbot";

    /// Port of the container.
    pub const CONTAINER_PORT: u16 = 8080;

    /// Reads `project.yaml` from the directory of the environments (`environments/`).
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(Self::FILE);
        let text = read(&path, "run it at the root of the checkout, or name the directory of the environments")?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Parses and checks the text of a `project.yaml`; `file` is its name in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let source = Source { file, text };
        let project: Project = source.parse()?;
        validate::project(&project, &source)?;
        Ok(project)
    }

    /// Name of the pipeline.
    pub fn pipeline_name(&self) -> &str {
        self.pipeline.name.as_deref().unwrap_or(&self.name)
    }
}
