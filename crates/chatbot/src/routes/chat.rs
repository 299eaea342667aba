//! `POST /v1/chat`: one message in, one reply out, as JSON or as a stream of events.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::App;
use crate::conversation::{ConversationId, ConversationKey, StoreError, TenantId};
use crate::observe::RequestId;
use crate::problem::Problem;
use crate::stream;
use crate::turn::{self, Turn};

/// The largest request body.
const BODY_LIMIT: usize = 64 * 1024;
/// The longest message, in characters.
const MESSAGE_LIMIT: usize = 4_000;
/// How long a caller may take to send the body.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// What is asked. Unknown fields are ignored: old and new versions serve side by side in a deploy.
#[derive(Deserialize)]
struct ChatRequest {
    message: String,
    #[serde(default)]
    conversation_id: Option<String>,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    stream: Option<bool>,
}

/// Answers a message.
pub async fn chat(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let wants_events = accepts_events(request.headers());
    let asked = parse(request).await?;
    let tenant = match &asked.tenant {
        Some(name) => name.parse().map_err(|error| invalid("invalid_tenant", format!("{error}")))?,
        None => TenantId::default(),
    };
    let existing = match &asked.conversation_id {
        Some(id) => Some(id.parse().map_err(|error| invalid("invalid_conversation_id", format!("{error}")))?),
        None => None,
    };
    let (key, create) = match existing {
        Some(id) => (ConversationKey { tenant, id }, false),
        None => {
            let id = ConversationId::random().map_err(|error| store_problem(&app, error))?;
            (ConversationKey { tenant, id }, true)
        }
    };
    // The turn is on disk before the first byte goes out: a lost connection loses no answer.
    let turn = turn::take(&app, key, create, asked.message.trim()).await.map_err(|error| store_problem(&app, error))?;
    // The body's word is more particular than the header's.
    if asked.stream.unwrap_or(wants_events) {
        Ok(stream::respond(app, turn, request_id))
    } else {
        Ok(json_response(&whole(&turn)))
    }
}

/// The reply in one document.
fn whole(turn: &Turn) -> serde_json::Value {
    let reply = &turn.reply;
    json!({
        "schema": 1,
        "conversation_id": turn.key.id,
        "message_id": turn.message_id,
        "answer": reply.text,
        "language": reply.language,
        "outcome": reply.outcome,
        "confidence": turn.confidence(),
        "citations": reply.citations,
        "source": turn.source(),
        "finish_reason": turn.finish_reason(),
        "usage": turn.usage,
    })
}

async fn parse(request: Request) -> Result<ChatRequest, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Unsupported media type",
            "Send the body as application/json.",
        ));
    }
    let body = read(request.into_body()).await?;
    let asked: ChatRequest = serde_json::from_slice(&body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => invalid("invalid_request", describe(&error)),
        _ => Problem::new(StatusCode::BAD_REQUEST, "invalid_json", "The body is not JSON", describe(&error)),
    })?;
    if asked.message.trim().is_empty() {
        return Err(invalid("message_empty", "message has no text."));
    }
    let length = asked.message.chars().count();
    if length > MESSAGE_LIMIT {
        return Err(invalid(
            "message_too_long",
            format!("message has {length} characters, the most is {MESSAGE_LIMIT}."),
        ));
    }
    Ok(asked)
}

/// Where the JSON is wrong. The parser's own text may quote the message, so only safe parts are shown.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!("at line {} column {}", error.line(), error.column());
    if text.starts_with("missing field") { text } else { format!("The body is not as expected {place}.") }
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_PATIENCE, Limited::new(body, BODY_LIMIT).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is too large",
            format!("The most is {BODY_LIMIT} bytes."),
        )),
        Ok(Err(_)) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "The body ended early", "Send it again."))
        }
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "The body took too long",
            format!("It must arrive within {} seconds.", BODY_PATIENCE.as_secs()),
        )),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn accepts_events(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value
            .split(',')
            .any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream"))
    })
}

/// A request that is understood but cannot be accepted.
pub(super) fn invalid(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, "The request is not valid", detail)
}

/// A store's failure, counted when it is ours.
pub(super) fn store_problem(app: &App, error: StoreError) -> Problem {
    if !matches!(error, StoreError::NotFound | StoreError::Full) {
        app.metrics.store_failure();
    }
    error.into()
}

/// A JSON answer that nobody may cache.
pub(super) fn json_response<T: Serialize>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
        }
        Err(error) => {
            tracing::error!(error = %error, "an answer could not be written as JSON");
            Problem::internal().into_response()
        }
    }
}
