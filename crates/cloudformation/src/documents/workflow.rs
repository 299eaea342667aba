//! A workflow of Step Functions, with conditions and values in JSONata.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::template::to_json;

/// A workflow.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Workflow {
    comment: &'static str,
    query_language: &'static str,
    start_at: &'static str,
    states: Map<String, Json>,
}

/// A step of a workflow.
#[derive(Debug, Serialize)]
#[serde(tag = "Type", rename_all_fields = "PascalCase")]
pub(crate) enum State {
    /// Lets time pass.
    Wait {
        /// How long.
        seconds: u64,
        /// Variables to keep, from the state's input.
        #[serde(skip_serializing_if = "Map::is_empty")]
        assign: Map<String, Json>,
        /// The next state.
        next: &'static str,
    },
    /// Calls an operation of AWS.
    Task {
        /// The operation.
        resource: &'static str,
        /// What it is given.
        arguments: Json,
        /// What happens when it fails.
        retry: [Retry; 1],
        /// The next state.
        next: &'static str,
    },
    /// Goes one of two ways.
    Choice {
        /// The way if the condition holds.
        choices: [Branch; 1],
        /// The other.
        default: &'static str,
    },
    /// Ends.
    Succeed {},
}

/// A way that is taken under a condition.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Branch {
    /// The condition.
    pub(crate) condition: String,
    /// The next state.
    pub(crate) next: &'static str,
}

/// Tries a call again.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Retry {
    error_equals: [&'static str; 1],
    interval_seconds: u64,
    max_attempts: u64,
    backoff_rate: u64,
}

impl Retry {
    /// Five times, after half a minute to eight: what AWS cannot do now it can do then.
    pub(crate) const PATIENT: Self =
        Retry { error_equals: ["States.ALL"], interval_seconds: 30, max_attempts: 5, backoff_rate: 2 };
}

impl Workflow {
    /// A workflow that starts at the first of its states.
    pub(crate) fn new<const N: usize>(comment: &'static str, states: [(&'static str, State); N]) -> Self {
        let start_at = states.first().map_or("", |(name, _)| *name);
        let states = states.iter().map(|(name, state)| ((*name).to_owned(), to_json(state))).collect();
        Workflow { comment, query_language: "JSONata", start_at, states }
    }
}
