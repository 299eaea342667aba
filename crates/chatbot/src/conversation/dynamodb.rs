//! Conversations in a DynamoDB table, for tasks that share no disk.
//!
//! One table, one partition a conversation: `pk` is `T#<tenant>#C#<conversation>`, `sk` is `META` (owner,
//! state, version, number of the last message) or `M#<number>` (one message). A turn is one
//! transaction: the messages and the new META, on the condition that META still has the version that
//! was read. `expires` is the table's TTL attribute; DynamoDB deletes expired items up to two days late,
//! so they are also filtered when read.

mod item;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, WriteRequest,
};

use self::item::{Item, Meta, message_item, message_key, meta_key, partition, stored_message};
use super::{
    Conversation, ConversationKey, ConversationStore, Feedback, Message, State, Status, StoreError, StoreFuture,
};
use crate::aws::{Table, failed, number, pause, text, unbuilt};
use crate::clock::now_ms;

/// The most messages of a conversation.
const MOST: u64 = 2_000;
/// How often a turn is tried against a conversation that others write at the same time.
const TRIES: u32 = 3;
/// The most items of one BatchWriteItem, and how often those it leaves are sent again.
const BATCH: usize = 25;
const BATCH_TRIES: u32 = 20;

/// Keeps conversations in a table.
#[derive(Debug)]
pub struct DynamoStore {
    table: Arc<Table>,
    /// How long messages are kept.
    retention: Duration,
}

impl DynamoStore {
    /// Conversations in this table, each message for this long.
    pub fn new(table: Arc<Table>, retention: Duration) -> Self {
        Self { table, retention }
    }

    fn expires(&self) -> u64 {
        now_ms() / 1000 + self.retention.as_secs()
    }

    /// META, if the conversation exists and has not expired.
    async fn meta(&self, key: &ConversationKey) -> Result<Meta, StoreError> {
        let request = self.table.client().await.get_item().table_name(self.table.name()).set_key(Some(meta_key(key)));
        let found = request.consistent_read(true).send().await.map_err(failed)?;
        Meta::read(&found.item.ok_or(StoreError::NotFound)?)
    }

