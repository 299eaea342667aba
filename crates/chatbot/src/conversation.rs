//! Conversations: what was said, kept where a deployment does not lose it.
//!
//! [`ConversationStore`] is the boundary. [`FileStore`] appends to files
//! and is shared by every process on the machine (blue and green run at the same time);
//! [`MemoryStore`] is for trying things out and must be asked for.

#[cfg(feature = "dynamodb")]
mod dynamodb;
mod file;
mod id;
mod memory;
mod message;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoStore;
pub use file::FileStore;
pub use id::{ConversationId, InvalidId, MessageId, SegmentId, TenantId};
pub use memory::MemoryStore;
pub use message::{
    Failure, Feedback, FinishReason, Message, Provenance, Rating, Role, Source, Status, StoredMessage, Usage,
};

/// Messages that a store reads which does not keep at hand what a [`Glance`] says.
const GLANCED: usize = 4;

/// The answer of a store, when it comes.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where conversations are kept. A tenant never sees another tenant's conversation.
///
/// Messages of a conversation are numbered from 1 without gaps. Every method is atomic and durable
/// when its future completes: another process that asks afterwards sees it.
pub trait ConversationStore: Send + Sync + fmt::Debug {
    /// An id for a conversation that is about to begin.
    fn name(&self, _tenant: &TenantId) -> std::io::Result<ConversationId> {
        ConversationId::random()
    }

    /// Starts a conversation with its first messages. `owner` is the end user it belongs to; without
    /// one it belongs to whoever knows its id.
    fn create<'a>(
        &'a self,
        key: &'a ConversationKey,
        owner: Option<&'a str>,
        messages: &'a [Message],
    ) -> StoreFuture<'a, ()>;

    /// Adds messages at the end, all or none; returns the number of the first one. Fails with
    /// [`StoreError::Conflict`] when the conversation is no longer in the state the caller saw.
    fn append<'a>(&'a self, key: &'a ConversationKey, seen: State, messages: &'a [Message]) -> StoreFuture<'a, u64>;

    /// Replaces a message that is still being generated, by its end or by more of its text. Fails
    /// with [`StoreError::Conflict`] when it has ended already: the first end counts.
    fn revise<'a>(&'a self, key: &'a ConversationKey, seq: u64, message: &'a Message) -> StoreFuture<'a, ()>;

    /// Sets what a person thinks of a reply, a later opinion in place of an earlier one.
    fn rate<'a>(&'a self, key: &'a ConversationKey, seq: u64, feedback: Feedback) -> StoreFuture<'a, ()>;

    /// Moves from one state to another; [`StoreError::Conflict`] when it is in a third.
    fn transition<'a>(&'a self, key: &'a ConversationKey, from: State, to: State) -> StoreFuture<'a, ()>;

    /// How a conversation stands. Where only the last messages tell, a question before them is not found.
    fn glance<'a>(&'a self, key: &'a ConversationKey) -> StoreFuture<'a, Glance> {
        Box::pin(async move { Ok(self.load(key, GLANCED).await?.glance()) })
    }

    /// The conversation with its last messages, oldest first, at most `limit`.
    fn load<'a>(&'a self, key: &'a ConversationKey, limit: usize) -> StoreFuture<'a, Conversation>;

    /// The messages after number `after`, oldest first, at most `limit`, with the conversation.
    fn page<'a>(&'a self, key: &'a ConversationKey, after: u64, limit: usize) -> StoreFuture<'a, Conversation>;

    /// Forgets a conversation.
    fn delete<'a>(&'a self, key: &'a ConversationKey) -> StoreFuture<'a, ()>;

    /// Removes conversations that nobody has touched for so long. Stores that let them expire by themselves have nothing to
    /// do.
    fn sweep(&self, _age: Duration) -> StoreFuture<'_, usize> {
        Box::pin(async { Ok(0) })
    }

    /// Whether the store can be used now.
    fn check(&self) -> StoreFuture<'_, ()>;
}

/// How a conversation stands: all that a turn needs of it which no model writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Glance {
    /// The end user it belongs to, if it belongs to one.
    pub owner: Option<Arc<str>>,
    /// Who is answering.
    pub state: State,
    /// What the person said last.
    pub question: Option<Arc<str>>,
    /// While the last message is generated: when its process counts as gone, in milliseconds since 1970.
    pub generating_until_ms: Option<u64>,
}

impl Glance {
    /// True while a reply is on its way.
    pub fn is_generating(&self, now_ms: u64) -> bool {
        self.generating_until_ms.is_some_and(|until| until >= now_ms)
    }
}

/// Names a conversation of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConversationKey {
    /// Whose conversation it is.
    pub tenant: TenantId,
    /// Which one.
    pub id: ConversationId,
}

/// A conversation as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// The end user it belongs to, if it belongs to one.
    pub owner: Option<String>,
    /// Who is answering.
    pub state: State,
    /// The messages asked for, oldest first.
    pub messages: Vec<StoredMessage>,
}

impl Conversation {
    /// How it stands, as far as its messages tell.
    pub fn glance(&self) -> Glance {
        Glance {
            owner: self.owner.as_deref().map(Arc::from),
            state: self.state,
            question: question(&self.messages).map(Arc::from),
            generating_until_ms: self.messages.last().and_then(|stored| stored.message.generating_until_ms()),
        }
    }
}

/// What the person said last.
pub fn question(messages: &[StoredMessage]) -> Option<&str> {
    let question = messages.iter().rfind(|stored| stored.message.role == Role::User);
    question.map(|stored| stored.message.text.as_str())
}

/// Who answers in a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The bot.
    #[default]
    Bot,
    /// The bot, until a person comes who has been asked for.
    PendingHuman,
    /// A person; the bot is silent.
    Human,
    /// Nobody any more.
    Closed,
}

impl State {
    /// Every state.
    pub const ALL: [State; 4] = [State::Bot, State::PendingHuman, State::Human, State::Closed];

    /// The name used in JSON and in stores.
    pub fn name(self) -> &'static str {
        match self {
            State::Bot => "bot",
            State::PendingHuman => "pending_human",
            State::Human => "human",
            State::Closed => "closed",
        }
    }

    /// Whether a conversation may go from this state to another.
    pub fn may_become(self, to: State) -> bool {
        use State::{Bot, Closed, Human, PendingHuman};
        matches!(
            (self, to),
            (Bot, PendingHuman | Human | Closed) | (PendingHuman, Human | Bot | Closed) | (Human, Bot | Closed)
        )
    }

    /// True for the state nothing has been done about; stores leave it out.
    pub(crate) fn is_bot(&self) -> bool {
        *self == State::Bot
    }
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
    /// It is no longer as the caller saw it.
    #[error("the conversation was changed by another request")]
    Conflict,
    /// Another process held the conversation too long.
    #[error("the conversation is in use by another request")]
    Busy,
    /// The store cannot be reached, or refuses for now.
    #[error("the conversation store is not available: {0}")]
    Unavailable(String),
    /// What is kept is not what was written.
    #[error("the conversation is damaged: {0}")]
    Damaged(String),
    /// The system refused.
    #[error("the conversation store failed: {0}")]
    Io(#[from] std::io::Error),
}
