#[cfg(feature = "dynamodb")]
mod dynamodb;

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoOutbox;

use crate::disk::{blocking, make_directory, replace};
use crate::tenant::TenantId;

/// Something a tenant's systems should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its id, the same at every try.
    pub id: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: u64,
    /// What is posted.
    pub body: String,
    /// The trace of the request it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Where events wait.
#[derive(Debug)]
pub enum Outbox {
    /// In files that several processes share and a restart leaves alone.
    Directory(PathBuf),
    /// In a table that all tasks share.
    #[cfg(feature = "dynamodb")]
    Table(DynamoOutbox),
    /// In memory.
    Memory(Arc<Mutex<Vec<Event>>>),
}

impl Default for Outbox {
    fn default() -> Self {
        Self::Memory(Arc::default())
    }
}

/// An event that nobody else delivers now.
#[derive(Debug)]
pub struct Claimed {
    event: Event,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// The file stays locked until this is dropped.
    File(PathBuf, File),
    /// The item is leased.
    #[cfg(feature = "dynamodb")]
    Table(DynamoOutbox),
    Memory(Arc<Mutex<Vec<Event>>>),
}

impl Outbox {
    /// Keeps an event.
    pub async fn put(&self, event: Event) -> std::io::Result<()> {
        match self {
            Self::Directory(directory) => {
                let directory = directory.clone();
                blocking(move || put(&directory, &event)).await
            }
            #[cfg(feature = "dynamodb")]
            Self::Table(outbox) => outbox.put(&event).await.map_err(std::io::Error::other),
            Self::Memory(events) => {
                events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                Ok(())
            }
        }
    }

    /// The ids of the events that wait, oldest first.
    pub async fn list(&self) -> std::io::Result<Vec<String>> {
        match self {
            Self::Directory(directory) => {
                let directory = directory.clone();
                blocking(move || list(&directory)).await
            }
            #[cfg(feature = "dynamodb")]
            Self::Table(outbox) => outbox.list().await.map_err(std::io::Error::other),
            Self::Memory(events) => {
                let events = events.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(events.iter().map(|event| event.id.clone()).collect())
            }
        }
    }

    /// Takes an event, unless another process has it or it is gone.
    pub async fn claim(&self, id: &str) -> std::io::Result<Option<Claimed>> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(id).with_extension("json");
                blocking(move || claim(path)).await
            }
            #[cfg(feature = "dynamodb")]
            Self::Table(outbox) => {
                let event = outbox.claim(id).await.map_err(std::io::Error::other)?;
                Ok(event.map(|event| Claimed { event, place: Place::Table(outbox.clone()) }))
            }
            Self::Memory(events) => {
                let found = events.lock().unwrap_or_else(PoisonError::into_inner);
                let found = found.iter().find(|event| event.id == id).cloned();
                Ok(found.map(|event| Claimed { event, place: Place::Memory(Arc::clone(events)) }))
            }
        }
    }
}

impl Claimed {
    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// It is settled.
    pub async fn remove(self) {
        let removed = match self.place {
            Place::File(path, locked) => {
                blocking(move || {
                    let removed = std::fs::remove_file(&path);
                    drop(locked);
                    removed
                })
                .await
            }
            #[cfg(feature = "dynamodb")]
            Place::Table(outbox) => outbox.remove(&self.event.id).await.map_err(std::io::Error::other),
            Place::Memory(events) => {
                events.lock().unwrap_or_else(PoisonError::into_inner).retain(|event| event.id != self.event.id);
                Ok(())
            }
        };
        if let Err(error) = removed {
            // It will be delivered again, which its id tells.
            tracing::warn!(error = %error, "a webhook event cannot be removed");
        }
    }

    /// It could not be delivered: whoever takes it next should wait so long. Processes that share files find out for
    /// themselves.
    #[cfg_attr(not(feature = "dynamodb"), expect(unused_variables, reason = "only tables keep the wait"))]
    pub async fn postpone(self, wait: Duration) {
        match self.place {
            #[cfg(feature = "dynamodb")]
            Place::Table(outbox) => {
                if let Err(error) = outbox.postpone(&self.event.id, wait).await {
                    // Its lease runs out.
                    tracing::warn!(error = %error, "a webhook event cannot be postponed");
                }
            }
            Place::File(..) | Place::Memory(_) => {}
        }
    }
}

fn put(directory: &Path, event: &Event) -> std::io::Result<()> {
    make_directory(directory)?;
    replace(&directory.join(&event.id).with_extension("json"), &serde_json::to_vec(event)?)
}

fn list(directory: &Path) -> std::io::Result<Vec<String>> {
    let files = match std::fs::read_dir(directory) {
        Ok(files) => files,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut ids = Vec::new();
    for file in files {
        let name = file?.file_name().into_string().unwrap_or_default();
        ids.extend(name.strip_suffix(".json").map(str::to_owned));
    }
    // An id begins with its time.
    ids.sort_unstable();
    Ok(ids)
}

fn claim(path: PathBuf) -> std::io::Result<Option<Claimed>> {
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if file.metadata()?.nlink() == 0 {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let event = serde_json::from_slice(&text)?;
    Ok(Some(Claimed { event, place: Place::File(path, file) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_is_taken_by_one_process_at_a_time_until_it_is_settled() {
        let directory = tempfile::tempdir().unwrap();
        let outbox = || Outbox::Directory(directory.path().join("outbox"));
        for outboxes in [[outbox(), outbox()]] {
            let [blue, green] = outboxes;
            assert_eq!(blue.list().await.unwrap(), [""; 0]);
            let event = Event {
                id: "evt_1".into(),
                tenant: TenantId::default(),
                at_ms: 1,
                body: "{}".into(),
                traceparent: None,
            };
            blue.put(event.clone()).await.unwrap();
            assert_eq!(green.list().await.unwrap(), ["evt_1"]);
            let claimed = green.claim("evt_1").await.unwrap().unwrap();
            assert_eq!(claimed.event(), &event);
            assert!(blue.claim("evt_1").await.unwrap().is_none());
            drop(claimed);
            blue.claim("evt_1").await.unwrap().expect("nobody holds it").remove().await;
            assert!(green.claim("evt_1").await.unwrap().is_none());
        }
    }
}
