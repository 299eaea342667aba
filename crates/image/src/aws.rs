//! How AWS's APIs are reached. The SDK finds region, credentials and endpoint in the environment (`AWS_ENDPOINT_URL` among
//! them), so nothing here knows which endpoint answers.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// The configuration of every client.
pub(crate) async fn configuration() -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await
}
