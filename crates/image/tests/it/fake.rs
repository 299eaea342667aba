//! A registry in this process, with every bad habit a test needs.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use image::Digest;
use image::registry::Repository;
use tokio::net::TcpListener;

/// How the fake behaves, and what it holds.
#[derive(Default)]
pub(crate) struct State {
    /// The exact Authorization header to demand at the registry.
    pub(crate) authorization: Option<String>,
    /// The challenge sent with 401.
    pub(crate) challenge: String,
    /// The exact Authorization header to demand at `/token`.
    pub(crate) token_authorization: Option<String>,
    /// Statuses to answer with before anything else, once each.
    pub(crate) failures: VecDeque<StatusCode>,
    /// The `Retry-After` to send with those.
    pub(crate) retry_after: Option<String>,
    /// What is wrong with blobs that are read.
    pub(crate) reading: Reading,
    /// Bytes to claim more than a PATCH had.
    pub(crate) overstated: usize,
    /// ECR's passwords expire so many seconds after they are given; each is another one.
    pub(crate) ecr_lifetime: Option<u64>,
    /// ECR's passwords given so far, as headers.
    pub(crate) ecr_given: Vec<String>,
    /// Uploads under way.
    pub(crate) uploads: BTreeMap<String, Vec<u8>>,
    /// Connections to drop after a blob upload's request was read.
    pub(crate) broken_uploads: usize,
    /// Whether tags may not move.
    pub(crate) immutable: bool,
    /// A digest to claim for every manifest put here.
    pub(crate) lie: Option<String>,
    /// Blobs by digest.
    pub(crate) blobs: BTreeMap<String, Bytes>,
    /// Manifests by tag and by digest.
    pub(crate) manifests: BTreeMap<String, Bytes>,
    /// Every request, as `METHOD path`.
    pub(crate) log: Vec<String>,
}

/// How a blob is read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    #[default]
    Whole,
    /// Another byte in the middle.
    Corrupted,
    /// The connection ends before the length that was announced.
    Truncated,
    /// More bytes than there should be.
    Longer,
}

/// A running fake.
pub(crate) struct Fake {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Fake {
    pub(crate) async fn start(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
                    // A connection that a test breaks on purpose ends with an error here.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn repository(&self) -> Repository {
        format!("{}/team/app", self.address).parse().expect("a repository")
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while holding it")
    }

