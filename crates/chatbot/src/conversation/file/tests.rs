use std::io::Write as _;

use super::super::{ConversationId, Role, TenantId};
use super::super::{Status, StoredMessage};
use super::log::LARGEST_FILE;
use super::*;

fn message(text: &str) -> Message {
    Message::new("m".into(), Role::User, text.into(), 1)
}

fn key() -> ConversationKey {
    ConversationKey { tenant: TenantId::default(), id: ConversationId::random().unwrap() }
}

fn texts(messages: &[StoredMessage]) -> Vec<(u64, &str)> {
    messages.iter().map(|stored| (stored.seq, stored.message.text.as_str())).collect()
}

#[tokio::test]
async fn what_is_appended_is_read_by_another_store() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (FileStore::open(directory.path()).unwrap(), FileStore::open(directory.path()).unwrap());
    let key = key();
    one.create(&key, None, &[message("a"), message("b")]).await.unwrap();
    assert_eq!(other.append(&key, State::Bot, &[message("c")]).await.unwrap(), 3);
    assert_eq!(texts(&one.load(&key, 2).await.unwrap().messages), [(2, "b"), (3, "c")]);
}

#[tokio::test]
async fn unknown_and_foreign_conversations_do_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path()).unwrap();
    let ours = key();
    store.create(&ours, None, &[message("secret")]).await.unwrap();
    let theirs = ConversationKey { tenant: "other".parse().unwrap(), id: ours.id.clone() };
    assert!(matches!(store.load(&theirs, 9).await, Err(StoreError::NotFound)));
    assert!(matches!(store.append(&theirs, State::Bot, &[message("x")]).await, Err(StoreError::NotFound)));
    assert!(matches!(store.load(&key(), 9).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn half_a_line_of_a_killed_writer_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path()).unwrap();
    let key = key();
    store.create(&key, None, &[message("a")]).await.unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(store.path(&key)).unwrap();
    file.write_all(b"{\"seq\":2,\"id\":\"m\",\"ro").unwrap();
    assert_eq!(texts(&store.load(&key, 9).await.unwrap().messages), [(1, "a")]);
    assert_eq!(store.append(&key, State::Bot, &[message("b")]).await.unwrap(), 2);
    assert_eq!(texts(&store.load(&key, 9).await.unwrap().messages), [(1, "a"), (2, "b")]);
}

#[tokio::test]
async fn long_conversations_are_read_whole_and_end_at_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path()).unwrap();
    let key = key();
    let long = "字".repeat(4000);
    store.create(&key, None, &[message(&long)]).await.unwrap();
    for _ in 0..20 {
        store.append(&key, State::Bot, &[message(&long)]).await.unwrap();
    }
    assert_eq!(store.load(&key, 100).await.unwrap().messages.len(), 21);
    assert_eq!(store.load(&key, 3).await.unwrap().messages.first().unwrap().seq, 19);
    let huge = message(&"x".repeat(LARGEST_FILE as usize));
    assert!(matches!(store.append(&key, State::Bot, &[huge]).await, Err(StoreError::Full)));
    assert_eq!(store.load(&key, 100).await.unwrap().messages.len(), 21);
}

#[test]
fn a_link_is_not_private() {
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (directory.path().join("real"), directory.path().join("link"));
    FileStore::open_private(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    assert!(FileStore::open(&link).is_ok());
    assert!(FileStore::open_private(&link).is_err());
}

#[tokio::test]
async fn writers_take_turns() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path()).unwrap();
    let key = key();
    store.create(&key, None, &[message("0")]).await.unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move { store.append(&key, State::Bot, &[message("x"), message("y")]).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let kept = store.load(&key, 100).await.unwrap().messages;
    assert_eq!(kept.iter().map(|stored| stored.seq).collect::<Vec<_>>(), (1..=41).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_written_again_replaces_the_earlier_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path()).unwrap();
    let key = key();
    let generating = Message { status: Status::Generating, ..message("half") };
    store.create(&key, Some("somebody"), &[message("a"), generating.clone()]).await.unwrap();
    store.append(&key, State::Bot, &[message("c")]).await.unwrap();
    store.revise(&key, 2, &generating).await.unwrap();
    store.revise(&key, 2, &message("whole")).await.unwrap();
    assert!(matches!(store.revise(&key, 2, &generating).await, Err(StoreError::Conflict)), "the first end counts");
    store.transition(&key, State::Bot, State::Human).await.unwrap();
    assert!(matches!(store.transition(&key, State::Bot, State::Closed).await, Err(StoreError::Conflict)));
    assert!(matches!(store.append(&key, State::Bot, &[message("x")]).await, Err(StoreError::Conflict)));

    let comment = "c".repeat(1000);
    for _ in 0..20 {
        let feedback = Feedback { rating: super::super::Rating::Up, comment: Some(comment.clone()) };
        store.rate(&key, 1, feedback).await.unwrap();
    }
    assert_eq!(store.append(&key, State::Human, &[message("d")]).await.unwrap(), 4);
    let kept = store.load(&key, 9).await.unwrap();
    assert_eq!((kept.owner.as_deref(), kept.state), (Some("somebody"), State::Human));
    assert_eq!(texts(&kept.messages), [(1, "a"), (2, "whole"), (3, "c"), (4, "d")]);
    assert_eq!(texts(&store.page(&key, 1, 2).await.unwrap().messages), [(2, "whole"), (3, "c")]);
    store.delete(&key).await.unwrap();
    assert!(matches!(store.load(&key, 9).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn what_another_store_wrote_is_seen_by_one_that_has_the_file_open() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (FileStore::open(directory.path()).unwrap(), FileStore::open(directory.path()).unwrap());
    let key = key();
    one.create(&key, None, &[message("a")]).await.unwrap();
    for turn in 0..20 {
        let (writer, reader) = if turn % 2 == 0 { (&other, &one) } else { (&one, &other) };
        assert_eq!(writer.append(&key, State::Bot, &[message("b"), message("c")]).await.unwrap(), turn * 2 + 2);
        assert_eq!(texts(&reader.load(&key, 1).await.unwrap().messages), [(turn * 2 + 3, "c")]);
    }
    other.transition(&key, State::Bot, State::Human).await.unwrap();
    assert!(matches!(one.append(&key, State::Bot, &[message("x")]).await, Err(StoreError::Conflict)));
    assert_eq!(one.page(&key, 0, 100).await.unwrap().messages.len(), 41);
    other.delete(&key).await.unwrap();
    assert!(matches!(one.load(&key, 1).await, Err(StoreError::NotFound)));
    assert!(matches!(one.append(&key, State::Human, &[message("x")]).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn more_conversations_than_files_stay_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path()).unwrap();
    let keys: Vec<_> = (0..600).map(|_| key()).collect();
    for key in &keys {
        store.create(key, None, &[message("a")]).await.unwrap();
    }
    for key in &keys {
        assert_eq!(store.append(key, State::Bot, &[message("b")]).await.unwrap(), 2);
    }
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(descriptors < 600, "{descriptors} files are open");
}
