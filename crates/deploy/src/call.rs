//! What every SDK call has in common: its errors, and waiting by polling.

use std::time::{Duration, Instant};

use aws_sdk_sts::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::context::Context;
use crate::error::{Error, Message};

/// Turns an SDK error into ours; `what` completes "cannot …".
pub(crate) fn failed<E, R>(what: impl Into<String>) -> impl FnOnce(SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let what = what.into();
    move |error| match &error {
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => Error::Unreachable(Message::new(
            format!("cannot {what}"),
            root_cause(&error),
            "start the embedded endpoint with `cargo xtask local up`, or check network and AWS credentials",
        )),
        SdkError::ServiceError(context) => {
            let code = context.err().code().unwrap_or("UnknownError").to_owned();
            let text = context.err().message().unwrap_or("no message");
            let why = format!("{text} ({code})");
            let hint = match code.as_str() {
                "ExpiredToken" | "ExpiredTokenException" => "sign in to AWS again",
                "AccessDenied" | "AccessDeniedException" => "the permissions needed are in crates/deploy/README.md",
                _ => "",
            };
            Error::Refused { code, message: Message::new(format!("cannot {what}"), why, hint) }
        }
        _ => Error::unexpected(format!("cannot {what}"), format!("{}", DisplayErrorContext(&error)), ""),
    }
}

/// The innermost source: "Connection refused" rather than "dispatch failure".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// How long a lost connection is put up with while something is followed.
const OUTAGE: Duration = Duration::from_secs(60);

/// Repeats a look while nobody answers: a deployment goes on without us, and an endpoint that restarts comes back.
pub(crate) async fn through_outages<T>(
    context: &Context,
    mut look: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        match look().await {
            Err(Error::Unreachable(message)) if start.elapsed() < OUTAGE => {
                context.progress.line(&format!("{}: {}; trying again", message.what, message.why));
                tokio::time::sleep(LONGEST).await;
            }
            result => return result,
        }
    }
}

/// Waits between polls: short while things change, longer while nothing does.
#[derive(Debug)]
pub(crate) struct Pace {
    wait: Duration,
}

const SHORTEST: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(2);

impl Pace {
    pub(crate) fn new() -> Self {
        Pace { wait: SHORTEST }
    }

    /// Something changed: look again soon.
    pub(crate) fn changed(&mut self) {
        self.wait = SHORTEST;
    }

    /// Waits for the next look.
    pub(crate) async fn next(&mut self) {
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 3 / 2).min(LONGEST);
    }
}
