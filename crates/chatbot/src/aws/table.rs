use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use tokio::sync::OnceCell;

use super::Aws;
use crate::causes::with_causes;
use crate::conversation::StoreError;

/// The longest pause before something is tried again; a random part of it is waited.
const JITTER: Duration = Duration::from_millis(60);
/// How often a request is tried that DynamoDB refuses for now, and the longest first pause before it is tried again; it
/// doubles, and a random part of it is waited.
const TRIES: u32 = 4;
const BACKOFF: Duration = Duration::from_millis(50);
/// How long one request may take, and with its repetitions.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);

/// The DynamoDB table that everything kept is in: keys `pk` and `sk`, TTL attribute `expires`.
pub struct Table {
    aws: Arc<Aws>,
    client: OnceCell<Client>,
    name: String,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Table {
    /// A table by its name; nothing is opened yet.
    pub fn new(aws: Arc<Aws>, name: &str) -> Self {
        Self { aws, client: OnceCell::new(), name: name.to_owned() }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn client(&self) -> &Client {
        let open = || async {
            let timeouts =
                TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_PATIENCE).operation_timeout(PATIENCE);
            let config = Builder::from(self.aws.config().await)
                .retry_config(RetryConfig::standard().with_max_attempts(TRIES).with_initial_backoff(BACKOFF))
                .timeout_config(timeouts.build());
            Client::from_conf(config.build())
        };
        self.client.get_or_init(open).await
    }

    /// Writes all or nothing; false when a condition failed or another transaction was in the way.
    pub(crate) async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<bool, StoreError> {
        for attempt in 0..TRIES {
            let request = self.client().await.transact_write_items().set_transact_items(Some(writes.clone()));
            let Err(error) = request.send().await else { return Ok(true) };
            match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => match reason(cancelled) {
                    Reason::Conflict => return Ok(false),
                    // The SDK does not look into the reasons of a cancelled transaction.
                    Reason::Throttled => back_off(attempt).await,
                    Reason::Other => return Err(failed(error)),
                },
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => return Ok(false),
                _ => return Err(failed(error)),
            }
        }
        Err(StoreError::Unavailable("DynamoDB throttles transactions".to_owned()))
    }
}

/// Why a transaction was cancelled.
enum Reason {
    /// Something is no longer as it was seen.
    Conflict,
    /// Too much for now.
    Throttled,
    Other,
}

fn reason(cancelled: &TransactionCanceledException) -> Reason {
    let codes = || cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
    if codes().any(|code| matches!(code, "ConditionalCheckFailed" | "TransactionConflict")) {
        Reason::Conflict
    } else if codes().any(|code| matches!(code, "ThrottlingError" | "ProvisionedThroughputExceeded")) {
        Reason::Throttled
    } else {
        Reason::Other
    }
}

/// Waits before something is tried again that was too much.
async fn back_off(attempt: u32) {
    tokio::time::sleep(BACKOFF.mul_f64(f64::from(1_u32 << attempt) * fastrand::f64())).await;
}

/// Lets others finish what is in the way.
pub(crate) async fn pause() {
    tokio::time::sleep(JITTER.mul_f64(fastrand::f64())).await;
}

/// What the SDK or DynamoDB reports, without what was sent. Throttling and failures that pass are
/// [`StoreError::Unavailable`]: the SDK has tried again before.
pub(crate) fn failed<E>(error: SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let told = with_causes(&error);
    match &error {
        SdkError::ServiceError(refused) => match refused.err().code() {
            Some("TransactionConflictException") => StoreError::Busy,
            Some(
                "ProvisionedThroughputExceededException"
                | "RequestLimitExceeded"
                | "ThrottlingException"
                | "LimitExceededException",
            ) => StoreError::Unavailable(told),
            _ if refused.raw().status().is_server_error() => StoreError::Unavailable(told),
            _ => StoreError::Io(std::io::Error::other(told)),
        },
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => StoreError::Unavailable(told),
        SdkError::DispatchFailure(lost) if lost.is_io() || lost.is_timeout() => StoreError::Unavailable(told),
        _ => StoreError::Io(std::io::Error::other(told)),
    }
}

/// A request that lacks something: a mistake of ours.
pub(crate) fn unbuilt(error: BuildError) -> StoreError {
    StoreError::Io(std::io::Error::other(error))
}

/// A text attribute.
pub(crate) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number attribute.
pub(crate) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
