//! The scan gate: known vulnerabilities of an image, judged by a policy.
//!
//! Two can find them. ECR's scanner reads the package databases of Linux distributions, which an image from scratch has
//! none of; what it cannot read is looked up in a given advisory database, by the dependency list inside the binary. The
//! verdict says which of the two judged. When neither could, it says that: an image that nobody scanned is not a clean one.

pub mod advisories;
pub mod ecr;
pub mod policy;

use aws_sdk_ecr::Client;
use serde::Serialize;
use time::Date;

use crate::auditable;
use crate::digest::Digest;
use crate::error::Error;
use crate::registry::Registry;
use advisories::Advisories;
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

/// With what an image is scanned, and how it is judged.
pub struct Request<'a> {
    /// ECR, if the image is there.
    pub scanner: Option<&'a Client>,
    /// How long ECR is waited for.
    pub patience: ecr::Patience,
    /// An advisory database, if there is one.
    pub advisories: Option<&'a Advisories>,
    /// What stops an image.
    pub policy: &'a Policy,
    /// The day on which exceptions are judged.
    pub today: Date,
}

/// Scans an image that is in a registry, and judges it.
///
/// # Errors
/// The registry or ECR refuses, lies or cannot be reached.
pub async fn run(registry: &Registry<'_>, digest: Digest, request: &Request<'_>) -> Result<Verdict, Error> {
    let verdict = |judge, findings| Verdict::new(digest.clone(), judge, findings, request.policy, request.today);
    let mut reasons = Vec::new();
    let mut instead_of_ecr = None;
    if let Some(client) = request.scanner {
        match ecr::scan(client, registry.repository().name(), &digest, request.patience).await? {
            ecr::Answer::Findings(findings) => return Ok(verdict(Judge::Ecr, findings)),
            ecr::Answer::Cannot(reason) => {
                reasons.push(format!("ECR: {reason}"));
                instead_of_ecr = Some(reason);
            }
        }
    }
    let Some(advisories) = request.advisories else {
        reasons.push("no advisory database is given".to_owned());
        return Ok(verdict(Judge::Nobody { reasons }, Vec::new()));
    };
    // The list in the binary, and not the attached one: the image's digest covers it, so nobody can have replaced it.
    let Some(dependencies) = auditable::of_image(&registry.pull(&digest).await?)? else {
        reasons.push("the binary in the image does not list what it is made of".to_owned());
        return Ok(verdict(Judge::Nobody { reasons }, Vec::new()));
    };
    let (packages, count) = (dependencies.runtime().count(), advisories.count());
    let judge = Judge::Advisories { packages, advisories: count, instead_of_ecr };
    Ok(verdict(judge, advisories.findings(&dependencies)))
}
