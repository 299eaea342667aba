//! Conversations: read, followed, cancelled, rated and deleted, so that a reload or a lost connection loses nothing.

use std::sync::Arc;

use axum::extract::{Extension, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Caller;
use crate::app::App;
use crate::body;
use crate::clock::now_ms;
use crate::conversation::{
    ConversationId, ConversationKey, Failure, Feedback, FinishReason, Message, MessageId, Provenance, Rating, Role,
    Source, State as Answering, Status, StoreError, StoredMessage,
};
use crate::engine::{Citation, Outcome};
use crate::generation::{interrupted, stored};
use crate::idempotency::IsReply;
use crate::observe::RequestId;
use crate::privacy::mask;
use crate::problem::Problem;
use crate::stream;
use crate::turn::{Replying, Turn};

use super::chat::conversation_id;

/// Messages in one answer, unless asked otherwise.
const PAGE: usize = 50;
/// The most messages in one answer.
const LARGEST_PAGE: usize = 200;
/// How far back a message is looked for by its id.
const FINDABLE: usize = 200;
/// The longest comment on a reply, in characters.
const LONGEST_COMMENT: usize = 1_000;

/// A conversation and its last messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationView {
    schema: u32,
    id: ConversationId,
    conversation_id: ConversationId,
    state: Answering,
    messages: Vec<MessageView>,
    /// Where the next page of messages begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A message as callers see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageView {
    id: MessageId,
    seq: u64,
    role: Role,
    text: String,
    at_ms: u64,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    citations: Vec<Citation>,
    /// Questions to ask instead, when the message was only half understood.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suggestions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feedback: Option<Rating>,
}

impl From<StoredMessage> for MessageView {
    fn from(StoredMessage { seq, message }: StoredMessage) -> Self {
        let message = if message.is_orphaned(now_ms()) { interrupted(message) } else { message };
        let Message { id, role, text, at_ms, status, failure, provenance, feedback, .. } = message;
        let (outcome, source) = provenance.as_ref().map(|from| (from.outcome, from.source)).unzip();
        let suggestions = provenance.as_deref().map(Provenance::suggestions).unwrap_or_default();
        let suggestions = suggestions.into_iter().map(str::to_owned).collect();
        let citations = provenance.map(|from| from.citations).unwrap_or_default();
        let feedback = feedback.map(|feedback| feedback.rating);
        Self { id, seq, role, text, at_ms, status, failure, outcome, source, citations, suggestions, feedback }
    }
}

/// Which messages are wanted.
#[derive(Debug, Deserialize)]
pub struct PageQuery {
    /// `next_cursor` of the page before, or the `seq` of the last message that is known.
    cursor: Option<u64>,
    /// The most messages, 1 to 200; 50 without it.
    limit: Option<usize>,
}

/// A conversation with its last messages.
#[utoipa::path(
    get,
    path = "/v1/conversations/{id}",
    tag = "conversations",
    responses((status = 200, description = "The conversation.", body = ConversationView)),
)]
pub async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Result<Response, Problem> {
    let key = caller.conversation(conversation_id(&id)?);
    let conversation = app.conversation(&caller, &key, LARGEST_PAGE).await?;
    let messages = conversation.messages.into_iter().map(MessageView::from).collect();
    Ok(body::answer(&view(key, conversation.state, messages, None)))
}

/// The messages of a conversation, page by page, oldest first.
#[utoipa::path(
    get,
    path = "/v1/conversations/{id}/messages",
    tag = "conversations",
    params(
        ("cursor" = Option<u64>, Query, description = "`next_cursor` of the page before."),
        ("limit" = Option<usize>, Query, description = "1 to 200; 50 without it."),
    ),
    responses((status = 200, description = "A page of messages.", body = ConversationView)),
)]
pub async fn messages(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    query: Result<Query<PageQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|_| Problem::invalid("invalid_page", "cursor and limit are whole numbers."))?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid("invalid_page", format!("limit must be from 1 to {LARGEST_PAGE}.")));
    }
    let key = caller.conversation(conversation_id(&id)?);
    let page = app.store.page(&key, query.cursor.unwrap_or(0), limit + 1).await;
    let mut page = page.map_err(|error| app.store_problem(error))?;
    caller.see(page.owner.as_deref())?;
    let more = page.messages.len() > limit;
    page.messages.truncate(limit);
    let next = page.messages.last().filter(|_| more).map(|last| last.seq.to_string());
    let messages = page.messages.into_iter().map(MessageView::from).collect();
    Ok(body::answer(&view(key, page.state, messages, next)))
}

