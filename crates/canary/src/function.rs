//! A call of the function, from payload to answer.

use std::time::{Duration, SystemTime};

use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::Verdict;
use crate::aws::Aws;
use crate::call::{self, Call, UnknownCall};
use crate::customer::Customer;
use crate::monitor::{self, PAUSE};
use crate::settings::{Duty, Settings};

/// What is kept of the function's time for its answer: without one CodeDeploy waits an hour.
const FOR_THE_ANSWER: Duration = Duration::from_secs(5);

/// One of the two functions, ready for calls.
#[derive(Debug)]
pub struct Function {
    pub(crate) settings: Settings,
    pub(crate) aws: Aws,
    pub(crate) customer: Customer,
}

/// Why the function cannot start.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the system's certificates: {0}")]
pub struct StartError(#[from] std::io::Error);

/// Why a call has no answer. Lambda records it as the function's failure.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// Nobody's payload.
    #[error(transparent)]
    Payload(#[from] UnknownCall),
    /// CodeDeploy did not take the answer; it will wait until it gives up.
    #[error("CodeDeploy does not take the answer: {0}")]
    Refused(String),
}

impl From<AnswerError> for Diagnostic {
    fn from(error: AnswerError) -> Self {
        let kind = match error {
            AnswerError::Payload(_) => "UnknownPayload",
            AnswerError::Refused(_) => "AnswerRefused",
        };
        Diagnostic { error_type: kind.to_owned(), error_message: error.to_string() }
    }
}

impl Function {
    /// Prepares the clients.
    ///
    /// # Errors
    /// The system's certificates cannot be read.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let customer = Customer::new()?;
        Ok(Function { settings, aws: Aws::new().await, customer })
    }

    /// Judges the version that is deployed and answers whoever called.
    ///
    /// # Errors
    /// Nobody knows the payload, or CodeDeploy does not take the answer.
    pub async fn answer(&self, event: LambdaEvent<Value>) -> Result<Value, AnswerError> {
        let call = Call::read(&event.payload)?;
        let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        let until = Instant::now() + left.saturating_sub(FOR_THE_ANSWER);
        match (&call, self.settings.duty) {
            (Call::Ecs { .. }, Duty::Monitor) => Ok(self.monitor_for_ecs(&call, until).await),
            (Call::Ecs { .. }, Duty::Validate) => {
                let verdict = self.in_time(until, self.verdict(&call, until)).await;
                Ok(call::to_ecs(&verdict))
            }
            (Call::CodeDeploy { deployment, execution }, _) => {
                let verdict = self.in_time(until, self.verdict(&call, until)).await;
                self.aws.tell_codedeploy(deployment, execution, &verdict).await.map_err(AnswerError::Refused)?;
                Ok(json!({}))
            }
        }
    }

    async fn verdict(&self, call: &Call, until: Instant) -> Verdict {
        match self.settings.duty {
            Duty::Validate => Verdict::of(self.validate(call, until).await),
            Duty::Monitor => self.watch(call, until).await,
        }
    }

    /// One step of the watch: ECS calls again, so nothing has to wait here.
    async fn monitor_for_ecs(&self, call: &Call, until: Instant) -> Value {
        let Call::Ecs { watch: Some(watch), .. } = call else {
            return match timeout_at(until, self.begin(call, until)).await {
                Ok(Ok(watch)) => self.go_on(&watch),
                Ok(Err(reason)) => call::to_ecs(&self.said(Verdict::Failed(reason))),
                Err(_) => call::to_ecs(&self.said(too_late())),
            };
        };
        match timeout_at(until, self.look(watch)).await {
            Ok(Some(verdict)) => call::to_ecs(&self.said(verdict)),
            Ok(None) if watch.goes_on(monitor::now()) => self.go_on(watch),
            Ok(None) => call::to_ecs(&self.said(monitor::no_data(watch))),
            Err(_) => call::to_ecs(&self.said(too_late())),
        }
    }

    fn go_on(&self, watch: &monitor::Watch) -> Value {
        call::again(watch, PAUSE.as_secs())
    }

    async fn in_time(&self, until: Instant, verdict: impl Future<Output = Verdict>) -> Verdict {
        self.said(timeout_at(until, verdict).await.unwrap_or_else(|_| too_late()))
    }

    /// One line in the log, which is where people look for the reason.
    fn said(&self, verdict: Verdict) -> Verdict {
        let (word, reason) = match &verdict {
            Verdict::Passed(seen) => ("passed", seen),
            Verdict::Failed(reason) => ("failed", reason),
        };
        println!("{}", json!({"function": self.settings.duty.name(), "verdict": word, "reason": reason}));
        verdict
    }
}

fn too_late() -> Verdict {
    Verdict::Failed("no verdict within the function's time".to_owned())
}
