//! Everything a request needs, put together once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::config::{Config, ConfigError, ConfigErrors, Release, Store};
use crate::conversation::{ConversationStore, FileStore, MemoryStore};
use crate::drain::Drain;
use crate::engine::Engine;
use crate::knowledge::Knowledge;
use crate::metrics::Metrics;

/// The service's parts.
#[derive(Debug)]
pub struct App {
    /// Finds answers.
    pub engine: Engine,
    /// Keeps conversations.
    pub store: Box<dyn ConversationStore>,
    /// Counts.
    pub metrics: Metrics,
    /// Knows whether the process is stopping.
    pub drain: Drain,
    /// What is running.
    pub release: Release,
    /// The commit as a header value.
    pub commit_header: HeaderValue,
    /// Pause between two pieces of a streamed answer.
    pub delta_delay: Duration,
}

impl App {
    /// Opens everything the configuration names; on mistakes, all of them.
    pub fn open(config: &Config) -> Result<Arc<Self>, ConfigErrors> {
        let mut errors = Vec::new();
        let knowledge = match &config.knowledge_file {
            Some(path) => Knowledge::load(path),
            None => Knowledge::built_in(),
        };
        let knowledge = knowledge.map_err(|error| {
            errors.push(ConfigError {
                variable: "KNOWLEDGE_FILE",
                problem: with_sources(&error),
                hint: "correct the file, or unset the variable for the built-in knowledge".to_owned(),
            });
        });
        let store = open_store(&config.store).map_err(|error| errors.push(error));
        match (knowledge, store) {
            (Ok(knowledge), Ok(store)) => Ok(Arc::new(Self::new(config, knowledge, store))),
            _ => Err(ConfigErrors(errors)),
        }
    }

    /// Puts parts together.
    pub fn new(config: &Config, knowledge: Knowledge, store: Box<dyn ConversationStore>) -> Self {
        let commit = config.release.commit.as_deref().unwrap_or("unknown");
        Self {
            engine: Engine::new(knowledge),
            store,
            metrics: Metrics::default(),
            drain: Drain::default(),
            release: config.release.clone(),
            commit_header: HeaderValue::from_str(commit).unwrap_or(HeaderValue::from_static("unknown")),
            delta_delay: config.delta_delay,
        }
    }
}

fn open_store(store: &Store) -> Result<Box<dyn ConversationStore>, ConfigError> {
    let wrong = |problem| {
        ConfigError {
        variable: "CONVERSATIONS_DIR",
        problem,
        hint: "name a directory that this user can write (mount a volume on /data), or set CONVERSATION_STORE=memory to lose conversations with the process".to_owned(),
    }
    };
    let refused = |path: &Path, error: std::io::Error| format!("cannot use {}: {error}", path.display());
    match store {
        Store::Memory => {
            tracing::warn!("conversations are kept in memory and end with this process");
            Ok(Box::new(MemoryStore::default()))
        }
        Store::Directory(path) => match FileStore::open(path) {
            Ok(store) => Ok(Box::new(store)),
            Err(error) => Err(wrong(refused(path, error))),
        },
        Store::FirstOf(candidates) => {
            let mut reasons = Vec::new();
            for candidate in candidates {
                let path = candidate.base.join(&candidate.below);
                if !candidate.base.is_dir() {
                    reasons.push(format!("{} does not exist", candidate.base.display()));
                    continue;
                }
                match FileStore::open_private(&path) {
                    Ok(store) => {
                        tracing::info!(directory = %path.display(), "CONVERSATIONS_DIR is not set, using a default");
                        return Ok(Box::new(store));
                    }
                    Err(error) => reasons.push(refused(&path, error)),
                }
            }
            Err(wrong(format!("not set, and no default directory works: {}", reasons.join("; "))))
        }
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
