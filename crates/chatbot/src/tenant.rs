//! Tenants: the companies whose customers ask, each with knowledge, keys and limits of its own.
//!
//! [`Registry`] holds all of them as one snapshot that is replaced, never changed in place; a
//! request keeps the [`Tenant`] it started with. They are kept in a file, or in the table of the
//! conversations; where neither is configured there is one tenant,
//! `default`, open to everybody: the demo.

mod cabinet;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod files;
mod key;
mod registry;
mod settings;
mod versions;

use std::sync::Arc;

use crate::engine::Engine;

pub use key::{Key, KeyError, KeyKind, Scope, Scopes, Secret, hash};
pub use registry::{Found, Registry, TenantsError};
pub use settings::{Handoff, Limits, ModelSettings, Origin, Settings, TenantsFile};

pub use versions::Version;

pub use crate::conversation::TenantId;

pub(crate) use key::{hex, unhex};

/// A tenant as requests see it.
#[derive(Debug)]
pub struct Tenant {
    /// What was configured.
    pub settings: Settings,
    /// Finds answers in its knowledge.
    pub engine: Arc<Engine>,
    /// True for the demo's tenant: callers need no key.
    pub open: bool,
}

impl Tenant {
    /// Its id.
    pub fn id(&self) -> &TenantId {
        &self.settings.id
    }
}
