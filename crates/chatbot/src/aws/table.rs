use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use tokio::sync::OnceCell;

use super::Aws;
use crate::conversation::StoreError;

/// The longest pause before something is tried again; a random part of it is waited.
const JITTER: Duration = Duration::from_millis(60);
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
                .retry_config(RetryConfig::standard().with_max_attempts(3))
                .timeout_config(timeouts.build());
            Client::from_conf(config.build())
        };
        self.client.get_or_init(open).await
    }

    /// Writes all or nothing; false when a condition failed or another transaction was in the way.
    pub(crate) async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<bool, StoreError> {
        let Err(error) = self.client().await.transact_write_items().set_transact_items(Some(writes)).send().await
        else {
            return Ok(true);
        };
        let is_conflict = |code: &str| matches!(code, "ConditionalCheckFailed" | "TransactionConflict");
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                if cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code()).any(is_conflict) =>
            {
                Ok(false)
            }
            Some(TransactWriteItemsError::TransactionInProgressException(_)) => Ok(false),
            _ => Err(failed(error)),
        }
    }
}

/// Lets others finish what is in the way.
pub(crate) async fn pause() {
    tokio::time::sleep(JITTER.mul_f64(fastrand::f64())).await;
}

/// What the SDK or DynamoDB reports, without what was sent.
pub(crate) fn failed<E, R>(error: SdkError<E, R>) -> StoreError
where
    E: std::error::Error + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let told = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    StoreError::Io(std::io::Error::other(told))
}

/// A request that lacks something: a mistake of ours.
pub(crate) fn unbuilt(error: BuildError) -> StoreError {
    StoreError::Io(std::io::Error::other(error))
}
