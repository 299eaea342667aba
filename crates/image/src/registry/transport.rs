//! HTTP and TLS under the registry client.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::chain;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

/// No answer is larger, unless a request says otherwise: a blob may be as large as its descriptor says.
pub(super) const LARGEST_ANSWER: u64 = 8 << 20;
/// How much of a body is handed over at once; what is handed over counts as moved.
const FRAME: usize = 64 * 1024;
/// How often a transfer is looked at.
const TICK: Duration = Duration::from_millis(100);

/// One request, to be sent as often as needed.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
    pub(super) largest_answer: u64,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no complete answer. The texts are for people.
#[derive(Debug)]
pub(super) enum Broken {
    /// No connection, or one that broke or stalled: another try may succeed.
    Connection(String),
    /// More bytes than there may be: another try would be the same.
    TooLarge(String),
}

/// A connection pool.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Outbound>,
    patience: Duration,
}

/// A body that is handed over in small frames, so that it can be seen moving.
#[derive(Debug)]
struct Outbound {
    rest: Bytes,
    moved: Arc<AtomicU64>,
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(FRAME);
        let data = self.rest.split_to(length);
        self.moved.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Transport {
    /// `patience` is the longest time in which nothing moves.
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

    /// Sends a request and reads the whole answer; `sent` hears now and then how many bytes of the body are on their way.
    pub(super) async fn send(
        &self,
        outgoing: &Outgoing,
        authorization: Option<&HeaderValue>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Answer, Broken> {
        let moved = Arc::new(AtomicU64::new(0));
        let mut request = Request::builder()
            .method(outgoing.method.clone())
            .uri(outgoing.uri.clone())
            .body(Outbound { rest: outgoing.body.clone(), moved: Arc::clone(&moved) })
            .map_err(|error| Broken::Connection(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(
            http::header::USER_AGENT,
            HeaderValue::from_static(concat!("smartassist-image/", env!("CARGO_PKG_VERSION"))),
        );
        headers.extend(outgoing.headers.iter().cloned());
        if let Some(authorization) = authorization {
            headers.insert(http::header::AUTHORIZATION, authorization.clone());
        }
        let mut exchange = pin!(async {
            let response = self.client.request(request).await.map_err(|error| Broken::Connection(chain(&error)))?;
            let (parts, body) = response.into_parts();
            let body = receive(body, outgoing.largest_answer, &moved).await?;
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        });
        let (mut last, mut since) = (0, Instant::now());
        loop {
            if let Ok(result) = tokio::time::timeout(TICK, &mut exchange).await {
                return result;
            }
            let now = moved.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
                sent(now.min(outgoing.body.len() as u64));
            } else if since.elapsed() >= self.patience {
                let text = format!("nothing moved for {:.1} s", self.patience.as_secs_f64());
                return Err(Broken::Connection(text));
            }
        }
    }
}

async fn receive(mut body: Incoming, largest: u64, moved: &AtomicU64) -> Result<Bytes, Broken> {
    let mut received = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Broken::Connection(chain(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        moved.fetch_add(data.len() as u64, Ordering::Relaxed);
        if (received.len() + data.len()) as u64 > largest {
            return Err(Broken::TooLarge(format!("it sends more than the {largest} bytes there should be")));
        }
        received.extend_from_slice(&data);
    }
    Ok(received.into())
}
