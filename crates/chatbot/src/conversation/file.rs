mod held;
mod known;
mod line;
mod locked;
mod open;
mod retention;
mod segment;

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use held::Held;
use known::{Messages, NO_MESSAGES};
use locked::Replaced;
use open::OpenSegments;
use segment::{Committed, Segment};

use super::{
    Conversation, ConversationId, ConversationKey, ConversationStore, Feedback, Glance, Message, State, Status,
    StoreError, StoreFuture, TenantId,
};
use crate::disk::{blocking, make_directory, private};

/// Conversations in files: `<dir>/<tenant>/<segment>.jsonl`, one change a line.
///
/// A segment holds up to 128 conversations that began in one process within an hour; a
/// conversation's id begins with its segment's. A file for each conversation would cost far more to create
/// than to fill, and a million of them a month.
///
/// Whoever writes holds an exclusive lock on the segment, so any number of processes may use the
/// directory. A turn is appended whole, together with the other turns of the same moment, and nobody is
/// told before it is written; a line without its end is what a killed writer left and is ignored, then
/// overwritten. A message written again under its number replaces the earlier one. Forgetting a
/// conversation writes its segment anew without it. Data survives the process at once and the machine's
/// power as soon as the system has written it out.
///
/// The segments used last stay open, with what the next turn of the conversations used last needs. As long as
/// no other process wrote to one, which its length tells, a turn costs a handful of system calls
/// that only touch the page cache: they are done where they are asked for. Everything else goes to
/// the threads for blocking work.
#[derive(Debug, Clone)]
pub struct FileStore {
    directory: PathBuf,
    open: Arc<OpenSegments>,
}

impl FileStore {
    /// Opens a directory, creating it if needed, and proves that it can be written.
    pub fn open(directory: &Path) -> std::io::Result<Self> {
        make_directory(directory)?;
        Self::probe(directory)?;
        Ok(Self { directory: directory.to_owned(), open: Arc::default() })
    }

    /// Like [`FileStore::open`], but refuses a directory that somebody else may have put there:
    /// conversations are private, and in a temporary directory anybody can be first.
    pub fn open_private(directory: &Path) -> std::io::Result<Self> {
        let store = Self::open(directory)?;
        let found = std::fs::symlink_metadata(directory)?;
        if !found.is_dir() || found.uid() != Self::probe(directory)? {
            return Err(std::io::Error::new(ErrorKind::PermissionDenied, "it belongs to another user"));
        }
        Ok(store)
    }

    /// Writes and removes a file; returns the user it belonged to.
    fn probe(directory: &Path) -> std::io::Result<u32> {
        let path = directory.join(format!(".probe-{}", std::process::id()));
        let owner = private().write(true).create(true).truncate(true).open(&path)?.metadata()?.uid();
        std::fs::remove_file(&path)?;
        Ok(owner)
    }

    fn path(&self, key: &ConversationKey) -> PathBuf {
        self.directory.join(key.tenant.as_str()).join(format!("{}.jsonl", key.id.segment()))
    }

    /// Changes a segment that is open, free and as it was left, together with whoever else changes it
    /// at this moment; `None` when it is not.
    async fn at_once<T>(
        &self,
        key: &ConversationKey,
        change: impl FnOnce(&mut Segment) -> Option<Result<(T, Committed), StoreError>>,
    ) -> Option<Result<T, StoreError>> {
        let segment = self.open.find(key)?;
        let changed = {
            let mut held = segment.try_lock().ok()?;
            let first = !held.is_open();
            let changed = change(&mut held);
            if first && held.is_open() {
                commit_soon(&segment);
            }
            changed?
        };
        match changed {
            Ok((done, committed)) => Some(match committed.await {
                Ok(committed) => committed.map(|()| done),
                Err(_) => Err(StoreError::Unavailable("the process is ending".to_owned())),
            }),
            Err(error) => Some(Err(error)),
        }
    }

    /// Works on a conversation and its messages after a number, whatever it takes.
    async fn patiently<T: Send + 'static>(
        &self,
        key: &ConversationKey,
        after: u64,
        work: impl Fn(&mut Held<'_>, Messages) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let id = key.id;
        self.in_segment(key, Segment::open, move |_, segment| segment.patiently(id, after, &work)).await
    }

    /// Works on a segment beside the event loop. It is opened again whenever it has been replaced.
    async fn in_segment<T: Send + 'static>(
        &self,
        key: &ConversationKey,
        open: fn(&Path) -> Result<Segment, StoreError>,
        work: impl Fn(&Path, &mut Segment) -> Result<Result<T, Replaced>, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (segments, key, path) = (Arc::clone(&self.open), key.clone(), self.path(key));
        blocking(move || {
            loop {
                let segment = match segments.find(&key) {
                    Some(segment) => segment,
                    None => segments.keep(&key, open(&path)?),
                };
                let done = work(&path, &mut segment.lock().unwrap_or_else(PoisonError::into_inner))?;
                match done {
                    Ok(done) => return Ok(done),
                    Err(Replaced) => segments.close(&key, &segment),
                }
            }
        })
        .await
    }
}

