use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::random::{self, Digits};

/// A customer of ours: 1 to 64 characters of `a-z`, `0-9`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A conversation's name: `cv_` and 128 bits, at least 96 of which are random, so that nobody can
/// guess it. The first 32 say where a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[schema(value_type = String)]
pub struct ConversationId(Arc<str>);

/// Conversations kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentId(u32);

impl ConversationId {
    /// Bytes of an id's text.
    pub const LENGTH: usize = 35;

    /// A new, unguessable id.
    pub fn random() -> std::io::Result<Self> {
        Ok(Self::of(random::bits()?))
    }

    /// The same for a conversation to be kept with others.
    pub fn random_in(segment: SegmentId) -> std::io::Result<Self> {
        Ok(Self::of(u128::from(segment.0) << 96 | random::bits()? >> 32))
    }

    fn of(bits: u128) -> Self {
        Self(Digits::of(bits).after("cv_").into())
    }

    /// With what it is kept.
    pub fn segment(&self) -> SegmentId {
        SegmentId(self.0.get(3..11).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ConversationId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
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
            Ok(Self(text.into()))
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
            Some(rest) if rest.len() == 32 && rest.bytes().all(hex) => Ok(Self(text.into())),
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
