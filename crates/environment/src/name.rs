//! The names of the environments.

use std::fmt;
use std::str::FromStr;

/// One of the two environments. `prod` is an alias of `production`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnvironmentName {
    /// Where every commit is deployed and tested.
    Staging,
    /// What the customers use; reached only by an approval.
    Production,
}

/// A name that is no environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown environment `{0}`\nhint: the environments are `staging` and `production` (short: `prod`)")]
pub struct UnknownEnvironment(pub String);

impl EnvironmentName {
    /// All environments, in the order in which a commit travels through them.
    pub const ALL: [EnvironmentName; 2] = [EnvironmentName::Staging, EnvironmentName::Production];

    /// The full name: directory name, tag value and part of every resource name.
    pub const fn as_str(self) -> &'static str {
        match self {
            EnvironmentName::Staging => "staging",
            EnvironmentName::Production => "production",
        }
    }

    /// The prefix of this environment's image tags (`staging-abc1234`, `prod-abc1234`).
    pub const fn tag_prefix(self) -> &'static str {
        match self {
            EnvironmentName::Staging => "staging",
            EnvironmentName::Production => "prod",
        }
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EnvironmentName {
    type Err = UnknownEnvironment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "staging" => Ok(EnvironmentName::Staging),
            "production" | "prod" => Ok(EnvironmentName::Production),
            other => Err(UnknownEnvironment(other.to_owned())),
        }
    }
}
