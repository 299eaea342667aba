use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Kept, MEMORY_MS, Record, Reservation};
use crate::aws::{Table, failed, number, text};
use crate::clock::now_ms;
use crate::conversation::StoreError;
use crate::random;
use crate::tenant::TenantId;

/// How often a key is tried that others take and give back at the same time.
const TRIES: u32 = 3;

type Item = HashMap<String, AttributeValue>;

/// Keys in a table: `T#<tenant>#I#<key's hash>`, `REQUEST`. `expires` alone says how long an item holds, so DynamoDB may
/// be late in deleting it.
#[derive(Debug)]
pub struct DynamoRecords {
    table: Arc<Table>,
}

impl DynamoRecords {
    /// Keys in this table.
    pub fn new(table: Arc<Table>) -> Self {
        Self { table }
    }

    pub(super) async fn reserve(&self, tenant: &TenantId, key: &str, new: &Record) -> Result<Reservation, StoreError> {
        // Who finds this in an item took the key itself, though the answer to that was lost.
        let holder = random::hex()?;
        let mut item = item_key(tenant, key);
        item.extend([
            ("fingerprint".to_owned(), text(&new.fingerprint)),
            ("atMs".to_owned(), number(new.at_ms)),
            ("holder".to_owned(), text(&holder)),
            ("expires".to_owned(), number(new.expires_ms().div_ceil(1000))),
        ]);
        for _ in 0..TRIES {
            let put = self.table.client().await.put_item().table_name(self.table.name());
            let put = put
                .set_item(Some(item.clone()))
                .condition_expression("attribute_not_exists(pk) OR expires <= :now")
                .expression_attribute_values(":now", number(now_ms() / 1000));
            let Err(error) = put.send().await else { return Ok(Reservation::New) };
            if !matches!(error.as_service_error(), Some(PutItemError::ConditionalCheckFailedException(_))) {
                return Err(failed(error));
            }
            match self.read(tenant, key).await? {
                Some(before) if before.get("holder").is_some_and(|kept| *kept == text(&holder)) => {
                    return Ok(Reservation::New);
                }
                Some(before) => return Ok(record(&before)?.answers(new)),
                // It was given back in between.
                None => {}
            }
        }
        Err(StoreError::Busy)
    }

    pub(super) async fn settle(&self, tenant: &TenantId, key: &str, kept: Option<Kept>) -> Result<(), StoreError> {
        let (client, key) = (self.table.client().await, item_key(tenant, key));
        let Some(kept) = kept else {
            let deletion = client.delete_item().table_name(self.table.name()).set_key(Some(key));
            return deletion.send().await.map(drop).map_err(failed);
        };
        let kept = serde_json::to_string(&kept).map_err(|error| StoreError::Io(error.into()))?;
        let update = client.update_item().table_name(self.table.name()).set_key(Some(key));
        let update = update
            .update_expression("SET kept = :kept, expires = :expires")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":kept", text(kept))
            .expression_attribute_values(":expires", number((now_ms() + MEMORY_MS).div_ceil(1000)));
        match update.send().await {
            Err(error) => match error.as_service_error() {
                // It ran so long that its key is gone.
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(failed(error)),
            },
            Ok(_) => Ok(()),
        }
    }

    async fn read(&self, tenant: &TenantId, key: &str) -> Result<Option<Item>, StoreError> {
        let request = self.table.client().await.get_item().table_name(self.table.name());
        let request = request.set_key(Some(item_key(tenant, key))).consistent_read(true);
        Ok(request.send().await.map_err(failed)?.item)
    }
}

fn item_key(tenant: &TenantId, key: &str) -> Item {
    let partition = text(format!("T#{}#I#{key}", tenant.as_str()));
    HashMap::from([("pk".to_owned(), partition), ("sk".to_owned(), text("REQUEST"))])
}

fn record(item: &Item) -> Result<Record, StoreError> {
    let damaged = |what: &str| StoreError::Damaged(format!("an idempotency key has no valid {what}"));
    let fingerprint = item.get("fingerprint").and_then(|value| value.as_s().ok()).ok_or_else(|| damaged("fingerprint"));
    let at_ms = item.get("atMs").and_then(|value| value.as_n().ok()?.parse().ok()).ok_or_else(|| damaged("atMs"));
    let kept = item.get("kept").and_then(|value| value.as_s().ok());
    let kept = kept.map(|kept| serde_json::from_str(kept)).transpose().map_err(|_| damaged("kept"));
    Ok(Record { fingerprint: fingerprint?.clone(), at_ms: at_ms?, kept: kept? })
}
