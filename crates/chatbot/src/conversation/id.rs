use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ToSchema)]
#[schema(value_type = String)]
pub struct ConversationId(u128);

/// A message's name: `msg_` and 128 bits. It only means something within its conversation, whose id nobody can guess.
/// The default is that of messages that are kept nowhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, ToSchema)]
#[schema(value_type = String)]
pub struct MessageId(u128);

/// Conversations kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentId(u32);

impl ConversationId {
    const PREFIX: &str = "cv_";

    /// A new, unguessable id.
    pub fn random() -> std::io::Result<Self> {
        Ok(Self(random::bits()?))
    }

    /// The same for a conversation to be kept with others.
    pub fn random_in(segment: SegmentId) -> std::io::Result<Self> {
        Ok(Self(u128::from(segment.0) << 96 | random::bits()? >> 32))
    }

    /// With what it is kept.
    pub fn segment(self) -> SegmentId {
        SegmentId((self.0 >> 96) as u32)
    }
}

impl MessageId {
    const PREFIX: &str = "msg_";

    /// A new id.
    pub fn unique() -> Self {
        Self(random::unique())
    }
}

/// What an id of 128 bits is in text: its prefix and 32 digits.
macro_rules! named {
    ($id:ident, $what:literal) => {
        impl $id {
            /// Bytes of an id's text.
            pub const LENGTH: usize = Self::PREFIX.len() + Digits::LENGTH;

            /// Does something with the text. It is written at once, every request has several.
            fn spell<T>(self, with: impl FnOnce(&str) -> T) -> T {
                let mut text = [0; Self::LENGTH];
                let (prefix, digits) = text.split_at_mut(Self::PREFIX.len());
                prefix.copy_from_slice(Self::PREFIX.as_bytes());
                digits.copy_from_slice(Digits::of(self.0).as_bytes());
                with(str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.spell(|text| f.write_str(text))
            }
        }

        impl FromStr for $id {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let bits = text.strip_prefix(Self::PREFIX).and_then(Digits::parse);
                bits.map(Self).ok_or(InvalidId($what))
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.spell(|text| serializer.serialize_str(text))
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

named!(ConversationId, "conversation_id: use the one an earlier answer gave");
named!(MessageId, "message_id: use the one that came with the message");

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

#[cfg(test)]
mod tests {
    use super::{ConversationId, MessageId, TenantId};

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
        assert_eq!(id.to_string().parse::<ConversationId>(), Ok(id));
    }

    #[test]
    fn ids_are_the_same_in_json_as_in_text() {
        let (conversation, message) = (ConversationId::random().unwrap(), MessageId::unique());
        let json = serde_json::to_string(&(conversation, message)).unwrap();
        assert_eq!(json, format!("[\"{conversation}\",\"{message}\"]"));
        assert_eq!(serde_json::from_str::<(ConversationId, MessageId)>(&json).unwrap(), (conversation, message));
        assert!(serde_json::from_str::<MessageId>("\"msg_0123\"").is_err());
    }
}
