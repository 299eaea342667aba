//! The endpoint's state: typed records in tables, changed in transactions, kept in a journal beside an atomic snapshot.
//!
//! A transaction is one line of `journal.jsonl`, written before it becomes visible. Opening the store reads the snapshot,
//! replays the journal (a line torn by a kill is dropped: it was never acknowledged) and writes a fresh snapshot.
//! A killed process loses nothing acknowledged; a machine that loses power may lose the last moments.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

/// A kind of record and the table it lives in.
pub trait Record: Serialize + DeserializeOwned {
    /// Unique name, `service/kind`.
    const TABLE: &'static str;
}

/// Why the state cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file of the data directory cannot be read or written.
    #[error("cannot use the data directory {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Another endpoint has the directory open.
    #[error("the data directory {0} is in use by another endpoint")]
    Locked(PathBuf),
    /// The directory was written by an incompatible version, or is damaged.
    #[error("the state in {path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

const FORMAT: u32 = 1;
/// Journal lines after which a new snapshot is written.
const COMPACT_AFTER: usize = 5_000;

type Tables = BTreeMap<String, BTreeMap<String, Value>>;

#[derive(Serialize, Deserialize)]
struct Snapshot {
    format: u32,
    tables: Tables,
}

/// One change of a transaction: table, key, and the new value or none when deleted.
type Write1 = (String, String, Option<Value>);

/// The store. Reads see only committed transactions.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
    revision: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    tables: Tables,
    journal: File,
    lines: usize,
    _lock: File,
}

impl Store {
    /// Opens the state in `directory`, creating it when it is not there.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        fs::create_dir_all(directory).map_err(io_error(directory))?;
        let lock_path = directory.join("lock");
        let lock = File::create(&lock_path).map_err(io_error(&lock_path))?;
        lock.try_lock().map_err(|_| OpenError::Locked(directory.to_owned()))?;

        let snapshot_path = directory.join("snapshot.json");
        let mut tables = read_snapshot(&snapshot_path)?;
        let journal_path = directory.join("journal.jsonl");
        replay(&journal_path, &mut tables)?;
        write_snapshot(directory, &tables).map_err(io_error(&snapshot_path))?;
        let journal = File::create(&journal_path).map_err(io_error(&journal_path))?;

        Ok(Self {
            inner: Mutex::new(Inner { directory: directory.to_owned(), tables, journal, lines: 0, _lock: lock }),
            revision: watch::Sender::new(0),
        })
    }

    /// The record under `key`.
    pub fn get<T: Record>(&self, key: &str) -> Option<T> {
        read(&self.lock().tables, key)
    }

    /// All records of a kind, by key.
    pub fn all<T: Record>(&self) -> Vec<(String, T)> {
        scan(&self.lock().tables)
    }

    /// All records of a kind for which `keep` holds, without their keys.
    pub fn find<T: Record>(&self, keep: impl Fn(&T) -> bool) -> Vec<T> {
        self.all::<T>().into_iter().map(|(_, record)| record).filter(|record| keep(record)).collect()
    }

    /// Runs a transaction: all of its changes are journalled and become visible at once, or, on an error, none.
    ///
    /// What is as it was is no change: reconcilers, which put records down again at every step, would wake one another for ever.
    /// The closure must not touch the store but through its argument, and must not block.
    pub fn write<R, E>(&self, change: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>) -> Result<R, E> {
        let mut inner = self.lock();
        let mut transaction = Transaction { committed: &inner.tables, writes: BTreeMap::new() };
        let result = change(&mut transaction)?;
        let writes = transaction.writes.into_iter().map(|((table, key), value)| (table.to_owned(), key, value));
        let writes: Vec<Write1> = writes.filter(|write| changes(&inner.tables, write)).collect();
        if writes.is_empty() {
            return Ok(result);
        }
        inner.commit(writes);
        drop(inner);
        self.revision.send_modify(|revision| *revision += 1);
        Ok(result)
    }

    /// Puts one record.
    pub fn put<T: Record>(&self, key: &str, record: &T) {
        let _: Result<(), std::convert::Infallible> = self.write(|tx| {
            tx.put(key, record);
            Ok(())
        });
    }

    /// Deletes one record; true when it was there.
    pub fn delete<T: Record>(&self, key: &str) -> bool {
        let deleted: Result<bool, std::convert::Infallible> = self.write(|tx| Ok(tx.delete::<T>(key)));
        deleted.unwrap_or_default()
    }

    /// Changes one record in place and returns it; `None` when there is no such record.
    pub fn update<T: Record>(&self, key: &str, change: impl FnOnce(&mut T)) -> Option<T> {
        let updated: Result<Option<T>, std::convert::Infallible> = self.write(|tx| {
            let Some(mut record) = tx.get::<T>(key) else { return Ok(None) };
            change(&mut record);
            tx.put(key, &record);
            Ok(Some(record))
        });
        updated.unwrap_or_default()
    }

    /// A receiver that changes with every committed transaction: reconcilers wait on it beside their clock.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in a transaction's closure happens before anything is changed, so the data behind a poisoned lock is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The view and the changes of one transaction.
