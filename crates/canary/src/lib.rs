//! The functions that judge a new version while it is deployed: ValidateCanary before it takes production traffic,
//! MonitorCanary once it has all of it. CodeDeploy calls them by the appspec, ECS by the service's lifecycle hooks; one
//! binary serves both functions and both callers.
//!
//! A version passes only on what was seen: whatever cannot be asked, does not answer or has no data is not passed.

mod aws;
mod call;
mod customer;
mod function;
mod metrics;
mod monitor;
mod release;
pub mod settings;
mod validate;

pub use call::UnknownCall;
pub use function::{AnswerError, Function, StartError};
pub use settings::{Duty, Settings, SettingsError};

/// What was found out about a version.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Passed(String),
    Failed(String),
}

impl Verdict {
    fn of(result: Result<String, String>) -> Self {
        match result {
            Ok(seen) => Verdict::Passed(seen),
            Err(reason) => Verdict::Failed(reason),
        }
    }
}
