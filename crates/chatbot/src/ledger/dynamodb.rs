use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Book, Books, Counters, Month, Unanswered};
use crate::aws::{Table, failed, number, pause, text, unbuilt};
use crate::clock::now_ms;
use crate::conversation::{StoreError, StoreFuture};
use crate::tenant::TenantId;

/// How long a month is kept.
const RETENTION: Duration = Duration::from_secs(400 * 24 * 3600);
/// The most writes of one transaction is 100; a month's turn may add two days.
const MOST_QUESTIONS_AT_ONCE: usize = 98;
/// The most questions read; the book keeps those asked most of them.
const MOST_QUESTIONS_READ: usize = 2_000;
/// How often an addition is tried while others add to the same day.
const TRIES: u32 = 5;

/// Books in a table: the partition `T#<tenant>#B#<month>` holds `D#<day>`, its counters as numbers, and
/// `Q#<hash>`, a question without an answer. Everything is added by the table itself, so any number of
/// tasks count together.
#[derive(Debug)]
pub struct DynamoBooks {
    table: Arc<Table>,
}

type Item = HashMap<String, AttributeValue>;

impl DynamoBooks {
    /// Books in this table.
    pub fn new(table: Arc<Table>) -> Self {
        Self { table }
    }

    /// One write that adds numbers to an item and sets texts.
    fn write(
        &self,
        key: Item,
        adds: impl IntoIterator<Item = (String, u64)>,
        sets: impl IntoIterator<Item = (&'static str, AttributeValue)>,
    ) -> Result<TransactWriteItem, StoreError> {
        let mut update = Update::builder().table_name(self.table.name()).set_key(Some(key));
        let (mut added, mut set) = (Vec::new(), Vec::new());
        for (position, (name, count)) in adds.into_iter().enumerate() {
            added.push(format!("#a{position} :a{position}"));
            update = update.expression_attribute_names(format!("#a{position}"), name);
            update = update.expression_attribute_values(format!(":a{position}"), number(count));
        }
        let expires = number(now_ms() / 1000 + RETENTION.as_secs());
        for (position, (name, value)) in sets.into_iter().chain([("expires", expires)]).enumerate() {
            set.push(format!("#s{position} = :s{position}"));
            update = update.expression_attribute_names(format!("#s{position}"), name);
            update = update.expression_attribute_values(format!(":s{position}"), value);
        }
        let mut change = format!("SET {}", set.join(", "));
        if !added.is_empty() {
            change.push_str(&format!(" ADD {}", added.join(", ")));
        }
        let update = update.update_expression(change).build().map_err(unbuilt)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn writes(&self, tenant: &TenantId, month: Month, more: &Book) -> Result<Vec<TransactWriteItem>, StoreError> {
        let days = more
            .days
            .iter()
            .map(|(day, counters)| self.write(key(tenant, month, format!("D#{day:02}")), numbers(counters)?, []));
        let questions = more.unanswered.iter().take(MOST_QUESTIONS_AT_ONCE).map(|(asked, question)| {
            let hash: String = Sha256::digest(asked.as_bytes())[..16].iter().map(|b| format!("{b:02x}")).collect();
            let sets =
                [("question", text(asked)), ("lastMs", number(question.last_ms)), ("about", text(about(question)?))];
            self.write(key(tenant, month, format!("Q#{hash}")), [("count".to_owned(), question.count)], sets)
        });
        days.chain(questions).collect()
    }

    /// Items of a month whose sort key begins so, at most about `limit`.
    async fn query(
        &self,
        tenant: &TenantId,
        month: Month,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        let mut from = None;
        while items.len() < limit {
            let request = self.table.client().await.query().table_name(self.table.name()).consistent_read(true);
            let page = request
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":pk", partition(tenant, month))
                .expression_attribute_values(":prefix", text(prefix))
                .set_exclusive_start_key(from.take())
                .send()
                .await
                .map_err(failed)?;
            items.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        Ok(items)
    }

    async fn days(&self, tenant: &TenantId, month: Month) -> Result<BTreeMap<u8, Counters>, StoreError> {
        let items = self.query(tenant, month, "D#", usize::MAX).await?;
        items.iter().map(|item| Ok((day(item)?, counters(item)?))).collect()
    }
}

impl Books for DynamoBooks {
    fn add<'a>(&'a self, tenant: &'a TenantId, month: Month, more: Book) -> StoreFuture<'a, Counters> {
        Box::pin(async move {
            let writes = self.writes(tenant, month, &more)?;
            for again in (0..TRIES).rev() {
                if writes.is_empty() || self.table.transact(writes.clone()).await? {
                    let days = Book { days: self.days(tenant, month).await?, ..Book::default() };
                    return Ok(days.total());
                }
                if again > 0 {
                    pause().await;
                }
            }
            Err(StoreError::Busy)
        })
    }

    fn read<'a>(&'a self, tenant: &'a TenantId, month: Month) -> StoreFuture<'a, Book> {
        Box::pin(async move {
            let days = self.days(tenant, month).await?;
            let items = self.query(tenant, month, "Q#", MOST_QUESTIONS_READ).await?;
            let unanswered = items.iter().map(question).collect::<Result<_, _>>()?;
            // Adding is what keeps the number of questions in bounds.
            let mut book = Book::default();
            book.add(Book { days, unanswered });
            Ok(book)
        })
    }
}

fn partition(tenant: &TenantId, month: Month) -> AttributeValue {
    text(format!("T#{}#B#{month}", tenant.as_str()))
}

fn key(tenant: &TenantId, month: Month, sort: String) -> Item {
    HashMap::from([("pk".to_owned(), partition(tenant, month)), ("sk".to_owned(), text(sort))])
}

/// Counters by name, without those that are zero.
fn numbers(counters: &Counters) -> Result<Vec<(String, u64)>, StoreError> {
    let value = serde_json::to_value(counters).map_err(|error| StoreError::Io(error.into()))?;
    let fields = value.as_object().into_iter().flatten();
    Ok(fields.filter_map(|(name, value)| Some((name.clone(), value.as_u64().filter(|&n| n > 0)?))).collect())
}

/// Counters from an item; what else it holds is left alone.
fn counters(item: &Item) -> Result<Counters, StoreError> {
    let fields = item.iter().filter_map(|(name, value)| Some((name.clone(), Value::from(read(value)?))));
    serde_json::from_value(Value::Object(fields.collect())).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn day(item: &Item) -> Result<u8, StoreError> {
    let day = item.get("sk").and_then(|sk| sk.as_s().ok()).and_then(|sk| sk.strip_prefix("D#")?.parse().ok());
    day.ok_or_else(|| damaged("day"))
}

/// What a question is about, as JSON: the counts beside it are the table's to add up.
fn about(question: &Unanswered) -> Result<String, StoreError> {
    serde_json::to_string(question).map_err(|error| StoreError::Io(error.into()))
}

fn question(item: &Item) -> Result<(String, Unanswered), StoreError> {
    let field = |name: &str| item.get(name).ok_or_else(|| damaged(name));
    let asked = field("question")?.as_s().map_err(|_| damaged("question"))?;
    let about = field("about")?.as_s().map_err(|_| damaged("about"))?;
    let about: Unanswered = serde_json::from_str(about).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let count = read(field("count")?).ok_or_else(|| damaged("count"))?;
    let last_ms = read(field("lastMs")?).ok_or_else(|| damaged("lastMs"))?;
    Ok((asked.clone(), Unanswered { count, last_ms, ..about }))
}

fn read(value: &AttributeValue) -> Option<u64> {
    value.as_n().ok()?.parse().ok()
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("an item has no valid {what}"))
}
