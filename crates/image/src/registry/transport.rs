//! HTTP and TLS under the registry client.

use std::sync::Arc;
use std::time::Duration;

use crate::error::chain;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

/// No answer of the API we read is larger; blobs are only sent.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// A connection slower than this is taken for a stalled one.
const SLOWEST_BYTES_PER_SECOND: u64 = 32 * 1024;

/// One request, to be sent as often as needed.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A connection pool.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    patience: Duration,
}

impl Transport {
    /// `patience` is the time an answer may take beside the time its bytes need.
    pub(super) fn new(patience: Duration) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_secs(10)));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = HttpsConnectorBuilder::new();
        let builder = match builder.with_provider_and_native_roots(Arc::clone(&provider)) {
            Ok(builder) => builder,
            // No certificates on this machine: plain HTTP to it still works, and TLS fails with a clear message.
            Err(_) => HttpsConnectorBuilder::new().with_tls_config(
                ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth(),
            ),
        };
        let connector = builder.https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), patience })
    }

    /// Sends a request and reads the whole answer. The error is for people.
    pub(super) async fn send(
        &self,
        outgoing: &Outgoing,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(outgoing.method.clone())
            .uri(outgoing.uri.clone())
            .body(Full::new(outgoing.body.clone()))
            .map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        headers.insert(
            http::header::USER_AGENT,
            HeaderValue::from_static(concat!("smartassist-image/", env!("CARGO_PKG_VERSION"))),
        );
        headers.extend(outgoing.headers.iter().cloned());
        if let Some(authorization) = authorization {
            headers.insert(http::header::AUTHORIZATION, authorization.clone());
        }
        let limit = self.patience + Duration::from_secs(outgoing.body.len() as u64 / SLOWEST_BYTES_PER_SECOND);
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| chain(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|error| error.to_string())?;
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(result) => result,
            Err(_) => Err(format!("no complete answer within {} s", limit.as_secs())),
        }
    }
}
