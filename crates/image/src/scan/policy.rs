//! What stops an image, and what does not although it would.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use time::Date;
use time::macros::format_description;

use super::{Finding, Outcome};
use crate::error::Error;

/// How bad a vulnerability is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Informational,
    /// CVSS 0.1 to 3.9
    Low,
    /// CVSS 4.0 to 6.9
    Medium,
    /// CVSS 7.0 to 8.9
    High,
    /// CVSS 9.0 to 10.0
    Critical,
}

/// What an image that nobody could scan means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unscanned {
    /// It stops.
    #[default]
    Refuse,
    /// It goes on, and the verdict says so.
    Allow,
}

/// What stops an image; the environment file's `image.scan`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// This and worse stops it; so does what nobody has judged.
    pub threshold: Severity,
    /// What an image that nobody could scan means.
    #[serde(default)]
    pub unscanned: Unscanned,
    /// Vulnerabilities that somebody has taken responsibility for.
    #[serde(default)]
    pub exceptions: Vec<Exception>,
}

/// A vulnerability that does not stop an image for now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// One of its names.
    pub advisory: String,
    /// Why it is no danger here.
    pub reason: String,
    /// The last day on which this holds.
    #[serde(deserialize_with = "date")]
    pub expires: Date,
}

impl Default for Policy {
    fn default() -> Self {
        Self { threshold: Severity::High, unscanned: Unscanned::default(), exceptions: Vec::new() }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read(path).map_err(Error::io("read", path))?;
        serde_json::from_slice(&text).map_err(|source| Error::Policy { path: path.to_owned(), source })
    }

    pub(super) fn outcome(&self, finding: &Finding, today: Date) -> Outcome {
        if finding.severity.is_some_and(|severity| severity < self.threshold) {
            return Outcome::BelowThreshold;
        }
        let named =
            |exception: &&Exception| exception.advisory == finding.id || finding.aliases.contains(&exception.advisory);
        // Of several exceptions the one that lasts longest is meant.
        match self.exceptions.iter().filter(named).max_by_key(|exception| exception.expires) {
            None => Outcome::Refused,
            Some(exception) if exception.expires < today => Outcome::Expired { expired: exception.expires.to_string() },
            Some(exception) => {
                Outcome::Excepted { reason: exception.reason.clone(), expires: exception.expires.to_string() }
            }
        }
    }
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    let text = String::deserialize(deserializer)?;
    Date::parse(&text, format_description!("[year]-[month]-[day]"))
        .map_err(|_| serde::de::Error::custom(format_args!("`{text}` is no date: write it as 2026-12-31")))
}
