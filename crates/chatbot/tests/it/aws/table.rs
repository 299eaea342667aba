use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use chatbot::aws::Table;
use chatbot::conversation::{
    ConversationId, ConversationKey, ConversationStore, DynamoStore, Feedback, Message, MessageId, Rating, Role, State,
    Status, StoreError, TenantId,
};
use chatbot::engine::Outcome;
use chatbot::ledger::{Book, Books, DynamoBooks, Ledger, Month};
use chatbot::tenant::Limits;
use chatbot::text::Language;
use serde_json::json;

use super::{aws, endpoint};
use crate::client::{ask, get, post};
use crate::program::Program;

const RETENTION: Duration = Duration::from_secs(3600);

/// A client that makes tables and looks into them; the service itself does neither.
pub(super) async fn client() -> Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new("ap-northeast-1"))
        .endpoint_url(endpoint());
    Client::new(&config.load().await)
}

/// A new table, by its name.
pub(super) async fn table() -> String {
    let name = format!("chat-{}", ConversationId::random().expect("random bits"));
    let attribute = |name| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let key = |name, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    client()
        .await
        .create_table()
        .table_name(&name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk"))
        .attribute_definitions(attribute("sk"))
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .send()
        .await
        .expect("a table");
    name
}

fn open(name: &str, retention: Duration) -> DynamoStore {
    DynamoStore::new(Arc::new(Table::new(Arc::new(aws()), name)), retention)
}

fn key() -> ConversationKey {
    ConversationKey { tenant: TenantId::default(), id: ConversationId::random().expect("random bits") }
}

fn message(text: &str) -> Message {
    Message::new(MessageId::unique(), Role::User, text.to_owned(), 7)
}

#[tokio::test]
async fn a_conversation_is_kept_and_read_by_another_task() {
    let name = table().await;
    let (one, other) = (open(&name, RETENTION), open(&name, RETENTION));
    one.check().await.unwrap();
    let key = key();
    one.create(&key, Some("user-1"), &[message("a"), message("b")]).await.unwrap();
    assert!(matches!(one.create(&key, None, &[message("x")]).await, Err(StoreError::Conflict)));
    assert_eq!(other.append(&key, State::Bot, &[message("c"), message("d")]).await.unwrap(), 3);
    let loaded = one.load(&key, 3).await.unwrap();
    assert_eq!((loaded.owner.as_deref(), loaded.state), (Some("user-1"), State::Bot));
    let texts: Vec<_> = loaded.messages.iter().map(|stored| (stored.seq, stored.message.text.as_str())).collect();
    assert_eq!(texts, [(2, "b"), (3, "c"), (4, "d")]);
    let page = other.page(&key, 1, 2).await.unwrap();
    assert_eq!(page.messages.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [2, 3]);
    let theirs = ConversationKey { tenant: "other".parse().unwrap(), ..key.clone() };
    assert!(matches!(one.load(&theirs, 9).await, Err(StoreError::NotFound)));

    other.delete(&key).await.unwrap();
    assert!(matches!(one.load(&key, 9).await, Err(StoreError::NotFound)));
    assert!(matches!(one.delete(&key).await, Err(StoreError::NotFound)));
    let left = client().await.scan().table_name(&name).send().await.unwrap();
    assert_eq!(left.count, 0, "nothing is left of it");
}

#[tokio::test]
async fn states_and_ends_are_decided_once() {
    let store = open(&table().await, RETENTION);
    let key = key();
    let writing = Message { status: Status::Generating, ..message("") };
    store.create(&key, None, &[message("q"), writing]).await.unwrap();
    store.transition(&key, State::Bot, State::Human).await.unwrap();
    assert!(matches!(store.transition(&key, State::Bot, State::Closed).await, Err(StoreError::Conflict)));
    assert!(matches!(store.append(&key, State::Bot, &[message("x")]).await, Err(StoreError::Conflict)));
    assert_eq!(store.append(&key, State::Human, &[message("x")]).await.unwrap(), 3);

    store.revise(&key, 2, &message("the end")).await.unwrap();
    assert!(matches!(store.revise(&key, 2, &message("another end")).await, Err(StoreError::Conflict)));
    assert!(matches!(store.revise(&key, 9, &message("nothing")).await, Err(StoreError::NotFound)));
    let feedback = Feedback { rating: Rating::Down, comment: Some("no".to_owned()) };
    store.rate(&key, 2, feedback.clone()).await.unwrap();
    assert!(matches!(store.rate(&key, 9, feedback.clone()).await, Err(StoreError::NotFound)));
    let reply = store.page(&key, 1, 1).await.unwrap().messages.remove(0).message;
    assert_eq!((reply.text.as_str(), reply.feedback.clone()), ("the end", Some(feedback)));
    let nobody = self::key();
    assert!(matches!(store.transition(&nobody, State::Bot, State::Human).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn writers_at_the_same_time_lose_nothing_and_leave_no_gap() {
    let store = Arc::new(open(&table().await, RETENTION));
    let key = key();
    store.create(&key, None, &[message("0")]).await.unwrap();
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move {
                let turn = [message(&format!("{n}a")), message(&format!("{n}b"))];
                match store.append(&key, State::Bot, &turn).await {
                    Ok(first) => Some((n, first)),
                    Err(StoreError::Conflict) => None,
                    Err(error) => panic!("{error}"),
                }
            })
        })
        .collect();
    let mut kept = Vec::new();
    for task in tasks {
        kept.extend(task.await.unwrap());
    }
    assert!(!kept.is_empty());
    let messages = store.load(&key, 100).await.unwrap().messages;
    assert_eq!(
        messages.iter().map(|stored| stored.seq).collect::<Vec<_>>(),
        (1..=2 * kept.len() as u64 + 1).collect::<Vec<_>>()
    );
    for (n, first) in kept {
        let turn: Vec<_> =
            messages[first as usize - 1..][..2].iter().map(|stored| stored.message.text.clone()).collect();
        assert_eq!(turn, [format!("{n}a"), format!("{n}b")]);
    }
}

#[tokio::test]
async fn what_has_expired_is_not_there() {
    let name = table().await;
    let expired = open(&name, Duration::ZERO);
    let key = key();
    expired.create(&key, None, &[message("old")]).await.unwrap();
    let count = client().await.scan().table_name(&name).send().await.unwrap().count;
    assert_eq!(count, 2, "DynamoDB has not deleted it yet");
    assert!(matches!(expired.load(&key, 9).await, Err(StoreError::NotFound)));
    assert!(matches!(expired.page(&key, 0, 9).await, Err(StoreError::NotFound)));
    assert!(matches!(expired.append(&key, State::Bot, &[message("x")]).await, Err(StoreError::NotFound)));
    assert!(matches!(expired.transition(&key, State::Bot, State::Human).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn long_conversations_are_read_over_many_pages_and_deleted_whole() {
    let name = table().await;
    let store = open(&name, RETENTION);
    let key = key();
    store.create(&key, None, &[message("first")]).await.unwrap();
    let long = "字".repeat(30_000);
    for _ in 0..15 {
        store.append(&key, State::Bot, &[message(&long), message(&long)]).await.unwrap();
    }
    let all = store.load(&key, 1_000).await.unwrap().messages;
    assert_eq!(all.len(), 31, "2.7 MB, and a page holds one");
    assert_eq!(store.page(&key, 0, 1_000).await.unwrap().messages.len(), 31);
    store.delete(&key).await.unwrap();
    assert_eq!(client().await.scan().table_name(&name).send().await.unwrap().count, 0);
}

#[tokio::test]
async fn tasks_count_together() {
    let name = table().await;
    let books = || DynamoBooks::new(Arc::new(Table::new(Arc::new(aws()), &name)));
    let (blue, green) = (Ledger::new(Box::new(books())), Ledger::new(Box::new(books())));
    let tenant = TenantId::default();
    let limits = Limits { messages_per_month: Some(5), ..Limits::default() };
    for ledger in [&blue, &green] {
        assert!(ledger.admit(&tenant, &limits).await.is_ok());
        for _ in 0..3 {
            ledger.count(&tenant, |book, day| {
                book.day(day).messages += 1;
                book.question("what?", 7, Language::En, Outcome::Handover);
            });
        }
        ledger.flush().await;
    }
    assert_eq!(green.admit(&tenant, &limits).await.unwrap_err().code, "monthly_limit_reached");
    let month = Month::now().0;
    let book = books().read(&tenant, month).await.unwrap();
    assert_eq!((book.total().messages, book.unanswered["what?"].count), (6, 6));
    assert_eq!(books().add(&tenant, month, Book::default()).await.unwrap().messages, 6);
    assert_eq!(books().read(&"other".parse().unwrap(), month).await.unwrap(), Book::default());
}

#[tokio::test]
async fn keys_and_attributes_are_as_documented() {
    let name = table().await;
    let store = open(&name, RETENTION);
    let key = key();
    store.create(&key, None, &[message("a")]).await.unwrap();
    let items = client().await.scan().table_name(&name).send().await.unwrap().items.unwrap();
    let text = |value: &AttributeValue| value.as_s().unwrap().clone();
    let keys: BTreeSet<_> = items.iter().map(|item| (text(&item["pk"]), text(&item["sk"]))).collect();
    let partition = format!("T#default#C#{}", key.id);
    let sorted = ["M#00000000000000000001", "META"].map(|sort| (partition.clone(), sort.to_owned()));
    assert_eq!(keys, BTreeSet::from(sorted));
    assert!(items.iter().all(|item| item["expires"].as_n().unwrap().parse::<u64>().unwrap() > 1_700_000_000));
}

/// What a task that keeps everything in a table is told.
pub(super) fn variables<'a>(table: &'a str, endpoint: &'a str) -> [(&'a str, &'a str); 8] {
    [
        ("CONVERSATION_STORE", "dynamodb"),
        ("CONVERSATIONS_DIR", ""),
        ("CONVERSATIONS_TABLE", table),
        ("SESSION_SECRET", "0123456789abcdef0123456789abcdef"),
        ("AWS_REGION", "ap-northeast-1"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ]
}

/// Everything through the program: two tasks, one table.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_in_another_task() {
    let name = table().await;
    let endpoint = endpoint();
    let variables = variables(&name, &endpoint);
    let directory = tempfile::tempdir().unwrap();
    let blue = Program::start(directory.path(), &variables);
    let (status, reply) = ask(blue.address, &json!({"message": "How do I reset my password?"}));
    assert_eq!((status, &reply["outcome"]), (200, &json!("answer")), "{reply}");
    let id = reply["conversation_id"].as_str().unwrap();
    assert_eq!(get(blue.address, "/ready").status, 200);
    blue.kill();

    let green = Program::start(directory.path(), &variables);
    let next = post(green.address, &json!({"message": "And how long is the link valid?", "conversation_id": id}), &[]);
    assert_eq!(next.status, 200);
    let page = get(green.address, &format!("/v1/conversations/{id}/messages")).json();
    assert_eq!(page["messages"].as_array().unwrap().len(), 4, "{page}");
}
