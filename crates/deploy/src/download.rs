//! What AWS hands out as an address to download from.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::error::{Error, Message};

const PATIENCE: Duration = Duration::from_secs(30);

/// The content at an address, up to `limit` bytes.
pub(crate) async fn get(url: &str, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = |why: String| {
        // The address carries a password; it is not shown.
        Error::Unreachable(Message::new("cannot download from the registry", why, "check the network, and try again"))
    };
    let address = url.parse::<hyper::Uri>().map_err(|error| failed(error.to_string()))?;
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(|error| failed(error.to_string()))?
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<bytes::Bytes>>(connector);
    let exchange = async {
        let answer = client.get(address).await.map_err(|error| failed(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(format!("the answer is {}", answer.status())));
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let body = Limited::new(answer.into_body(), limit).collect().await;
        Ok(body.map_err(|error| failed(error.to_string()))?.to_bytes().to_vec())
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))))
}
