use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{
    Conversation, ConversationKey, ConversationStore, Feedback, Message, State, Status, StoreError, StoreFuture,
    StoredMessage,
};

/// A conversation never grows beyond this.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;
/// What is read from the end of a file, in turn, until it holds what is wanted.
const TAILS: [u64; 3] = [8 * 1024, 128 * 1024, LARGEST_FILE];
/// How long to wait for another writer.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Conversations in files: `<dir>/<tenant>/<2 hex>/<id>.jsonl`, one change a line.
///
/// Writers hold an exclusive lock on the file, readers a shared one, so any number of processes
/// may use the directory. A turn is appended with one write; a line without its end is what a
/// killed writer left and is ignored, then overwritten. A message written again under its number
/// replaces the earlier one, and every line tells the conversation's state after it, so that the
/// end of a file is enough to go on. Data survives the process at once and the machine's power as
/// soon as the system has written it out.
#[derive(Debug, Clone)]
pub struct FileStore {
    directory: PathBuf,
}

impl FileStore {
    /// Opens a directory, creating it if needed, and proves that it can be written.
    pub fn open(directory: &Path) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Self::probe(directory)?;
        Ok(Self { directory: directory.to_owned() })
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
}

impl ConversationStore for FileStore {
    fn create<'a>(
        &'a self,
        key: &'a ConversationKey,
        owner: Option<&'a str>,
        messages: &'a [Message],
    ) -> StoreFuture<'a, ()> {
        let (path, owner) = (self.path(key), owner.map(str::to_owned));
        let lines = numbered(1, messages);
        blocking(move || {
            let mut log = Log::create(&path)?;
            log.owner = owner;
            log.write(lines)
        })
    }

    fn append<'a>(&'a self, key: &'a ConversationKey, seen: State, messages: &'a [Message]) -> StoreFuture<'a, u64> {
        let (path, messages) = (self.path(key), messages.to_vec());
        blocking(move || {
            let mut log = Log::open(&path, Tail::Last(1))?;
            if log.state != seen {
                return Err(StoreError::Conflict);
            }
            let first = log.last + 1;
            log.write(numbered(first, &messages))?;
            Ok(first)
        })
    }

    fn revise<'a>(&'a self, key: &'a ConversationKey, seq: u64, message: &'a Message) -> StoreFuture<'a, ()> {
        let (path, message) = (self.path(key), message.clone());
        blocking(move || {
            let mut log = Log::open(&path, Tail::After(seq - 1))?;
            if log.message(seq)?.status != Status::Generating {
                return Err(StoreError::Conflict);
            }
            log.write(numbered(seq, &[message]))
        })
    }

    fn rate<'a>(&'a self, key: &'a ConversationKey, seq: u64, feedback: Feedback) -> StoreFuture<'a, ()> {
        let path = self.path(key);
        blocking(move || {
            let mut log = Log::open(&path, Tail::After(seq - 1))?;
            let mut message = log.message(seq)?.clone();
            message.feedback = Some(feedback);
            log.write(numbered(seq, &[message]))
        })
    }

    fn transition<'a>(&'a self, key: &'a ConversationKey, from: State, to: State) -> StoreFuture<'a, ()> {
        let path = self.path(key);
        blocking(move || {
            let mut log = Log::open(&path, Tail::Last(1))?;
            if log.state != from {
                return Err(StoreError::Conflict);
            }
            log.state = to;
            log.write(vec![(log.last, None)])
        })
    }

    fn load<'a>(&'a self, key: &'a ConversationKey, limit: usize) -> StoreFuture<'a, Conversation> {
        let path = self.path(key);
        blocking(move || {
            let mut conversation = Log::read(&path, Tail::Last(limit as u64))?;
            let messages = &mut conversation.messages;
            messages.drain(..messages.len().saturating_sub(limit));
            Ok(conversation)
        })
    }

    fn page<'a>(&'a self, key: &'a ConversationKey, after: u64, limit: usize) -> StoreFuture<'a, Conversation> {
        let path = self.path(key);
        blocking(move || {
            let mut conversation = Log::read(&path, Tail::After(after))?;
            conversation.messages.retain(|stored| stored.seq > after);
            conversation.messages.truncate(limit);
            Ok(conversation)
        })
    }

    fn delete<'a>(&'a self, key: &'a ConversationKey) -> StoreFuture<'a, ()> {
        let path = self.path(key);
        blocking(move || std::fs::remove_file(path).map_err(not_found))
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        let directory = self.directory.clone();
        blocking(move || {
            std::fs::metadata(directory)?;
            Ok(())
        })
    }
}

/// Runs file work beside the event loop.
fn blocking<'a, T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> StoreFuture<'a, T> {
    Box::pin(async move {
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| Err(StoreError::Io(std::io::Error::other(error))))
    })
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// One line of a file.
#[derive(Serialize, Deserialize)]
struct Line {
    /// The message's number; without a message the last one's.
    seq: u64,
    /// The number of the last message, when this line writes an earlier one again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(default, skip_serializing_if = "State::is_bot")]
    state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
}

fn numbered(first: u64, messages: &[Message]) -> Vec<(u64, Option<Message>)> {
    (first..).zip(messages.iter().cloned().map(Some)).collect()
}

