//! Tenants in the table that everything is in, for tasks that share no disk.
//!
//! `TENANTS`, `ALL` holds all of them as one compressed document with a revision; a change is written on the condition
//! that the revision is the one that was read. A version of a tenant's knowledge is `T#<tenant>#K`, `V#<version>#<part>`,
//! compressed and cut into parts because an item has at most 400 KB.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::cabinet::{Cabinet, Lock, Stamp};
use super::registry::SCHEMA;
use super::{Settings, TenantId, TenantsError, TenantsFile, Version};
use crate::aws::{Table, failed, number, text};
use crate::clock::now_ms;
use crate::conversation::StoreError;
use crate::knowledge::Knowledge;

/// The most bytes of one part.
const PART: usize = 350_000;
/// The most bytes that a document may become when it is unpacked.
const LARGEST: u64 = 64 * 1024 * 1024;

type Item = HashMap<String, AttributeValue>;

/// Keeps tenants in a table.
#[derive(Debug)]
pub(super) struct DynamoCabinet {
    table: Arc<Table>,
}

impl DynamoCabinet {
    pub(super) fn new(table: Arc<Table>) -> Self {
        Self { table }
    }

    async fn all(&self) -> Result<Option<Item>, StoreError> {
        let request = self.table.client().await.get_item().table_name(self.table.name());
        let found = request.set_key(Some(key("TENANTS", "ALL"))).consistent_read(true).send().await;
        Ok(found.map_err(failed)?.item)
    }

    /// Asked every other second, so as cheap as can be: a revision that is a moment old is only found a moment later.
    async fn revision(&self) -> Result<Option<u64>, StoreError> {
        let request = self.table.client().await.get_item().table_name(self.table.name());
        let request = request.set_key(Some(key("TENANTS", "ALL"))).projection_expression("revision");
        Ok(request.send().await.map_err(failed)?.item.as_ref().and_then(revision))
    }

