//! Versions of a tenant's knowledge, in files beside the tenants file.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use utoipa::ToSchema;

use super::registry::{Registry, TenantsError, version_path};
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
    /// Keeps a knowledge as the next version and puts it into use, unless another came in the meantime. Blocks
    /// on files.
    pub fn put_knowledge(&self, id: &TenantId, current: u64, knowledge: &Knowledge) -> Result<u64, TenantsError> {
        let file = self.file().ok_or(TenantsError::NoFile)?;
        self.change(|tenants| {
            let settings = tenants.iter_mut().find(|settings| settings.id == *id).ok_or(TenantsError::Gone)?;
            if settings.knowledge_version != current {
                return Err(TenantsError::Changed);
            }
            let kept = self.knowledge_versions(id)?;
            let version = kept.first().map_or(0, |newest| newest.version) + 1;
            let path = version_path(file, id, version);
            write(&path, knowledge).map_err(|source| TenantsError::Write { path, source })?;
            settings.knowledge_version = version;
            for old in kept.iter().skip(KEPT).filter(|old| old.version != current) {
                // One version more than needed harms nobody.
                let _ = std::fs::remove_file(version_path(file, id, old.version));
            }
            Ok(version)
        })
    }

    /// The versions kept, newest first. Blocks on files.
    pub fn knowledge_versions(&self, id: &TenantId) -> Result<Vec<Version>, TenantsError> {
        let Some(file) = self.file() else { return Ok(Vec::new()) };
        let path = version_path(file, id, 0);
        let directory = path.parent().unwrap_or(file);
        let mut versions = match list(directory) {
            Ok(versions) => versions,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(TenantsError::Read { path: directory.to_owned(), source }),
        };
        versions.sort_by_key(|version| std::cmp::Reverse(version.version));
        Ok(versions)
    }

    /// A version's content; `None` when it is not kept. Blocks on files.
    pub fn read_knowledge(&self, id: &TenantId, version: u64) -> Result<Option<Knowledge>, TenantsError> {
        let path = self.file().map(|file| version_path(file, id, version)).filter(|path| path.is_file());
        let wrong = |source| TenantsError::Knowledge { tenant: id.clone(), source };
        path.map(|path| Knowledge::load(&path).map_err(wrong)).transpose()
    }

    /// Puts a version into use; 0 is the tenant's own file. False when it is not kept. Blocks on files.
    pub fn activate_knowledge(&self, id: &TenantId, version: u64) -> Result<bool, TenantsError> {
        let file = self.file().ok_or(TenantsError::NoFile)?;
        if version != 0 && !version_path(file, id, version).is_file() {
            return Ok(false);
        }
        self.change(|tenants| {
            let settings = tenants.iter_mut().find(|settings| settings.id == *id).ok_or(TenantsError::Gone)?;
            settings.knowledge_version = version;
            Ok(true)
        })
    }
}

fn list(directory: &Path) -> std::io::Result<Vec<Version>> {
    let mut versions = Vec::new();
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        let name = file.file_name().into_string().unwrap_or_default();
        let Some(version) = name.strip_suffix(".json").and_then(|number| number.parse().ok()) else { continue };
        let at = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        versions.push(Version { version, at_ms: at.as_millis() as u64 });
    }
    Ok(versions)
}

/// Writes a version; one that a crash left behind half written is written again.
fn write(path: &Path, knowledge: &Knowledge) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let new = path.with_extension("new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(knowledge)?)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
