//! The seam between a turn and whatever writes an answer that the knowledge alone does not hold.
//!
//! The knowledge is always asked first ([`crate::engine`]); only what it cannot answer goes to an
//! [`AnswerWriter`], with the entries that come closest. A writer that fails before its first word
//! leaves the person with the engine's own reply.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;

use crate::conversation::{FinishReason, StoredMessage};
use crate::engine::Passage;
use crate::tenant::Tenant;
use crate::text::Language;

/// Writes answers, piece by piece.
pub trait AnswerWriter: Send + Sync + fmt::Debug {
    /// Starts an answer; `None` when this tenant has no model. Dropping the stream stops the work.
    fn write(&self, question: Question) -> Option<Writing>;
}

/// Everything an answer may rest on.
#[derive(Debug, Clone)]
pub struct Question {
    /// Who pays, and whose prompt and models are used.
    pub tenant: Arc<Tenant>,
    /// What the person wrote.
    pub message: String,
    /// What was said before, oldest first.
    pub history: Vec<StoredMessage>,
    /// The entries that come closest, best first.
    pub passages: Vec<Passage>,
    /// The language to answer in.
    pub language: Language,
}

/// An answer while it is written. It ends with any [`Written`] but [`Written::Text`].
pub type Writing = Pin<Box<dyn Stream<Item = Written> + Send>>;

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The text goes on.
    Text(String),
    /// The answer is complete.
    End(Ending),
    /// There is no answer in the entries.
    Declined,
    /// It will not be completed. What went wrong has been logged and counted by the writer.
    Failed,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The model that wrote it.
    pub model: String,
    /// Why it ends where it ends.
    pub finish_reason: FinishReason,
    /// Tokens read, where the model tells.
    pub input_tokens: Option<u64>,
    /// Tokens written, where the model tells.
    pub output_tokens: Option<u64>,
}
