//! `environments/project.yaml`: what the environments share.

use std::path::Path;

use serde::Deserialize;

use crate::error::Error;
use crate::source::{Source, read};
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
    /// Where commits come from.
    pub source: SourceSettings,
    /// The delivery pipeline.
    #[serde(default)]
    pub pipeline: PipelineSettings,
    /// How the image is built in CodeBuild.
    #[serde(default)]
    pub build: BuildSettings,
    /// The embedded endpoint, for environments without an account.
    #[serde(default)]
    pub local: LocalSettings,
}

/// Where commits come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// Kind of source.
    pub provider: SourceProvider,
    /// `owner/name` of the repository.
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
}

/// The delivery pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineSettings {
    /// Name; default: the project's name.
    pub name: Option<String>,
}

/// How the image is built in CodeBuild.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildSettings {
    /// Container image that CodeBuild runs the buildspec in; it has cargo and a C linker.
    pub image: String,
    /// CodeBuild compute type.
    pub compute: String,
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
        BuildSettings { image: "rust:1.95-bookworm".to_owned(), compute: "BUILD_GENERAL1_MEDIUM".to_owned() }
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
