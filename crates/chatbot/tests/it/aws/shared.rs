//! What tasks share through the table beside conversations: keys of requests, events for webhooks.

use std::sync::Arc;
use std::time::Duration;

use chatbot::aws::Table;
use chatbot::conversation::TenantId;
use chatbot::idempotency::{DynamoRecords, Kept, Records, Reservation};
use chatbot::webhook::{DynamoOutbox, Event, Outbox};
use serde_json::json;

use super::table::{client, table, variables};
use super::{aws, endpoint};
use crate::client::post;
use crate::program::Program;

fn open(name: &str) -> Arc<Table> {
    Arc::new(Table::new(Arc::new(aws()), name))
}

#[tokio::test]
async fn a_key_is_for_one_request_in_every_task() {
    let name = table().await;
    let records = || Records::Table(DynamoRecords::new(open(&name)));
    let (blue, green) = (records(), records());
    let (tenant, other) = (TenantId::default(), "other".parse().unwrap());
    assert_eq!(blue.reserve(&tenant, "k", "f").await.unwrap(), Reservation::New);
    assert_eq!(green.reserve(&tenant, "k", "f").await.unwrap(), Reservation::Running);
    assert_eq!(green.reserve(&tenant, "k", "g").await.unwrap(), Reservation::Other);
    assert_eq!(green.reserve(&other, "k", "g").await.unwrap(), Reservation::New, "tenants are apart");
    let kept = Kept::Document { status: 200, body: "{}".into() };
    blue.settle(&tenant, "k", Some(kept.clone())).await.unwrap();
    assert_eq!(green.reserve(&tenant, "k", "f").await.unwrap(), Reservation::Done(kept));
    green.settle(&other, "k", None).await.unwrap();
    assert_eq!(blue.reserve(&other, "k", "f").await.unwrap(), Reservation::New, "nothing was done");
    let items = client().await.scan().table_name(&name).send().await.unwrap().items.unwrap();
    assert!(items.iter().all(|item| item["expires"].as_n().unwrap().parse::<u64>().unwrap() > 1_700_000_000));
}

#[tokio::test]
async fn of_many_tasks_one_gets_a_key() {
    let name = table().await;
    let asked = (0..12).map(|_| {
        let records = Records::Table(DynamoRecords::new(open(&name)));
        tokio::spawn(async move { records.reserve(&TenantId::default(), "k", "f").await.unwrap() })
    });
    let mut new = 0;
    for task in asked.collect::<Vec<_>>() {
        new += u32::from(task.await.unwrap() == Reservation::New);
    }
    assert_eq!(new, 1);
}

#[tokio::test]
async fn an_event_is_taken_by_one_task_at_a_time_until_it_is_settled() {
    let name = table().await;
    let outbox = || Outbox::Table(DynamoOutbox::new(open(&name)));
    let (blue, green) = (outbox(), outbox());
    assert_eq!(blue.list().await.unwrap(), [""; 0]);
    let event = |id: &str| Event {
        id: id.into(),
        tenant: TenantId::default(),
        at_ms: 1_800_000_000_000,
        body: "{}".into(),
        traceparent: None,
    };
    for id in ["evt_2", "evt_1"] {
        blue.put(event(id)).await.unwrap();
    }
    assert_eq!(green.list().await.unwrap(), ["evt_1", "evt_2"], "oldest first");
    let claimed = green.claim("evt_1").await.unwrap().expect("nobody has it");
    assert_eq!(claimed.event(), &event("evt_1"));
    assert!(blue.claim("evt_1").await.unwrap().is_none());
    assert_eq!(blue.list().await.unwrap(), ["evt_2"]);

    claimed.postpone(Duration::from_millis(1)).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    blue.claim("evt_1").await.unwrap().expect("its wait is over").remove().await;
    assert!(green.claim("evt_1").await.unwrap().is_none());
    assert_eq!(green.list().await.unwrap(), ["evt_2"]);
    let items = client().await.scan().table_name(&name).send().await.unwrap().items.unwrap();
    assert!(items[0]["expires"].as_n().is_ok());
}

/// Everything through the program: what one task has done, the next one does not do again.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_to_two_tasks_is_done_once() {
    let (name, endpoint, directory) = (table().await, endpoint(), tempfile::tempdir().unwrap());
    let task = || Program::start(directory.path(), &variables(&name, &endpoint));
    let (blue, green) = (task(), task());
    let (question, key) = (json!({"message": "How do I reset my password?"}), [("idempotency-key", "order-7")]);
    let first = post(blue.address, &question, &key);
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    let first = first.json();
    blue.kill();
    let second = post(green.address, &question, &key);
    assert_eq!((second.status, second.header("idempotency-replayed")), (200, Some("true")));
    assert_eq!(second.json(), first);
    let mismatch = post(green.address, &json!({"message": "Hello"}), &key);
    assert_eq!((mismatch.status, &mismatch.json()["code"]), (422, &json!("idempotency_mismatch")));
}
