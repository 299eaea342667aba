//! What is in memory of a segment's conversations.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;

use super::super::{Conversation, ConversationId, Glance, Message, Role, State, StoredMessage};
use super::line::Line;

/// The most bytes that a segment's conversations take in memory together, about.
const KEPT_BYTES: usize = 128 * 1024;

/// A conversation's messages by their numbers.
pub(super) type Messages = BTreeMap<u64, Message>;

/// No message has a number after this one.
pub(super) const NO_MESSAGES: u64 = u64::MAX;

/// What is in memory of a conversation: all that a turn needs which no model writes. Its messages are in the file, and a
/// model's longer context is read from there, which takes nothing beside the model. What stays is small, so that what
/// turns leave in memory does not drive what they need out of the caches.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) owner: Option<Arc<str>>,
    pub(super) state: State,
    /// The number of the last message, 0 without one.
    pub(super) last: u64,
    /// Bytes of all its lines.
    pub(super) size: u64,
    /// Where in the file the last line ends that this process wrote of it.
    pub(super) end: u64,
    /// See [`Glance::generating_until_ms`].
    pub(super) generating_until_ms: Option<u64>,
    question: Option<Arc<str>>,
    /// The number of the question, 0 without one.
    asked: u64,
    /// What of [`AllKnown::bytes`] it takes.
    counted: usize,
    used: u64,
}

impl Known {
    pub(super) fn new(owner: Option<&str>) -> Self {
        Self { owner: owner.map(Arc::from), ..Self::default() }
    }

    /// Takes a line of so many bytes in; returns its message.
    pub(super) fn apply(&mut self, bytes: usize, line: Line) -> Option<Message> {
        self.size += bytes as u64 + 1;
        self.state = line.state;
        self.owner = line.owner.map(Arc::from).or(self.owner.take());
        line.message.inspect(|message| self.set(line.seq, message))
    }

    /// Takes a message in.
    pub(super) fn set(&mut self, seq: u64, message: &Message) {
        if seq >= self.last {
            self.last = seq;
            self.generating_until_ms = message.generating_until_ms();
        }
        if seq >= self.asked && message.role == Role::User {
            self.asked = seq;
            self.question = Some(message.text.as_str().into());
        }
    }

    /// How the conversation stands.
    pub(super) fn glance(&self) -> Glance {
        Glance {
            owner: self.owner.clone(),
            state: self.state,
            question: self.question.clone(),
            generating_until_ms: self.generating_until_ms,
        }
    }

    /// The conversation with these messages.
    pub(super) fn conversation(&self, messages: impl Iterator<Item = (u64, Message)>) -> Conversation {
        let messages = messages.map(|(seq, message)| StoredMessage { seq, message }).collect();
        Conversation { owner: self.owner.as_deref().map(str::to_owned), state: self.state, messages }
    }

    fn bytes(&self) -> usize {
        let texts = [&self.owner, &self.question].into_iter().flatten();
        size_of::<(ConversationId, Self)>() + texts.map(|text| text.len()).sum::<usize>()
    }
}

/// The conversations of a segment that are in memory.
#[derive(Debug, Default)]
pub(super) struct AllKnown {
    known: HashMap<ConversationId, Known>,
    /// What all of them take.
    bytes: usize,
    /// Counts uses: the clock by which the oldest is found.
    now: u64,
}

impl AllKnown {
    /// Where in the file the last line ends that this process wrote of a conversation.
    pub(super) fn end(&self, id: ConversationId) -> u64 {
        self.known.get(&id).map_or(0, |known| known.end)
    }

    /// A conversation to work on.
    pub(super) fn enter(&mut self, id: ConversationId) -> Option<&mut Known> {
        self.now += 1;
        let known = self.known.get_mut(&id)?;
        known.used = self.now;
        Some(known)
    }

    pub(super) fn insert(&mut self, id: ConversationId, known: Known) {
        self.now += 1;
        self.forget(id);
        self.known.insert(id, Known { used: self.now, counted: 0, ..known });
        self.settle(id);
    }

    fn forget(&mut self, id: ConversationId) {
        if let Some(known) = self.known.remove(&id) {
            self.bytes -= known.counted;
        }
    }

    /// Takes in a line that another process wrote, if its conversation is in memory. One that cannot
    /// be read is no longer known, so that whoever wants it learns why.
    pub(super) fn apply(&mut self, bytes: &[u8]) {
        let Some(id) = Line::conversation(bytes) else { return };
        let Some(known) = self.known.get_mut(&id) else { return };
        match Line::parse(bytes) {
            Ok(line) => {
                known.apply(bytes.len(), line);
                self.settle(id);
            }
            Err(_) => self.forget(id),
        }
    }

    /// Counts what a conversation takes after a change, and lets go of those used longest ago when all take too much.
    pub(super) fn settle(&mut self, id: ConversationId) {
        if let Some(known) = self.known.get_mut(&id) {
            let bytes = known.bytes();
            self.bytes = self.bytes - std::mem::replace(&mut known.counted, bytes) + bytes;
        }
        while self.bytes > KEPT_BYTES && self.known.len() > 1 {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used).map(|(id, _)| *id);
            let Some(oldest) = oldest else { return };
            self.forget(oldest);
        }
    }
}
