use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::random;

/// A key as it is kept: never the secret, only its SHA-256. 128 random bits need no slow hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Names the key without giving it away.
    pub id: String,
    /// What its owner calls it.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    pub kind: KeyKind,
    /// SHA-256 of the secret, in hexadecimal.
    pub sha256: String,
    /// The first characters of the secret, to recognise it by.
    #[serde(default)]
    pub prefix: String,
    /// What it may do. A publishable key may only open widget sessions.
    #[serde(default)]
    pub scopes: Scopes,
    /// When it was made, in milliseconds since 1970.
    #[serde(default)]
    pub created_ms: u64,
    /// From when on it is refused, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// For servers: `sb_live_…`.
    Secret,
    /// For the widget, visible to everybody: `sb_pub_…`. Worth something only at the tenant's origins.
    Publishable,
}

impl KeyKind {
    /// What a secret of this kind begins with.
    pub fn prefix(self) -> &'static str {
        match self {
            KeyKind::Secret => "sb_live_",
            KeyKind::Publishable => "sb_pub_",
        }
    }
}

/// A right that a key can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Ask, and read, rate, cancel and hand over the conversations asked in.
    Chat,
    /// Answer people and move conversations between states.
    Agent,
    /// Read and replace the knowledge.
    Knowledge,
    /// Read usage and analytics.
    Insights,
    /// Make, rotate and revoke keys.
    Keys,
}

impl Scope {
    /// Every scope, in a fixed order.
    pub const ALL: [Scope; 5] = [Scope::Chat, Scope::Agent, Scope::Knowledge, Scope::Insights, Scope::Keys];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Chat => "chat",
            Scope::Agent => "agent",
            Scope::Knowledge => "knowledge",
            Scope::Insights => "insights",
            Scope::Keys => "keys",
        }
    }
}

/// The scopes of a key.
pub type Scopes = BTreeSet<Scope>;

/// A new secret, shown once.
pub struct Secret(String);

/// No random bits to make a key from.
#[derive(Debug, thiserror::Error)]
#[error("no random bits for a key: {0}")]
pub struct KeyError(#[from] std::io::Error);

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Key {
    /// A new key and its secret.
    pub fn generate(kind: KeyKind, name: String, scopes: Scopes, now_ms: u64) -> Result<(Self, Secret), KeyError> {
        let secret = format!("{}{}", kind.prefix(), random::hex()?);
        let key = Self {
            id: format!("key_{}", random::hex()?),
            name,
            kind,
            sha256: hex(&hash(&secret)),
            prefix: secret[..kind.prefix().len() + 4].to_owned(),
            scopes,
            created_ms: now_ms,
            expires_ms: None,
        };
        Ok((key, Secret(secret)))
    }

    /// True unless it has expired.
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|expires| now_ms < expires)
    }
}

/// SHA-256 of a secret.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The 32 bytes that 64 hexadecimal digits stand for.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
