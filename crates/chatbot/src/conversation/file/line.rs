//! What a line of a segment says.

use serde::{Deserialize, Serialize};

use super::super::{ConversationId, Message, State, StoreError};

/// How every line begins, so that lines of other conversations are passed over without parsing them.
const BEGINNING: &[u8] = b"{\"conversation\":\"";

/// One change of one conversation.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    /// The message's number; without a message the last one's.
    pub(super) seq: u64,
    /// The conversation's state after the change.
    #[serde(default)]
    pub(super) state: State,
    /// Whom the conversation belongs to; said once, at its beginning.
    #[serde(default)]
    pub(super) owner: Option<String>,
    /// The message, in place of an earlier one with the same number.
    #[serde(default)]
    pub(super) message: Option<Message>,
}

impl Line {
    /// The conversation that a line is about, the rest of it unread; `None` for a line that is not one of ours.
    pub(super) fn conversation(line: &[u8]) -> Option<ConversationId> {
        let id = line.strip_prefix(BEGINNING)?.get(..ConversationId::LENGTH)?;
        str::from_utf8(id).ok()?.parse().ok()
    }

    pub(super) fn parse(line: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(line).map_err(|error| StoreError::Damaged(error.to_string()))
    }
}

/// The same to write, of what belongs to somebody else.
#[derive(Debug, Serialize)]
pub(super) struct LineOf<'a> {
    pub(super) conversation: ConversationId,
    pub(super) seq: u64,
    #[serde(skip_serializing_if = "State::is_bot")]
    pub(super) state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a Message>,
}

impl LineOf<'_> {
    pub(super) fn write_to(&self, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        serde_json::to_writer(&mut *bytes, self).map_err(|error| StoreError::Io(error.into()))?;
        bytes.push(b'\n');
        Ok(())
    }
}
