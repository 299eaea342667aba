use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::random;

/// A customer of ours: 1 to 64 characters of `a-z`, `0-9`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String)]
pub struct TenantId(String);

impl TenantId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A conversation's name: `cv_` and 128 random bits, so that nobody can guess it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[schema(value_type = String)]
pub struct ConversationId(String);

impl ConversationId {
    /// A new, unguessable id.
    pub fn random() -> std::io::Result<Self> {
        Ok(Self(format!("cv_{}", random::hex()?)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text that is no valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct InvalidId(&'static str);

impl FromStr for TenantId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for TenantId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text))
        } else {
            Err(InvalidId("tenant: 1 to 64 characters of a-z, 0-9, - and _"))
        }
    }
}

impl FromStr for ConversationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        match text.strip_prefix("cv_") {
            Some(rest) if rest.len() == 32 && rest.bytes().all(hex) => Ok(Self(text.to_owned())),
            _ => Err(InvalidId("conversation_id: use the one an earlier answer gave")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConversationId, TenantId};

    #[test]
    fn ids_cannot_leave_their_directory() {
        for text in ["", "..", "a/b", "A", "é", &"a".repeat(65)] {
            assert!(text.parse::<TenantId>().is_err(), "{text}");
        }
        assert!("acme-1_x".parse::<TenantId>().is_ok());
        for text in ["", "cv_", "cv_../../etc/passwd", "cv_0123456789ABCDEF0123456789abcdef"] {
            assert!(text.parse::<ConversationId>().is_err(), "{text}");
        }
        let id = ConversationId::random().expect("random bits");
        assert_eq!(id.as_str().parse::<ConversationId>().as_ref(), Ok(&id));
    }
}