pub struct Transaction<'a> {
    committed: &'a Tables,
    writes: BTreeMap<(&'static str, String), Option<Value>>,
}

impl Transaction<'_> {
    /// The record under `key`, with this transaction's own changes.
    pub fn get<T: Record>(&self, key: &str) -> Option<T> {
        match self.writes.get(&(T::TABLE, key.to_owned())) {
            Some(Some(value)) => decode::<T>(key, value),
            Some(None) => None,
            None => read(self.committed, key),
        }
    }

    /// All records of a kind, with this transaction's own changes.
    pub fn all<T: Record>(&self) -> Vec<(String, T)> {
        let mut records: BTreeMap<String, T> = scan::<T>(self.committed).into_iter().collect();
        for ((table, key), value) in &self.writes {
            if *table == T::TABLE {
                match value.as_ref().and_then(|value| decode::<T>(key, value)) {
                    Some(record) => records.insert(key.clone(), record),
                    None => records.remove(key),
                };
            }
        }
        records.into_iter().collect()
    }

    /// Puts a record.
    pub fn put<T: Record>(&mut self, key: &str, record: &T) {
        match serde_json::to_value(record) {
            Ok(value) => {
                self.writes.insert((T::TABLE, key.to_owned()), Some(value));
            }
            Err(error) => tracing::error!(table = T::TABLE, key, %error, "a record cannot be serialised"),
        }
    }

    /// Deletes a record; true when it was there.
    pub fn delete<T: Record>(&mut self, key: &str) -> bool {
        let existed = self.get::<T>(key).is_some();
        if existed {
            self.writes.insert((T::TABLE, key.to_owned()), None);
        }
        existed
    }
}

impl Inner {
    fn commit(&mut self, writes: Vec<Write1>) {
        let mut line = serde_json::to_vec(&writes).unwrap_or_default();
        line.push(b'\n');
        if let Err(error) = self.journal.write_all(&line) {
            // The endpoint goes on with what it has in memory and says so: refusing every call would help nobody.
            tracing::error!(%error, directory = %self.directory.display(), "the journal cannot be written; state will not survive a restart");
        }
        apply(&mut self.tables, writes);
        self.lines += 1;
        if self.lines >= COMPACT_AFTER {
            self.lines = 0;
            if let Err(error) = self.compact() {
                tracing::error!(%error, directory = %self.directory.display(), "the snapshot cannot be written");
            }
        }
    }

    fn compact(&mut self) -> io::Result<()> {
        write_snapshot(&self.directory, &self.tables)?;
        // A kill between the two leaves a journal whose changes the snapshot already has: replaying them changes nothing.
        self.journal = File::create(self.directory.join("journal.jsonl"))?;
        Ok(())
    }
}

fn apply(tables: &mut Tables, writes: Vec<Write1>) {
    for (table, key, value) in writes {
        let rows = tables.entry(table).or_default();
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
}

fn changes(tables: &Tables, (table, key, value): &Write1) -> bool {
    tables.get(table).and_then(|rows| rows.get(key)) != value.as_ref()
}

fn read<T: Record>(tables: &Tables, key: &str) -> Option<T> {
    tables.get(T::TABLE)?.get(key).and_then(|value| decode(key, value))
}

fn scan<T: Record>(tables: &Tables) -> Vec<(String, T)> {
    let rows = tables.get(T::TABLE).into_iter().flatten();
    rows.filter_map(|(key, value)| Some((key.clone(), decode::<T>(key, value)?))).collect()
}

fn decode<T: Record>(key: &str, value: &Value) -> Option<T> {
    T::deserialize(value)
        .inspect_err(|error| tracing::error!(table = T::TABLE, key, %error, "a stored record cannot be read"))
        .ok()
}

fn read_snapshot(path: &Path) -> Result<Tables, OpenError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tables::new()),
        Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }),
    };
    let unreadable = |reason: String| OpenError::Unreadable { path: path.to_owned(), reason };
    let snapshot: Snapshot = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    if snapshot.format != FORMAT {
        return Err(unreadable(format!("it has format {}, this version reads {FORMAT}", snapshot.format)));
    }
    Ok(snapshot.tables)
}

