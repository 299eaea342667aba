//! The services, one module each, and the table that finds them.
//!
//! A service is `async fn call(cloud, operation, input) -> Result<output, ApiError>` over JSON values in the shape of AWS's
//! model. Its records are its own: others reach them through [`crate::Cloud::call`].

mod application_autoscaling;
pub(crate) mod cloudformation;
pub(crate) mod cloudwatch;
pub(crate) mod codebuild;
mod codeconnections;
pub(crate) mod codedeploy;
pub(crate) mod codepipeline;
pub(crate) mod ecr;
pub(crate) mod ecs;
pub(crate) mod elbv2;
mod iam;
mod logs;
pub(crate) mod paging;
mod secretsmanager;
mod sns;
mod ssm;
mod sts;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::ApiError;

/// The services that the endpoint knows, by the names of botocore's models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are AWS's")]
pub enum Service {
    ApplicationAutoscaling,
    CloudFormation,
    CloudWatch,
    CodeBuild,
    CodeConnections,
    CodeDeploy,
    CodePipeline,
    Ecr,
    Ecs,
    Elbv2,
    Iam,
    Logs,
    SecretsManager,
    Sns,
    Ssm,
    Sts,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 16] = [
        Self::ApplicationAutoscaling,
        Self::CloudFormation,
        Self::CloudWatch,
        Self::CodeBuild,
        Self::CodeConnections,
        Self::CodeDeploy,
        Self::CodePipeline,
        Self::Ecr,
        Self::Ecs,
        Self::Elbv2,
        Self::Iam,
        Self::Logs,
        Self::SecretsManager,
        Self::Sns,
        Self::Ssm,
        Self::Sts,
    ];

    /// The model's name in botocore.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApplicationAutoscaling => "application-autoscaling",
            Self::CloudFormation => "cloudformation",
            Self::CloudWatch => "cloudwatch",
            Self::CodeBuild => "codebuild",
            Self::CodeConnections => "codeconnections",
            Self::CodeDeploy => "codedeploy",
            Self::CodePipeline => "codepipeline",
            Self::Ecr => "ecr",
            Self::Ecs => "ecs",
            Self::Elbv2 => "elbv2",
            Self::Iam => "iam",
            Self::Logs => "logs",
            Self::SecretsManager => "secretsmanager",
            Self::Sns => "sns",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
        }
    }

    /// The service with a botocore model name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Finds the service and lets it answer.
pub(crate) async fn dispatch(
    cloud: &Cloud,
    service: Service,
    operation: &str,
    input: Value,
) -> Result<Value, ApiError> {
    match service {
        Service::ApplicationAutoscaling => application_autoscaling::call(cloud, operation, input).await,
        Service::CloudFormation => cloudformation::call(cloud, operation, input).await,
        Service::CloudWatch => cloudwatch::call(cloud, operation, input).await,
        Service::CodeBuild => codebuild::call(cloud, operation, input).await,
        Service::CodeConnections => codeconnections::call(cloud, operation, input).await,
        Service::CodeDeploy => codedeploy::call(cloud, operation, input).await,
        Service::CodePipeline => codepipeline::call(cloud, operation, input).await,
        Service::Ecr => ecr::call(cloud, operation, input).await,
        Service::Ecs => ecs::call(cloud, operation, input).await,
        Service::Elbv2 => elbv2::call(cloud, operation, input).await,
        Service::Iam => iam::call(cloud, operation, input).await,
        Service::Logs => logs::call(cloud, operation, input).await,
        Service::SecretsManager => secretsmanager::call(cloud, operation, input).await,
        Service::Sns => sns::call(cloud, operation, input).await,
        Service::Ssm => ssm::call(cloud, operation, input).await,
        Service::Sts => sts::call(cloud, operation, input).await,
    }
}

/// The answer to an operation that a service does not implement.
pub(crate) fn unsupported_operation(service: Service, operation: &str) -> ApiError {
    ApiError::unsupported(format_args!("{service} {operation}"))
}

/// Reads an operation's input into the handler's own type. The wire has already checked it against AWS's model, so
/// a failure here means a member that the endpoint reads in a narrower way, and says which.
pub(crate) fn parse<T: DeserializeOwned>(input: Value) -> Result<T, ApiError> {
    serde_json::from_value(input).map_err(|error| ApiError::new("ValidationException", error.to_string()))
}
