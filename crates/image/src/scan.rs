//! The scan gate: known vulnerabilities of an image, judged by a policy.
//!
//! Two can find them. ECR's scanner reads the package databases of Linux distributions, which an image from scratch has
//! none of; what it cannot read is looked up in a given advisory database, by the dependency list inside the binary. The
//! verdict says which of the two judged. When neither could, it says that: an image that nobody scanned is not a clean one.

pub mod advisories;
pub mod ecr;
pub mod policy;

use serde::Serialize;
use time::Date;

use crate::digest::Digest;
pub use policy::{Exception, Policy, Severity, Unscanned};

/// One known vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name, such as `RUSTSEC-2024-0001` or `CVE-2024-0001`.
    pub id: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// The package that has it.
    pub package: String,
    /// That package's version.
    pub version: String,
    /// How bad it is; nothing if nobody has judged that.
    pub severity: Option<Severity>,
    /// In words.
    pub title: String,
}

/// Who looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Judge {
    /// ECR's own scanner.
    Ecr,
    /// An advisory database, by the dependency list in the binary.
    Advisories {
        /// How many packages were looked up.
        packages: usize,
        /// How many advisories the database has.
        advisories: usize,
        /// Why ECR did not, if it was asked.
        instead_of_ecr: Option<String>,
    },
    /// Nobody.
    Nobody {
        /// Why not.
        reasons: Vec<String>,
    },
}

/// What becomes of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It stops the image.
    Refused,
    /// It is less than what stops an image.
    BelowThreshold,
    /// Somebody has taken responsibility for it.
    Excepted {
        /// Why.
        reason: String,
        /// Until when.
        expires: String,
    },
    /// Somebody had, and the time is over: it stops the image.
    Expired {
        /// Since when.
        expired: String,
    },
}

/// A finding with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// What becomes of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The result, as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The version of this document.
    pub schema: u32,
    /// The image.
    pub digest: Digest,
    /// Whether the image may go on.
    pub passed: bool,
    /// Who looked.
    pub judge: Judge,
    /// Everything that was found.
    pub findings: Vec<Judged>,
}

impl Verdict {
    /// Judges what was found, as of `today`.
    #[must_use]
    pub fn new(digest: Digest, judge: Judge, findings: Vec<Finding>, policy: &Policy, today: Date) -> Self {
        let mut findings: Vec<Judged> =
            findings.into_iter().map(|finding| Judged { outcome: policy.outcome(&finding, today), finding }).collect();
        // The worst first; who is not judged could be the worst.
        findings.sort_by(|one, other| {
            let rank = |judged: &Judged| judged.finding.severity.map_or(u8::MAX, |severity| severity as u8);
            rank(other).cmp(&rank(one)).then_with(|| one.finding.id.cmp(&other.finding.id))
        });
        let stopped =
            findings.iter().any(|judged| matches!(judged.outcome, Outcome::Refused | Outcome::Expired { .. }));
        let scanned = !matches!(judge, Judge::Nobody { .. }) || policy.unscanned == Unscanned::Allow;
        Self { schema: 1, digest, passed: scanned && !stopped, judge, findings }
    }
}
