//! Language models: what is asked of them, how they answer, and what happens when they do not.
//!
//! [`LanguageModel`] is the boundary. [`OpenAi`] speaks to any OpenAI-compatible endpoint, `Bedrock`
//! (feature `bedrock`) to Amazon Bedrock. [`Models`] holds those that are configured; a [`Chain`] is
//! the order in which a tenant's questions try them: each behind a [`Breaker`], retried once within a
//! [`RetryBudget`], and only until the first piece of text has arrived. What comes after the last
//! model (the FAQ engine, then a person) is the caller's.

#[cfg(feature = "bedrock")]
mod bedrock;
mod breaker;
mod budget;
mod chain;
mod name;
mod openai;
mod prompt;
mod registry;
mod sse;
mod writer;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;

#[cfg(feature = "bedrock")]
pub use bedrock::Bedrock;
pub use breaker::{Breaker, Permit};
pub use budget::RetryBudget;
pub use chain::{Answering, Chain, Patience, Unanswered};
pub use name::{InvalidModelName, ModelName, Provider};
pub use openai::{Endpoint, InvalidEndpoint, OpenAi};
pub use prompt::{Line, Prompt, Question, Source, Speaker};
pub use registry::{Link, Models};
pub use writer::ModelWriter;

/// A model's answer while it arrives.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Piece, ModelError>> + Send>>;

/// Something a model does that takes time.
pub type ModelFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that continues a conversation with text.
pub trait LanguageModel: Send + Sync + fmt::Debug {
    /// Asks; resolves when the model has taken the question, before its first word.
    ///
    /// The pieces end with [`Piece::End`] or with an error. Dropping them stops the model.
    fn ask<'a>(&'a self, prompt: &'a Prompt) -> ModelFuture<'a, Result<Pieces, ModelError>>;

    /// Opens what the first question would otherwise wait for: credentials, name resolution, TLS.
    fn warm_up(&self) -> ModelFuture<'_, Result<(), ModelError>>;
}

/// A part of a model's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The text goes on.
    Text(String),
    /// The answer is complete.
    End(End),
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub finish: Finish,
    /// What it cost, where the model tells.
    pub tokens: Option<Tokens>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model had said everything.
    Stop,
    /// The answer reached the most tokens it may have.
    Length,
    /// The model's own safety filter ended it.
    Filtered,
}

/// What an answer cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of the answer.
    pub output: u64,
}

/// Why a model gave no answer, or not all of it.
///
/// The text holds statuses and the provider's codes, never its prose: that may quote the question, and
/// errors are logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Too many requests for the account's quota.
    #[error("throttled")]
    Throttled {
        /// How long the model wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// No connection.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The model's own fault.
    #[error("failed: {0}")]
    Failed(String),
    /// This request will never be answered: rights, quota, an unknown model, a question too long.
    #[error("refused the request: {0}")]
    Refused(String),
    /// Nothing came for this long.
    #[error("was silent for {} ms", .0.as_millis())]
    Silent(Duration),
    /// The whole answer took too long.
    #[error("was not finished after {} ms", .0.as_millis())]
    Late(Duration),
    /// The answer broke off.
    #[error("broke off: {0}")]
    Cut(String),
    /// What came is not what the protocol says.
    #[error("answered something unreadable: {0}")]
    Unreadable(String),
}

impl ModelError {
    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Unreachable(_) | Self::Failed(_) | Self::Cut(_) => true,
            // Silence has already cost the person its whole patience.
            Self::Refused(_) | Self::Silent(_) | Self::Late(_) | Self::Unreadable(_) => false,
        }
    }

    /// Whether it says something about the model's health, rather than about this request.
    pub fn is_ill_health(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// A word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::Unreachable(_) => "unreachable",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
            Self::Silent(_) => "silent",
            Self::Late(_) => "late",
            Self::Cut(_) => "cut",
            Self::Unreadable(_) => "unreadable",
        }
    }
}
