//! `Idempotency-Key`: a request that is sent again is not done again.
//!
//! A key belongs to one caller of one tenant for 24 hours. The same request again gets the first
//! one's result; another request under the key is refused with 422, one that comes while the first is
//! still running with 409. Of a chat only the reply's id is kept, so the repetition gets the reply as it stands
//! then, as a document or as a stream.

mod records;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

#[cfg(feature = "dynamodb")]
pub use records::DynamoRecords;
pub use records::{Kept, Records, Reservation};

use crate::access::Caller;
use crate::app::App;
use crate::body;
use crate::conversation::{ConversationId, MessageId};
use crate::problem::Problem;
use crate::routes::{chat, completions, conversations};
use crate::tenant::hex;
use crate::turn::Turn;

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The largest result kept.
const LARGEST: usize = 64 * 1024;

/// Marks a response whose result is a reply in a conversation, and is kept as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsReply {
    /// The conversation.
    pub conversation: ConversationId,
    /// The reply.
    pub message_id: MessageId,
}

impl IsReply {
    /// Of this turn.
    pub fn of(turn: &Turn) -> Self {
        Self { conversation: turn.key.id, message_id: turn.reply.id() }
    }

    /// Marks the response of a request that has a key; nobody asks it of another one.
    pub fn mark(reply: Option<Self>, mut response: Response) -> Response {
        if let Some(reply) = reply {
            response.extensions_mut().insert(reply);
        }
        response
    }
}

/// Runs a request, once for each key.
pub async fn once<F>(
    app: &Arc<App>,
    caller: Caller,
    key: &HeaderValue,
    request: Request,
    next: impl FnOnce(Request) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Response> + Send + 'static,
{
    match reserved(app, &caller, key, request).await {
        Ok(Reserved::New(record, request)) => {
            let app = Arc::clone(app);
            // Done to its end even when the caller leaves: that is when it comes back with the key.
            let run = tokio::spawn(async move {
                let mut request = request;
                request.extensions_mut().insert(caller.clone());
                settle(&app, &caller, &record, next(request).await).await
            });
            run.await.unwrap_or_else(|_| Problem::internal().into_response())
        }
        Ok(Reserved::Done(mut response)) => {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            response
        }
        Err(problem) => problem.into_response(),
    }
}

enum Reserved {
    New(String, Request),
    Done(Response),
}

async fn reserved(app: &Arc<App>, caller: &Caller, key: &HeaderValue, request: Request) -> Result<Reserved, Problem> {
    let key = key.to_str().ok().filter(|key| (1..=255).contains(&key.len())).ok_or_else(|| {
        let detail = "Idempotency-Key has 1 to 255 visible ASCII characters.";
        Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", "Not a valid Idempotency-Key", detail)
    })?;
    let (parts, body) = request.into_parts();
    let bytes = body::read(body, body::SMALL).await?;
    // Two people of one tenant may choose the same key.
    let record = digest(&[key.as_bytes(), caller.end_user.as_deref().unwrap_or_default().as_bytes()]);
    let fingerprint = digest(&[parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), &bytes]);
    let request = Request::from_parts(parts, Body::from(bytes));
    match app.idempotency.reserve(caller.tenant.id(), &record, &fingerprint).await? {
        Reservation::New => Ok(Reserved::New(record, request)),
        Reservation::Running => Err(Problem::new(
            StatusCode::CONFLICT,
            "idempotency_in_flight",
            "The first request is still running",
            "A request with this Idempotency-Key has no result yet. Try again.",
        )
        .retry_after(1)),
        Reservation::Other => Err(Problem::invalid(
            "idempotency_mismatch",
            "This Idempotency-Key was used for another request. Use a new one.",
        )),
        Reservation::Done(Kept::Document { status, body }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            Ok(Reserved::Done((status, headers, body).into_response()))
        }
        Reservation::Done(Kept::Reply(reply)) => {
            let turn = conversations::taken(app, caller, reply).await?;
            let response = match request.uri().path() {
                completions::PATH => completions::again(app, turn, request).await,
                _ => chat::again(app, turn, request).await,
            };
            response.map(Reserved::Done)
        }
    }
}

/// Keeps a result, or forgets the key when nothing was done.
async fn settle(app: &App, caller: &Caller, record: &str, response: Response) -> Response {
    let tenant = caller.tenant.id();
    let (response, kept) = match response.extensions().get::<IsReply>() {
        Some(&reply) => (response, Some(Kept::Reply(reply))),
        None if response.status().is_success() => {
            let (parts, body) = response.into_parts();
            let Ok(bytes) = to_bytes(body, LARGEST).await else { return Problem::internal().into_response() };
            let body = String::from_utf8_lossy(&bytes).into_owned();
            let kept = Kept::Document { status: parts.status.as_u16(), body };
            (Response::from_parts(parts, Body::from(bytes)), Some(kept))
        }
        None => (response, None),
    };
    if let Err(error) = app.idempotency.settle(tenant, record, kept).await {
        app.metrics.store_failure();
        tracing::error!(error = %error, "the result of a request could not be kept under its key");
    }
    response
}

fn digest(parts: &[&[u8]]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    hex(&sha.finalize())
}
