//! An open segment: conversations in one file, and what of them is in memory.

use std::collections::{HashMap, HashSet};
use std::io::{Error, ErrorKind};
use std::path::Path;

use tokio::sync::oneshot;

use super::super::{ConversationId, Glance, Message, StoreError};
use super::held::Held;
use super::known::{AllKnown, Known, Messages};
use super::line::Line;
use super::locked::{LockedFile, Replaced};
use crate::disk::replace;

/// An open segment, and what of it is in memory.
///
/// What is written at the same moment is written together, under one lock: whoever comes first takes
/// the lock and sees to it that [`Segment::commit`] is called when everybody else has had a turn.
#[derive(Debug)]
pub(super) struct Segment {
    file: LockedFile,
    known: AllKnown,
    /// Those who wait for the commit.
    waiting: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

/// Completes when a change is in the file, or will never be.
pub(super) type Committed = oneshot::Receiver<Result<(), StoreError>>;

impl Segment {
    /// Opens a segment; nothing is read before something is wanted.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        match LockedFile::open(path) {
            Ok(file) => Ok(Self::of(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreError::NotFound),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a segment, a new one if there is none.
    pub(super) fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::of(LockedFile::open_or_create(path)?))
    }

    pub(super) fn of(file: LockedFile) -> Self {
        Self { file, known: AllKnown::default(), waiting: Vec::new() }
    }

    /// How a conversation stands, if it is in memory and the file says the same. It takes no lock: the file is as
    /// it was left at this moment.
    pub(super) fn glance(&mut self, id: ConversationId) -> Option<Glance> {
        // Nobody is shown what may still be lost.
        if self.known.end(id) > self.file.written() {
            self.commit();
        }
        let known = self.known.enter(id)?;
        self.file.is_current().then(|| known.glance())
    }

