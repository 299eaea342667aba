//! The one place that builds an SDK configuration. Nothing else knows which endpoint answers.

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use environment::{Environment, Project};
use std::time::Duration;

/// The SDK's clients.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) sts: aws_sdk_sts::Client,
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) ecs: aws_sdk_ecs::Client,
    pub(crate) balancer: aws_sdk_elasticloadbalancingv2::Client,
    pub(crate) pipeline: aws_sdk_codepipeline::Client,
    pub(crate) codedeploy: aws_sdk_codedeploy::Client,
    pub(crate) codebuild: aws_sdk_codebuild::Client,
    pub(crate) alarms: aws_sdk_cloudwatch::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
}

/// The endpoint an environment needs; none when AWS's own are meant. `AWS_ENDPOINT_URL` wins.
pub(crate) fn endpoint(project: &Project, environment: &Environment) -> Option<String> {
    std::env::var("AWS_ENDPOINT_URL")
        .ok()
        .filter(|url| !url.is_empty())
        .or_else(|| environment.endpoint(project).map(str::to_owned))
}

impl Clients {
    /// Clients for an environment.
    pub(crate) async fn new(project: &Project, environment: &Environment) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .operation_attempt_timeout(Duration::from_secs(60))
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts)
            .region(Region::new(environment.region(project).to_owned()));
        if let Some(url) = endpoint(project, environment) {
            loader = loader.endpoint_url(url);
        }
        if environment.location.account.is_none() {
            // No account, so nobody's real credentials may travel: requests are signed with a constant.
            loader = loader.credentials_provider(Credentials::from_keys("embedded", "embedded", None));
        }
        let config = loader.load().await;
        Clients {
            sts: aws_sdk_sts::Client::new(&config),
            cloudformation: aws_sdk_cloudformation::Client::new(&config),
            ecr: aws_sdk_ecr::Client::new(&config),
            ecs: aws_sdk_ecs::Client::new(&config),
            balancer: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            pipeline: aws_sdk_codepipeline::Client::new(&config),
            codedeploy: aws_sdk_codedeploy::Client::new(&config),
            codebuild: aws_sdk_codebuild::Client::new(&config),
            alarms: aws_sdk_cloudwatch::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
        }
    }
}