    /// How many requests began like this.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.state().log.iter().filter(|line| line.starts_with(prefix)).count()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped on purpose")]
pub(crate) struct Dropped;

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Answer>, Dropped> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let header = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut state = state.lock().expect("no test panics while holding it");
    let path = parts.uri.path().to_owned();
    state.log.push(format!("{} {path}", parts.method));
    if let Some(status) = state.failures.pop_front() {
        let mut response = reply(status, "{}");
        if let Some(pause) = &state.retry_after {
            response.headers_mut().insert("retry-after", pause.parse().expect("a header"));
        }
        return Ok(response);
    }
    if let Some(operation) = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()) {
        let host = parts.headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
        return Ok(ecr(&mut state, operation, host, &body));
    }
    if path == "/token" {
        let allowed = state.token_authorization.is_none() || header == state.token_authorization;
        let token = state.authorization.clone().unwrap_or_default();
        let token = token.strip_prefix("Bearer ").unwrap_or_default();
        return Ok(match allowed {
            true => reply(StatusCode::OK, &format!(r#"{{"token":"{token}","expires_in":300}}"#)),
            false => reply(StatusCode::UNAUTHORIZED, "{}"),
        });
    }
    let of_ecr = header.as_ref().is_some_and(|header| state.ecr_given.contains(header));
    if state.authorization.is_some() && header != state.authorization && !of_ecr {
        let mut response = reply(StatusCode::UNAUTHORIZED, "{}");
        let challenge = state.challenge.parse().expect("a header");
        response.headers_mut().insert("www-authenticate", challenge);
        return Ok(response);
    }
    let Some(rest) = path.strip_prefix("/v2/team/app/") else {
        return Ok(reply(
            StatusCode::NOT_FOUND,
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}"#,
        ));
    };
    if let Some(reference) = rest.strip_prefix("manifests/") {
        return Ok(manifest(&mut state, &parts.method, reference, body).unwrap_or_else(|never| match never {}));
    }
    blob(&mut state, &parts.method, rest, parts.uri.query(), body)
}

/// The two operations of ECR's API that a push needs, for the repository `team/app`.
fn ecr(state: &mut State, operation: &str, host: &str, body: &[u8]) -> Response<Answer> {
    let known = String::from_utf8_lossy(body).contains("team/app");
    match operation.rsplit('.').next() {
        Some("DescribeRepositories") if known => {
            reply(StatusCode::OK, &format!(r#"{{"repositories":[{{"repositoryUri":"{host}/team/app"}}]}}"#))
        }
        Some("DescribeRepositories") => reply(
            StatusCode::BAD_REQUEST,
            r#"{"__type":"RepositoryNotFoundException","message":"The repository does not exist"}"#,
        ),
        // user:secret
        Some("GetAuthorizationToken") => {
            let Some(lifetime) = state.ecr_lifetime else {
                return reply(StatusCode::OK, r#"{"authorizationData":[{"authorizationToken":"dXNlcjpzZWNyZXQ="}]}"#);
            };
            let token = STANDARD.encode(format!("AWS:password{}", state.ecr_given.len()));
            state.authorization = Some("Basic of ECR".to_owned());
            state.ecr_given.push(format!("Basic {token}"));
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
            let data = serde_json::json!({ "authorizationToken": token, "expiresAt": now + lifetime });
            reply(StatusCode::OK, &serde_json::json!({ "authorizationData": [data] }).to_string())
        }
        _ => reply(StatusCode::BAD_REQUEST, r#"{"__type":"UnknownOperationException"}"#),
    }
}

fn manifest(state: &mut State, method: &Method, reference: &str, body: Bytes) -> Result<Response<Answer>, Infallible> {
    let existing = state.manifests.get(reference).cloned();
    if *method != Method::PUT {
        let Some(manifest) = existing else { return Ok(reply(StatusCode::NOT_FOUND, "{}")) };
        let digest = Digest::of(&manifest).to_string();
        let mut response =
            Response::new(Answer { rest: Some(if *method == Method::HEAD { Bytes::new() } else { manifest }) });
        response.headers_mut().insert("docker-content-digest", digest.parse().expect("a header"));
        return Ok(response);
    }
    if state.immutable && existing.is_some() {
        return Ok(reply(
            StatusCode::BAD_REQUEST,
            r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#,
        ));
    }
    let digest = Digest::of(&body).to_string();
    state.manifests.insert(reference.to_owned(), body.clone());
    state.manifests.insert(digest.clone(), body);
    let mut response = reply(StatusCode::CREATED, "");
    let claimed = state.lie.clone().unwrap_or(digest);
    response.headers_mut().insert("docker-content-digest", claimed.parse().expect("a header"));
    Ok(response)
}

fn blob(
    state: &mut State,
    method: &Method,
    rest: &str,
    query: Option<&str>,
    body: Bytes,
) -> Result<Response<Answer>, Dropped> {
    if let Some(digest) = rest.strip_prefix("blobs/sha256:") {
        let known = state.blobs.get(&format!("sha256:{digest}")).cloned();
        return Ok(match known {
            None => reply(StatusCode::NOT_FOUND, ""),
            Some(_) if *method == Method::HEAD => reply(StatusCode::OK, ""),
            Some(bytes) => read(&bytes, state.reading),
        });
    }
    if *method == Method::POST {
        let id = (state.uploads.len() + 1).to_string();
        state.uploads.insert(id.clone(), Vec::new());
        return Ok(progress(StatusCode::ACCEPTED, &id, 0));
    }
    let id = rest.strip_prefix("blobs/uploads/").unwrap_or_default().to_owned();
    if *method != Method::GET && state.broken_uploads > 0 {
        state.broken_uploads -= 1;
        return Err(Dropped);
    }
    let overstated = state.overstated;
    let Some(upload) = state.uploads.get_mut(&id) else { return Ok(reply(StatusCode::NOT_FOUND, "{}")) };
    if *method == Method::GET {
        return Ok(progress(StatusCode::NO_CONTENT, &id, upload.len()));
    }
    upload.extend_from_slice(&body);
    if *method == Method::PATCH {
        return Ok(progress(StatusCode::ACCEPTED, &id, upload.len() + overstated));
    }
    let content = Bytes::from(std::mem::take(upload));
    let digest = Digest::of(&content).to_string();
    let named =
        query.is_some_and(|query| query.starts_with("_state=x&") && query.ends_with(&format!("digest={digest}")));
    if !named {
        return Ok(reply(StatusCode::BAD_REQUEST, r#"{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}"#));
    }
    state.blobs.insert(digest, content);
    Ok(reply(StatusCode::CREATED, ""))
}

/// Where an upload goes on, and how much is there.
fn progress(status: StatusCode, id: &str, length: usize) -> Response<Answer> {
    let mut response = reply(status, "");
    let location = format!("/v2/team/app/blobs/uploads/{id}?_state=x").parse().expect("a header");
    response.headers_mut().insert("location", location);
    let range = format!("0-{}", length.saturating_sub(1)).parse().expect("a header");
    response.headers_mut().insert("range", range);
    response
}

fn read(bytes: &Bytes, reading: Reading) -> Response<Answer> {
    let mut sent = bytes.to_vec();
    let middle = sent.len() / 2;
    match reading {
        Reading::Whole => {}
        Reading::Corrupted => sent[middle] ^= 1,
        Reading::Truncated => sent.truncate(middle),
        Reading::Longer => sent.extend_from_slice(b"and more"),
    }
    let announced = if reading == Reading::Truncated { bytes.len() } else { sent.len() };
    let mut response = Response::new(Answer { rest: Some(sent.into()) });
    response.headers_mut().insert("content-length", announced.into());
    response
}

/// A body that may be shorter than what was announced.
pub(crate) struct Answer {
    rest: Option<Bytes>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        Poll::Ready(self.rest.take().filter(|rest| !rest.is_empty()).map(|rest| Ok(Frame::data(rest))))
    }
}

fn reply(status: StatusCode, body: &str) -> Response<Answer> {
    let mut response = Response::new(Answer { rest: Some(Bytes::copy_from_slice(body.as_bytes())) });
    *response.status_mut() = status;
    response
}