    /// One try to add messages after what `meta` says is the last one; false when it is no longer so.
    async fn try_append(&self, key: &ConversationKey, meta: &Meta, messages: &[Message]) -> Result<bool, StoreError> {
        let expires = self.expires();
        let last = meta.last + messages.len() as u64;
        if last > MOST {
            return Err(StoreError::Full);
        }
        let mut writes = Vec::with_capacity(messages.len() + 1);
        for (seq, message) in (meta.last + 1..).zip(messages) {
            let item = message_item(key, seq, message, expires)?;
            let put = Put::builder().table_name(self.table.name()).set_item(Some(item));
            let put = put.condition_expression("attribute_not_exists(pk)").build().map_err(unbuilt)?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        let update = Update::builder()
            .table_name(self.table.name())
            .set_key(Some(meta_key(key)))
            .update_expression("SET version = :next, lastSeq = :last, expires = :expires")
            // The version is the state's as well: whatever changes META raises it.
            .condition_expression("version = :seen")
            .expression_attribute_values(":next", number(meta.version + 1))
            .expression_attribute_values(":seen", number(meta.version))
            .expression_attribute_values(":last", number(last))
            .expression_attribute_values(":expires", number(expires))
            .build()
            .map_err(unbuilt)?;
        writes.push(TransactWriteItem::builder().update(update).build());
        self.table.transact(writes).await
    }

    /// Changes one item on a condition. When it does not hold, the item as it is decides between
    /// [`StoreError::Conflict`] and [`StoreError::NotFound`].
    async fn update(
        &self,
        key: Item,
        change: &str,
        condition: &str,
        values: impl IntoIterator<Item = (&'static str, AttributeValue)>,
    ) -> Result<(), StoreError> {
        let mut request = self
            .table
            .client()
            .await
            .update_item()
            .table_name(self.table.name())
            .set_key(Some(key))
            .update_expression(change)
            .condition_expression(format!("attribute_exists(pk) AND expires > :now AND {condition}"))
            .expression_attribute_values(":now", number(now_ms() / 1000))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        for (name, value) in values {
            request = request.expression_attribute_values(name, value);
        }
        let mut tries = 1..TRIES;
        loop {
            let Err(error) = request.clone().send().await else { return Ok(()) };
            if let Some(UpdateItemError::ConditionalCheckFailedException(found)) = error.as_service_error() {
                let exists = found.item().is_some_and(|item| !item::is_expired(item));
                return Err(if exists { StoreError::Conflict } else { StoreError::NotFound });
            }
            match failed(error) {
                // A transaction has the item: a turn is being kept.
                StoreError::Busy if tries.next().is_some() => pause().await,
                error => return Err(error),
            }
        }
    }

    /// Items of a conversation's partition, at most `limit`; unexpired ones only.
    async fn query(&self, query: Query<'_>, limit: usize) -> Result<Vec<Item>, StoreError> {
        let mut items: Vec<Item> = Vec::new();
        let mut from = None;
        // A page holds at most one megabyte, and expired items count towards its limit.
        while items.len() < limit {
            let mut request = self
                .table
                .client()
                .await
                .query()
                .table_name(self.table.name())
                .consistent_read(true)
                .expression_attribute_values(":pk", partition(query.key))
                .scan_index_forward(query.forward)
                .limit(i32::try_from(limit - items.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(from.take());
            request = match query.between {
                None => request.key_condition_expression("pk = :pk"),
                Some((first, last)) => request
                    .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                    .expression_attribute_values(":first", item::sort_key(first))
                    .expression_attribute_values(":last", item::sort_key(last)),
            };
            if query.only_keys {
                request = request.projection_expression("pk, sk, expires");
            }
            let page = request.send().await.map_err(failed)?;
            let found = page.items.unwrap_or_default();
            items.extend(found.into_iter().filter(|item| query.only_keys || !item::is_expired(item)));
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        Ok(items)
    }

    async fn delete_all(&self, keys: Vec<Item>) -> Result<(), StoreError> {
        for batch in keys.chunks(BATCH) {
            let deletions = batch.iter().map(|item| {
                let key = item::key_of(item);
                let deletion = DeleteRequest::builder().set_key(Some(key)).build().map_err(unbuilt)?;
                Ok(WriteRequest::builder().delete_request(deletion).build())
            });
            let mut left = deletions.collect::<Result<Vec<_>, StoreError>>()?;
            let mut tries = 1..BATCH_TRIES;
            while !left.is_empty() {
                let request = self.table.client().await.batch_write_item().request_items(self.table.name(), left);
                let done = request.send().await.map_err(failed)?;
                left =
                    done.unprocessed_items.and_then(|mut tables| tables.remove(self.table.name())).unwrap_or_default();
                match (left.is_empty(), tries.next()) {
                    (true, _) => {}
                    (false, Some(_)) => pause().await,
                    (false, None) => {
                        return Err(StoreError::Unavailable("DynamoDB leaves deletions undone".to_owned()));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Which items of a partition.
#[derive(Clone, Copy)]
struct Query<'a> {
    key: &'a ConversationKey,
    /// From the first sort key to the last, or the other way.
    forward: bool,
    /// Only messages with these numbers.
    between: Option<(u64, u64)>,
    only_keys: bool,
}

impl ConversationStore for DynamoStore {
    fn create<'a>(
        &'a self,
        key: &'a ConversationKey,
        owner: Option<&'a str>,
        messages: &'a [Message],
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let expires = self.expires();
            let mut items = Vec::with_capacity(messages.len() + 1);
            for (seq, message) in (1..).zip(messages) {
                items.push(message_item(key, seq, message, expires)?);
            }
            let last = messages.len() as u64;
            let meta = Meta { owner: owner.map(str::to_owned), state: State::Bot, version: 1, last };
            items.push(meta.item(key, expires));
            let puts = items.into_iter().map(|item| {
                let put = Put::builder().table_name(self.table.name()).set_item(Some(item));
                let put = put.condition_expression("attribute_not_exists(pk)").build().map_err(unbuilt)?;
                Ok(TransactWriteItem::builder().put(put).build())
            });
            let puts = puts.collect::<Result<_, StoreError>>()?;
            if self.table.transact(puts).await? { Ok(()) } else { Err(StoreError::Conflict) }
        })
    }

    fn append<'a>(&'a self, key: &'a ConversationKey, seen: State, messages: &'a [Message]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            for again in (0..TRIES).rev() {
                let meta = self.meta(key).await?;
                if meta.state != seen {
                    return Err(StoreError::Conflict);
                }
                if self.try_append(key, &meta, messages).await? {
                    return Ok(meta.last + 1);
                }
                if again > 0 {
                    pause().await;
                }
            }
            Err(StoreError::Conflict)
        })
    }

    fn revise<'a>(&'a self, key: &'a ConversationKey, seq: u64, message: &'a Message) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let values = [
                (":body", item::body(message)?),
                (":status", item::status(message.status)),
                (":generating", item::status(Status::Generating)),
            ];
            let change = "SET body = :body, messageStatus = :status";
            self.update(message_key(key, seq), change, "messageStatus = :generating", values).await
        })
    }

