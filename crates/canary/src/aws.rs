//! The SDK's clients. Region, credentials and endpoint come from the environment, which Lambda fills.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_codedeploy::types::LifecycleEventStatus;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use crate::Verdict;

/// The clients that the functions use.
#[derive(Debug)]
pub(crate) struct Aws {
    pub(crate) codedeploy: aws_sdk_codedeploy::Client,
    pub(crate) ecs: aws_sdk_ecs::Client,
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
}

impl Aws {
    pub(crate) async fn new() -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .operation_attempt_timeout(Duration::from_secs(10))
            .build();
        let config =
            aws_config::defaults(BehaviorVersion::latest()).http_client(http).timeout_config(timeouts).load().await;
        Aws {
            codedeploy: aws_sdk_codedeploy::Client::new(&config),
            ecs: aws_sdk_ecs::Client::new(&config),
            ecr: aws_sdk_ecr::Client::new(&config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
        }
    }

    /// Tells CodeDeploy what was found out.
    pub(crate) async fn tell_codedeploy(
        &self,
        deployment: &str,
        execution: &str,
        verdict: &Verdict,
    ) -> Result<(), String> {
        let status = match verdict {
            Verdict::Passed(_) => LifecycleEventStatus::Succeeded,
            Verdict::Failed(_) => LifecycleEventStatus::Failed,
        };
        let call = self
            .codedeploy
            .put_lifecycle_event_hook_execution_status()
            .deployment_id(deployment)
            .lifecycle_event_hook_execution_id(execution)
            .status(status);
        call.send().await.map(drop).map_err(|error| failed("codedeploy:PutLifecycleEventHookExecutionStatus", error))
    }
}

/// A call that did not succeed, with all that the SDK knows about it.
pub(crate) fn failed<E>(call: &str, error: E) -> String
where
    E: std::error::Error,
{
    let mut text = format!("{call}: {error}");
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
