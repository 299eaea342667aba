//! How conversations and messages are written as items.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::aws::{number, text};
use crate::clock::now_ms;
use crate::conversation::{Conversation, ConversationKey, Message, State, Status, StoreError, StoredMessage};

/// An item, or its key.
pub(super) type Item = HashMap<String, AttributeValue>;

/// What a conversation is, apart from its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) owner: Option<String>,
    pub(super) state: State,
    /// Raised by every change of this item.
    pub(super) version: u64,
    /// Number of the last message.
    pub(super) last: u64,
}

impl Meta {
    pub(super) fn item(&self, key: &ConversationKey, expires: u64) -> Item {
        let mut item = meta_key(key);
        item.extend([
            ("conversationState".to_owned(), text(self.state.name())),
            ("version".to_owned(), number(self.version)),
            ("lastSeq".to_owned(), number(self.last)),
            ("expires".to_owned(), number(expires)),
        ]);
        item.extend(self.owner.iter().map(|owner| ("owner".to_owned(), text(owner))));
        item
    }

    /// META as it is read; an expired one, or another item, is no conversation.
    pub(super) fn read(item: &Item) -> Result<Self, StoreError> {
        if is_expired(item) || read_text(item, "sk")? != META {
            return Err(StoreError::NotFound);
        }
        let state = read_text(item, "conversationState")?;
        Ok(Self {
            owner: item.get("owner").and_then(|owner| owner.as_s().ok()).cloned(),
            state: State::ALL.into_iter().find(|known| known.name() == state).ok_or_else(|| damaged("state"))?,
            version: read_number(item, "version")?,
            last: read_number(item, "lastSeq")?,
        })
    }

    pub(super) fn conversation(self, messages: Vec<StoredMessage>) -> Conversation {
        Conversation { owner: self.owner, state: self.state, messages }
    }
}

const META: &str = "META";

/// The partition of a conversation. Ids hold no `#`, so no tenant can name another's.
pub(super) fn partition(key: &ConversationKey) -> AttributeValue {
    text(format!("T#{}#C#{}", key.tenant, key.id))
}

pub(super) fn meta_key(key: &ConversationKey) -> Item {
    HashMap::from([("pk".to_owned(), partition(key)), ("sk".to_owned(), text(META))])
}

pub(super) fn message_key(key: &ConversationKey, seq: u64) -> Item {
    HashMap::from([("pk".to_owned(), partition(key)), ("sk".to_owned(), sort_key(seq))])
}

/// The key of an item.
pub(super) fn key_of(item: &Item) -> Item {
    item.iter().filter(|(name, _)| matches!(name.as_str(), "pk" | "sk")).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// The key of nothing.
pub(super) fn no_key() -> Item {
    HashMap::from([("pk".to_owned(), text("CHECK")), ("sk".to_owned(), text(META))])
}

/// `M#` and the number, in as many digits as the largest has: text order is the order of numbers.
pub(super) fn sort_key(seq: u64) -> AttributeValue {
    text(format!("M#{seq:020}"))
}

pub(super) fn message_item(
    key: &ConversationKey,
    seq: u64,
    message: &Message,
    expires: u64,
) -> Result<Item, StoreError> {
    let mut item = message_key(key, seq);
    item.extend([
        ("seq".to_owned(), number(seq)),
        ("body".to_owned(), body(message)?),
        ("messageStatus".to_owned(), status(message.status)),
        ("expires".to_owned(), number(expires)),
    ]);
    Ok(item)
}

pub(super) fn stored_message(item: &Item) -> Result<StoredMessage, StoreError> {
    let mut message: Message =
        serde_json::from_str(read_text(item, "body")?).map_err(|error| StoreError::Damaged(error.to_string()))?;
    if item.contains_key("feedback") {
        let feedback = serde_json::from_str(read_text(item, "feedback")?);
        message.feedback = Some(feedback.map_err(|error| StoreError::Damaged(error.to_string()))?);
    }
    Ok(StoredMessage { seq: read_number(item, "seq")?, message })
}

/// A message as JSON: what it consists of is no matter of the table.
pub(super) fn body(message: &Message) -> Result<AttributeValue, StoreError> {
    serde_json::to_string(message).map(AttributeValue::S).map_err(|error| StoreError::Io(error.into()))
}

/// The status beside the JSON, for conditions.
pub(super) fn status(status: Status) -> AttributeValue {
    text(match status {
        Status::Complete => "complete",
        Status::Generating => "generating",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
    })
}

/// Whether DynamoDB should have deleted it already.
pub(super) fn is_expired(item: &Item) -> bool {
    read_number(item, "expires").is_ok_and(|expires| expires <= now_ms() / 1000)
}

fn read_text<'a>(item: &'a Item, name: &str) -> Result<&'a str, StoreError> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str).ok_or_else(|| damaged(name))
}

pub(super) fn read_number(item: &Item, name: &str) -> Result<u64, StoreError> {
    let value = item.get(name).and_then(|value| value.as_n().ok());
    value.and_then(|value| value.parse().ok()).ok_or_else(|| damaged(name))
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("an item has no valid {what}"))
}
