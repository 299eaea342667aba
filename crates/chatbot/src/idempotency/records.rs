#[cfg(feature = "dynamodb")]
mod dynamodb;

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoRecords;

use super::IsReply;
use crate::clock::now_ms;
use crate::conversation::StoreError;
use crate::disk::{blocking, open_or_create};
use crate::tenant::TenantId;

/// How long a key is remembered.
const MEMORY_MS: u64 = 24 * 3600 * 1000;
/// How long a request can run; one that is older was lost with its process.
const RUNNING_MS: u64 = 150 * 1000;

/// The most keys remembered in memory; then the older half is forgotten.
const MOST: usize = 20_000;

/// What was done under keys.
#[derive(Debug)]
pub enum Records {
    /// In files `<dir>/<tenant>/<key's hash>`, for all processes.
    Directory(PathBuf),
    /// In a table, for all tasks.
    #[cfg(feature = "dynamodb")]
    Table(DynamoRecords),
    /// In memory.
    Memory(Mutex<HashMap<(TenantId, String), Record>>),
}

/// What is kept under a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    fingerprint: String,
    at_ms: u64,
    /// None: it is running.
    kept: Option<Kept>,
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// A JSON document.
    Document {
        /// The status it came with.
        status: u16,
        /// The document.
        body: String,
    },
    /// A reply, to be read from its conversation.
    Reply(IsReply),
}

/// What a key allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reservation {
    /// It is new; the request may run.
    New,
    /// The same request is running.
    Running,
    /// It was used for another request.
    Other,
    /// The same request is done.
    Done(Kept),
}

impl Default for Records {
    fn default() -> Self {
        Self::Memory(Mutex::default())
    }
}

impl Records {
    /// Takes a key for a request with this fingerprint.
    pub async fn reserve(&self, tenant: &TenantId, key: &str, fingerprint: &str) -> Result<Reservation, StoreError> {
        let new = Record { fingerprint: fingerprint.to_owned(), at_ms: now_ms(), kept: None };
        match self {
            Self::Directory(directory) => {
                let path = directory.join(tenant.as_str()).join(key);
                blocking(move || reserve(&path, &new)).await
            }
            #[cfg(feature = "dynamodb")]
            Self::Table(records) => records.reserve(tenant, key, &new).await,
            Self::Memory(records) => {
                let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
                if records.len() >= MOST {
                    forget(&mut records);
                }
                let before = records.get(&(tenant.clone(), key.to_owned()));
                if let Some(reservation) = before.and_then(|before| before.holds_against(&new)) {
                    return Ok(reservation);
                }
                records.insert((tenant.clone(), key.to_owned()), new);
                Ok(Reservation::New)
            }
        }
    }

    /// Keeps the result of the request that took a key, or gives the key back.
    pub async fn settle(&self, tenant: &TenantId, key: &str, kept: Option<Kept>) -> Result<(), StoreError> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(tenant.as_str()).join(key);
                blocking(move || settle(&path, kept)).await
            }
            #[cfg(feature = "dynamodb")]
            Self::Table(records) => records.settle(tenant, key, kept).await,
            Self::Memory(records) => {
                let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
                let place = (tenant.clone(), key.to_owned());
                match (kept, records.get_mut(&place)) {
                    (Some(kept), Some(record)) => record.kept = Some(kept),
                    _ => drop(records.remove(&place)),
                }
                Ok(())
            }
        }
    }

    /// Removes what is over. Blocks on files.
    pub fn sweep(&self) -> std::io::Result<()> {
        let Self::Directory(directory) = self else { return Ok(()) };
        let tenants = match std::fs::read_dir(directory) {
            Ok(tenants) => tenants,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let before = SystemTime::now() - Duration::from_millis(MEMORY_MS);
        for tenant in tenants {
            for file in std::fs::read_dir(tenant?.path())? {
                let file = file?;
                if file.metadata()?.modified()? < before {
                    std::fs::remove_file(file.path())?;
                }
            }
        }
        Ok(())
    }
}

