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
/// Where tenants are kept: `dynamodb` is the same table.
pub const TENANTS_STORE: &str = "TENANTS_STORE";
/// Language models, in the order asked.
pub const MODELS: &str = "MODELS";
/// Seconds between two log lines of metrics in CloudWatch's Embedded Metric Format.
pub const METRICS_EMF_SECONDS: &str = "METRICS_EMF_SECONDS";
/// SHA-256 of the key that may manage tenants.
pub const OPERATOR_KEY_SHA256: &str = "OPERATOR_KEY_SHA256";
/// Signs widget sessions; tasks that share a table share it.
pub const SESSION_SECRET: &str = "SESSION_SECRET";
/// The key of an OpenAI-compatible endpoint.
pub const OPENAI_API_KEY: &str = "OPENAI_API_KEY";
/// Where an OpenAI-compatible endpoint is, if it is not OpenAI's own.
pub const OPENAI_BASE_URL: &str = "OPENAI_BASE_URL";
/// Seconds that the chatbot keeps serving after SIGTERM, until the load balancer has noticed.
pub const DRAIN_DELAY_SECONDS: &str = "DRAIN_DELAY_SECONDS";
/// Seconds that replies and open streams then get to finish.
pub const DRAIN_DEADLINE_SECONDS: &str = "DRAIN_DEADLINE_SECONDS";

/// How long a load balancer may still send requests to a target that is leaving.
pub const DRAIN_DELAY: Span = Span::seconds(5);
