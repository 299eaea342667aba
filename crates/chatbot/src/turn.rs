//! One turn of a conversation: read what came before, reply, keep both.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::app::App;
use crate::conversation::{ConversationKey, Message, Role, StoreError, random_hex};
use crate::engine::{Outcome, Reply};

/// Messages read back to find the previous question.
const CONTEXT: usize = 4;

/// A turn that has been kept.
#[derive(Debug)]
pub struct Turn {
    /// The conversation.
    pub key: ConversationKey,
    /// The reply's id.
    pub message_id: String,
    /// The reply.
    pub reply: Reply,
    /// Its cost.
    pub usage: Usage,
}

/// What a turn used. The embedded engine has no tokens to bill, so characters are counted.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Usage {
    /// Characters of the message.
    pub input_characters: usize,
    /// Characters of the reply.
    pub output_characters: usize,
}

impl Turn {
    /// Where the text comes from.
    pub fn source(&self) -> &'static str {
        match self.reply.outcome {
            Outcome::Answer | Outcome::DidYouMean => "faq",
            Outcome::Handover => "handover",
        }
    }

    /// Why the reply ends where it ends.
    pub fn finish_reason(&self) -> &'static str {
        match self.reply.outcome {
            Outcome::Answer => "stop",
            Outcome::DidYouMean => "clarify",
            Outcome::Handover => "handover",
        }
    }

    /// Coverage of the best hit, three digits.
    pub fn confidence(&self) -> f64 {
        (f64::from(self.reply.confidence) * 1000.0).round() / 1000.0
    }
}

/// Replies to a message and keeps the turn.
pub async fn take(app: &App, key: ConversationKey, create: bool, message: &str) -> Result<Turn, StoreError> {
    let before = if create { Vec::new() } else { app.store.recent(&key, CONTEXT).await? };
    let previous = before.iter().rev().find(|stored| stored.message.role == Role::User);
    let reply = app.engine.reply(message, previous.map(|stored| stored.message.text.as_str()));

    let message_id = new_message_id()?;
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let asked = Message { id: new_message_id()?, role: Role::User, text: message.to_owned(), at_ms };
    let answered = Message { id: message_id.clone(), role: Role::Assistant, text: reply.text.clone(), at_ms };
    app.store.append(&key, vec![asked, answered], create).await?;

    app.metrics.reply(reply.outcome, reply.language, reply.follow_up);
    let usage = Usage { input_characters: message.chars().count(), output_characters: reply.text.chars().count() };
    Ok(Turn { key, message_id, reply, usage })
}

fn new_message_id() -> Result<String, StoreError> {
    Ok(format!("msg_{}", random_hex()?))
}
