//! Who calls, and how it is answered: CodeDeploy by a call of its own, ECS by what the function returns.

use serde_json::{Value, json};

use crate::Verdict;
use crate::monitor::Watch;

/// A call of a function. Both callers add fields over time, so only what is needed is looked at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    /// By CodeDeploy, which waits up to an hour for an answer through its API.
    CodeDeploy {
        /// The deployment.
        deployment: String,
        /// The call, as the answer names it.
        execution: String,
    },
    /// By ECS, which takes the function's result as the answer, and calls again while that is `IN_PROGRESS`.
    Ecs {
        /// ARN of the service revision that is deployed.
        revision: String,
        /// What the function gave back the last time, in the same deployment.
        watch: Option<Watch>,
    },
}

/// A payload of neither.
#[derive(Debug, thiserror::Error)]
#[error(
    "the payload is neither CodeDeploy's (DeploymentId, LifecycleEventHookExecutionId) nor that of an ECS lifecycle hook \
     (executionDetails.targetServiceRevisionArn): {0}"
)]
pub struct UnknownCall(String);

impl Call {
    pub(crate) fn read(payload: &Value) -> Result<Self, UnknownCall> {
        let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        if let (Some(deployment), Some(execution)) = (text("/DeploymentId"), text("/LifecycleEventHookExecutionId")) {
            return Ok(Call::CodeDeploy { deployment, execution });
        }
        // The older documents show the revision without the object around it.
        let revision = text("/executionDetails/targetServiceRevisionArn").or_else(|| text("/targetServiceRevisionArn"));
        let Some(revision) = revision else { return Err(UnknownCall(payload.to_string())) };
        let watch = payload.pointer("/hookDetails/watch").and_then(|watch| serde_json::from_value(watch.clone()).ok());
        Ok(Call::Ecs { revision, watch })
    }
}

/// The answer to ECS.
pub(crate) fn to_ecs(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Passed(_) => json!({"hookStatus": "SUCCEEDED"}),
        Verdict::Failed(_) => json!({"hookStatus": "FAILED"}),
    }
}

/// Asks ECS to call again, and to bring along what is watched.
pub(crate) fn again(watch: &Watch, seconds: u64) -> Value {
    json!({"hookStatus": "IN_PROGRESS", "callBackDelay": seconds, "hookDetails": {"watch": watch}})
}
