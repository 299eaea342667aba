use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use foldhash::HashMap;

use super::cabinet::{Cabinet, Stamp};
use super::files::Files;
use super::key::{KeyKind, hash, hex, unhex};
use super::{Key, Scopes, Settings, Tenant, TenantId, TenantsFile};
#[cfg(feature = "dynamodb")]
use crate::aws::Table;
use crate::conversation::StoreError;
use crate::engine::Engine;
use crate::knowledge::{Knowledge, KnowledgeError};

/// The version of the format of tenants.
pub(super) const SCHEMA: u32 = 1;
/// The publishable key of the demo's widget.
const DEMO_KEY: &str = "sb_pub_demo";

/// Every tenant, found by id or by key.
///
/// Several processes may share where they are kept; [`Registry::reload`] takes up what others changed.
#[derive(Debug)]
pub struct Registry {
    /// None in the demo.
    cabinet: Option<Box<dyn Cabinet>>,
    snapshot: ArcSwap<Snapshot>,
    /// One change at a time; the cabinet sees to it between processes.
    changing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Snapshot {
    tenants: BTreeMap<TenantId, Arc<Tenant>>,
    keys: HashMap<[u8; 32], Found>,
    /// Of what this was built from.
    stamp: Option<Stamp>,
    knowledge_stamps: BTreeMap<TenantId, Option<Stamp>>,
}

/// A key that exists, with its tenant.
#[derive(Debug, Clone)]
pub struct Found {
    /// Whose key it is.
    pub tenant: Arc<Tenant>,
    /// The key's position among the tenant's.
    pub position: usize,
}

impl Found {
    /// The key.
    pub fn key(&self) -> &Key {
        &self.tenant.settings.keys[self.position]
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
    /// Another task changed the tenants in the meantime.
    #[error("the tenants were changed by another request")]
    Raced,
    /// There is nothing to change: this is the demo.
    #[error("there is no TENANTS_FILE to keep the change in")]
    NoFile,
    /// The table cannot be used.
    #[error("the tenants' table cannot be used: {0}")]
    Table(#[from] StoreError),
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
        let snapshot = ArcSwap::from_pointee(Snapshot::of([tenant]));
        Self { cabinet: None, snapshot, changing: Mutex::default() }
    }

    /// The tenants of a file, with their knowledge.
    pub fn open(file: &Path) -> Result<Self, TenantsError> {
        Self::of(Box::new(Files::new(file)))
    }

    /// The tenants of a table, with their knowledge. Blocks on the runtime it is called in.
    #[cfg(feature = "dynamodb")]
    pub fn of_table(table: Arc<Table>) -> Result<Self, TenantsError> {
        Self::of(Box::new(super::dynamodb::DynamoCabinet::new(table)))
    }

    fn of(cabinet: Box<dyn Cabinet>) -> Result<Self, TenantsError> {
        let mut registry = Self { cabinet: None, snapshot: ArcSwap::default(), changing: Mutex::default() };
        registry.take_up(cabinet.as_ref())?;
        registry.cabinet = Some(cabinet);
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

    /// Takes up what others changed, all of it or, on any mistake, nothing; true when something did. Blocks.
    pub fn reload(&self) -> Result<bool, TenantsError> {
        let Ok(cabinet) = self.cabinet() else { return Ok(false) };
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot.load();
        let same_knowledge = |tenant: &Arc<Tenant>| {
            before.knowledge_stamps.get(tenant.id()).copied() == Some(cabinet.knowledge_stamp(&tenant.settings))
        };
        if cabinet.stamp()? == before.stamp && before.tenants.values().all(same_knowledge) {
            return Ok(false);
        }
        self.take_up(cabinet)?;
        Ok(true)
    }

    /// Changes the tenants and takes the change up. Blocks.
    pub fn change<T, E: From<TenantsError>>(
        &self,
        change: impl FnOnce(&mut Vec<Settings>) -> Result<T, E>,
    ) -> Result<T, E> {
        let cabinet = self.cabinet()?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let _locked = cabinet.lock()?;
        let (mut tenants, seen) = cabinet.read()?;
        let done = change(&mut tenants.tenants)?;
        // What cannot be used is not written.
        let mut snapshot = self.build(cabinet, tenants.clone())?;
        snapshot.stamp = cabinet.replace(seen, &tenants)?;
        self.snapshot.store(Arc::new(snapshot));
        Ok(done)
    }

    /// Where tenants are kept.
    pub(super) fn cabinet(&self) -> Result<&dyn Cabinet, TenantsError> {
        self.cabinet.as_deref().ok_or(TenantsError::NoFile)
    }

    fn take_up(&self, cabinet: &dyn Cabinet) -> Result<(), TenantsError> {
        let (tenants, stamp) = cabinet.read()?;
        let snapshot = self.build(cabinet, tenants)?;
        self.snapshot.store(Arc::new(Snapshot { stamp, ..snapshot }));
        Ok(())
    }

    /// All tenants, with engines: those whose knowledge did not change are kept.
    fn build(&self, cabinet: &dyn Cabinet, tenants: TenantsFile) -> Result<Snapshot, TenantsError> {
        check(&tenants)?;
        let before = self.snapshot.load();
        let mut built = Vec::new();
        let mut stamps = BTreeMap::new();
        let mut shared: Option<Arc<Engine>> = None;
        for settings in tenants.tenants {
            // Stamped before it is read: a change in between is found by the next reload.
            let stamp = cabinet.knowledge_stamp(&settings);
            let kept = before.tenants.get(&settings.id).filter(|tenant| {
                tenant.settings.thresholds == settings.thresholds
                    && tenant.settings.knowledge == settings.knowledge
                    && tenant.settings.knowledge_version == settings.knowledge_version
                    && before.knowledge_stamps.get(&settings.id).copied() == Some(stamp)
            });
            let engine = match kept {
                Some(tenant) => Arc::clone(&tenant.engine),
                None => match (cabinet.knowledge(&settings)?, settings.thresholds) {
                    (Some(knowledge), thresholds) => {
                        Arc::new(Engine::with_thresholds(knowledge, thresholds.unwrap_or_default()))
                    }
                    (None, Some(thresholds)) => Arc::new(Engine::with_thresholds(built_in(&settings.id)?, thresholds)),
                    (None, None) => match &shared {
                        Some(engine) => Arc::clone(engine),
                        None => Arc::clone(shared.insert(Arc::new(Engine::new(built_in(&settings.id)?)))),
                    },
                },
            };
            stamps.insert(settings.id.clone(), stamp);
            built.push(Tenant { settings, engine, open: false });
        }
        Ok(Snapshot { knowledge_stamps: stamps, ..Snapshot::of(built) })
    }
}

impl Snapshot {
    fn of(tenants: impl IntoIterator<Item = Tenant>) -> Self {
        let mut snapshot = Self::default();
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
}

fn built_in(tenant: &TenantId) -> Result<Knowledge, TenantsError> {
    Knowledge::built_in().map_err(|source| TenantsError::Knowledge { tenant: tenant.clone(), source })
}

fn check(tenants: &TenantsFile) -> Result<(), TenantsError> {
    let mut problems: Vec<String> = tenants.tenants.iter().flat_map(Settings::problems).collect();
    if tenants.schema != SCHEMA {
        problems.push(format!("schema is {}, this version reads {SCHEMA}", tenants.schema));
    }
    let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
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
