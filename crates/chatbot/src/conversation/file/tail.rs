//! The end of a conversation, in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;

use super::super::{Conversation, ConversationId, Message, Role, State, Status, StoredMessage};
use super::line::Line;

/// The most bytes of lines that a segment's conversations keep in memory together.
const KEPT_BYTES: usize = 128 * 1024;

/// Which messages of a conversation are needed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// What a turn needs that no model writes.
    Turn,
    /// At least this many of the last ones.
    Last(u64),
    /// At least all after this number.
    After(u64),
}

/// What a segment says of one conversation, with some of its messages.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) owner: Option<String>,
    pub(super) state: State,
    /// The number of the last message, 0 without one.
    pub(super) last: u64,
    /// Bytes of all its lines.
    pub(super) size: u64,
    /// Where in the file the last line ends that this process wrote of it.
    pub(super) end: u64,
    /// Messages by their numbers.
    messages: VecDeque<Kept>,
    kept: usize,
    /// What of `kept` is in [`Tails::kept`].
    counted: usize,
    used: u64,
}

/// A message in memory.
#[derive(Debug)]
struct Kept {
    seq: u64,
    message: Arc<Message>,
    /// Bytes of the line that says it.
    bytes: usize,
}

impl Tail {
    pub(super) fn new(owner: Option<&str>) -> Self {
        Self { owner: owner.map(str::to_owned), ..Self::default() }
    }

    /// Takes a line in.
    pub(super) fn apply(&mut self, bytes: &[u8], line: Line) {
        self.size += bytes.len() as u64 + 1;
        self.state = line.state;
        self.owner = line.owner.or(self.owner.take());
        if let Some(message) = line.message {
            self.set(line.seq, bytes.len(), message.into());
        }
    }

    /// Sets a message, whose line has so many bytes.
    pub(super) fn set(&mut self, seq: u64, bytes: usize, message: Arc<Message>) {
        self.last = self.last.max(seq);
        self.kept += bytes;
        let kept = Kept { seq, message, bytes };
        match self.place(seq) {
            Ok(place) => self.kept -= std::mem::replace(&mut self.messages[place], kept).bytes,
            Err(place) => self.messages.insert(place, kept),
        }
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Arc<Message>> {
        self.place(seq).ok().map(|place| &self.messages[place].message)
    }

    /// Where a message is, or would have to be.
    fn place(&self, seq: u64) -> Result<usize, usize> {
        self.messages.binary_search_by_key(&seq, |kept| kept.seq)
    }

    /// Whether everything wanted is in memory.
    pub(super) fn has(&self, wanted: Wanted) -> bool {
        let first = match wanted {
            Wanted::Turn => return true,
            Wanted::Last(count) => (self.last + 1).saturating_sub(count).max(1),
            Wanted::After(seq) => seq + 1,
        };
        (first..=self.last).all(|seq| self.place(seq).is_ok())
    }

    /// The conversation with those of these messages that are in memory.
    pub(super) fn conversation(&self, seqs: impl Iterator<Item = u64>) -> Conversation {
        let stored = |seq| Some(StoredMessage { seq, message: Arc::clone(self.get(seq)?) });
        Conversation { owner: self.owner.clone(), state: self.state, messages: seqs.filter_map(stored).collect() }
    }

    /// The conversation with all that [`Tail::shorten`] leaves.
    pub(super) fn glance(&self) -> Conversation {
        self.conversation(self.messages.iter().map(|kept| kept.seq))
    }

    /// Lets go of what no turn needs that no model writes: replies that are complete, and all questions but the last. They
    /// are in the file, and a model's longer context is read from there, which takes nothing beside the model. What stays of
    /// a conversation is small, so that what turns leave in memory does not drive what they need out of the caches.
    pub(super) fn shorten(&mut self) {
        let Self { messages, last, kept, .. } = self;
        let question = messages.iter().rfind(|stored| stored.message.role == Role::User).map(|stored| stored.seq);
        messages.retain(|stored| {
            let generating = stored.seq == *last && stored.message.status == Status::Generating;
            let stays = generating || Some(stored.seq) == question;
            if !stays {
                *kept -= stored.bytes;
            }
            stays
        });
    }
}

/// The conversations of a segment that are in memory.
#[derive(Debug, Default)]
pub(super) struct Tails {
    tails: HashMap<ConversationId, Tail>,
    /// Bytes of lines that all of them keep.
    kept: usize,
    /// Counts uses: the clock by which the oldest is found.
    now: u64,
}

impl Tails {
    /// Where in the file the last line ends that this process wrote of a conversation.
    pub(super) fn end(&self, id: ConversationId) -> u64 {
        self.tails.get(&id).map_or(0, |tail| tail.end)
    }

    /// A conversation to work on.
    pub(super) fn enter(&mut self, id: ConversationId) -> Option<&mut Tail> {
        self.now += 1;
        let tail = self.tails.get_mut(&id)?;
        tail.used = self.now;
        Some(tail)
    }

    pub(super) fn insert(&mut self, id: ConversationId, tail: Tail) {
        self.now += 1;
        self.forget(id);
        self.tails.insert(id, Tail { used: self.now, counted: 0, ..tail });
    }

    fn forget(&mut self, id: ConversationId) {
        if let Some(tail) = self.tails.remove(&id) {
            self.kept -= tail.counted;
        }
    }

    /// Takes in a line that another process wrote, if its conversation is in memory. One that cannot
    /// be read is no longer known, so that whoever wants it learns why.
    pub(super) fn apply(&mut self, bytes: &[u8]) {
        let Some(id) = Line::conversation(bytes) else { return };
        let Some(tail) = self.tails.get_mut(&id) else { return };
        match Line::parse(bytes) {
            Ok(line) => {
                tail.apply(bytes, line);
                self.shorten(id);
            }
            Err(_) => self.forget(id),
        }
    }

    /// Lets go of a conversation's old messages, and of the conversations used longest ago when there is too much of all.
    pub(super) fn shorten(&mut self, id: ConversationId) {
        if let Some(tail) = self.tails.get_mut(&id) {
            tail.shorten();
            self.kept = self.kept + tail.kept - tail.counted;
            tail.counted = tail.kept;
        }
        while self.kept > KEPT_BYTES && self.tails.len() > 1 {
            let oldest = self.tails.iter().min_by_key(|(_, tail)| tail.used).map(|(id, _)| *id);
            let Some(oldest) = oldest else { return };
            self.forget(oldest);
        }
    }
}
