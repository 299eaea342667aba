//! One conversation in a segment that nobody else writes to meanwhile.

use std::sync::Arc;

use super::super::{Conversation, ConversationId, Message, State, Status, StoreError};
use super::line::LineOf;
use super::locked::LockedFile;
use super::tail::Tail;

/// A conversation never grows beyond this.
pub(super) const LARGEST: u64 = 1024 * 1024;

/// A conversation whose segment is locked.
#[derive(Debug)]
pub(super) struct Held<'a> {
    id: ConversationId,
    file: &'a mut LockedFile,
    tail: &'a mut Tail,
}

impl<'a> Held<'a> {
    pub(super) fn new(id: ConversationId, file: &'a mut LockedFile, tail: &'a mut Tail) -> Self {
        Self { id, file, tail }
    }

    /// The conversation with those of these messages that are in memory.
    pub(super) fn conversation(&self, seqs: impl Iterator<Item = u64>) -> Conversation {
        self.tail.conversation(seqs)
    }

    /// The conversation with what a turn needs.
    pub(super) fn glance(&mut self) -> Conversation {
        self.tail.shorten();
        self.tail.glance()
    }

    /// The number of the last message.
    pub(super) fn last(&self) -> u64 {
        self.tail.last
    }

    /// Adds messages at the end; returns the number of the first.
    pub(super) fn append(&mut self, seen: State, messages: &[Arc<Message>]) -> Result<u64, StoreError> {
        if self.tail.state != seen {
            return Err(StoreError::Conflict);
        }
        let first = self.tail.last + 1;
        self.write(first, messages)?;
        Ok(first)
    }

    /// Writes a message that is still being generated again.
    pub(super) fn revise(&mut self, seq: u64, message: &Arc<Message>) -> Result<(), StoreError> {
        if self.message(seq)?.status != Status::Generating {
            return Err(StoreError::Conflict);
        }
        self.write(seq, std::slice::from_ref(message))
    }

    /// Writes a message again.
    pub(super) fn change(&mut self, seq: u64, change: impl FnOnce(&mut Message)) -> Result<(), StoreError> {
        let mut message = self.message(seq)?.clone();
        change(&mut message);
        self.write(seq, &[Arc::new(message)])
    }

    /// Goes from one state to another.
    pub(super) fn transition(&mut self, from: State, to: State) -> Result<(), StoreError> {
        if self.tail.state != from {
            return Err(StoreError::Conflict);
        }
        let line = LineOf { conversation: self.id, seq: self.tail.last, state: to, owner: None, message: None };
        self.put(|_, bytes| line.write_to(bytes))?;
        self.tail.state = to;
        Ok(())
    }

    fn message(&self, seq: u64) -> Result<&Message, StoreError> {
        self.tail.get(seq).map(Arc::as_ref).ok_or(StoreError::NotFound)
    }

    /// Writes messages under the numbers from `first` on, all or none.
    pub(super) fn write(&mut self, first: u64, messages: &[Arc<Message>]) -> Result<(), StoreError> {
        let conversation = self.id;
        let mut lengths = Vec::with_capacity(messages.len());
        self.put(|tail, bytes| {
            for (seq, message) in (first..).zip(messages) {
                let before = bytes.len();
                let owner = tail.owner.as_deref().filter(|_| seq == 1);
                LineOf { conversation, seq, state: tail.state, owner, message: Some(message) }.write_to(bytes)?;
                lengths.push(bytes.len() - before);
            }
            Ok(())
        })?;
        for ((seq, message), length) in (first..).zip(messages).zip(lengths) {
            self.tail.set(seq, length, Arc::clone(message));
        }
        Ok(())
    }

    /// Appends lines, unless they are too many.
    fn put(&mut self, write: impl FnOnce(&Tail, &mut Vec<u8>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let Self { file, tail, .. } = self;
        let size = file.put(|bytes| {
            let before = bytes.len();
            write(tail, bytes)?;
            let size = tail.size + (bytes.len() - before) as u64;
            if size > LARGEST { Err(StoreError::Full) } else { Ok(size) }
        })?;
        (tail.end, tail.size) = (file.end(), size);
        Ok(())
    }
}
