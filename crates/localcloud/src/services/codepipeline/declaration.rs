//! A pipeline's declaration, parsed from what the client sent into the actions that the endpoint can run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::error::ApiError;
use crate::store::Record;

/// A pipeline as it was created or last updated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pipeline {
    /// The declaration as AWS's API returns it, with its version.
    pub(super) declaration: Value,
    pub(super) version: u32,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    /// The branch head that the push watcher has dealt with, by source action.
    pub(super) seen_heads: BTreeMap<String, String>,
    /// Stages whose inbound transition is disabled, and why.
    pub(super) disabled_transitions: BTreeMap<String, DisabledTransition>,
}

impl Record for Pipeline {
    const TABLE: &'static str = "codepipeline/pipeline";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DisabledTransition {
    pub(super) reason: String,
    pub(super) at: Timestamp,
}

/// The parts of a declaration that the engine acts on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Declaration {
    pub(super) name: String,
    pub(super) stages: Vec<Stage>,
    #[serde(default)]
    pub(super) execution_mode: ExecutionMode,
}

/// What happens when a second execution comes to a stage that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ExecutionMode {
    Queued,
    #[default]
    Superseded,
    Parallel,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) actions: Vec<Action>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    pub(super) name: String,
    pub(super) action_type_id: ActionTypeId,
    #[serde(default = "first")]
    pub(super) run_order: u32,
    #[serde(default)]
    pub(super) configuration: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) input_artifacts: Vec<Artifact>,
    #[serde(default)]
    pub(super) output_artifacts: Vec<Artifact>,
    pub(super) namespace: Option<String>,
}

fn first() -> u32 {
    1
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ActionTypeId {
    pub(super) category: String,
    pub(super) provider: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Artifact {
    pub(super) name: String,
}

/// The action types that the endpoint runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    /// A repository behind a connection: here a local checkout.
    Source,
    /// A CodeBuild project, as a build or a test action.
    CodeBuild,
    /// A person's approval.
    Approval,
    /// A blue/green deployment by CodeDeploy.
    CodeDeployToEcs,
}

impl Action {
    /// Which of the supported kinds this action is.
    pub(super) fn provider(&self) -> Result<Provider, ApiError> {
        let kind = &self.action_type_id;
        match (kind.category.as_str(), kind.provider.as_str()) {
            ("Source", "CodeStarSourceConnection") => Ok(Provider::Source),
            ("Build" | "Test", "CodeBuild") => Ok(Provider::CodeBuild),
            ("Approval", "Manual") => Ok(Provider::Approval),
            ("Deploy", "CodeDeployToECS") => Ok(Provider::CodeDeployToEcs),
            (category, provider) => Err(ApiError::unsupported(format_args!(
                "the {category} action provider {provider} (action {})",
                self.name
            ))),
        }
    }

    /// A configuration value that the action cannot do without.
    pub(super) fn required(&self, key: &str) -> Result<&str, ApiError> {
        self.configuration.get(key).map(String::as_str).ok_or_else(|| {
            invalid(format!(
                "Action configuration for action '{}' is missing required configuration '{key}'",
                self.name
            ))
        })
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidActionDeclarationException", message)
}

impl Declaration {
    /// Parses and checks a declaration by AWS's rules for its structure.
    pub(super) fn parse(declaration: &Value) -> Result<Self, ApiError> {
        let parsed: Self = crate::services::parse(declaration.clone())?;
        parsed.check()?;
        Ok(parsed)
    }

    fn check(&self) -> Result<(), ApiError> {
        let structure = |message: String| ApiError::new("InvalidStructureException", message);
        if self.execution_mode == ExecutionMode::Parallel {
            return Err(ApiError::unsupported("the execution mode PARALLEL"));
        }
        if self.stages.len() < 2 {
            return Err(structure(
                "Pipeline has less than 2 stages. There should be a minimum of 2 stages in a pipeline".to_owned(),
            ));
        }
        let mut produced = vec![];
        for (index, stage) in self.stages.iter().enumerate() {
            if self.stages[..index].iter().any(|earlier| earlier.name == stage.name) {
                return Err(structure(format!("Stage name '{}' is used more than once", stage.name)));
            }
            if stage.actions.is_empty() {
                return Err(structure(format!("Stage '{}' has no actions", stage.name)));
            }
            for action in &stage.actions {
                let provider = action.provider()?;
                if (index == 0) != (provider == Provider::Source) {
                    return Err(structure(
                        "Pipeline should start with a stage that only contains source actions, and source actions may be in no other stage".to_owned(),
                    ));
                }
                for key in provider.required_configuration() {
                    action.required(key)?;
                }
                if let Some(missing) = action.input_artifacts.iter().find(|input| !produced.contains(&input.name)) {
                    return Err(structure(format!(
                        "Input artifact '{}' of action '{}' is not an output artifact of an earlier action",
                        missing.name, action.name
                    )));
                }
                produced.extend(action.output_artifacts.iter().map(|artifact| artifact.name.clone()));
            }
        }
        Ok(())
    }
}

impl Provider {
    /// <https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference.html>
    fn required_configuration(self) -> &'static [&'static str] {
        match self {
            Self::Source => &["ConnectionArn", "FullRepositoryId", "BranchName"],
            Self::CodeBuild => &["ProjectName"],
            Self::Approval => &[],
            Self::CodeDeployToEcs => {
                &["ApplicationName", "DeploymentGroupName", "TaskDefinitionTemplateArtifact", "AppSpecTemplateArtifact"]
            }
        }
    }
}