/// Forgets a conversation.
#[utoipa::path(
    delete,
    path = "/v1/conversations/{id}",
    tag = "conversations",
    responses((status = 204, description = "It is forgotten.")),
)]
pub async fn delete(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Result<Response, Problem> {
    let key = caller.conversation(conversation_id(&id)?);
    app.glance(&caller, &key).await?;
    app.store.delete(&key).await.map_err(|error| app.store_problem(error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Goes on with a reply's stream after `Last-Event-ID`, or replays it.
#[utoipa::path(
    get,
    path = "/v1/conversations/{id}/messages/{message_id}/events",
    tag = "conversations",
    params(("last-event-id" = Option<u64>, Header, description = "The last event that arrived.")),
    responses(
        (status = 200, description = "The rest of the reply.", content_type = "text/event-stream", body = String),
        (status = 204, description = "There is nothing more."),
    ),
)]
pub async fn events(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(request_id): Extension<RequestId>,
    Path((id, message_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(|id| id.trim().parse().ok()));
    let after = match after {
        None => 0,
        Some(Some(after)) => after,
        Some(None) => return Err(Problem::invalid("invalid_event_id", "Last-Event-ID is the number of an event.")),
    };
    let key = caller.conversation(conversation_id(&id)?);
    let (seq, message) = reply(&app, &caller, &key, reply_id(&message_id)?).await?;
    if stream::has_all(&message, after) {
        // The one answer after which browsers stop asking again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let reply = replying(&app, &key, seq, message);
    Ok(stream::respond(app, key, reply, after, request_id))
}

/// A kept reply, and what still comes of it: its own process tells, another's has to be asked.
fn replying(app: &Arc<App>, key: &ConversationKey, seq: u64, message: Message) -> Replying {
    match (message.status, app.generations.find(key, message.id)) {
        (Status::Generating, Some(generation)) => Replying::Live(generation.subscribe()),
        (Status::Generating, None) => Replying::Live(stream::follow(app, key, seq, message)),
        _ => Replying::Whole(message),
    }
}

/// The turn that a request has taken already, for one that is sent again under its `Idempotency-Key`.
pub async fn taken(app: &Arc<App>, caller: &Caller, reply_of: IsReply) -> Result<Turn, Problem> {
    let key = caller.conversation(reply_of.conversation);
    let (seq, message) = reply(app, caller, &key, reply_of.message_id).await?;
    let reply = replying(app, &key, seq, message);
    Ok(Turn { key, reply })
}

/// Stops a reply that is being generated; what is written of it is kept.
#[utoipa::path(
    post,
    path = "/v1/conversations/{id}/messages/{message_id}/cancel",
    tag = "conversations",
    responses((status = 202, description = "It is being stopped.")),
)]
pub async fn cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, message_id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let key = caller.conversation(conversation_id(&id)?);
    let (seq, message) = reply(&app, &caller, &key, reply_id(&message_id)?).await?;
    if let Some(generation) = app.generations.find(&key, message.id) {
        generation.cancel();
    } else if message.status == Status::Generating {
        // Another process generates it; it notices when it next writes.
        let mut cancelled = Message { status: Status::Cancelled, lease_until_ms: None, ..message };
        if let Some(provenance) = &mut cancelled.provenance {
            provenance.finish_reason = FinishReason::Cancelled;
        }
        match app.store.revise(&key, seq, &cancelled).await {
            Ok(()) | Err(StoreError::Conflict) => {}
            Err(error) => return Err(app.store_problem(error)),
        }
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

/// What somebody thinks of a reply.
#[derive(Debug, Deserialize, ToSchema)]
pub struct FeedbackRequest {
    /// `up` or `down`.
    rating: Rating,
    /// In their own words; at most 1,000 characters.
    #[serde(default)]
    comment: Option<String>,
}

/// Rates a reply; a later rating replaces an earlier one.
#[utoipa::path(
    post,
    path = "/v1/conversations/{id}/messages/{message_id}/feedback",
    tag = "conversations",
    request_body = FeedbackRequest,
    responses((status = 204, description = "It is kept.")),
)]
pub async fn feedback(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, message_id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let key = caller.conversation(conversation_id(&id)?);
    let FeedbackRequest { rating, comment } = body::json(request).await?;
    let comment = comment.map(|comment| mask(comment.trim()).into_owned()).filter(|comment| !comment.is_empty());
    if comment.as_ref().is_some_and(|comment| comment.chars().count() > LONGEST_COMMENT) {
        let detail = format!("comment has more than {LONGEST_COMMENT} characters.");
        return Err(Problem::invalid("comment_too_long", detail));
    }
    let (seq, message) = reply(&app, &caller, &key, reply_id(&message_id)?).await?;
    if message.status == Status::Generating {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "reply_in_progress",
            "The reply is not finished",
            "Rate it when it is.",
        ));
    }
    let rated = app.store.rate(&key, seq, Feedback { rating, comment }).await;
    rated.map_err(|error| app.store_problem(error))?;
    if message.feedback.is_none() {
        app.ledger.count(&key.tenant, |book, day| match rating {
            Rating::Up => book.day(day).rated_up += 1,
            Rating::Down => book.day(day).rated_down += 1,
        });
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A reply of a conversation that this caller may see, with its number.
async fn reply(app: &App, caller: &Caller, key: &ConversationKey, id: MessageId) -> Result<(u64, Message), Problem> {
    let conversation = app.conversation(caller, key, FINDABLE).await?;
    let found = conversation.messages.into_iter().rev().find(|stored| stored.message.id == id);
    let found = found.filter(|stored| stored.message.role != Role::User).ok_or_else(no_such_reply)?;
    let StoredMessage { seq, message } = found;
    if !message.is_orphaned(now_ms()) {
        return Ok((seq, message));
    }
    let message = stored(app.store.as_ref(), key, seq).await.map_err(|error| app.store_problem(error))?;
    Ok((seq, message))
}

/// A reply's id from outside.
fn reply_id(id: &str) -> Result<MessageId, Problem> {
    id.parse().map_err(|_| no_such_reply())
}

fn no_such_reply() -> Problem {
    let detail = "GET the conversation's messages for their ids.";
    Problem::new(StatusCode::NOT_FOUND, "message_not_found", "No such reply", detail)
}

fn view(
    key: ConversationKey,
    state: Answering,
    messages: Vec<MessageView>,
    next_cursor: Option<String>,
) -> ConversationView {
    ConversationView { schema: 1, id: key.id, conversation_id: key.id, state, messages, next_cursor }
}