/// Which messages of a file are needed.
#[derive(Clone, Copy)]
enum Tail {
    /// At least this many of the last ones.
    Last(u64),
    /// At least all after this number.
    After(u64),
}

/// A locked file and the end of what it says.
struct Log {
    file: File,
    /// Where the last whole line ends.
    end: u64,
    owner: Option<String>,
    state: State,
    /// The number of the last message, 0 without one.
    last: u64,
    messages: BTreeMap<u64, Message>,
}

impl Log {
    fn create(path: &Path) -> Result<Self, StoreError> {
        let open = || private().write(true).create_new(true).open(path);
        let file = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
                }
                open()
            }
            opened => opened,
        }?;
        wait(|| file.try_lock())?;
        Ok(Self { file, end: 0, owner: None, state: State::Bot, last: 0, messages: BTreeMap::new() })
    }

    fn open(path: &Path, tail: Tail) -> Result<Self, StoreError> {
        let file = private().read(true).write(true).open(path).map_err(not_found)?;
        wait(|| file.try_lock())?;
        Self::tail(file, tail)
    }

    fn read(path: &Path, tail: Tail) -> Result<Conversation, StoreError> {
        let file = File::open(path).map_err(not_found)?;
        wait(|| file.try_lock_shared())?;
        let Self { owner, state, messages, .. } = Self::tail(file, tail)?;
        let messages = messages.into_iter().map(|(seq, message)| StoredMessage { seq, message }).collect();
        Ok(Conversation { owner, state, messages })
    }

    /// Reads the end of a file, more and more of it until it holds what is wanted.
    fn tail(file: File, tail: Tail) -> Result<Self, StoreError> {
        let length = file.metadata()?.len();
        if length > LARGEST_FILE {
            return Err(StoreError::Damaged(format!("{length} bytes, the largest is {LARGEST_FILE}")));
        }
        let mut log = Self { file, end: 0, owner: None, state: State::Bot, last: 0, messages: BTreeMap::new() };
        for size in TAILS {
            let start = length.saturating_sub(size);
            log.parse(start, length)?;
            if start == 0 || log.has(tail) {
                break;
            }
        }
        if log.end == 0 {
            // A writer was killed between creating the file and writing its first line.
            return Err(StoreError::NotFound);
        }
        Ok(log)
    }

    fn parse(&mut self, start: u64, length: u64) -> Result<(), StoreError> {
        let mut bytes = vec![0; (length - start) as usize];
        self.file.read_exact_at(&mut bytes, start)?;
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |last| last + 1);
        // A tail begins in the middle of a line, unless it is the whole file.
        let from = match start {
            0 => 0,
            _ => bytes.iter().position(|&b| b == b'\n').map_or(whole, |first| first + 1),
        };
        self.end = start + whole as u64;
        self.messages.clear();
        for line in bytes[from..whole.max(from)].split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            let line: Line = serde_json::from_slice(line).map_err(|error| StoreError::Damaged(error.to_string()))?;
            (self.owner, self.state) = (line.owner, line.state);
            self.last = line.last.unwrap_or(line.seq);
            if let Some(message) = line.message {
                self.messages.insert(line.seq, message);
            }
        }
        Ok(())
    }

    /// Whether everything wanted has been read. Messages written again leave gaps at the front.
    fn has(&self, tail: Tail) -> bool {
        let last = self.last;
        let first = match tail {
            Tail::Last(count) => (last + 1).saturating_sub(count).max(1),
            Tail::After(seq) => seq + 1,
        };
        last > 0 && (first..=last).all(|seq| self.messages.contains_key(&seq))
    }

    fn message(&self, seq: u64) -> Result<&Message, StoreError> {
        self.messages.get(&seq).ok_or(StoreError::NotFound)
    }

    fn write(&mut self, lines: Vec<(u64, Option<Message>)>) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        for (seq, message) in lines {
            let last = (seq < self.last).then_some(self.last);
            let line = Line { seq, last, state: self.state, owner: self.owner.clone(), message };
            serde_json::to_writer(&mut bytes, &line).map_err(|error| StoreError::Io(error.into()))?;
            bytes.push(b'\n');
        }
        if self.end + bytes.len() as u64 > LARGEST_FILE {
            return Err(StoreError::Full);
        }
        // What a killed writer left behind must not look like the end of our last line.
        self.file.set_len(self.end)?;
        if let Err(error) = self.file.write_all_at(&bytes, self.end) {
            // All or nothing: a full disk must not leave half a turn. The first error is the one that counts.
            let _ = self.file.set_len(self.end);
            return Err(error.into());
        }
        Ok(())
    }
}

/// Tries for a lock until the patience ends, so that a stuck process cannot stop this one.
fn wait(mut lock: impl FnMut() -> Result<(), TryLockError>) -> Result<(), StoreError> {
    let since = Instant::now();
    loop {
        match lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) if since.elapsed() > LOCK_PATIENCE => {
                return Err(StoreError::Busy);
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn not_found(error: std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::NotFound => StoreError::NotFound,
        _ => StoreError::Io(error),
    }
}

#[cfg(test)]
mod tests;
