//! Everything a request needs, put together once.

mod backends;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use self::backends::Backends;
use crate::access::Caller;
use crate::answer::AnswerWriter;
use crate::causes::with_causes;
use crate::config::{Config, ConfigError, ConfigErrors, Release, Store, Tenants};
use crate::conversation::{
    Conversation, ConversationKey, ConversationStore, FileStore, Glance, MemoryStore, StoreError,
};
use crate::disk;
use crate::drain::Drain;
use crate::generation::Hub;
use crate::idempotency::Records;
use crate::knowledge::Knowledge;
use crate::ledger::{Books, FileBooks, Ledger, MemoryBooks};
use crate::limits::Rates;
use crate::metrics::Metrics;
use crate::model::{ModelWriter, Models};
use crate::problem::Problem;
use crate::random;
use crate::session::Signer;
use crate::tenant::{Registry, TenantsError};
use crate::webhook::{Outbox, Webhooks};

/// The service's parts.
#[derive(Debug)]
pub struct App {
    /// The tenants, with their knowledge and keys.
    pub tenants: Registry,
    /// Keeps conversations.
    pub store: Box<dyn ConversationStore>,
    /// The language models.
    pub models: Arc<Models>,
    /// Writes what the knowledge does not hold, if language models are configured.
    pub writer: Option<Arc<dyn AnswerWriter>>,
    /// The replies being generated.
    pub generations: Hub,
    /// How fast tenants and their end users ask.
    pub rates: Rates,
    /// What tenants use.
    pub ledger: Ledger,
    /// What was done under `Idempotency-Key`s.
    pub idempotency: Records,
    /// Tells tenants' systems.
    pub webhooks: Webhooks,
    /// Signs widget sessions.
    pub signer: Signer,
    /// SHA-256 of the operator's key.
    pub operator_key: Option<[u8; 32]>,
    /// Counts.
    pub metrics: Metrics,
    /// Knows whether the process is stopping.
    pub drain: Drain,
    /// What is running.
    pub release: Release,
    /// The commit as a header value.
    pub commit_header: HeaderValue,
    /// Requests answered at once.
    pub max_requests: usize,
    /// Pause between two pieces of a streamed answer.
    pub delta_delay: Duration,
}

impl App {
    /// Opens everything the configuration names; on mistakes, all of them.
    pub fn open(config: &Config) -> Result<Arc<Self>, ConfigErrors> {
        let mut errors = Vec::new();
        let backends = Backends::new(config);
        let models = Arc::new(backends.models());
        let tenants = open_tenants(config, &backends).and_then(|tenants| models_exist(&models, tenants));
        let tenants = tenants.map_err(|error| errors.push(error));
        let opened = open_store(&config.store, &backends).map_err(|error| errors.push(error));
        let (Ok(tenants), Ok(opened)) = (tenants, opened) else { return Err(ConfigErrors(errors)) };
        let signer = signer(config, opened.directory.as_deref()).map_err(|error| ConfigErrors(vec![error]))?;
        let mut app = Self::new(config, tenants, opened.store, signer);
        app.ledger = Ledger::new(opened.books);
        app.idempotency = opened.records;
        app.webhooks = Webhooks::new(opened.outbox);
        if !models.links().is_empty() {
            app.writer = Some(Arc::new(ModelWriter::new(Arc::clone(&models))));
        }
        app.models = models;
        Ok(Arc::new(app))
    }

    /// Puts parts together.
    pub fn new(config: &Config, tenants: Registry, store: Box<dyn ConversationStore>, signer: Signer) -> Self {
        let commit = config.release.commit.as_deref().unwrap_or("unknown");
        Self {
            tenants,
            store,
            models: Arc::default(),
            writer: None,
            generations: Hub::default(),
            rates: Rates::default(),
            ledger: Ledger::new(Box::new(MemoryBooks::default())),
            idempotency: Records::default(),
            webhooks: Webhooks::default(),
            signer,
            operator_key: config.operator_key,
            metrics: Metrics::default(),
            drain: Drain::default(),
            release: config.release.clone(),
            commit_header: HeaderValue::from_str(commit).unwrap_or(HeaderValue::from_static("unknown")),
            max_requests: config.max_requests,
            delta_delay: config.delta_delay,
        }
    }

    /// A conversation with its last messages, if this caller may see it; otherwise it does not exist.
    pub async fn conversation(
        &self,
        caller: &Caller,
        key: &ConversationKey,
        limit: usize,
    ) -> Result<Conversation, Problem> {
        let found = self.store.load(key, limit).await.map_err(|error| self.store_problem(error))?;
        caller.see(found.owner.as_deref())?;
        Ok(found)
    }

    /// How a conversation stands, if this caller may see it; otherwise it does not exist.
    pub async fn glance(&self, caller: &Caller, key: &ConversationKey) -> Result<Glance, Problem> {
        let found = self.store.glance(key).await.map_err(|error| self.store_problem(error))?;
        caller.see(found.owner.as_deref())?;
        Ok(found)
    }

    /// A store's failure, counted when it is ours.
    pub fn store_problem(&self, error: StoreError) -> Problem {
        if !matches!(error, StoreError::NotFound | StoreError::Full | StoreError::Conflict) {
            self.metrics.store_failure();
        }
        error.into()
    }

    /// Whether this caller may send another message: not too fast for one person, and within the month's cap.
    pub async fn admit_message(&self, caller: &Caller) -> Result<(), Problem> {
        let (tenant, limits) = (caller.tenant.id(), &caller.tenant.settings.limits);
        if let Some(user) = &caller.end_user {
            let standing = self.rates.message(tenant, user, limits);
            if !standing.allowed {
                return Err(standing.problem("One person"));
            }
        }
        self.ledger.admit(tenant, limits).await
    }
}

