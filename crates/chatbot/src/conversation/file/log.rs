//! One conversation's file: a change a line, appended under a lock.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::{Conversation, Message, State, Status, StoreError, StoredMessage};

/// A conversation never grows beyond this.
pub(super) const LARGEST_FILE: u64 = 4 * 1024 * 1024;
/// What is read from the end of a file, in turn, until it holds what is wanted.
const TAILS: [u64; 3] = [8 * 1024, 128 * 1024, LARGEST_FILE];
/// How long to wait for another writer.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// The messages that stay in memory while a file is open; fewer, but no less than a turn, where they
/// are long.
const KEPT: usize = 12;
const KEPT_BYTES: usize = 32 * 1024;

/// One line of a file.
#[derive(Deserialize)]
struct Line {
    /// The message's number; without a message the last one's.
    seq: u64,
    /// The number of the last message, when this line writes an earlier one again.
    #[serde(default)]
    last: Option<u64>,
    #[serde(default)]
    state: State,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    message: Option<Message>,
}

/// The same line to write, of what belongs to somebody else.
#[derive(Serialize)]
struct LineOf<'a> {
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(skip_serializing_if = "State::is_bot")]
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a Message>,
}

/// Which messages of a file are needed.
#[derive(Clone, Copy)]
pub(super) enum Tail {
    /// At least this many of the last ones.
    Last(u64),
    /// At least all after this number.
    After(u64),
}

/// An open file and the end of what it says.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// How long the file was when it was last looked at.
    length: u64,
    /// Where the last whole line ends.
    end: u64,
    owner: Option<String>,
    state: State,
    /// The number of the last message, 0 without one.
    last: u64,
    /// Some of the last messages.
    messages: BTreeMap<u64, Message>,
}

impl Log {
    fn of(file: File) -> Self {
        Self { file, length: 0, end: 0, owner: None, state: State::Bot, last: 0, messages: BTreeMap::new() }
    }

