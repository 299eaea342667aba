//! One turn of a conversation: read what came before, keep the question, reply.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use tokio::sync::watch;

use crate::access::Caller;
use crate::answer::{Question, Writing};
use crate::app::App;
use crate::clock::now_ms;
use crate::conversation::{
    ConversationId, ConversationKey, FinishReason, Glance, Message, MessageId, Provenance, Role, Source, State, Status,
    StoredMessage, Usage, question,
};
use crate::engine::{Citation, Outcome, Reply};
use crate::generation::{Fallback, Hub, LEASE_MS};
use crate::handoff;
use crate::privacy::mask;
use crate::problem::Problem;
use crate::text::Language;

/// Messages read back for a model's context.
const CONTEXT: usize = 12;
/// Characters of a question without an answer that analytics keep.
const LONGEST_QUESTION: usize = 300;
/// Entries shown to a model.
const PASSAGES: usize = 5;
/// Entries named as a model's sources: the best of those it was shown.
const CITATIONS: usize = 3;

/// What somebody asks.
#[derive(Debug, Default)]
pub struct Asked<'a> {
    /// The conversation to go on with; without it a new one begins.
    pub conversation: Option<ConversationId>,
    /// What was said before a new conversation, by a caller that keeps it itself.
    pub told: &'a [StoredMessage],
    /// The message.
    pub message: &'a str,
    /// The language to reply in; without it the message's.
    pub locale: Option<Language>,
}

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
    Whole(Message),
    /// It is being generated.
    Live(watch::Receiver<Message>),
}

impl Replying {
    /// The reply's id.
    pub fn id(&self) -> MessageId {
        match self {
            Self::Whole(message) => message.id,
            Self::Live(message) => message.borrow().id,
        }
    }

    /// The reply as it comes; one that is all there does not change any more.
    pub fn watch(self) -> watch::Receiver<Message> {
        match self {
            Self::Whole(message) => watch::channel(message).1,
            Self::Live(message) => message,
        }
    }
}

/// Takes a message and begins the reply: in a new conversation, or in one that this caller may see.
pub async fn take(app: &Arc<App>, caller: &Caller, asked: Asked<'_>) -> Result<Turn, Problem> {
    let Asked { conversation, told, message, locale } = asked;
    app.admit_message(caller).await?;
    let mut history = Cow::Borrowed(told);
    let (key, before) = match conversation {
        Some(id) => {
            let key = caller.conversation(id);
            let before = match app.writer {
                Some(_) => {
                    let conversation = app.conversation(caller, &key, CONTEXT).await?;
                    let before = conversation.glance();
                    history = Cow::Owned(conversation.messages);
                    before
                }
                None => app.glance(caller, &key).await?,
            };
            (key, Some(before))
        }
        None => (caller.conversation(app.store.name(caller.tenant.id()).map_err(|_| Problem::internal())?), None),
    };
    let state = before.as_ref().map_or(State::Bot, |before| before.state);
    let asked = Message::new(MessageId::unique(), Role::User, message.to_owned(), now_ms());
    match state {
        State::Bot | State::PendingHuman => {}
        // Rare, and its state is large: every request would carry it along.
        State::Human => return Box::pin(silent(app, caller, key, asked, locale)).await,
        State::Closed => return Err(Problem::closed()),
    }
    refuse_while_generating(before.as_ref(), asked.at_ms)?;

    // A short question may go on with the one before.
    let previous = before.as_ref().map_or_else(|| question(told), |before| before.question.as_deref());
    let mut reply = caller.tenant.engine.reply(message, previous, locale);
    app.metrics.reply(reply.outcome, reply.language, reply.follow_up);

    let writing = match reply.outcome {
        Outcome::Answer => None,
        Outcome::DidYouMean | Outcome::Handover => writing(app, caller, &history, message, reply.language).await?,
    };
    let provenance = provenance(&mut reply, message);
    let mut answer = Message::new(MessageId::unique(), Role::Assistant, String::new(), asked.at_ms);
    let Some((writing, citations)) = writing else {
        answer.text = reply.text;
        answer.provenance = Some(provenance.into());
        let messages = [asked, answer];
        keep(app, caller, &key, before.as_ref(), &messages).await?;
        let [_, answer] = messages;
        count_reply(app, &key, message, &answer);
        return Ok(Turn { key, reply: Replying::Whole(answer) });
    };

    answer.status = Status::Generating;
    answer.lease_until_ms = Some(now_ms() + LEASE_MS);
    answer.provenance = Some(Box::new(Provenance {
        outcome: Outcome::Answer,
        source: Source::Model,
        finish_reason: FinishReason::Stop,
        citations,
        ..provenance.clone()
    }));
    let messages = [asked, answer];
    let seq = keep(app, caller, &key, before.as_ref(), &messages).await? + 1;
    let [_, answer] = messages;
    let fallback =
        Fallback { tenant: Arc::clone(&caller.tenant), question: message.to_owned(), text: reply.text, provenance };
    let live = Hub::start(app, key.clone(), seq, answer, writing, fallback);
    Ok(Turn { key, reply: Replying::Live(live) })
}

