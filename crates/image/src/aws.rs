//! How AWS's APIs are reached. The SDK finds region, credentials and endpoint in the environment (`AWS_ENDPOINT_URL` among
//! them), so nothing here knows which endpoint answers.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use crate::error::chain;

/// The configuration of every client.
pub(crate) async fn configuration() -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await
}

/// Why a call of an API failed.
pub(crate) enum Failure {
    /// The service's code and message.
    Refused(String),
    /// No answer.
    Unreachable(String),
}

impl Failure {
    pub(crate) fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug + 'static,
    {
        let SdkError::ServiceError(service) = error else { return Self::Unreachable(chain(error)) };
        let code = service.err().code().unwrap_or("an error without a code");
        Self::Refused(format!("{code}: {}", service.err().message().unwrap_or("no message")))
    }
}
