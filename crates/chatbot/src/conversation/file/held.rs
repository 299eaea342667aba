//! One conversation in a segment that nobody else writes to meanwhile.

use super::super::{Conversation, ConversationId, Glance, Message, State, StoreError};
use super::known::Known;
use super::line::LineOf;
use super::locked::LockedFile;

/// A conversation never grows beyond this.
pub(super) const LARGEST: u64 = 1024 * 1024;

/// A conversation whose segment is locked.
#[derive(Debug)]
pub(super) struct Held<'a> {
    id: ConversationId,
    file: &'a mut LockedFile,
    known: &'a mut Known,
}

impl<'a> Held<'a> {
    pub(super) fn new(id: ConversationId, file: &'a mut LockedFile, known: &'a mut Known) -> Self {
        Self { id, file, known }
    }

    /// How the conversation stands.
    pub(super) fn glance(&self) -> Glance {
        self.known.glance()
    }

    /// The conversation with these messages.
    pub(super) fn conversation(&self, messages: impl Iterator<Item = (u64, Message)>) -> Conversation {
        self.known.conversation(messages)
    }

    /// Adds messages at the end; returns the number of the first.
    pub(super) fn append(&mut self, seen: State, messages: &[Message]) -> Result<u64, StoreError> {
        if self.known.state != seen {
            return Err(StoreError::Conflict);
        }
        let first = self.known.last + 1;
        self.write(first, messages)?;
        Ok(first)
    }

    /// Writes the last message again, which is still being generated.
    pub(super) fn revise_last(&mut self, message: &Message) -> Result<(), StoreError> {
        if self.known.generating_until_ms.is_none() {
            return Err(StoreError::Conflict);
        }
        self.write(self.known.last, std::slice::from_ref(message))
    }

    /// Goes from one state to another.
    pub(super) fn transition(&mut self, from: State, to: State) -> Result<(), StoreError> {
        if self.known.state != from {
            return Err(StoreError::Conflict);
        }
        let line = LineOf { conversation: self.id, seq: self.known.last, state: to, owner: None, message: None };
        self.put(|_, bytes| line.write_to(bytes))?;
        self.known.state = to;
        Ok(())
    }

    /// Writes messages under the numbers from `first` on, all or none.
    pub(super) fn write(&mut self, first: u64, messages: &[Message]) -> Result<(), StoreError> {
        let conversation = self.id;
        self.put(|known, bytes| {
            for (seq, message) in (first..).zip(messages) {
                let owner = known.owner.as_deref().filter(|_| seq == 1);
                LineOf { conversation, seq, state: known.state, owner, message: Some(message) }.write_to(bytes)?;
            }
            Ok(())
        })?;
        for (seq, message) in (first..).zip(messages) {
            self.known.set(seq, message);
        }
        Ok(())
    }

    /// Appends lines, unless they are too many.
    fn put(&mut self, write: impl FnOnce(&Known, &mut Vec<u8>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let Self { file, known, .. } = self;
        let size = file.put(|bytes| {
            let before = bytes.len();
            write(known, bytes)?;
            let size = known.size + (bytes.len() - before) as u64;
            if size > LARGEST { Err(StoreError::Full) } else { Ok(size) }
        })?;
        (known.end, known.size) = (file.end(), size);
        Ok(())
    }
}
