//! HTTP and TLS under the client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Error;

use crate::causes::with_causes;
use crate::model::ModelError;
use crate::outbound::{Client, client};

/// No refusal is longer.
const LARGEST_REFUSAL: usize = 64 * 1024;

/// Where an OpenAI-compatible API is, and the right to use it.
#[derive(Debug, Clone)]
pub struct Endpoint(Arc<Transport>);

/// An address that cannot be an API's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Not an URL with a host.
    #[error("it is no http:// or https:// address")]
    Address,
    /// A key with characters that no header can carry.
    #[error("the key holds characters that cannot be sent")]
    Key,
    /// TLS cannot be used in this process.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl Endpoint {
    /// The API below `base` (`https://api.openai.com/v1`), with a key if it wants one.
    pub fn new(base: &str, key: Option<&str>) -> Result<Self, InvalidEndpoint> {
        let base = base.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| InvalidEndpoint::Address)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(InvalidEndpoint::Address);
        }
        let authorization = match key {
            Some(key) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| InvalidEndpoint::Key)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let client = client().map_err(|error| InvalidEndpoint::Tls(error.to_string()))?;
        Ok(Self(Arc::new(Transport { base, authorization, client })))
    }

    pub(super) fn transport(&self) -> Arc<Transport> {
        Arc::clone(&self.0)
    }
}

/// A connection pool to one API.
#[derive(Debug)]
pub(super) struct Transport {
    base: String,
    authorization: Option<HeaderValue>,
    client: Client,
}

impl Transport {
    pub(super) fn is_openai_itself(&self) -> bool {
        self.base.starts_with("https://api.openai.com/")
    }

    pub(super) async fn post(&self, path: &str, body: Bytes) -> Result<Response<Incoming>, ModelError> {
        let request = Request::post(format!("{}/{path}", self.base))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "text/event-stream");
        self.send(request, body).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Response<Incoming>, ModelError> {
        let request = Request::builder().method(Method::GET).uri(format!("{}/{path}", self.base));
        self.send(request, Bytes::new()).await
    }

    async fn send(&self, request: http::request::Builder, body: Bytes) -> Result<Response<Incoming>, ModelError> {
        let mut request = request
            .header(header::USER_AGENT, concat!("smartbot/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| ModelError::Refused(error.to_string()))?;
        crate::trace::pass_on(request.headers_mut());
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        self.client.request(request).await.map_err(|error: Error| {
            if error.is_connect() {
                ModelError::Unreachable(with_causes(&error))
            } else {
                ModelError::Failed(with_causes(&error))
            }
        })
    }
}

/// Reads a short body to its end.
pub(super) async fn read(body: Incoming) -> Result<Bytes, ModelError> {
    let body = Limited::new(body, LARGEST_REFUSAL).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| ModelError::Cut(error.to_string()))
}

/// `Retry-After` in seconds; a date is not worth a parser, the default wait does.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_are_endpoints() {
        for base in ["", "api.openai.com", "ftp://x/v1", "http://", "/v1"] {
            assert_eq!(Endpoint::new(base, None).map(drop), Err(InvalidEndpoint::Address), "{base}");
        }
        assert!(Endpoint::new("http://127.0.0.1:11434/v1/", None).is_ok());
        assert_eq!(Endpoint::new("http://localhost/v1", Some("a\nb")).map(drop), Err(InvalidEndpoint::Key));
    }

    #[test]
    fn a_key_is_never_shown() {
        let endpoint = Endpoint::new("http://localhost/v1", Some("sk-secret")).expect("valid");
        assert!(!format!("{endpoint:?}").contains("sk-secret"));
    }
}
