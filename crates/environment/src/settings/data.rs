//! What an environment's data stack holds beside the conversations.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::units::Span;

/// Secrets and parameters that the environment's own data stack holds. Others may exist already; `secrets` and
/// `parameters` of the environment name what a container reads, wherever it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSettings {
    /// Secrets that begin with a random value and are rotated from then on.
    pub secrets: Vec<ManagedSecret>,
    /// Name of a parameter in Parameter Store -> its value. Nothing secret: the value stands in the template.
    pub parameters: BTreeMap<String, String>,
}

/// A secret of the data stack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedSecret {
    /// Name in Secrets Manager: `smartassist/production/session-key`.
    pub name: String,
    /// Length of the random value it begins with, 16 to 4096 characters.
    #[serde(default = "sixty_four")]
    pub length: u32,
    /// How it gets new values.
    pub rotation: Rotation,
}

/// How a secret gets new values.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// ARN of the Lambda function that makes and tries the next value. It allows Secrets Manager to call it.
    pub function: String,
    /// How often, whole days.
    #[serde(default = "thirty_days")]
    pub every: Span,
}

fn sixty_four() -> u32 {
    64
}

fn thirty_days() -> Span {
    Span::days(30)
}