    /// Makes a file with its first messages.
    pub(super) fn create(path: &Path, owner: Option<&str>, messages: &[Message]) -> Result<Self, StoreError> {
        let open = || private().read(true).write(true).create_new(true).open(path);
        let file = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
                }
                open()
            }
            opened => opened,
        }?;
        let mut log = Self::of(file);
        log.owner = owner.map(str::to_owned);
        log.locked(wait, |log| log.write(1, messages))?;
        Ok(log)
    }

    /// Opens a file; nothing is read before something is wanted.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::of(private().read(true).write(true).open(path).map_err(not_found)?))
    }

    /// Does something with the end of the file while nobody else writes, waiting for both.
    pub(super) fn exclusively<T>(
        &mut self,
        tail: Tail,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.locked(wait, |log| {
            log.read(tail)?;
            work(log)
        })
    }

    /// The same if it needs no waiting: nobody else holds the file, and nobody has written since.
    pub(super) fn at_once<T>(
        &mut self,
        tail: Tail,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        self.file.try_lock().ok()?;
        let done = self.is_current(tail).then(|| work(self));
        // A lock that cannot be given back would stop every other process; closing the file gives it back.
        if let Err(error) = self.file.unlock() {
            return Some(Err(error.into()));
        }
        done
    }

    fn locked<T>(
        &mut self,
        lock: impl FnOnce(&File) -> Result<(), StoreError>,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        lock(&self.file)?;
        let done = work(self);
        self.file.unlock()?;
        done
    }

    /// Whether what is in memory is what the file says, and enough. A file only ever grows by whole
    /// lines, so its length tells; one that has been deleted has no name left.
    pub(super) fn is_current(&self, tail: Tail) -> bool {
        let stands = |file: &File| file.metadata().is_ok_and(|found| found.len() == self.end && found.nlink() > 0);
        self.end > 0 && self.has(tail) && stands(&self.file)
    }

    /// Reads the end of the file, more and more of it until it holds what is wanted.
    fn read(&mut self, tail: Tail) -> Result<(), StoreError> {
        let found = self.file.metadata()?;
        let length = found.len();
        if found.nlink() == 0 {
            return Err(StoreError::NotFound);
        }
        if length > LARGEST_FILE {
            return Err(StoreError::Damaged(format!("{length} bytes, the largest is {LARGEST_FILE}")));
        }
        self.length = length;
        if length == self.end && self.end > 0 && self.has(tail) {
            return Ok(());
        }
        for size in TAILS {
            let start = length.saturating_sub(size);
            self.parse(start, length)?;
            if start == 0 || self.has(tail) {
                break;
            }
        }
        // A writer may have been killed between creating the file and writing its first line.
        if self.end == 0 { Err(StoreError::NotFound) } else { Ok(()) }
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

    /// Whether everything wanted is in memory. Messages written again leave gaps at the front.
    fn has(&self, tail: Tail) -> bool {
        let last = self.last;
        let first = match tail {
            Tail::Last(count) => (last + 1).saturating_sub(count).max(1),
            Tail::After(seq) => seq + 1,
        };
        last > 0 && (first..=last).all(|seq| self.messages.contains_key(&seq))
    }

    /// The conversation with those of its messages that are wanted and there.
    pub(super) fn conversation(&self, seqs: impl Iterator<Item = u64>) -> Conversation {
        let stored = |seq| Some(StoredMessage { seq, message: self.messages.get(&seq)?.clone() });
        Conversation { owner: self.owner.clone(), state: self.state, messages: seqs.filter_map(stored).collect() }
    }

    /// The number of the last message.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Adds messages at the end; returns the number of the first.
    pub(super) fn append(&mut self, seen: State, messages: &[Message]) -> Result<u64, StoreError> {
        if self.state != seen {
            return Err(StoreError::Conflict);
        }
        let first = self.last + 1;
        self.write(first, messages)?;
        Ok(first)
    }

    /// Writes a message that is still being generated again.
    pub(super) fn revise(&mut self, seq: u64, message: &Message) -> Result<(), StoreError> {
        if self.message(seq)?.status != Status::Generating {
            return Err(StoreError::Conflict);
        }
        self.write(seq, std::slice::from_ref(message))
    }

    /// Writes a message again.
    pub(super) fn change(&mut self, seq: u64, change: impl FnOnce(&mut Message)) -> Result<(), StoreError> {
        let mut message = self.message(seq)?.clone();
        change(&mut message);
        self.write(seq, &[message])
    }

    /// Goes from one state to another.
    pub(super) fn transition(&mut self, from: State, to: State) -> Result<(), StoreError> {
        if self.state != from {
            return Err(StoreError::Conflict);
        }
        let line = LineOf { seq: self.last, last: None, state: to, owner: self.owner.as_deref(), message: None };
        let bytes = serialised([line])?;
        self.put(&bytes)?;
        self.state = to;
        Ok(())
    }

    fn message(&self, seq: u64) -> Result<&Message, StoreError> {
        self.messages.get(&seq).ok_or(StoreError::NotFound)
    }

    /// Writes messages under the numbers from `first` on.
    fn write(&mut self, first: u64, messages: &[Message]) -> Result<(), StoreError> {
        let lines = (first..).zip(messages).map(|(seq, message)| LineOf {
            seq,
            last: (seq < self.last).then_some(self.last),
            state: self.state,
            owner: self.owner.as_deref(),
            message: Some(message),
        });
        let bytes = serialised(lines)?;
        self.put(&bytes)?;
        for (seq, message) in (first..).zip(messages) {
            self.last = self.last.max(seq);
            self.messages.insert(seq, message.clone());
        }
        self.forget();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.end + bytes.len() as u64 > LARGEST_FILE {
            return Err(StoreError::Full);
        }
        // What a killed writer left behind must not look like the end of our last line.
        if self.length != self.end {
            self.file.set_len(self.end)?;
        }
        if let Err(error) = self.file.write_all_at(bytes, self.end) {
            // All or nothing: a full disk must not leave half a turn. The first error is the one that counts.
            let _ = self.file.set_len(self.end);
            return Err(error.into());
        }
        self.end += bytes.len() as u64;
        self.length = self.end;
        Ok(())
    }

    /// Lets go of old messages: they are in the file.
    fn forget(&mut self) {
        let mut bytes: usize = self.messages.values().map(|message| message.text.len()).sum();
        while self.messages.len() > KEPT || (self.messages.len() > 2 && bytes > KEPT_BYTES) {
            let Some((_, message)) = self.messages.pop_first() else { return };
            bytes -= message.text.len();
        }
    }
}

fn serialised<'a>(lines: impl IntoIterator<Item = LineOf<'a>>) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(1024);
    for line in lines {
        serde_json::to_writer(&mut bytes, &line).map_err(|error| StoreError::Io(error.into()))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Tries for a file until the patience ends, so that a stuck process cannot stop this one.
fn wait(file: &File) -> Result<(), StoreError> {
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) if since.elapsed() > LOCK_PATIENCE => {
                return Err(StoreError::Busy);
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Files that only this user may read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

pub(super) fn not_found(error: std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::NotFound => StoreError::NotFound,
        _ => StoreError::Io(error),
    }
}
