//! From bot to person and back: who answers in a conversation, and who is told.
//!
//! ```text
//! bot ──> pending_human ──> human ──> bot | closed
//! ```
//! The bot goes on answering while a person is waited for, and is silent while one answers.

use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::clock::now_ms;
use crate::conversation::{ConversationKey, Message, MessageId, Role, State, StoredMessage};
use crate::privacy::mask;
use crate::problem::Problem;
use crate::random;
use crate::tenant::Tenant;
use crate::trace;
use crate::webhook::Event;

/// Messages that go with the request for a person.
const CONTEXT: usize = 10;

/// What is told to a tenant's systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person is asked for.
    Requested,
    /// Who answers has changed.
    StateChanged,
    /// Somebody wrote in a conversation that a person answers.
    MessageReceived,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Requested => "handoff.requested",
            Kind::StateChanged => "conversation.state_changed",
            Kind::MessageReceived => "message.received",
        }
    }
}

/// A message as the webhook shows it: masked.
#[derive(Serialize)]
struct Line {
    id: MessageId,
    role: Role,
    text: String,
    at_ms: u64,
}

impl From<&Message> for Line {
    fn from(message: &Message) -> Self {
        let text = mask(&message.text).into_owned();
        Self { id: message.id, role: message.role, text, at_ms: message.at_ms }
    }
}

/// Asks for a person; returns the state after it. Asking twice changes nothing.
pub async fn request(
    app: &App,
    tenant: &Tenant,
    key: &ConversationKey,
    from: State,
    reason: Option<&str>,
) -> Result<State, Problem> {
    match from {
        State::Bot => {}
        State::PendingHuman | State::Human => return Ok(from),
        State::Closed => return Err(Problem::closed()),
    }
    let to = State::PendingHuman;
    app.store.transition(key, from, to).await.map_err(|error| app.store_problem(error))?;
    app.ledger.count(&key.tenant, |book, day| book.day(day).handoffs += 1);
    let recent = app.store.load(key, CONTEXT).await.map_err(|error| app.store_problem(error))?;
    let lines: Vec<Line> = recent.messages.iter().map(|StoredMessage { message, .. }| Line::from(message)).collect();
    let data = json!({"reason": reason.map(|reason| mask(reason).into_owned()), "messages": lines});
    tell(app, tenant, Kind::Requested, key, to, data).await?;
    Ok(to)
}

/// Moves a conversation to another state.
pub async fn transition(
    app: &App,
    tenant: &Tenant,
    key: &ConversationKey,
    from: State,
    to: State,
) -> Result<(), Problem> {
    if from == to {
        return Ok(());
    }
    if !from.may_become(to) {
        return Err(Problem::new(
            http::StatusCode::CONFLICT,
            "invalid_transition",
            "The conversation cannot go there",
            format!("It is {} and cannot become {}.", from.name(), to.name()),
        ));
    }
    app.store.transition(key, from, to).await.map_err(|error| app.store_problem(error))?;
    tell(app, tenant, Kind::StateChanged, key, to, json!({"from": from})).await
}

/// Tells of a message that a person must answer.
pub async fn received(app: &App, tenant: &Tenant, key: &ConversationKey, message: &Message) -> Result<(), Problem> {
    tell(app, tenant, Kind::MessageReceived, key, State::Human, json!({"message": Line::from(message)})).await
}

/// Keeps an event for the tenant's webhook, if it has one.
async fn tell(
    app: &App,
    tenant: &Tenant,
    kind: Kind,
    key: &ConversationKey,
    state: State,
    data: serde_json::Value,
) -> Result<(), Problem> {
    if tenant.settings.handoff.is_none() {
        return Ok(());
    }
    let at_ms = now_ms();
    let id = format!("evt_{at_ms:013}_{}", random::hex().map_err(|_| Problem::internal())?);
    let mut data = data;
    data["conversation_id"] = json!(key.id);
    data["state"] = json!(state);
    let body = json!({"id": id, "type": kind.name(), "timestamp_ms": at_ms, "tenant": key.tenant, "data": data});
    let traceparent = trace::current().map(|trace| trace.header());
    let event = Event { id, tenant: key.tenant.clone(), at_ms, body: body.to_string(), traceparent };
    app.webhooks.send(event).await.map_err(|error| {
        tracing::error!(error = %error, "a webhook event cannot be kept");
        Problem::internal()
    })
}
