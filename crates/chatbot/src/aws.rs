//! The one place that builds an AWS SDK configuration, for the features `bedrock` and `dynamodb`.

#[cfg(feature = "dynamodb")]
mod table;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::sync::OnceCell;

#[cfg(feature = "dynamodb")]
pub use self::table::Table;
#[cfg(feature = "dynamodb")]
pub(crate) use self::table::{failed, number, pause, text, unbuilt};
use crate::config::AwsSettings;

/// How long a connection may take to open.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// Where AWS is, and the configuration that is loaded when something first needs it.
///
/// Credentials come from where the SDK finds them: the task's role on ECS, variables elsewhere.
#[derive(Debug)]
pub struct Aws {
    settings: AwsSettings,
    loaded: OnceCell<SdkConfig>,
}

impl Aws {
    /// Nothing is loaded yet.
    pub fn new(settings: AwsSettings) -> Self {
        Self { settings, loaded: OnceCell::new() }
    }

    /// The configuration; every client shares its credentials and connections.
    pub(crate) async fn config(&self) -> &SdkConfig {
        self.loaded.get_or_init(|| self.load()).await
    }

    async fn load(&self) -> SdkConfig {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .region(self.settings.region.clone().map(Region::new))
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_PATIENCE).build())
            // Who calls decides: a retry must fit a budget, and a model may think longer than a download may stall.
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = &self.settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        loader.load().await
    }
}
