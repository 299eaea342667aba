use std::fmt;

use super::{Settings, TenantId, TenantsError, TenantsFile, Version};
use crate::knowledge::Knowledge;

/// Where tenants and the versions of their knowledge are kept. Everything here blocks.
pub(super) trait Cabinet: fmt::Debug + Send + Sync {
    /// Tells one state of the tenants from the next.
    fn stamp(&self) -> Result<Option<Stamp>, TenantsError>;

    /// The tenants, and the stamp of at most that state.
    fn read(&self) -> Result<(TenantsFile, Option<Stamp>), TenantsError>;

    /// Keeps others from changing the tenants until it is dropped, where that can be done.
    fn lock(&self) -> Result<Lock, TenantsError>;

    /// Keeps the tenants unless they were changed after `seen`; the new stamp.
    fn replace(&self, seen: Option<Stamp>, tenants: &TenantsFile) -> Result<Option<Stamp>, TenantsError>;

    /// Tells one state of a tenant's knowledge from the next, beyond what its settings say.
    fn knowledge_stamp(&self, settings: &Settings) -> Option<Stamp>;

    /// The knowledge that a tenant's settings name; `None` is the built-in one.
    fn knowledge(&self, settings: &Settings) -> Result<Option<Knowledge>, TenantsError>;

    /// The versions of a tenant's knowledge, in any order.
    fn versions(&self, tenant: &TenantId) -> Result<Vec<Version>, TenantsError>;

    /// One version; `None` when it is not kept.
    fn read_version(&self, tenant: &TenantId, version: u64) -> Result<Option<Knowledge>, TenantsError>;

    /// Keeps a version that nobody uses yet.
    fn write_version(&self, tenant: &TenantId, version: u64, knowledge: &Knowledge) -> Result<(), TenantsError>;

    /// Forgets a version that nobody uses.
    fn remove_version(&self, tenant: &TenantId, version: u64);
}

/// Holds a lock.
pub(super) type Lock = Box<dyn fmt::Debug>;

/// Tells whether something is still what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// A file.
    File { inode: u64, length: u64, modified: (i64, i64) },
    /// A number that every change raises.
    #[cfg(feature = "dynamodb")]
    Revision(u64),
}
