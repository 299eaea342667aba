use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::key::{KeyKind, hash, hex, unhex};
use super::{Key, Scopes, Settings, Tenant, TenantId, TenantsFile};
use crate::engine::Engine;
use crate::knowledge::{Knowledge, KnowledgeError};

const SCHEMA: u32 = 1;
/// The publishable key of the demo's widget.
const DEMO_KEY: &str = "sb_pub_demo";

/// Every tenant, found by id or by key.
///
/// Several processes may share the file: a change is made under a lock on `<file>.lock`, becomes
/// visible by renaming, and [`Registry::reload`] takes up what others changed.
#[derive(Debug)]
pub struct Registry {
    file: Option<PathBuf>,
    snapshot: ArcSwap<Snapshot>,
    /// One change at a time; the lock file does the same between processes.
    changing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Snapshot {
    tenants: BTreeMap<TenantId, Arc<Tenant>>,
    keys: HashMap<[u8; 32], Found>,
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
}

/// A key that exists, with its tenant.
#[derive(Debug, Clone)]
pub struct Found {
    /// Whose key it is.
    pub tenant: Arc<Tenant>,
    /// The key's position among the tenant's.
    position: usize,
}

impl Found {
    /// The key.
    pub fn key(&self) -> &Key {
        &self.tenant.settings.keys[self.position]
    }
}

/// Tells whether a file is still the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self { inode: found.ino(), length: found.len(), modified: (found.mtime(), found.mtime_nsec()) })
    }
}

/// Why tenants cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TenantsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not as it should be.
    #[error("{path} is not valid: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's message, with line and column.
        message: String,
    },
    /// Tenants that contradict themselves or each other.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// A tenant's knowledge cannot be used.
    #[error("tenant {tenant}: {source}")]
    Knowledge {
        /// Whose knowledge it is.
        tenant: TenantId,
        /// What is wrong with it.
        source: KnowledgeError,
    },
    /// The tenant was removed in the meantime.
    #[error("the tenant does not exist any more")]
    Gone,
    /// Another version of the knowledge was put in the meantime.
    #[error("the knowledge was changed by another request")]
    Changed,
    /// There is no file to change: this is the demo.
    #[error("there is no TENANTS_FILE to keep the change in")]
    NoFile,
}

impl Registry {
    /// One tenant that needs no key.
    pub fn demo(knowledge: Knowledge) -> Self {
        let mut settings = Settings::named(TenantId::default(), knowledge.name.clone());
        settings.keys.push(Key {
            id: "key_demo".to_owned(),
            name: "The demo page's widget".to_owned(),
            kind: KeyKind::Publishable,
            sha256: hex(&hash(DEMO_KEY)),
            prefix: DEMO_KEY.to_owned(),
            scopes: Scopes::new(),
            created_ms: 0,
            expires_ms: None,
        });
        let tenant = Tenant { settings, engine: Arc::new(Engine::new(knowledge)), open: true };
        let snapshot = Snapshot::of([tenant], BTreeMap::new());
        Self { file: None, snapshot: ArcSwap::from_pointee(snapshot), changing: Mutex::default() }
    }

    /// The tenants of a file, with their knowledge.
    pub fn open(file: &Path) -> Result<Self, TenantsError> {
        let registry = Self { file: Some(file.to_owned()), snapshot: ArcSwap::default(), changing: Mutex::default() };
        registry.take_up(file, read(file)?)?;
        Ok(registry)
    }

    /// The tenant of the demo, if this is one.
    pub fn open_tenant(&self) -> Option<Arc<Tenant>> {
        self.snapshot.load().tenants.values().find(|tenant| tenant.open).cloned()
    }

    /// A tenant by its id.
    pub fn get(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.snapshot.load().tenants.get(id).cloned()
    }

    /// The tenant that a secret or publishable key belongs to. The caller decides whether it is still valid.
    pub fn find(&self, secret: &str) -> Option<Found> {
        self.snapshot.load().keys.get(&hash(secret)).cloned()
    }

