//! The names of the variables that a task definition sets and the chatbot reads.

/// Name of the environment (`staging`, `production`).
pub const ENVIRONMENT: &str = "ENVIRONMENT";
/// Where conversations are kept: `embedded` or `dynamodb`.
pub const CONVERSATION_STORE: &str = "CONVERSATION_STORE";
/// Directory of the embedded conversation store.
pub const CONVERSATIONS_DIR: &str = "CONVERSATIONS_DIR";
/// What answers: `faq`.
pub const CHAT_BACKEND: &str = "CHAT_BACKEND";
/// Seconds that replies and open streams get to finish after SIGTERM.
pub const DRAIN_SECONDS: &str = "DRAIN_SECONDS";
