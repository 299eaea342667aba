//! A person takes over: asked for by whoever chats, answered by the tenant's agents.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Caller;
use crate::app::App;
use crate::body;
use crate::clock::now_ms;
use crate::conversation::{Message, MessageId, Role, State as Answering};
use crate::handoff;
use crate::problem::Problem;

use super::chat::{conversation_id, text};

/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// Why a person is needed.
#[derive(Debug, Deserialize, ToSchema)]
pub struct HandoffRequest {
    /// In the asker's words; at most 500 characters.
    #[serde(default)]
    reason: Option<String>,
}

/// Who answers now.
#[derive(Debug, Serialize, ToSchema)]
pub struct StateReply {
    state: Answering,
}

/// Asks for a person.
#[utoipa::path(
    post,
    path = "/v1/conversations/{id}/handoff",
    tag = "handoff",
    request_body = HandoffRequest,
    responses((status = 200, description = "Who answers now.", body = StateReply)),
)]
pub async fn request(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let key = caller.conversation(conversation_id(&id)?);
    let HandoffRequest { reason } = body::json(request).await?;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        return Err(Problem::invalid("reason_too_long", format!("reason has more than {LONGEST_REASON} characters.")));
    }
    let from = app.glance(&caller, &key).await?.state;
    let state = handoff::request(&app, &caller.tenant, &key, from, reason.as_deref()).await?;
    Ok(body::answer(&StateReply { state }))
}

/// What an agent says.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AgentReply {
    /// At most 4,000 characters.
    text: String,
}

/// A message that was kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeptReply {
    message_id: MessageId,
    seq: u64,
    state: Answering,
}

/// Answers as a person. Whoever answers has taken over.
#[utoipa::path(
    post,
    path = "/v1/conversations/{id}/replies",
    tag = "handoff",
    request_body = AgentReply,
    responses((status = 200, description = "The message is kept.", body = KeptReply)),
)]
pub async fn reply(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let key = caller.conversation(conversation_id(&id)?);
    let asked: AgentReply = body::json(request).await?;
    let id = MessageId::unique();
    let message = Message::new(id, Role::Agent, text(&asked.text)?.to_owned(), now_ms());
    let state = app.glance(&caller, &key).await?.state;
    if state == Answering::Closed {
        return Err(Problem::closed());
    }
    handoff::transition(&app, &caller.tenant, &key, state, Answering::Human).await?;
    let kept = app.store.append(&key, Answering::Human, std::slice::from_ref(&message)).await;
    let seq = kept.map_err(|error| app.store_problem(error))?;
    Ok(body::answer(&KeptReply { message_id: id, seq, state: Answering::Human }))
}

/// Who should answer.
#[derive(Debug, Deserialize, ToSchema)]
pub struct StateRequest {
    /// `human`, `bot` or `closed`.
    state: Answering,
}

/// Takes a conversation over, gives it back or closes it.
#[utoipa::path(
    post,
    path = "/v1/conversations/{id}/state",
    tag = "handoff",
    request_body = StateRequest,
    responses((status = 200, description = "Who answers now.", body = StateReply)),
)]
pub async fn state(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let key = caller.conversation(conversation_id(&id)?);
    let StateRequest { state } = body::json(request).await?;
    let from = app.glance(&caller, &key).await?.state;
    handoff::transition(&app, &caller.tenant, &key, from, state).await?;
    Ok(body::answer(&StateReply { state }))
}
