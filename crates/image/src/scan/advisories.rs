//! The RustSec advisory database, <https://github.com/rustsec/advisory-db>, as a folder that is given: nothing is fetched.

use std::path::{Path, PathBuf};

use rustsec::advisory::Severity as Cvss;
use rustsec::database::Query;
use rustsec::{Database, Version, package};

use super::{Finding, Severity};
use crate::dependencies::{Dependencies, Origin};

/// An advisory database.
pub struct Advisories {
    database: Database,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdvisoriesError {
    /// It cannot be read.
    #[error("{} is no readable advisory database: {reason}", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is nothing in it, so it would find nothing.
    #[error("{} holds no advisories", .0.display())]
    Empty(PathBuf),
}

impl Advisories {
    /// Reads the database: a checkout of RustSec's, or any folder with `crates/<name>/<advisory>.md`.
    ///
    /// # Errors
    /// The folder is something else, or holds no advisories.
    pub fn open(path: &Path) -> Result<Self, AdvisoriesError> {
        let database = Database::open(path).map_err(|error| AdvisoriesError::Unreadable {
            path: path.to_owned(),
            reason: crate::error::chain(&error),
        })?;
        if database.iter().next().is_none() {
            return Err(AdvisoriesError::Empty(path.to_owned()));
        }
        Ok(Self { database })
    }

    /// How many advisories there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.database.iter().count()
    }

    /// The vulnerabilities of what is in a binary. Packages that only ran when it was built are not in it.
    #[must_use]
    pub fn findings(&self, dependencies: &Dependencies) -> Vec<Finding> {
        let mut findings = Vec::new();
        // The database knows crates.io alone; another registry's package of the same name is another package.
        for found in dependencies.runtime().filter(|package| package.origin == Origin::CratesIo) {
            let (Ok(name), Ok(version)) = (found.name.parse::<package::Name>(), found.version.parse::<Version>())
            else {
                continue;
            };
            let query = Query::crate_scope().package_name(name).package_version(version);
            findings.extend(self.database.query(&query).into_iter().map(|advisory| Finding {
                id: advisory.id().to_string(),
                aliases: advisory.metadata.aliases.iter().map(ToString::to_string).collect(),
                package: found.name.clone(),
                version: found.version.clone(),
                severity: advisory.severity().map(severity),
                title: advisory.title().to_owned(),
            }));
        }
        findings
    }
}

fn severity(cvss: Cvss) -> Severity {
    match cvss {
        Cvss::None => Severity::Informational,
        Cvss::Low => Severity::Low,
        Cvss::Medium => Severity::Medium,
        Cvss::High => Severity::High,
        Cvss::Critical => Severity::Critical,
    }
}
