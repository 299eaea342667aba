//! The names of the variables that a task definition sets and the chatbot reads.

use crate::units::Span;

/// Name of the environment (`staging`, `production`).
pub const ENVIRONMENT: &str = "ENVIRONMENT";
/// Where conversations are kept: `embedded` or `dynamodb`.
pub const CONVERSATION_STORE: &str = "CONVERSATION_STORE";
/// Directory of the embedded conversation store.
pub const CONVERSATIONS_DIR: &str = "CONVERSATIONS_DIR";
/// Name of the conversations table of the store `dynamodb`.
pub const CONVERSATIONS_TABLE: &str = "CONVERSATIONS_TABLE";
/// Seconds that the chatbot keeps serving after SIGTERM, until the load balancer has noticed.
pub const DRAIN_DELAY_SECONDS: &str = "DRAIN_DELAY_SECONDS";
/// Seconds that replies and open streams then get to finish.
pub const DRAIN_DEADLINE_SECONDS: &str = "DRAIN_DEADLINE_SECONDS";

/// How long a load balancer may still send requests to a target that is leaving.
pub const DRAIN_DELAY: Span = Span::seconds(5);
