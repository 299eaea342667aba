//! `POST /v1/chat`: one message in, one reply out, as JSON or as a stream of events.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::access::Caller;
use crate::app::App;
use crate::body;
use crate::conversation::{ConversationId, ConversationKey, FinishReason, Message, MessageId, Source, Status, Usage};
use crate::engine::{Citation, Outcome};
use crate::idempotency::{IDEMPOTENCY_KEY, IsReply};
use crate::observe::RequestId;
use crate::problem::Problem;
use crate::stream;
use crate::text::Language;
use crate::turn::{self, Asked, Replying, Turn};

/// The longest message, in characters.
pub const MESSAGE_LIMIT: usize = 4_000;
/// How long a reply in one document may take. It goes on after that, for whoever asks again.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked. Unknown fields are ignored: old and new versions serve side by side in a deploy.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// What the person wrote; at most 4,000 characters.
    message: String,
    /// The conversation to go on with; without it a new one begins.
    #[serde(default)]
    conversation_id: Option<String>,
    /// The language to reply in, as a tag such as `ja` or `en-GB`, where the reply exists in it. Without one, or
    /// with one that is not spoken here, the message's.
    #[serde(default)]
    locale: Option<String>,
    /// True for server-sent events, in place of what `Accept` says.
    #[serde(default)]
    stream: Option<bool>,
}

/// A reply in one document.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatReply<'a> {
    schema: u32,
    conversation_id: ConversationId,
    message_id: MessageId,
    answer: &'a str,
    status: Status,
    #[serde(flatten)]
    provenance: Option<ProvenanceView<'a>>,
}

/// Where a reply comes from.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProvenanceView<'a> {
    language: Language,
    outcome: Outcome,
    confidence: f64,
    citations: &'a [Citation],
    /// Questions to ask instead, when the message was only half understood.
    suggestions: Vec<&'a str>,
    source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    finish_reason: FinishReason,
    usage: Usage,
}

/// Answers a message.
#[utoipa::path(
    post,
    path = "/v1/chat",
    tag = "chat",
    request_body = ChatRequest,
    responses(
        (
            status = 200,
            description = "The reply, as a document or as server-sent events: start, delta, citations, done or error.",
            content((ChatReply<'_> = "application/json"), (String = "text/event-stream")),
        ),
    ),
)]
pub async fn chat(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let wants_events = accepts_events(request.headers());
    let once = request.headers().contains_key(IDEMPOTENCY_KEY);
    let asked: ChatRequest = body::json(request).await?;
    let message = text(&asked.message)?;
    let conversation = asked.conversation_id.as_deref().map(conversation_id).transpose()?;
    let locale = asked.locale.as_deref().and_then(Language::of_tag);
    // The question is kept before the first byte goes out: a lost connection loses nothing.
    let turn = turn::take(&app, &caller, Asked { conversation, message, locale, ..Asked::default() }).await?;
    let is_reply = once.then(|| IsReply::of(&turn));
    // The body's word is more particular than the header's.
    let response = respond(&app, turn, asked.stream.unwrap_or(wants_events), request_id).await;
    Ok(IsReply::mark(is_reply, response))
}

/// Answers a request that was sent again under its `Idempotency-Key`: with the reply as it stands now.
pub async fn again(app: &Arc<App>, turn: Turn, request: Request) -> Result<Response, Problem> {
    let request_id = request.extensions().get::<RequestId>().cloned().ok_or_else(Problem::internal)?;
    let wants_events = accepts_events(request.headers());
    let asked: ChatRequest = body::json(request).await?;
    Ok(respond(app, turn, asked.stream.unwrap_or(wants_events), request_id).await)
}

/// A turn's reply, as events or as one document.
async fn respond(app: &Arc<App>, turn: Turn, events: bool, request_id: RequestId) -> Response {
    if events {
        stream::respond(Arc::clone(app), turn.key, turn.reply, 0, request_id)
    } else {
        finished(&turn.key, turn.reply).await.map(|message| whole(&turn.key, &message)).into_response()
    }
}

/// Waits for the end of a reply.
pub(super) async fn finished(key: &ConversationKey, reply: Replying) -> Result<Message, Problem> {
    let message = match reply {
        Replying::Whole(message) => message,
        Replying::Live(mut message) => {
            let ended = timeout(PATIENCE, message.wait_for(|message| message.status != Status::Generating)).await;
            match ended {
                Ok(Ok(message)) => message.clone(),
                Ok(Err(_)) => return Err(Problem::internal()),
                Err(_) => return Err(slow(key)),
            }
        }
    };
    match (message.status, message.failure) {
        (Status::Failed, Some(failure)) => Err(Problem::reply_failed(failure)),
        _ => Ok(message),
    }
}

fn slow(key: &ConversationKey) -> Problem {
    let detail = format!("It goes on: GET /v1/conversations/{}/messages.", key.id);
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "reply_slow", "The reply takes long", detail).retry_after(2)
}

fn whole(key: &ConversationKey, message: &Message) -> Response {
    let provenance = message.provenance.as_ref().map(|provenance| ProvenanceView {
        language: provenance.language,
        outcome: provenance.outcome,
        confidence: provenance.confidence,
        citations: &provenance.citations,
        suggestions: provenance.suggestions(),
        source: provenance.source,
        model: provenance.model.as_deref(),
        finish_reason: provenance.finish_reason,
        usage: provenance.usage,
    });
    body::answer(&ChatReply {
        schema: 1,
        conversation_id: key.id,
        message_id: message.id,
        answer: &message.text,
        status: message.status,
        provenance,
    })
}

/// A message's text within its limits.
pub(super) fn text(message: &str) -> Result<&str, Problem> {
    let message = message.trim();
    if message.is_empty() {
        return Err(Problem::invalid("message_empty", "message has no text."));
    }
    // Bytes first: counting is for the long ones only.
    let length = if message.len() > MESSAGE_LIMIT { message.chars().count() } else { 0 };
    if length > MESSAGE_LIMIT {
        let detail = format!("message has {length} characters, the most is {MESSAGE_LIMIT}.");
        return Err(Problem::invalid("message_too_long", detail));
    }
    Ok(message)
}

/// A conversation's id from outside.
pub(super) fn conversation_id(id: &str) -> Result<ConversationId, Problem> {
    id.parse().map_err(|error| Problem::invalid("invalid_conversation_id", format!("{error}")))
}

fn accepts_events(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value
            .split(',')
            .any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream"))
    })
}
