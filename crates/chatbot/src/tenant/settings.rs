use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::key::{Key, unhex};
use crate::conversation::TenantId;
use crate::engine::Thresholds;
use crate::model::ModelName;

/// The file that `TENANTS_FILE` names: JSON, or YAML for people who write it by hand.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantsFile {
    /// Version of the file's format; 1.
    pub schema: u32,
    /// The tenants.
    pub tenants: Vec<Settings>,
}

/// Everything configured for a tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Names it, for ever.
    pub id: TenantId,
    /// What people call it; the widget shows it.
    pub name: String,
    /// Its first knowledge file, relative to the tenants file; default: the one built in. Versions
    /// put through the API come later than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knowledge: Option<PathBuf>,
    /// The version in use of the knowledge put through the API; 0 is the file above.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub knowledge_version: u64,
    /// When an entry is an answer and when a suggestion, in place of the service's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    /// Which language models may answer.
    #[serde(default, skip_serializing_if = "ModelSettings::is_none")]
    pub model: ModelSettings,
    /// Where the widget may run, as in `https://www.example.com`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<Origin>,
    /// Its keys, hashed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// How much it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Where people who can answer are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<Handoff>,
}

/// The language models of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// Names of models of this service, tried in order; none: only the knowledge answers.
    #[schema(value_type = Vec<String>)]
    pub chain: Vec<ModelName>,
    /// What the tenant tells its models before every conversation.
    pub system_prompt: Option<String>,
}

impl ModelSettings {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How much a tenant may use. What is left out has the service's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a second, on average, over all its callers.
    pub requests_per_second: u32,
    /// Requests at once after a pause.
    pub burst: u32,
    /// Messages a minute of one end user.
    pub user_messages_per_minute: u32,
    /// Messages a calendar month (UTC); then 429 until the next. None: no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_month: Option<u64>,
    /// Model tokens a calendar month (UTC), in and out; then only the knowledge answers. None: no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_month: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 50,
            burst: 200,
            user_messages_per_minute: 30,
            messages_per_month: None,
            tokens_per_month: None,
        }
    }
}

/// The webhook that tells people of a conversation that needs them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handoff {
    /// Where events are posted: https, or http on the machine itself.
    pub url: String,
    /// Signs them: HMAC-SHA-256, so it cannot be kept as a hash.
    pub secret: String,
}

impl std::fmt::Debug for Handoff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handoff").field("url", &self.url).finish_non_exhaustive()
    }
}

/// An origin as browsers write it: `https://host` or `https://host:port`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String)]
pub struct Origin(String);

impl Origin {
    /// The origin as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text that is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin: a scheme, a host and perhaps a port, as in https://www.example.com")]
pub struct InvalidOrigin(String);

impl TryFrom<String> for Origin {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
        if (1..=255).contains(&host.len()) && host.bytes().all(fits) {
            Ok(Self(text))
        } else {
            Err(InvalidOrigin(text))
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if wants a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Settings {
    /// A tenant with nothing but a name.
    pub fn named(id: TenantId, name: impl Into<String>) -> Self {
        Self {
            id,
            name: name.into(),
            knowledge: None,
            knowledge_version: 0,
            thresholds: None,
            model: ModelSettings::default(),
            allowed_origins: Vec::new(),
            keys: Vec::new(),
            limits: Limits::default(),
            handoff: None,
        }
    }

    /// Everything that contradicts itself.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut wrong = |problem: String| problems.push(format!("tenant {}: {problem}", self.id));
        if self.name.trim().is_empty() || self.name.chars().count() > 100 {
            wrong("name has no text, or more than 100 characters".to_owned());
        }
        if let Some(Thresholds { answer, suggest }) = self.thresholds
            && !(0.0 < suggest && suggest <= answer && answer <= 1.0)
        {
            wrong("thresholds must be 0 < suggest <= answer <= 1".to_owned());
        }
        let limits = &self.limits;
        if limits.requests_per_second == 0 || limits.burst == 0 || limits.user_messages_per_minute == 0 {
            wrong("a limit of 0 lets nothing through; leave it out for the default".to_owned());
        }
        for key in &self.keys {
            if unhex(&key.sha256).is_none() {
                wrong(format!("key {}: sha256 is not 64 hexadecimal digits", key.id));
            }
        }
        if let Some(handoff) = &self.handoff {
            let local = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"];
            let url = &handoff.url;
            if url.parse::<http::Uri>().is_err()
                || !(url.starts_with("https://") || local.iter().any(|prefix| url.starts_with(prefix)))
            {
                wrong("handoff.url must be https (or http on this machine)".to_owned());
            }
            if handoff.secret.len() < 16 {
                wrong("handoff.secret needs at least 16 characters".to_owned());
            }
        }
        problems
    }
}