    /// Writes an item on a condition; false when it does not hold.
    async fn put(&self, item: Item, condition: &str, values: Item) -> Result<bool, StoreError> {
        let put = self.table.client().await.put_item().table_name(self.table.name()).set_item(Some(item));
        let values = Some(values).filter(|values| !values.is_empty());
        let put = put.condition_expression(condition).set_expression_attribute_values(values);
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(failed(error)),
            },
        }
    }

    /// The items of a tenant's versions whose sort key begins so, in its order; without their bodies if `only_keys`.
    async fn parts(&self, tenant: &TenantId, prefix: String, only_keys: bool) -> Result<Vec<Item>, StoreError> {
        let (mut items, mut from) = (Vec::new(), None);
        loop {
            let query = self.table.client().await.query().table_name(self.table.name()).consistent_read(true);
            let page = query
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":pk", text(partition(tenant)))
                .expression_attribute_values(":prefix", text(&prefix))
                .set_projection_expression(only_keys.then(|| "sk, atMs".to_owned()))
                .set_exclusive_start_key(from.take())
                .send()
                .await
                .map_err(failed)?;
            items.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(items);
            }
        }
    }

    async fn write_parts(&self, tenant: &TenantId, version: u64, packed: &[u8]) -> Result<bool, StoreError> {
        for (position, part) in packed.chunks(PART).enumerate() {
            let mut item = key(&partition(tenant), &part_key(version, position));
            item.insert("atMs".to_owned(), number(now_ms()));
            item.insert("body".to_owned(), AttributeValue::B(Blob::new(part)));
            if !self.put(item, "attribute_not_exists(pk)", Item::new()).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn remove_parts(&self, tenant: &TenantId, version: u64) -> Result<(), StoreError> {
        for item in self.parts(tenant, version_key(version), true).await? {
            let sort = item.get("sk").and_then(|sort| sort.as_s().ok()).map_or("", String::as_str);
            let deletion = self.table.client().await.delete_item().table_name(self.table.name());
            deletion.set_key(Some(key(&partition(tenant), sort))).send().await.map_err(failed)?;
        }
        Ok(())
    }
}

impl Cabinet for DynamoCabinet {
    fn stamp(&self) -> Result<Option<Stamp>, TenantsError> {
        Ok(wait(self.revision())?.map(Stamp::Revision))
    }

    fn read(&self) -> Result<(TenantsFile, Option<Stamp>), TenantsError> {
        let Some(item) = wait(self.all())? else {
            // Nobody has added a tenant yet.
            return Ok((TenantsFile { schema: SCHEMA, tenants: Vec::new() }, None));
        };
        Ok((unpack(&body(&item)?)?, revision(&item).map(Stamp::Revision)))
    }

    fn lock(&self) -> Result<Lock, TenantsError> {
        // The revision's condition does it.
        Ok(Box::new(()))
    }

    fn replace(&self, seen: Option<Stamp>, tenants: &TenantsFile) -> Result<Option<Stamp>, TenantsError> {
        if let Some(settings) = tenants.tenants.iter().find(|settings| settings.knowledge.is_some()) {
            let problem =
                format!("tenant {}: a table holds no knowledge files; PUT /v1/knowledge instead", settings.id);
            return Err(TenantsError::Invalid(vec![problem]));
        }
        let seen = match seen {
            Some(Stamp::Revision(revision)) => Some(revision),
            Some(Stamp::File { .. }) | None => None,
        };
        let next = seen.unwrap_or(0) + 1;
        let mut item = key("TENANTS", "ALL");
        item.insert("revision".to_owned(), number(next));
        item.insert("body".to_owned(), AttributeValue::B(Blob::new(pack(tenants)?)));
        let (condition, values) = match seen {
            Some(seen) => ("revision = :seen", Item::from([(":seen".to_owned(), number(seen))])),
            None => ("attribute_not_exists(pk)", Item::new()),
        };
        if wait(self.put(item, condition, values))? {
            Ok(Some(Stamp::Revision(next)))
        } else {
            Err(TenantsError::Raced)
        }
    }

    fn knowledge_stamp(&self, _settings: &Settings) -> Option<Stamp> {
        // A version never changes.
        None
    }

    fn knowledge(&self, settings: &Settings) -> Result<Option<Knowledge>, TenantsError> {
        if settings.knowledge_version == 0 {
            return Ok(None);
        }
        let found = self.read_version(&settings.id, settings.knowledge_version)?;
        found.map(Some).ok_or_else(|| damaged("a version that is in use is not there"))
    }

    fn versions(&self, tenant: &TenantId) -> Result<Vec<Version>, TenantsError> {
        let items = wait(self.parts(tenant, "V#".to_owned(), true))?;
        let first = format!("#{:04}", 0);
        let version = |item: &Item| {
            let version = item.get("sk")?.as_s().ok()?.strip_prefix("V#")?.strip_suffix(&first)?.parse().ok()?;
            Some(Version { version, at_ms: item.get("atMs")?.as_n().ok()?.parse().ok()? })
        };
        Ok(items.iter().filter_map(version).collect())
    }

    fn read_version(&self, tenant: &TenantId, version: u64) -> Result<Option<Knowledge>, TenantsError> {
        let parts = wait(self.parts(tenant, version_key(version), false))?;
        if parts.is_empty() {
            return Ok(None);
        }
        let packed = parts.iter().map(body).collect::<Result<Vec<_>, _>>()?.concat();
        unpack(&packed).map(Some)
    }

    fn write_version(&self, tenant: &TenantId, version: u64, knowledge: &Knowledge) -> Result<(), TenantsError> {
        if wait(self.write_parts(tenant, version, &pack(knowledge)?))? { Ok(()) } else { Err(TenantsError::Changed) }
    }

    fn remove_version(&self, tenant: &TenantId, version: u64) {
        if let Err(error) = wait(self.remove_parts(tenant, version)) {
            // One version more than needed harms nobody.
            tracing::warn!(error = %error, "an old version cannot be removed");
        }
    }
}

/// Waits on a thread that may block.
fn wait<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    Handle::current().block_on(work)
}

fn partition(tenant: &TenantId) -> String {
    format!("T#{}#K", tenant.as_str())
}

fn version_key(version: u64) -> String {
    format!("V#{version:020}#")
}

fn part_key(version: u64, position: usize) -> String {
    format!("{}{position:04}", version_key(version))
}

fn key(partition: &str, sort: &str) -> Item {
    Item::from([("pk".to_owned(), text(partition)), ("sk".to_owned(), text(sort))])
}

fn revision(item: &Item) -> Option<u64> {
    item.get("revision")?.as_n().ok()?.parse().ok()
}

fn body(item: &Item) -> Result<Vec<u8>, TenantsError> {
    let body = item.get("body").and_then(|body| body.as_b().ok());
    body.map(|body| body.as_ref().to_vec()).ok_or_else(|| damaged("an item has no body"))
}

fn pack(document: &impl Serialize) -> Result<Vec<u8>, TenantsError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let packed = serde_json::to_vec(document).map_err(std::io::Error::from);
    let packed = packed.and_then(|text| encoder.write_all(&text)).and_then(|()| encoder.finish());
    packed.map_err(|error| StoreError::Io(error).into())
}

fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, TenantsError> {
    let mut text = Vec::new();
    let read = GzDecoder::new(packed).take(LARGEST).read_to_end(&mut text);
    read.map_err(|error| damaged(&error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| damaged(&error.to_string()))
}

fn damaged(what: &str) -> TenantsError {
    StoreError::Damaged(what.to_owned()).into()
}
