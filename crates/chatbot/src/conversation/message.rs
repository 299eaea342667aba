use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MessageId;
use crate::engine::{Citation, Outcome};
use crate::text::Language;

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person who asks.
    User,
    /// The service.
    Assistant,
    /// A person of the tenant's support.
    Agent,
}

/// How far a message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is all there.
    #[default]
    Complete,
    /// More of it may come, until [`Message::lease_until_ms`].
    Generating,
    /// It ended before its end; what there was of it is kept.
    Failed,
    /// Somebody stopped it; what there was of it is kept.
    Cancelled,
}

impl Status {
    fn is_complete(&self) -> bool {
        *self == Status::Complete
    }
}

/// One message, as it is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its own id.
    pub id: MessageId,
    /// Who wrote it.
    pub role: Role,
    /// What it says.
    pub text: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Status::is_complete")]
    pub status: Status,
    /// While it is generated: when its process counts as gone, unless it writes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until_ms: Option<u64>,
    /// Where a reply of ours comes from. Apart, as questions have none and it is larger than all the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Box<Provenance>>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What the person thinks of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<Feedback>,
}

impl Message {
    /// A complete message.
    pub fn new(id: MessageId, role: Role, text: String, at_ms: u64) -> Self {
        Self {
            id,
            role,
            text,
            at_ms,
            status: Status::Complete,
            lease_until_ms: None,
            provenance: None,
            failure: None,
            feedback: None,
        }
    }

    /// While it is generated: when its process counts as gone, in milliseconds since 1970.
    pub fn generating_until_ms(&self) -> Option<u64> {
        (self.status == Status::Generating).then(|| self.lease_until_ms.unwrap_or(0))
    }

    /// True when the process that generated it is gone: nothing more will come.
    pub fn is_orphaned(&self, now_ms: u64) -> bool {
        self.generating_until_ms().is_some_and(|until| until < now_ms)
    }
}

/// Why a reply failed. Whatever the reason, the person may send the message again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Failure {
    /// The process that generated it ended without a word.
    Interrupted,
    /// The process that generated it was shutting down.
    Draining,
    /// The model broke off.
    Model,
    /// It was silent, or not finished, for too long.
    Timeout,
    /// Nobody was there to read it for too long.
    Abandoned,
}

/// Where a reply comes from and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// What kind of reply it is.
    pub outcome: Outcome,
    /// The language it is written in.
    pub language: Language,
    /// Coverage of the best entry, 0 to 1, three digits.
    pub confidence: f64,
    /// What wrote it.
    pub source: Source,
    /// The model, if one wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Why it ends where it ends.
    pub finish_reason: FinishReason,
    /// The entries it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub citations: Vec<Citation>,
    /// What it used.
    pub usage: Usage,
}

impl Provenance {
    /// The questions that are offered in place of an answer.
    pub fn suggestions(&self) -> Vec<&str> {
        match self.outcome {
            Outcome::DidYouMean => self.citations.iter().map(|citation| &*citation.title).collect(),
            Outcome::Answer | Outcome::Handover => Vec::new(),
        }
    }
}

/// What wrote a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The tenant's entries.
    Faq,
    /// A language model, from the tenant's entries.
    Model,
    /// Nothing known: the sentence that hands over.
    Handover,
    /// Nobody: a person answers in this conversation.
    Human,
}

/// Why a reply ends where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// It is complete.
    Stop,
    /// It asks back.
    Clarify,
    /// It hands over.
    Handover,
    /// A person answers.
    Human,
    /// The model reached its largest answer.
    Length,
    /// Somebody cancelled it.
    Cancelled,
    /// It broke off.
    Error,
}

/// What a turn used. The embedded engine has no tokens to bill, so characters are counted too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Characters of the message.
    pub input_characters: u64,
    /// Characters of the reply.
    pub output_characters: u64,
    /// Tokens that a model read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens that a model wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
}

/// What a person thinks of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// Good or bad.
    pub rating: Rating,
    /// In their words, masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rating {
    /// It helped.
    Up,
    /// It did not.
    Down,
}

/// One message, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// Position in the conversation, from 1.
    pub seq: u64,
    /// The message itself.
    pub message: Message,
}
