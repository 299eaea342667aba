//! Conversations: what was said, kept where a deployment does not lose it.
//!
//! [`ConversationStore`] is the boundary. [`FileStore`] keeps one append-only file per conversation
//! and is shared by every process on the machine (blue and green run at the same time);
//! [`MemoryStore`] is for trying things out and must be asked for.

mod file;
mod memory;

use std::fmt;
use std::pin::Pin;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use file::FileStore;
pub use memory::MemoryStore;

/// The answer of a store, when it comes.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where conversations are kept. A tenant never sees another tenant's conversation.
pub trait ConversationStore: Send + Sync + fmt::Debug {
    /// Adds messages to a conversation, all or none, and returns the number of the first one.
    /// With `create` the conversation must be new, otherwise it must exist.
    fn append<'a>(&'a self, key: &'a ConversationKey, messages: Vec<Message>, create: bool) -> StoreFuture<'a, u64>;

    /// The last messages of a conversation, oldest first, at most `limit`.
    fn recent<'a>(&'a self, key: &'a ConversationKey, limit: usize) -> StoreFuture<'a, Vec<StoredMessage>>;

    /// Whether the store can be used now.
    fn check(&self) -> StoreFuture<'_, ()>;
}

/// Names a conversation of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConversationKey {
    /// Whose conversation it is.
    pub tenant: TenantId,
    /// Which one.
    pub id: ConversationId,
}

/// A customer of ours: 1 to 64 characters of `a-z`, `0-9`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
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

/// A conversation's name: `cv_` and 128 random bits, so that knowing it is the right to read it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ConversationId(String);

impl ConversationId {
    /// A new, unguessable id.
    pub fn random() -> Result<Self, StoreError> {
        Ok(Self(format!("cv_{}", random_hex().map_err(StoreError::Io)?)))
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
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
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

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person.
    User,
    /// The service.
    Assistant,
}

/// One message, as it is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its own id.
    pub id: String,
    /// Who wrote it.
    pub role: Role,
    /// What it says.
    pub text: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// One message, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// Position in the conversation, from 1.
    pub seq: u64,
    /// The message itself.
    #[serde(flatten)]
    pub message: Message,
}

/// Why a conversation cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such conversation of this tenant.
    #[error("the conversation does not exist")]
    NotFound,
    /// The conversation has reached its largest size.
    #[error("the conversation is full")]
    Full,
    /// Another process held the conversation too long.
    #[error("the conversation is in use by another request")]
    Busy,
    /// What is kept is not what was written.
    #[error("the conversation is damaged: {0}")]
    Damaged(String),
    /// The system refused.
    #[error("the conversation store failed: {0}")]
    Io(#[from] std::io::Error),
}

/// 128 random bits in hexadecimal, from the kernel.
///
/// Not by the `getrandom` crate: linked statically it opens /dev/urandom, and an empty root may have
/// no /dev.
pub(crate) fn random_hex() -> std::io::Result<String> {
    let mut bytes = [0_u8; 16];
    // SAFETY: the pointer and the length describe `bytes`, which getentropy only writes to.
    let failed = unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) } != 0;
    if failed {
        return Err(std::io::Error::last_os_error());
    }
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
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
