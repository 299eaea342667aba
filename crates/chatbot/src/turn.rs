//! One turn of a conversation: read what came before, keep the question, reply.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::watch;

use crate::access::Caller;
use crate::answer::Question;
use crate::app::App;
use crate::clock::now_ms;
use crate::conversation::{
    Conversation, ConversationId, ConversationKey, FinishReason, Message, Provenance, Role, Source, State, Status,
    StoreError, Usage,
};
use crate::engine::{Outcome, Reply};
use crate::generation::{Fallback, Hub, LEASE_MS};
use crate::problem::Problem;
use crate::random;

/// Messages read back: for the previous question, and for a model's context.
const CONTEXT: usize = 12;
/// Entries shown to a model.
const PASSAGES: usize = 5;

/// A turn whose question has been kept.
#[derive(Debug)]
pub struct Turn {
    /// The conversation.
    pub key: ConversationKey,
    /// The reply.
    pub reply: Replying,
}

/// A reply on its way.
#[derive(Debug)]
pub enum Replying {
    /// It is all there, and kept.
    Whole(Box<Message>),
    /// It is being generated.
    Live(watch::Receiver<Message>),
}

/// Takes a message and begins the reply: in a new conversation, or in one that this caller may see.
pub async fn take(
    app: &Arc<App>,
    caller: &Caller,
    conversation: Option<ConversationId>,
    message: &str,
) -> Result<Turn, Problem> {
    let (key, before) = match conversation {
        Some(id) => {
            let key = caller.conversation(id);
            let before = app.conversation(caller, &key, CONTEXT).await?;
            (key, Some(before))
        }
        None => (caller.conversation(ConversationId::random().map_err(|_| Problem::internal())?), None),
    };
    let state = before.as_ref().map_or(State::Bot, |before| before.state);
    let asked = Message::new(message_id()?, Role::User, message.to_owned(), now_ms());
    match state {
        State::Bot | State::PendingHuman => {}
        State::Human => return silent(app, key, asked).await,
        State::Closed => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "conversation_closed",
                "The conversation is closed",
                "Leave conversation_id out to start a new conversation.",
            ));
        }
    }
    refuse_while_generating(before.as_ref())?;

    let previous = before.iter().flat_map(|before| &before.messages).rev();
    let previous = previous.map(|stored| &stored.message).find(|message| message.role == Role::User);
    let reply = caller.tenant.engine.reply(message, previous.map(|message| message.text.as_str()));
    app.metrics.reply(reply.outcome, reply.language, reply.follow_up);

    let writing =
        if reply.outcome == Outcome::Answer { None } else { writing(app, caller, before.as_ref(), message, &reply) };
    let provenance = provenance(&reply, message);
    let mut answer = Message::new(message_id()?, Role::Assistant, String::new(), now_ms());
    let Some(writing) = writing else {
        answer.text = reply.text;
        answer.provenance = Some(provenance);
        let turn = [asked, answer];
        keep(app, caller, &key, before.as_ref(), &turn).await?;
        let [_, answer] = turn;
        app.turn_ended(&key, &answer);
        return Ok(Turn { key, reply: Replying::Whole(Box::new(answer)) });
    };

    let citations = caller.tenant.engine.nearest(message, PASSAGES).into_iter().map(|passage| passage.citation);
    answer.status = Status::Generating;
    answer.lease_until_ms = Some(now_ms() + LEASE_MS);
    answer.provenance = Some(Provenance {
        outcome: Outcome::Answer,
        source: Source::Model,
        finish_reason: FinishReason::Stop,
        citations: citations.collect(),
        ..provenance.clone()
    });
    let seq = keep(app, caller, &key, before.as_ref(), &[asked, answer.clone()]).await? + 1;
    let fallback = Fallback { text: reply.text, provenance };
    let live = Hub::start(app, key.clone(), seq, answer, writing, fallback);
    Ok(Turn { key, reply: Replying::Live(live) })
}

/// Keeps the turn's messages; returns the number of the first.
async fn keep(
    app: &App,
    caller: &Caller,
    key: &ConversationKey,
    before: Option<&Conversation>,
    messages: &[Message],
) -> Result<u64, Problem> {
    let kept = match before {
        Some(before) => app.store.append(key, before.state, messages).await,
        None => app.store.create(key, caller.end_user.as_deref(), messages).await.map(|()| 1),
    };
    kept.map_err(|error| app.store_problem(error))
}

/// A person answers here: the message is kept, and nothing is said.
async fn silent(app: &App, key: ConversationKey, asked: Message) -> Result<Turn, Problem> {
    let kept = app.store.append(&key, State::Human, std::slice::from_ref(&asked)).await;
    kept.map_err(|error| app.store_problem(error))?;
    let language = crate::text::Language::of(&asked.text).unwrap_or(crate::text::Language::Ja);
    let provenance = Provenance {
        outcome: Outcome::Handover,
        language,
        confidence: 0.0,
        source: Source::Human,
        model: None,
        finish_reason: FinishReason::Human,
        citations: Vec::new(),
        usage: usage(&asked.text, ""),
    };
    let answer = Message { text: String::new(), provenance: Some(provenance), ..asked };
    Ok(Turn { key, reply: Replying::Whole(Box::new(answer)) })
}

/// One reply at a time: the next question may depend on it.
fn refuse_while_generating(before: Option<&Conversation>) -> Result<(), Problem> {
    let last = before.and_then(|before| before.messages.last()).map(|stored| &stored.message);
    match last {
        Some(last) if last.status == Status::Generating && !last.is_orphaned(now_ms()) => Err(Problem::new(
            StatusCode::CONFLICT,
            "reply_in_progress",
            "The previous reply is not finished",
            "Wait for it, or cancel it.",
        )
        .retry_after(1)),
        _ => Ok(()),
    }
}

fn writing(
    app: &App,
    caller: &Caller,
    before: Option<&Conversation>,
    message: &str,
    reply: &Reply,
) -> Option<crate::answer::Writing> {
    let writer = app.writer.as_ref().filter(|_| app.generations.has_room())?;
    writer.write(Question {
        tenant: Arc::clone(&caller.tenant),
        message: message.to_owned(),
        history: before.map(|before| before.messages.clone()).unwrap_or_default(),
        passages: caller.tenant.engine.nearest(message, PASSAGES),
        language: reply.language,
    })
}

fn provenance(reply: &Reply, message: &str) -> Provenance {
    let (source, finish_reason) = match reply.outcome {
        Outcome::Answer => (Source::Faq, FinishReason::Stop),
        Outcome::DidYouMean => (Source::Faq, FinishReason::Clarify),
        Outcome::Handover => (Source::Handover, FinishReason::Handover),
    };
    Provenance {
        outcome: reply.outcome,
        language: reply.language,
        confidence: (f64::from(reply.confidence) * 1000.0).round() / 1000.0,
        source,
        model: None,
        finish_reason,
        citations: reply.citations.clone(),
        usage: usage(message, &reply.text),
    }
}

fn usage(asked: &str, answered: &str) -> Usage {
    Usage {
        input_characters: asked.chars().count() as u64,
        output_characters: answered.chars().count() as u64,
        ..Usage::default()
    }
}

/// A new message's id.
pub fn message_id() -> Result<String, Problem> {
    Ok(format!("msg_{}", random::hex().map_err(StoreError::Io)?))
}