/// Keeps the turn's messages; returns the number of the first.
async fn keep(
    app: &App,
    caller: &Caller,
    key: &ConversationKey,
    before: Option<&Glance>,
    messages: &[Message],
) -> Result<u64, Problem> {
    let kept = match before {
        Some(before) => app.store.append(key, before.state, messages).await,
        None => app.store.create(key, caller.end_user.as_deref(), messages).await.map(|()| 1),
    };
    let first = kept.map_err(|error| app.store_problem(error))?;
    count_message(app, key, before.is_none(), &messages[0].text);
    Ok(first)
}

/// A person answers here: the message is kept, and nothing is said.
async fn silent(
    app: &App,
    caller: &Caller,
    key: ConversationKey,
    asked: Message,
    locale: Option<Language>,
) -> Result<Turn, Problem> {
    let kept = app.store.append(&key, State::Human, std::slice::from_ref(&asked)).await;
    kept.map_err(|error| app.store_problem(error))?;
    count_message(app, &key, false, &asked.text);
    handoff::received(app, &caller.tenant, &key, &asked).await?;
    let language = locale.or_else(|| Language::of(&asked.text)).unwrap_or(Language::Ja);
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
    let answer = Message { text: String::new(), provenance: Some(provenance.into()), ..asked };
    Ok(Turn { key, reply: Replying::Whole(answer) })
}

/// One reply at a time: the next question may depend on it.
fn refuse_while_generating(before: Option<&Glance>, now_ms: u64) -> Result<(), Problem> {
    if !before.is_some_and(|before| before.is_generating(now_ms)) {
        return Ok(());
    }
    let (title, detail) = ("The previous reply is not finished", "Wait for it, or cancel it.");
    Err(Problem::new(StatusCode::CONFLICT, "reply_in_progress", title, detail).retry_after(1))
}

/// An answer by a model, and the entries it rests on; `None` where no model may write one.
async fn writing(
    app: &App,
    caller: &Caller,
    history: &[StoredMessage],
    message: &str,
    language: Language,
) -> Result<Option<(Writing, Vec<Citation>)>, Problem> {
    let tenant = &caller.tenant;
    let Some(writer) = app.writer.as_ref().filter(|_| app.generations.has_room()) else { return Ok(None) };
    if !app.ledger.admits_tokens(tenant.id(), &tenant.settings.limits).await? {
        return Ok(None);
    }
    let passages = tenant.engine.nearest(message, PASSAGES);
    let citations = passages.iter().take(CITATIONS).map(|passage| passage.citation.clone()).collect();
    let writing = writer.write(Question {
        tenant: Arc::clone(tenant),
        message: message.to_owned(),
        history: history.to_vec(),
        passages,
        language,
    });
    Ok(writing.map(|writing| (writing, citations)))
}

/// Where a reply of the engine comes from; takes its citations.
fn provenance(reply: &mut Reply, message: &str) -> Provenance {
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
        citations: std::mem::take(&mut reply.citations),
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

fn count_message(app: &App, key: &ConversationKey, first: bool, text: &str) {
    let characters = text.chars().count() as u64;
    app.ledger.count(&key.tenant, |book, day| {
        let day = book.day(day);
        day.conversations += u64::from(first);
        day.messages += 1;
        day.input_characters += characters;
    });
}

/// Counts a reply that has come to its end, and notes a question that it does not answer.
pub fn count_reply(app: &App, key: &ConversationKey, question: &str, reply: &Message) {
    let Some(provenance) = &reply.provenance else { return };
    let usage = provenance.usage;
    let (outcome, failed) = (provenance.outcome, reply.status == Status::Failed);
    let unanswered = (outcome != Outcome::Answer || failed).then(|| shorten(&mask(question)));
    app.ledger.count(&key.tenant, |book, day| {
        if let Some(question) = unanswered {
            let language = Language::of(&question).unwrap_or(provenance.language);
            book.question(&question, reply.at_ms, language, outcome);
        }
        let day = book.day(day);
        match (failed, provenance.source, outcome) {
            (true, ..) => day.failed += 1,
            (_, Source::Model, _) => day.model_replies += 1,
            (_, _, Outcome::Answer) => day.answered += 1,
            (_, _, Outcome::DidYouMean) => day.did_you_mean += 1,
            (_, _, Outcome::Handover) => day.handed_over += 1,
        }
        day.output_characters += usage.output_characters;
        day.input_tokens += usage.input_tokens.unwrap_or(0);
        day.output_tokens += usage.output_tokens.unwrap_or(0);
    });
}

/// The beginning of a question, on one line.
fn shorten(question: &str) -> String {
    let words: Vec<&str> = question.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST_QUESTION).collect()
}