/// Commits what is changed now, after everything that is ready to run has run.
fn commit_soon(segment: &Arc<Mutex<Segment>>) {
    let segment = Arc::clone(segment);
    tokio::spawn(async move {
        if let Ok(mut segment) = segment.try_lock() {
            return segment.commit();
        }
        // Whoever has the segment may be waiting for another process: that is nothing for the event loop, which has
        // commits of other segments to do, and the other process may be waiting for one of them.
        let commit = move || segment.lock().unwrap_or_else(PoisonError::into_inner).commit();
        let _ = tokio::task::spawn_blocking(commit).await;
    });
}

impl ConversationStore for FileStore {
    fn name(&self, tenant: &TenantId) -> std::io::Result<ConversationId> {
        self.open.name(tenant)
    }

    fn create<'a>(
        &'a self,
        key: &'a ConversationKey,
        owner: Option<&'a str>,
        messages: &'a [Message],
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            if let Some(done) = self.at_once(key, |segment| segment.begin_at_once(key.id, owner, messages)).await {
                return done;
            }
            let (id, owner, messages) = (key.id, owner.map(str::to_owned), messages.to_vec());
            let begin = move |_: &Path, segment: &mut Segment| segment.begin(id, owner.as_deref(), &messages);
            self.in_segment(key, Segment::open_or_create, begin).await
        })
    }

    fn append<'a>(&'a self, key: &'a ConversationKey, seen: State, messages: &'a [Message]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let append = |segment: &mut Segment| segment.at_once(key.id, |_| true, |held| held.append(seen, messages));
            if let Some(done) = self.at_once(key, append).await {
                return done;
            }
            let messages = messages.to_vec();
            self.patiently(key, NO_MESSAGES, move |held, _| held.append(seen, &messages)).await
        })
    }

    fn revise<'a>(&'a self, key: &'a ConversationKey, seq: u64, message: &'a Message) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let revise = |segment: &mut Segment| {
                segment.at_once(key.id, |known| known.last == seq, |held| held.revise_last(message))
            };
            if let Some(done) = self.at_once(key, revise).await {
                return done;
            }
            let message = message.clone();
            let revise = move |held: &mut Held<'_>, messages: Messages| match messages.get(&seq) {
                Some(kept) if kept.status == Status::Generating => held.write(seq, std::slice::from_ref(&message)),
                Some(_) => Err(StoreError::Conflict),
                None => Err(StoreError::NotFound),
            };
            self.patiently(key, seq - 1, revise).await
        })
    }

    fn rate<'a>(&'a self, key: &'a ConversationKey, seq: u64, feedback: Feedback) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let rate = move |held: &mut Held<'_>, mut messages: Messages| {
                let message = messages.remove(&seq).ok_or(StoreError::NotFound)?;
                held.write(seq, &[Message { feedback: Some(feedback.clone()), ..message }])
            };
            self.patiently(key, seq - 1, rate).await
        })
    }

    fn transition<'a>(&'a self, key: &'a ConversationKey, from: State, to: State) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.patiently(key, NO_MESSAGES, move |held, _| held.transition(from, to)).await })
    }

    fn glance<'a>(&'a self, key: &'a ConversationKey) -> StoreFuture<'a, Glance> {
        Box::pin(async move {
            if let Some(segment) = self.open.find(key)
                && let Ok(mut segment) = segment.try_lock()
                && let Some(glance) = segment.glance(key.id)
            {
                return Ok(glance);
            }
            self.patiently(key, NO_MESSAGES, |held, _| Ok(held.glance())).await
        })
    }

    fn load<'a>(&'a self, key: &'a ConversationKey, limit: usize) -> StoreFuture<'a, Conversation> {
        Box::pin(async move {
            let load = move |held: &mut Held<'_>, messages: Messages| {
                let before = messages.len().saturating_sub(limit);
                Ok(held.conversation(messages.into_iter().skip(before)))
            };
            self.patiently(key, 0, load).await
        })
    }

    fn page<'a>(&'a self, key: &'a ConversationKey, after: u64, limit: usize) -> StoreFuture<'a, Conversation> {
        Box::pin(async move {
            let page =
                move |held: &mut Held<'_>, messages: Messages| Ok(held.conversation(messages.into_iter().take(limit)));
            self.patiently(key, after, page).await
        })
    }

    fn delete<'a>(&'a self, key: &'a ConversationKey) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let id = key.id;
            self.in_segment(key, Segment::open, move |path, segment| segment.remove(path, id)).await
        })
    }

    fn sweep(&self, age: Duration) -> StoreFuture<'_, usize> {
        Box::pin(async move {
            let directory = self.directory.clone();
            blocking(move || retention::sweep(&directory, age)).await
        })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let directory = self.directory.clone();
            blocking(move || Ok(std::fs::metadata(directory).map(drop)?)).await
        })
    }
}

#[cfg(test)]
mod tests;