fn replay(path: &Path, tables: &mut Tables) -> Result<(), OpenError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }),
    };
    let mut lines = BufReader::new(file).split(b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = line.map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        match serde_json::from_slice::<Vec<Write1>>(&line) {
            Ok(writes) => apply(tables, writes),
            Err(_) if lines.peek().is_none() => {
                tracing::warn!("the journal's last line was cut off by a kill and is dropped");
            }
            Err(error) => {
                return Err(OpenError::Unreadable { path: path.to_owned(), reason: error.to_string() });
            }
        }
    }
    Ok(())
}

fn write_snapshot(directory: &Path, tables: &Tables) -> io::Result<()> {
    #[derive(Serialize)]
    struct Borrowed<'a> {
        format: u32,
        tables: &'a Tables,
    }
    let temporary = directory.join("snapshot.json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
    file.write_all(&serde_json::to_vec(&Borrowed { format: FORMAT, tables })?)?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join("snapshot.json"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Task {
        status: u32,
    }
    impl Record for Task {
        const TABLE: &'static str = "test/task";
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, u32),
        Delete(u8),
        Fail(u8),
        Reopen,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..6u8, any::<u32>()).prop_map(|(key, status)| Step::Put(key, status)),
            (0..6u8).prop_map(Step::Delete),
            (0..6u8).prop_map(Step::Fail),
            Just(Step::Reopen),
        ];
        proptest::collection::vec(step, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_store_holds_exactly_what_was_committed(steps in steps()) {
            let directory = tempfile::tempdir().unwrap();
            let mut store = Store::open(directory.path()).unwrap();
            let mut expected = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(key, status) => {
                        store.put(&key.to_string(), &Task { status });
                        expected.insert(key.to_string(), Task { status });
                    }
                    Step::Delete(key) => {
                        prop_assert_eq!(store.delete::<Task>(&key.to_string()), expected.remove(&key.to_string()).is_some());
                    }
                    Step::Fail(key) => {
                        let failed: Result<(), &str> = store.write(|tx| {
                            tx.put(&key.to_string(), &Task { status: 0 });
                            Err("no")
                        });
                        prop_assert!(failed.is_err());
                    }
                    Step::Reopen => {
                        drop(store);
                        store = Store::open(directory.path()).unwrap();
                    }
                }
                prop_assert_eq!(store.all::<Task>(), expected.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_a_damaged_middle_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("journal.jsonl");
        let store = Store::open(directory.path()).unwrap();
        store.put("a", &Task { status: 1 });
        store.put("b", &Task { status: 2 });
        drop(store);
        let whole = fs::read(&journal).unwrap();
        for cut in 0..whole.len() {
            fs::write(&journal, &whole[..cut]).unwrap();
            fs::remove_file(directory.path().join("snapshot.json")).unwrap();
            let store = Store::open(directory.path()).unwrap();
            let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap();
            assert_eq!(store.get::<Task>("a").is_some(), cut >= first_line, "cut at {cut}");
            drop(store);
        }
        fs::write(&journal, b"garbage\n[]\n").unwrap();
        assert!(matches!(Store::open(directory.path()), Err(OpenError::Unreadable { .. })));
    }

    #[test]
    fn what_is_as_it_was_wakes_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.put("a", &Task { status: 1 });
        let mut changes = store.changes();
        store.put("a", &Task { status: 1 });
        store.update::<Task>("a", |_| {});
        store.delete::<Task>("b");
        let nothing: Result<(), std::convert::Infallible> = store.write(|tx| {
            tx.put("b", &Task { status: 2 });
            tx.delete::<Task>("b");
            Ok(())
        });
        assert_eq!((nothing, changes.has_changed().unwrap()), (Ok(()), false));
        assert_eq!(fs::read_to_string(directory.path().join("journal.jsonl")).unwrap().lines().count(), 1);
        store.update::<Task>("a", |task| task.status = 2);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(store.delete::<Task>("a") && changes.has_changed().unwrap());
    }

    #[test]
    fn a_second_endpoint_is_kept_out() {
        let directory = tempfile::tempdir().unwrap();
        let _store = Store::open(directory.path()).unwrap();
        assert!(matches!(Store::open(directory.path()), Err(OpenError::Locked(_))));
    }
}
