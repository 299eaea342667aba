use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};

use super::Event;
use crate::aws::{Table, failed, number, text};
use crate::clock::now_ms;
use crate::conversation::StoreError;

/// How long a task has an event for itself: longer than a delivery may take.
const LEASE: Duration = Duration::from_secs(30);
/// How long an event that nobody takes or gives up stays.
const RETENTION: Duration = Duration::from_secs(48 * 3600);

/// Events in a table: one partition `OUTBOX`, `sk` the event's id. A task takes an event by a lease; one that ends in the
/// middle of a delivery leaves a lease that runs out.
#[derive(Debug, Clone)]
pub struct DynamoOutbox {
    table: Arc<Table>,
}

impl DynamoOutbox {
    /// Events in this table.
    pub fn new(table: Arc<Table>) -> Self {
        Self { table }
    }

    pub(super) async fn put(&self, event: &Event) -> Result<(), StoreError> {
        let body = serde_json::to_string(event).map_err(|error| StoreError::Io(error.into()))?;
        let mut item = key(&event.id);
        item.extend([
            ("event".to_owned(), text(body)),
            ("expires".to_owned(), number(event.at_ms / 1000 + RETENTION.as_secs())),
        ]);
        let put = self.table.client().await.put_item().table_name(self.table.name()).set_item(Some(item));
        put.send().await.map(drop).map_err(failed)
    }

    /// The ids of the events that nobody has a lease for, oldest first.
    pub(super) async fn list(&self) -> Result<Vec<String>, StoreError> {
        let (mut ids, mut from) = (Vec::new(), None);
        loop {
            let query = self.table.client().await.query().table_name(self.table.name());
            let page = query
                .key_condition_expression("pk = :pk")
                .filter_expression("attribute_not_exists(leaseMs) OR leaseMs <= :now")
                .projection_expression("sk")
                .expression_attribute_values(":pk", text(PARTITION))
                .expression_attribute_values(":now", number(now_ms()))
                .consistent_read(true)
                .set_exclusive_start_key(from.take())
                .send()
                .await
                .map_err(failed)?;
            ids.extend(page.items.unwrap_or_default().iter().filter_map(|item| item.get("sk")?.as_s().ok().cloned()));
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(ids);
            }
        }
    }

    /// Takes a lease; `None` when another task has one or the event is gone.
    pub(super) async fn claim(&self, id: &str) -> Result<Option<Event>, StoreError> {
        let now = now_ms();
        let update = self.table.client().await.update_item().table_name(self.table.name()).set_key(Some(key(id)));
        let update = update
            .update_expression("SET leaseMs = :until")
            .condition_expression("attribute_exists(pk) AND (attribute_not_exists(leaseMs) OR leaseMs <= :now)")
            .expression_attribute_values(":until", number(now + LEASE.as_millis() as u64))
            .expression_attribute_values(":now", number(now))
            .return_values(ReturnValue::AllNew);
        let claimed = match update.send().await {
            Ok(claimed) => claimed.attributes.unwrap_or_default(),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => return Ok(None),
                _ => return Err(failed(error)),
            },
        };
        let event = claimed.get("event").and_then(|event| serde_json::from_str(event.as_s().ok()?).ok());
        event.map(Some).ok_or_else(|| StoreError::Damaged("an item has no valid event".to_owned()))
    }

    /// Lets nobody take the event before then.
    pub(super) async fn postpone(&self, id: &str, wait: Duration) -> Result<(), StoreError> {
        let update = self.table.client().await.update_item().table_name(self.table.name()).set_key(Some(key(id)));
        let update = update
            .update_expression("SET leaseMs = :until")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":until", number(now_ms() + wait.as_millis() as u64));
        update.send().await.map(drop).map_err(failed)
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), StoreError> {
        let deletion = self.table.client().await.delete_item().table_name(self.table.name());
        deletion.set_key(Some(key(id))).send().await.map(drop).map_err(failed)
    }
}

const PARTITION: &str = "OUTBOX";

fn key(id: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([("pk".to_owned(), text(PARTITION)), ("sk".to_owned(), text(id))])
}
