//! Versions of a tenant's knowledge.

use serde::Serialize;
use utoipa::ToSchema;

use super::registry::{Registry, TenantsError};
use crate::conversation::TenantId;
use crate::knowledge::Knowledge;

/// Versions kept, the one in use and older ones.
const KEPT: usize = 50;

/// A version of a tenant's knowledge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Version {
    /// Its number, from 1.
    pub version: u64,
    /// When it was put, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Registry {
    /// Keeps a knowledge as the next version and puts it into use, unless another came in the meantime. Blocks.
    pub fn put_knowledge(&self, id: &TenantId, current: u64, knowledge: &Knowledge) -> Result<u64, TenantsError> {
        let cabinet = self.cabinet()?;
        self.change(|tenants| {
            let settings = tenants.iter_mut().find(|settings| settings.id == *id).ok_or(TenantsError::Gone)?;
            if settings.knowledge_version != current {
                return Err(TenantsError::Changed);
            }
            let kept = self.knowledge_versions(id)?;
            let version = kept.first().map_or(0, |newest| newest.version) + 1;
            cabinet.write_version(id, version, knowledge)?;
            settings.knowledge_version = version;
            for old in kept.iter().skip(KEPT).filter(|old| old.version != current) {
                cabinet.remove_version(id, old.version);
            }
            Ok(version)
        })
    }

    /// The versions kept, newest first. Blocks.
    pub fn knowledge_versions(&self, id: &TenantId) -> Result<Vec<Version>, TenantsError> {
        let Ok(cabinet) = self.cabinet() else { return Ok(Vec::new()) };
        let mut versions = cabinet.versions(id)?;
        versions.sort_by_key(|version| std::cmp::Reverse(version.version));
        Ok(versions)
    }

    /// A version's content; `None` when it is not kept. Blocks.
    pub fn read_knowledge(&self, id: &TenantId, version: u64) -> Result<Option<Knowledge>, TenantsError> {
        let Ok(cabinet) = self.cabinet() else { return Ok(None) };
        cabinet.read_version(id, version)
    }

    /// Puts a version into use; 0 is what the tenant began with. False when it is not kept. Blocks.
    pub fn activate_knowledge(&self, id: &TenantId, version: u64) -> Result<bool, TenantsError> {
        let kept = |known: &super::Version| known.version == version;
        if version != 0 && !self.cabinet()?.versions(id)?.iter().any(kept) {
            return Ok(false);
        }
        self.change(|tenants| {
            let settings = tenants.iter_mut().find(|settings| settings.id == *id).ok_or(TenantsError::Gone)?;
            settings.knowledge_version = version;
            Ok(true)
        })
    }
}
