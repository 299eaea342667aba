//! Tenants in a file, the versions of their knowledge in files beside it.
//!
//! Several processes may share them: a change is made under a lock on `<file>.lock` and becomes visible by renaming.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::cabinet::{Cabinet, Lock, Stamp};
use super::{Settings, TenantId, TenantsError, TenantsFile, Version};
use crate::disk::{make_directory, private};
use crate::knowledge::Knowledge;

/// Keeps tenants in the file that `TENANTS_FILE` names.
#[derive(Debug)]
pub(super) struct Files {
    file: PathBuf,
}

impl Files {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// Where a tenant's knowledge is; `None` for the built-in one.
    fn path(&self, settings: &Settings) -> Option<PathBuf> {
        match (&settings.knowledge, settings.knowledge_version) {
            (None, 0) => None,
            (Some(path), 0) => Some(self.file.parent().unwrap_or(Path::new("")).join(path)),
            (_, version) => Some(self.version_path(&settings.id, version)),
        }
    }

    fn version_path(&self, tenant: &TenantId, version: u64) -> PathBuf {
        self.versions_of(tenant).join(format!("{version}.json"))
    }

    fn versions_of(&self, tenant: &TenantId) -> PathBuf {
        let mut directory = self.file.as_os_str().to_owned();
        directory.push(".knowledge");
        Path::new(&directory).join(tenant.as_str())
    }
}

impl Cabinet for Files {
    fn stamp(&self) -> Result<Option<Stamp>, TenantsError> {
        Ok(stamp_of(&self.file))
    }

    fn read(&self) -> Result<(TenantsFile, Option<Stamp>), TenantsError> {
        // Stamped before it is read: a change in between is found by the next reload.
        let stamp = stamp_of(&self.file);
        let unreadable = |source| TenantsError::Read { path: self.file.clone(), source };
        let text = std::fs::read_to_string(&self.file).map_err(unreadable)?;
        let wrong = |message: String| TenantsError::Parse { path: self.file.clone(), message };
        // JSON is YAML too, but its own parser is many times faster.
        let tenants = if text.trim_start().starts_with('{') {
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
        } else {
            serde_yaml::from_str(&text).map_err(|error| wrong(error.to_string()))
        };
        Ok((tenants?, stamp))
    }

    /// Keeps other processes from changing the file until the value is dropped.
    fn lock(&self) -> Result<Lock, TenantsError> {
        let mut path = self.file.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
        locked.map(|file| Box::new(file) as Lock).map_err(|source| TenantsError::Write { path, source })
    }

    fn replace(&self, _seen: Option<Stamp>, tenants: &TenantsFile) -> Result<Option<Stamp>, TenantsError> {
        let text = serde_json::to_string_pretty(tenants).map_err(std::io::Error::from);
        let replaced = text.and_then(|text| replace(&self.file, &text));
        replaced.map_err(|source| TenantsError::Write { path: self.file.clone(), source })?;
        Ok(stamp_of(&self.file))
    }

    fn knowledge_stamp(&self, settings: &Settings) -> Option<Stamp> {
        self.path(settings).and_then(|path| stamp_of(&path))
    }

    fn knowledge(&self, settings: &Settings) -> Result<Option<Knowledge>, TenantsError> {
        let wrong = |source| TenantsError::Knowledge { tenant: settings.id.clone(), source };
        self.path(settings).map(|path| Knowledge::load(&path).map_err(wrong)).transpose()
    }

    fn versions(&self, tenant: &TenantId) -> Result<Vec<Version>, TenantsError> {
        let directory = self.versions_of(tenant);
        match list(&directory) {
            Ok(versions) => Ok(versions),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(TenantsError::Read { path: directory, source }),
        }
    }

    fn read_version(&self, tenant: &TenantId, version: u64) -> Result<Option<Knowledge>, TenantsError> {
        let path = Some(self.version_path(tenant, version)).filter(|path| path.is_file());
        let wrong = |source| TenantsError::Knowledge { tenant: tenant.clone(), source };
        path.map(|path| Knowledge::load(&path).map_err(wrong)).transpose()
    }

    /// Writes a version; one that a crash left behind half written is written again.
    fn write_version(&self, tenant: &TenantId, version: u64, knowledge: &Knowledge) -> Result<(), TenantsError> {
        let path = self.version_path(tenant, version);
        let write = || {
            make_directory(&self.versions_of(tenant))?;
            let new = path.with_extension("new");
            let mut file = private().write(true).create(true).truncate(true).open(&new)?;
            file.write_all(&serde_json::to_vec(knowledge)?)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|source| TenantsError::Write { path: path.clone(), source })
    }

    fn remove_version(&self, tenant: &TenantId, version: u64) {
        // One version more than needed harms nobody.
        let _ = std::fs::remove_file(self.version_path(tenant, version));
    }
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some(Stamp::File { inode: found.ino(), length: found.len(), modified: (found.mtime(), found.mtime_nsec()) })
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

/// Writes a file so that whoever reads sees the old or the new one, after a power cut too.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let mut path = file.as_os_str().to_owned();
    path.push(".new");
    // Webhook secrets are in it: for this user only.
    let mut new = private().write(true).create(true).truncate(true).open(&path)?;
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
