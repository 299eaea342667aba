mod log;
mod open;
mod retention;

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use log::{Log, Tail, not_found, private};
use open::OpenFiles;

use super::{Conversation, ConversationKey, ConversationStore, Feedback, Message, State, StoreError, StoreFuture};

/// Conversations in files: `<dir>/<tenant>/<2 hex>/<id>.jsonl`, one change a line.
///
/// Whoever writes holds an exclusive lock on the file, so any number of processes may use the
/// directory. A turn is appended with one write; a line without its end is what a killed writer left
/// and is ignored, then overwritten. A message written again under its number replaces the earlier
/// one, and every line tells the conversation's state after it, so that the end of a file is enough
/// to go on. Data survives the process at once and the machine's power as soon as the system has
/// written it out.
///
/// The files used last stay open with their last messages. As long as no other process wrote to
/// one, which its length tells, a turn costs a handful of system calls that only touch the page
/// cache: they are done where they are asked for. Everything else goes to the threads for blocking
/// work.
#[derive(Debug, Clone)]
pub struct FileStore {
    directory: PathBuf,
    open: Arc<OpenFiles>,
}

impl FileStore {
    /// Opens a directory, creating it if needed, and proves that it can be written.
    pub fn open(directory: &Path) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
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
        let id = key.id.as_str();
        self.directory.join(key.tenant.as_str()).join(&id[3..5]).join(format!("{id}.jsonl"))
    }

    /// Works on a file that is open, free and as it was left; `None` when it is not.
    fn at_once<T>(
        &self,
        key: &ConversationKey,
        tail: Tail,
        work: impl FnOnce(&mut Log) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let log = self.open.find(key)?;
        let mut log = log.try_lock().ok()?;
        log.at_once(tail, work)
    }

    /// Works on a file whatever it takes, beside the event loop.
    async fn patiently<T: Send + 'static>(
        &self,
        key: &ConversationKey,
        tail: Tail,
        work: impl FnOnce(&mut Log) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (store, key) = (self.clone(), key.clone());
        blocking(move || {
            let log = match store.open.find(&key) {
                Some(log) => log,
                None => store.open.keep(key.clone(), Log::open(&store.path(&key))?),
            };
            let done = log.lock().unwrap_or_else(PoisonError::into_inner).exclusively(tail, work);
            if matches!(done, Err(StoreError::NotFound | StoreError::Damaged(_))) {
                store.open.close(&key);
            }
            done
        })
        .await
    }
}

impl ConversationStore for FileStore {
    fn create<'a>(
        &'a self,
        key: &'a ConversationKey,
        owner: Option<&'a str>,
        messages: &'a [Message],
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let log = Log::create(&self.path(key), owner, messages)?;
            self.open.keep(key.clone(), log);
            Ok(())
        })
    }

    fn append<'a>(&'a self, key: &'a ConversationKey, seen: State, messages: &'a [Message]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            if let Some(done) = self.at_once(key, Tail::Last(1), |log| log.append(seen, messages)) {
                return done;
            }
            let messages = messages.to_vec();
            self.patiently(key, Tail::Last(1), move |log| log.append(seen, &messages)).await
        })
    }

    fn revise<'a>(&'a self, key: &'a ConversationKey, seq: u64, message: &'a Message) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            if let Some(done) = self.at_once(key, Tail::After(seq - 1), |log| log.revise(seq, message)) {
                return done;
            }
            let message = message.clone();
            self.patiently(key, Tail::After(seq - 1), move |log| log.revise(seq, &message)).await
        })
    }

    fn rate<'a>(&'a self, key: &'a ConversationKey, seq: u64, feedback: Feedback) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let rate = move |log: &mut Log| log.change(seq, |message| message.feedback = Some(feedback));
            self.patiently(key, Tail::After(seq - 1), rate).await
        })
    }

    fn transition<'a>(&'a self, key: &'a ConversationKey, from: State, to: State) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.patiently(key, Tail::Last(1), move |log| log.transition(from, to)).await })
    }

    fn load<'a>(&'a self, key: &'a ConversationKey, limit: usize) -> StoreFuture<'a, Conversation> {
        Box::pin(async move {
            let tail = Tail::Last(limit as u64);
            let last = move |log: &Log| {
                let last = log.last();
                log.conversation((last + 1).saturating_sub(limit as u64).max(1)..=last)
            };
            // Reading what is in memory takes no lock: the file is as it was left at this moment.
            if let Some(log) = self.open.find(key)
                && let Ok(log) = log.try_lock()
                && log.is_current(tail)
            {
                return Ok(last(&log));
            }
            self.patiently(key, tail, move |log| Ok(last(log))).await
        })
    }

    fn page<'a>(&'a self, key: &'a ConversationKey, after: u64, limit: usize) -> StoreFuture<'a, Conversation> {
        Box::pin(async move {
            let page = move |log: &mut Log| Ok(log.conversation((after + 1..=log.last()).take(limit)));
            self.patiently(key, Tail::After(after), page).await
        })
    }

    fn delete<'a>(&'a self, key: &'a ConversationKey) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.open.close(key);
            let path = self.path(key);
            blocking(move || std::fs::remove_file(path).map_err(not_found)).await
        })
    }

    fn sweep(&self, age: Duration) -> StoreFuture<'_, usize> {
        Box::pin(async move {
            let directory = self.directory.clone();
            blocking(move || Ok(retention::sweep(&directory, age)?)).await
        })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let directory = self.directory.clone();
            blocking(move || Ok(std::fs::metadata(directory).map(drop)?)).await
        })
    }
}

/// Runs file work beside the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::Io(std::io::Error::other(error))))
}

#[cfg(test)]
mod tests;