/// Makes room: what is over goes and, where that is not enough, the older half.
fn forget(records: &mut HashMap<(TenantId, String), Record>) {
    records.retain(|_, record| !record.is_over());
    if records.len() >= MOST {
        let mut ages: Vec<u64> = records.values().map(|record| record.at_ms).collect();
        let (_, &mut middle, _) = ages.select_nth_unstable(MOST / 2);
        records.retain(|_, record| record.at_ms > middle);
    }
}

impl Record {
    fn expires_ms(&self) -> u64 {
        self.at_ms + if self.kept.is_some() { MEMORY_MS } else { RUNNING_MS }
    }

    fn is_over(&self) -> bool {
        now_ms() >= self.expires_ms()
    }

    /// What this record answers to a new request; nothing when it is over.
    fn holds_against(&self, new: &Record) -> Option<Reservation> {
        (!self.is_over()).then(|| self.answers(new))
    }

    /// What this record answers to a new request.
    fn answers(&self, new: &Record) -> Reservation {
        match &self.kept {
            _ if self.fingerprint != new.fingerprint => Reservation::Other,
            Some(kept) => Reservation::Done(kept.clone()),
            None => Reservation::Running,
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let file = open_or_create(path)?;
    file.lock()?;
    Ok(file)
}

/// What a file says; nothing when it is new, or when a crash cut it off.
fn read(file: &mut File) -> std::io::Result<Option<Record>> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

fn write(file: &mut File, record: &Record) -> Result<(), StoreError> {
    let text = serde_json::to_vec(record).map_err(|error| StoreError::Io(error.into()))?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&text)?;
    Ok(())
}

fn reserve(path: &Path, new: &Record) -> Result<Reservation, StoreError> {
    let mut file = open(path)?;
    if let Some(reservation) = read(&mut file)?.and_then(|before| before.holds_against(new)) {
        return Ok(reservation);
    }
    write(&mut file, new)?;
    Ok(Reservation::New)
}

fn settle(path: &Path, kept: Option<Kept>) -> Result<(), StoreError> {
    let mut file = open(path)?;
    match (read(&mut file)?, kept) {
        (Some(record), Some(kept)) => write(&mut file, &Record { kept: Some(kept), ..record }),
        // Emptied, not removed: another request may already have opened it.
        _ => Ok(file.set_len(0)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_for_one_request_in_every_process() {
        let directory = tempfile::tempdir().unwrap();
        let files = || Records::Directory(directory.path().join("idempotency"));
        let (memory, tenant, other) = (Records::default(), TenantId::default(), "other".parse().unwrap());
        for (one, two) in [(&files(), &files()), (&memory, &memory)] {
            assert_eq!(one.reserve(&tenant, "k", "f").await.unwrap(), Reservation::New);
            assert_eq!(two.reserve(&tenant, "k", "f").await.unwrap(), Reservation::Running);
            assert_eq!(two.reserve(&tenant, "k", "g").await.unwrap(), Reservation::Other);
            assert_eq!(two.reserve(&other, "k", "g").await.unwrap(), Reservation::New, "tenants are apart");
            let kept = Kept::Document { status: 200, body: "{}".into() };
            one.settle(&tenant, "k", Some(kept.clone())).await.unwrap();
            assert_eq!(two.reserve(&tenant, "k", "f").await.unwrap(), Reservation::Done(kept));
            two.settle(&other, "k", None).await.unwrap();
            assert_eq!(one.reserve(&other, "k", "f").await.unwrap(), Reservation::New, "nothing was done");
            one.sweep().unwrap();
            assert_eq!(two.reserve(&tenant, "k", "g").await.unwrap(), Reservation::Other, "it is not over yet");
        }
    }

    #[tokio::test]
    async fn memory_has_a_bound() {
        let (records, tenant) = (Records::default(), TenantId::default());
        for key in 0..=MOST {
            records.reserve(&tenant, &key.to_string(), "f").await.unwrap();
        }
        let Records::Memory(kept) = &records else { panic!("in memory") };
        assert!(kept.lock().unwrap().len() <= MOST);
        assert_eq!(
            records.reserve(&tenant, &MOST.to_string(), "f").await.unwrap(),
            Reservation::Running,
            "the newest stays"
        );
    }
}