fn open_tenants(config: &Config, backends: &Backends<'_>) -> Result<Registry, ConfigError> {
    let wrong = |variable, hint: &str| {
        let hint = hint.to_owned();
        move |error: TenantsError| ConfigError { variable, problem: with_causes(&error), hint }
    };
    match &config.tenants {
        Tenants::File(path) => {
            let hint = "correct the file, or unset the variable for the demo";
            return Registry::open(path).map_err(wrong("TENANTS_FILE", hint));
        }
        Tenants::Table => {
            let hint = "check CONVERSATIONS_TABLE, the region, and the rights of the task's role";
            return backends.tenants().map_err(wrong("TENANTS_STORE", hint));
        }
        Tenants::Demo => {}
    }
    let knowledge = match &config.knowledge_file {
        Some(path) => Knowledge::load(path),
        None => Knowledge::built_in(),
    };
    let knowledge = knowledge.map_err(|error| ConfigError {
        variable: "KNOWLEDGE_FILE",
        problem: with_causes(&error),
        hint: "correct the file, or unset the variable for the built-in knowledge".to_owned(),
    })?;
    tracing::warn!("no TENANTS_STORE and no TENANTS_FILE: one tenant, open to everybody");
    Ok(Registry::demo(knowledge))
}

/// A tenant must not name a model that this service does not have.
fn models_exist(models: &Models, tenants: Registry) -> Result<Registry, ConfigError> {
    for tenant in tenants.all() {
        let settings = &tenant.settings;
        let missing = settings.model.chain.iter().find(|name| models.links().iter().all(|link| link.name != **name));
        if let Some(name) = missing {
            return Err(ConfigError {
                variable: "MODELS",
                problem: format!("tenant {}: model.chain names {name}, which MODELS does not", settings.id),
                hint: "add it to MODELS, or take it from the tenant".to_owned(),
            });
        }
    }
    Ok(tenants)
}

/// Tokens must be good in every process that serves the tenant, and after a restart.
fn signer(config: &Config, directory: Option<&Path>) -> Result<Signer, ConfigError> {
    let wrong = |error: std::io::Error| ConfigError {
        variable: "SESSION_SECRET",
        problem: format!("is not set, and no secret can be kept beside the conversations: {error}"),
        hint: "set it to 32 or more random characters".to_owned(),
    };
    match (&config.session_secret, directory) {
        (Some(secret), _) => Ok(Signer::new(secret.as_bytes())),
        (None, Some(directory)) => Ok(Signer::new(kept_secret(directory).map_err(wrong)?.as_bytes())),
        // Tokens end with the process, as the conversations do.
        (None, None) if config.store == Store::Memory => Ok(Signer::new(random::hex().map_err(wrong)?.as_bytes())),
        (None, None) => Err(wrong(std::io::Error::other("the store keeps no files"))),
    }
}

/// The secret in the data directory; made by whichever process comes first.
fn kept_secret(directory: &Path) -> std::io::Result<String> {
    let path = directory.join(".session-secret");
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        read => return read,
    }
    let new = directory.join(format!(".session-secret-{}", random::hex()?));
    let mut file = disk::private().write(true).create_new(true).open(&new)?;
    std::io::Write::write_all(&mut file, format!("{}{}", random::hex()?, random::hex()?).as_bytes())?;
    // A link appears with its whole content, and only for the first.
    let linked = std::fs::hard_link(&new, &path);
    std::fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::read_to_string(&path),
    }
}

/// Where everything is kept.
struct Opened {
    store: Box<dyn ConversationStore>,
    books: Box<dyn Books>,
    records: Records,
    outbox: Outbox,
    /// The directory of files, if there is one.
    directory: Option<PathBuf>,
}

impl Opened {
    fn files(store: FileStore, directory: PathBuf) -> Self {
        // No tenant's id begins with a dot.
        Self {
            store: Box::new(store),
            books: Box::new(FileBooks::new(directory.join(".ledger"))),
            records: Records::Directory(directory.join(".idempotency")),
            outbox: Outbox::Directory(directory.join(".outbox")),
            directory: Some(directory),
        }
    }
}

fn open_store(store: &Store, backends: &Backends<'_>) -> Result<Opened, ConfigError> {
    let wrong = |problem| {
        ConfigError {
        variable: "CONVERSATIONS_DIR",
        problem,
        hint: "name a directory that this user can write (mount a volume on /data), or set CONVERSATION_STORE=memory to lose conversations with the process".to_owned(),
    }
    };
    let refused = |path: &Path, error: std::io::Error| format!("cannot use {}: {error}", path.display());
    match store {
        Store::Table { name, retention } => {
            backends.table(name, *retention).ok_or_else(|| wrong("this build has no dynamodb store".to_owned()))
        }
        Store::Memory => {
            tracing::warn!("conversations are kept in memory and end with this process");
            Ok(Opened {
                store: Box::new(MemoryStore::default()),
                books: Box::new(MemoryBooks::default()),
                records: Records::default(),
                outbox: Outbox::default(),
                directory: None,
            })
        }
        Store::Directory(path) => match FileStore::open(path) {
            Ok(store) => Ok(Opened::files(store, path.clone())),
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
                        return Ok(Opened::files(store, path));
                    }
                    Err(error) => reasons.push(refused(&path, error)),
                }
            }
            Err(wrong(format!("not set, and no default directory works: {}", reasons.join("; "))))
        }
    }
}