    /// Every tenant, by id.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        self.snapshot.load().tenants.values().cloned().collect()
    }

    /// Takes up what changed in the files, all of it or, on any mistake, nothing; true when
    /// something did. Blocks on files.
    pub fn reload(&self) -> Result<bool, TenantsError> {
        let Some(file) = &self.file else { return Ok(false) };
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let unchanged = self.snapshot.load().stamps.iter().all(|(path, stamp)| Stamp::of(path) == *stamp);
        if unchanged {
            return Ok(false);
        }
        self.take_up(file, read(file)?)?;
        Ok(true)
    }

    /// Changes the file and takes the change up. Blocks on files.
    pub fn change<T, E: From<TenantsError>>(
        &self,
        change: impl FnOnce(&mut Vec<Settings>) -> Result<T, E>,
    ) -> Result<T, E> {
        let file = self.file.as_deref().ok_or(TenantsError::NoFile)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let _locked = lock(file)?;
        let mut tenants = read(file)?;
        let done = change(&mut tenants.tenants)?;
        // What cannot be used is not written.
        let text = serde_json::to_string_pretty(&tenants)
            .map_err(|error| TenantsError::Write { path: file.to_owned(), source: error.into() })?;
        let snapshot = self.build(file, tenants)?;
        replace(file, &text).map_err(|source| TenantsError::Write { path: file.to_owned(), source })?;
        self.snapshot.store(Arc::new(snapshot.stamped(file)));
        Ok(done)
    }

    /// The file that tenants are kept in; none in the demo.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn take_up(&self, file: &Path, tenants: TenantsFile) -> Result<(), TenantsError> {
        // Stamped before it is built: a change in between is found by the next reload.
        let snapshot = self.build(file, tenants)?;
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// Everything the file says, with engines: those whose knowledge did not change are kept.
    fn build(&self, file: &Path, tenants: TenantsFile) -> Result<Snapshot, TenantsError> {
        let mut stamps = BTreeMap::from([(file.to_owned(), Stamp::of(file))]);
        check(&tenants)?;
        let before = self.snapshot.load();
        let mut built = Vec::new();
        let mut shared: Option<Arc<Engine>> = None;
        for settings in tenants.tenants {
            let path = match (&settings.knowledge, settings.knowledge_version) {
                (None, 0) => None,
                (Some(path), 0) => Some(file.parent().unwrap_or(Path::new("")).join(path)),
                (_, version) => Some(version_path(file, &settings.id, version)),
            };
            let stamp = path.as_deref().map(Stamp::of);
            let kept = before.tenants.get(&settings.id).filter(|tenant| {
                tenant.settings.thresholds == settings.thresholds
                    && tenant.settings.knowledge == settings.knowledge
                    && tenant.settings.knowledge_version == settings.knowledge_version
                    && path.as_ref().is_none_or(|path| before.stamps.get(path).copied() == stamp)
            });
            let wrong = |source| TenantsError::Knowledge { tenant: settings.id.clone(), source };
            let engine = match (kept, &path, &settings.thresholds) {
                (Some(tenant), ..) => Arc::clone(&tenant.engine),
                (None, Some(path), thresholds) => {
                    let knowledge = Knowledge::load(path).map_err(wrong)?;
                    Arc::new(Engine::with_thresholds(knowledge, thresholds.unwrap_or_default()))
                }
                (None, None, Some(thresholds)) => {
                    Arc::new(Engine::with_thresholds(Knowledge::built_in().map_err(wrong)?, *thresholds))
                }
                (None, None, None) => match &shared {
                    Some(engine) => Arc::clone(engine),
                    None => {
                        let engine = Arc::new(Engine::new(Knowledge::built_in().map_err(wrong)?));
                        Arc::clone(shared.insert(engine))
                    }
                },
            };
            if let (Some(path), Some(stamp)) = (path, stamp) {
                stamps.insert(path, stamp);
            }
            built.push(Tenant { settings, engine, open: false });
        }
        Ok(Snapshot::of(built, stamps))
    }
}

impl Snapshot {
    fn of(tenants: impl IntoIterator<Item = Tenant>, stamps: BTreeMap<PathBuf, Option<Stamp>>) -> Self {
        let mut snapshot = Self { stamps, ..Self::default() };
        for tenant in tenants.into_iter().map(Arc::new) {
            for (position, key) in tenant.settings.keys.iter().enumerate() {
                if let Some(hash) = unhex(&key.sha256) {
                    snapshot.keys.insert(hash, Found { tenant: Arc::clone(&tenant), position });
                }
            }
            snapshot.tenants.insert(tenant.id().clone(), tenant);
        }
        snapshot
    }

    /// The same, for the file as it is now.
    fn stamped(mut self, file: &Path) -> Self {
        self.stamps.insert(file.to_owned(), Stamp::of(file));
        self
    }
}

/// Where a version of a tenant's knowledge is kept.
pub(super) fn version_path(file: &Path, tenant: &TenantId, version: u64) -> PathBuf {
    let mut directory = file.as_os_str().to_owned();
    directory.push(".knowledge");
    Path::new(&directory).join(tenant.as_str()).join(format!("{version}.json"))
}

fn read(file: &Path) -> Result<TenantsFile, TenantsError> {
    let text = std::fs::read_to_string(file).map_err(|source| TenantsError::Read { path: file.to_owned(), source })?;
    let wrong = |message: String| TenantsError::Parse { path: file.to_owned(), message };
    // JSON is YAML too, but its own parser is many times faster.
    if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
    } else {
        serde_yaml::from_str(&text).map_err(|error| wrong(error.to_string()))
    }
}

fn check(tenants: &TenantsFile) -> Result<(), TenantsError> {
    let mut problems: Vec<String> = tenants.tenants.iter().flat_map(Settings::problems).collect();
    if tenants.schema != SCHEMA {
        problems.push(format!("schema is {}, this version reads {SCHEMA}", tenants.schema));
    }
    let (mut ids, mut keys) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for settings in &tenants.tenants {
        if !ids.insert(&settings.id) {
            problems.push(format!("tenant {}: another tenant has this id", settings.id));
        }
        for key in &settings.keys {
            if !keys.insert(&key.sha256) {
                problems.push(format!("tenant {}: key {} exists twice", settings.id, key.id));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(TenantsError::Invalid(problems)) }
}

/// Keeps other processes from changing the file until the value is dropped.
fn lock(file: &Path) -> Result<File, TenantsError> {
    let mut path = file.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|source| TenantsError::Write { path, source })
}

/// Writes a file so that whoever reads sees the old or the new one, after a power cut too.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut path = file.as_os_str().to_owned();
    path.push(".new");
    // Webhook secrets are in it: for this user only.
    let mut new = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    std::fs::rename(&path, file)?;
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        // Not every file system can do this for directories.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}
