use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{ConversationKey, ConversationStore, Message, StoreError, StoreFuture, StoredMessage};

/// A conversation never grows beyond this.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;
/// What is read from the end of a file before all of it is.
const TAIL: u64 = 64 * 1024;
/// How long to wait for another writer.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Conversations in files: `<dir>/<tenant>/<2 hex>/<id>.jsonl`, one message a line.
///
/// Writers hold an exclusive lock on the file, readers a shared one, so any number of processes
/// may use the directory. A turn is appended with one write; a line without its end is what a
/// killed writer left and is ignored, then overwritten. Data survives the process at once and the
/// machine's power as soon as the system has written it out.
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
    fn append<'a>(&'a self, key: &'a ConversationKey, messages: Vec<Message>, create: bool) -> StoreFuture<'a, u64> {
        let path = self.path(key);
        blocking(move || append(&path, messages, create))
    }

    fn recent<'a>(&'a self, key: &'a ConversationKey, limit: usize) -> StoreFuture<'a, Vec<StoredMessage>> {
        let path = self.path(key);
        blocking(move || recent(&path, limit))
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

fn append(path: &Path, messages: Vec<Message>, create: bool) -> Result<u64, StoreError> {
    if create && let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = private().read(true).write(true).create_new(create).open(path).map_err(not_found)?;
    wait(|| file.try_lock())?;

    let (kept, end) = read_tail(&mut file, 1)?;
    let first = kept.last().map_or(1, |message| message.seq + 1);
    let mut lines = Vec::new();
    for (seq, message) in (first..).zip(messages) {
        serde_json::to_writer(&mut lines, &StoredMessage { seq, message })
            .map_err(|error| StoreError::Io(error.into()))?;
        lines.push(b'\n');
    }
    if end + lines.len() as u64 > LARGEST_FILE {
        return Err(StoreError::Full);
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    if let Err(error) = file.write_all(&lines) {
        // All or nothing: a full disk must not leave half a turn. The first error is the one that counts.
        let _ = file.set_len(end);
        return Err(error.into());
    }
    Ok(first)
}

fn recent(path: &Path, limit: usize) -> Result<Vec<StoredMessage>, StoreError> {
    let mut file = File::open(path).map_err(not_found)?;
    wait(|| file.try_lock_shared())?;
    let (mut kept, _) = read_tail(&mut file, limit)?;
    kept.drain(..kept.len().saturating_sub(limit));
    Ok(kept)
}

/// At least the last `wanted` messages (or all), and where the last whole line ends.
fn read_tail(file: &mut File, wanted: usize) -> Result<(Vec<StoredMessage>, u64), StoreError> {
    let length = file.metadata()?.len();
    if length > LARGEST_FILE {
        return Err(StoreError::Damaged(format!("{length} bytes, the largest is {LARGEST_FILE}")));
    }
    let mut start = length.saturating_sub(TAIL);
    loop {
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&mut *file).take(length - start).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |last| last + 1);
        // A tail begins in the middle of a line, unless it is the whole file.
        let from = match start {
            0 => 0,
            _ => bytes.iter().position(|&b| b == b'\n').map_or(whole, |first| first + 1),
        };
        let lines = bytes[from..whole.max(from)].split(|&b| b == b'\n').filter(|line| !line.is_empty());
        let messages = lines
            .map(|line| serde_json::from_slice(line).map_err(|error| StoreError::Damaged(error.to_string())))
            .collect::<Result<Vec<StoredMessage>, _>>()?;
        if start == 0 || messages.len() >= wanted {
            return Ok((messages, start + whole as u64));
        }
        start = 0;
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
mod tests {
    use std::io::Write as _;

    use super::super::{ConversationId, Role, TenantId};
    use super::*;

    fn message(text: &str) -> Message {
        Message { id: "m".into(), role: Role::User, text: text.into(), at_ms: 1 }
    }

    fn key() -> ConversationKey {
        ConversationKey { tenant: TenantId::default(), id: ConversationId::random().unwrap() }
    }

    fn texts(messages: &[StoredMessage]) -> Vec<(u64, &str)> {
        messages.iter().map(|stored| (stored.seq, stored.message.text.as_str())).collect()
    }

    #[tokio::test]
    async fn what_is_appended_is_read_by_another_store() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (FileStore::open(directory.path()).unwrap(), FileStore::open(directory.path()).unwrap());
        let key = key();
        assert_eq!(one.append(&key, vec![message("a"), message("b")], true).await.unwrap(), 1);
        assert_eq!(other.append(&key, vec![message("c")], false).await.unwrap(), 3);
        assert_eq!(texts(&one.recent(&key, 2).await.unwrap()), [(2, "b"), (3, "c")]);
    }

    #[tokio::test]
    async fn unknown_and_foreign_conversations_do_not_exist() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(directory.path()).unwrap();
        let ours = key();
        store.append(&ours, vec![message("secret")], true).await.unwrap();
        let theirs = ConversationKey { tenant: "other".parse().unwrap(), id: ours.id.clone() };
        assert!(matches!(store.recent(&theirs, 9).await, Err(StoreError::NotFound)));
        assert!(matches!(store.append(&theirs, vec![message("x")], false).await, Err(StoreError::NotFound)));
        assert!(matches!(store.recent(&key(), 9).await, Err(StoreError::NotFound)));
    }

    #[tokio::test]
    async fn half_a_line_of_a_killed_writer_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(directory.path()).unwrap();
        let key = key();
        store.append(&key, vec![message("a")], true).await.unwrap();
        let mut file = OpenOptions::new().append(true).open(store.path(&key)).unwrap();
        file.write_all(b"{\"seq\":2,\"id\":\"m\",\"ro").unwrap();
        assert_eq!(texts(&store.recent(&key, 9).await.unwrap()), [(1, "a")]);
        assert_eq!(store.append(&key, vec![message("b")], false).await.unwrap(), 2);
        assert_eq!(texts(&store.recent(&key, 9).await.unwrap()), [(1, "a"), (2, "b")]);
    }

    #[tokio::test]
    async fn long_conversations_are_read_whole_and_end_at_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(directory.path()).unwrap();
        let key = key();
        let long = "字".repeat(4000);
        store.append(&key, vec![message(&long)], true).await.unwrap();
        for _ in 0..20 {
            store.append(&key, vec![message(&long)], false).await.unwrap();
        }
        assert_eq!(store.recent(&key, 100).await.unwrap().len(), 21);
        assert_eq!(store.recent(&key, 3).await.unwrap().first().unwrap().seq, 19);
        let huge = message(&"x".repeat(LARGEST_FILE as usize));
        assert!(matches!(store.append(&key, vec![huge], false).await, Err(StoreError::Full)));
        assert_eq!(store.recent(&key, 100).await.unwrap().len(), 21);
    }

    #[test]
    fn a_link_is_not_private() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        FileStore::open_private(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(FileStore::open(&link).is_ok());
        assert!(FileStore::open_private(&link).is_err());
    }

    #[tokio::test]
    async fn writers_take_turns() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(directory.path()).unwrap();
        let key = key();
        store.append(&key, vec![message("0")], true).await.unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (store, key) = (store.clone(), key.clone());
                tokio::spawn(async move { store.append(&key, vec![message("x"), message("y")], false).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let kept = store.recent(&key, 100).await.unwrap();
        assert_eq!(kept.iter().map(|stored| stored.seq).collect::<Vec<_>>(), (1..=41).collect::<Vec<_>>());
    }
}