    fn rate<'a>(&'a self, key: &'a ConversationKey, seq: u64, feedback: Feedback) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            // Apart from the message, so that an opinion and the end of a reply cannot overwrite each other.
            let feedback = serde_json::to_string(&feedback).map_err(|error| StoreError::Io(error.into()))?;
            let values = [(":feedback", text(feedback)), (":pk", partition(key))];
            self.update(message_key(key, seq), "SET feedback = :feedback", "pk = :pk", values).await
        })
    }

    fn transition<'a>(&'a self, key: &'a ConversationKey, from: State, to: State) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let values = [(":from", text(from.name())), (":to", text(to.name())), (":one", number(1))];
            let change = "SET conversationState = :to, version = version + :one";
            self.update(meta_key(key), change, "conversationState = :from", values).await
        })
    }

    fn load<'a>(&'a self, key: &'a ConversationKey, limit: usize) -> StoreFuture<'a, Conversation> {
        Box::pin(async move {
            // Backwards, META comes first ("META" sorts after "M#…"), then the newest messages.
            let query = Query { key, forward: false, between: None, only_keys: false };
            let mut items = self.query(query, limit.saturating_add(1)).await?.into_iter();
            let meta = Meta::read(&items.next().ok_or(StoreError::NotFound)?)?;
            let mut messages = items.map(|item| stored_message(&item)).collect::<Result<Vec<_>, _>>()?;
            messages.reverse();
            Ok(meta.conversation(messages))
        })
    }

    fn page<'a>(&'a self, key: &'a ConversationKey, after: u64, limit: usize) -> StoreFuture<'a, Conversation> {
        Box::pin(async move {
            let between = Some((after.saturating_add(1), u64::MAX));
            let query = Query { key, forward: true, between, only_keys: false };
            let (meta, items) = tokio::try_join!(self.meta(key), self.query(query, limit))?;
            let messages = items.iter().map(stored_message).collect::<Result<_, _>>()?;
            Ok(meta.conversation(messages))
        })
    }

    fn delete<'a>(&'a self, key: &'a ConversationKey) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.meta(key).await?;
            // META goes first: without it the conversation does not exist, whatever is left of it.
            let request = self.table.client().await.delete_item().table_name(self.table.name());
            request.set_key(Some(meta_key(key))).send().await.map_err(failed)?;
            let query = Query { key, forward: true, between: None, only_keys: true };
            let keys = self.query(query, usize::MAX).await?;
            self.delete_all(keys).await
        })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            // A read of what is not there: it needs the same rights as a conversation, and no others.
            let request =
                self.table.client().await.get_item().table_name(self.table.name()).set_key(Some(item::no_key()));
            request.send().await.map(drop).map_err(failed)
        })
    }
}