    /// Works on a conversation if that needs no waiting and no reading: it is in memory and such that the work can be done,
    /// nobody else holds the segment, and nobody has written to it since.
    pub(super) fn at_once<T>(
        &mut self,
        id: ConversationId,
        can: impl FnOnce(&Known) -> bool,
        work: impl FnOnce(&mut Held<'_>) -> Result<T, StoreError>,
    ) -> Option<Result<(T, Committed), StoreError>> {
        let known = self.known.enter(id).filter(|known| can(known))?;
        if !self.file.lock_at_once() {
            return None;
        }
        let done = work(&mut Held::new(id, &mut self.file, known));
        self.known.settle(id);
        Some(done.map(|done| (done, self.committed())))
    }

    /// Works on a conversation and its messages after a number, waiting for the segment. It is read when such messages
    /// exist, or when it is not in memory.
    pub(super) fn patiently<T>(
        &mut self,
        id: ConversationId,
        after: u64,
        work: impl FnOnce(&mut Held<'_>, Messages) -> Result<T, StoreError>,
    ) -> Result<Result<T, Replaced>, StoreError> {
        self.locked(|segment| {
            segment.catch_up()?;
            let known = segment.known.enter(id).is_some_and(|known| known.last <= after);
            let messages = if known { Messages::new() } else { segment.read(id, after)? };
            let known = segment.known.enter(id).ok_or(StoreError::NotFound)?;
            let done = work(&mut Held::new(id, &mut segment.file, known), messages);
            segment.known.settle(id);
            done
        })
    }

    /// Begins a conversation, if that needs no waiting. Its id is random, so no other one has it.
    pub(super) fn begin_at_once(
        &mut self,
        id: ConversationId,
        owner: Option<&str>,
        messages: &[Message],
    ) -> Option<Result<((), Committed), StoreError>> {
        if !self.file.lock_at_once() {
            return None;
        }
        let done = self.begin_locked(id, owner, messages);
        Some(done.map(|()| ((), self.committed())))
    }

    /// Whether somebody has to call [`Segment::commit`].
    pub(super) fn is_open(&self) -> bool {
        self.file.is_locked()
    }

    fn committed(&mut self) -> Committed {
        let (sender, committed) = oneshot::channel();
        self.waiting.push(sender);
        committed
    }

    /// Writes what was changed since the lock was taken, gives it back, and tells everybody.
    pub(super) fn commit(&mut self) {
        if !self.is_open() {
            return;
        }
        // A lock that cannot be given back would stop every other process.
        let written = self.write().and(self.file.unlock());
        for waiting in self.waiting.drain(..) {
            let told = match &written {
                Ok(()) => Ok(()),
                Err(error) => Err(Error::new(error.kind(), error.to_string()).into()),
            };
            // Nobody to tell: the change is kept all the same.
            let _ = waiting.send(told);
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        // What could not be written must not stay in memory.
        self.file.write().inspect_err(|_| self.known = AllKnown::default())
    }

    /// Begins a conversation.
    pub(super) fn begin(
        &mut self,
        id: ConversationId,
        owner: Option<&str>,
        messages: &[Message],
    ) -> Result<Result<(), Replaced>, StoreError> {
        self.locked(|segment| {
            segment.catch_up()?;
            segment.begin_locked(id, owner, messages)
        })
    }

    fn begin_locked(
        &mut self,
        id: ConversationId,
        owner: Option<&str>,
        messages: &[Message],
    ) -> Result<(), StoreError> {
        let mut known = Known::new(owner);
        Held::new(id, &mut self.file, &mut known).write(1, messages)?;
        self.known.insert(id, known);
        Ok(())
    }

    /// Forgets a conversation.
    pub(super) fn remove(&mut self, path: &Path, id: ConversationId) -> Result<Result<(), Replaced>, StoreError> {
        self.locked(|segment| match segment.rewrite(path, &HashSet::from([id]))? {
            0 => Err(StoreError::NotFound),
            _ => Ok(()),
        })
    }

    /// Forgets the conversations without a message since a time, in milliseconds since 1970; returns how many.
    pub(super) fn expire(&mut self, path: &Path, before_ms: u64) -> Result<Result<usize, Replaced>, StoreError> {
        self.locked(|segment| {
            let mut last: HashMap<ConversationId, u64> = HashMap::new();
            segment.file.lines(|bytes| {
                let Some(id) = Line::conversation(bytes) else { return Ok(()) };
                let at_ms = Line::parse(bytes)?.message.map_or(0, |message| message.at_ms);
                let last = last.entry(id).or_default();
                *last = at_ms.max(*last);
                Ok(())
            })?;
            let old = last.iter().filter(|(_, at_ms)| **at_ms < before_ms).map(|(id, _)| *id).collect();
            segment.rewrite(path, &old)
        })
    }

    /// Writes the segment anew without some of its conversations, or removes it when none are left;
    /// returns how many were there.
    fn rewrite(&mut self, path: &Path, gone: &HashSet<ConversationId>) -> Result<usize, StoreError> {
        let mut kept = Vec::new();
        let mut found = HashSet::new();
        self.file.lines(|bytes| {
            match Line::conversation(bytes).filter(|id| gone.contains(id)) {
                Some(id) => drop(found.insert(id)),
                None => kept.extend_from_slice(&[bytes, b"\n"].concat()),
            }
            Ok(())
        })?;
        if kept.is_empty() {
            std::fs::remove_file(path)?;
        } else if !found.is_empty() {
            replace(path, &kept)?;
        }
        Ok(found.len())
    }

    fn locked<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<Result<T, Replaced>, StoreError> {
        self.commit();
        if let Err(replaced) = self.file.lock()? {
            return Ok(Err(replaced));
        }
        let done = work(self);
        self.write().and(self.file.unlock())?;
        done.map(Ok)
    }

    /// Takes in what other processes wrote.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let known = &mut self.known;
        self.file.new_lines(|bytes| {
            known.apply(bytes);
            Ok(())
        })
    }

    /// Reads a conversation from its beginning; returns its messages after a number.
    fn read(&mut self, id: ConversationId, after: u64) -> Result<Messages, StoreError> {
        let mut found = None;
        self.file.lines(|bytes| {
            if Line::conversation(bytes) == Some(id) {
                let line = Line::parse(bytes)?;
                let seq = line.seq;
                let (known, messages) = found.get_or_insert_with(|| (Known::default(), Messages::default()));
                let message = known.apply(bytes.len(), line).filter(|_| seq > after);
                messages.extend(message.map(|message| (seq, message)));
            }
            Ok(())
        })?;
        let (known, messages) = found.ok_or(StoreError::NotFound)?;
        self.known.insert(id, known);
        Ok(messages)
    }
}
