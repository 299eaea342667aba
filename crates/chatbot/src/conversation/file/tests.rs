use std::io::Write as _;

use proptest::prelude::*;

use super::super::{MemoryStore, MessageId, Role, Status, StoredMessage};
use super::held::LARGEST;
use super::locked::LockedFile;
use super::*;

fn message(text: &str) -> Message {
    Message::new(MessageId::default(), Role::User, text.into(), 1)
}

fn key() -> ConversationKey {
    ConversationKey { tenant: TenantId::default(), id: ConversationId::random().unwrap() }
}

/// A conversation that is kept where the store puts those that begin now.
fn key_of(store: &FileStore) -> ConversationKey {
    ConversationKey { tenant: TenantId::default(), id: store.name(&TenantId::default()).unwrap() }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory.join("default")).unwrap().map(|entry| entry.unwrap().path()).collect()
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
    let theirs = ConversationKey { tenant: "other".parse().unwrap(), id: ours.id };
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
    let huge = message(&"x".repeat(LARGEST as usize));
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
async fn conversations_that_begin_together_share_a_segment_until_it_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path()).unwrap();
    let keys: Vec<_> = (0..129).map(|_| key_of(&store)).collect();
    for key in &keys {
        store.create(key, None, &[message(&key.id.to_string())]).await.unwrap();
    }
    assert_eq!(files(directory.path()).len(), 2);
    for key in &keys {
        assert_eq!(texts(&store.load(key, 9).await.unwrap().messages), [(1, &*key.id.to_string())]);
    }
    let elsewhere = FileStore::open(directory.path()).unwrap();
    assert_ne!(key_of(&elsewhere).id.segment(), keys[128].id.segment(), "each process fills its own");
}

#[tokio::test]
async fn a_forgotten_conversation_leaves_the_others_and_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (FileStore::open(directory.path()).unwrap(), FileStore::open(directory.path()).unwrap());
    let (gone, stays) = (key_of(&one), key_of(&one));
    one.create(&gone, None, &[message("a secret")]).await.unwrap();
    one.create(&stays, Some("somebody"), &[message("a")]).await.unwrap();
    other.append(&stays, State::Bot, &[message("b")]).await.unwrap();
    other.delete(&gone).await.unwrap();
    assert!(!std::fs::read_to_string(one.path(&stays)).unwrap().contains("secret"));
    for store in [&one, &other] {
        assert!(matches!(store.load(&gone, 9).await, Err(StoreError::NotFound)));
        assert!(matches!(store.delete(&gone).await, Err(StoreError::NotFound)));
    }
    assert_eq!(one.append(&stays, State::Bot, &[message("c")]).await.unwrap(), 3);
    let kept = other.load(&stays, 9).await.unwrap();
    assert_eq!((texts(&kept.messages), kept.owner.as_deref()), (vec![(1, "a"), (2, "b"), (3, "c")], Some("somebody")));
    one.delete(&stays).await.unwrap();
    assert_eq!(files(directory.path()), [] as [PathBuf; 0]);
    one.create(&stays, None, &[message("again")]).await.unwrap();
    assert_eq!(texts(&other.load(&stays, 9).await.unwrap().messages), [(1, "again")]);
}

#[tokio::test]
async fn only_old_conversations_are_forgotten_by_age() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path()).unwrap();
    let now = crate::clock::now_ms();
    let at = |at_ms| Message { at_ms, ..message("x") };
    let [old, kept_up, new, alone] = [(); 4].map(|()| key_of(&store));
    let alone = ConversationKey { id: ConversationId::random().unwrap(), ..alone };
    for key in [&old, &kept_up, &alone] {
        store.create(key, None, &[at(now - 100_000)]).await.unwrap();
    }
    store.append(&kept_up, State::Bot, &[at(now)]).await.unwrap();
    store.create(&new, None, &[at(now)]).await.unwrap();
    std::fs::create_dir_all(directory.path().join(".ledger/acme")).unwrap();
    std::fs::write(directory.path().join(".ledger/acme/2026-11.json"), "{}").unwrap();

    assert_eq!(store.sweep(Duration::from_secs(200)).await.unwrap(), 0);
    assert_eq!(store.sweep(Duration::from_secs(50)).await.unwrap(), 2);
    for gone in [&old, &alone] {
        assert!(matches!(store.load(gone, 9).await, Err(StoreError::NotFound)));
    }
    assert_eq!(store.load(&kept_up, 9).await.unwrap().messages.len(), 2);
    assert_eq!(store.load(&new, 9).await.unwrap().messages.len(), 1);
    assert_eq!(files(directory.path()).len(), 1);
    assert!(directory.path().join(".ledger/acme/2026-11.json").exists());
}

#[tokio::test]
async fn damage_to_one_conversation_is_told_and_leaves_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path()).unwrap();
    let (damaged, whole) = (key_of(&store), key_of(&store));
    for key in [&damaged, &whole] {
        store.create(key, None, &[message("a")]).await.unwrap();
    }
    let mut file = std::fs::OpenOptions::new().append(true).open(store.path(&whole)).unwrap();
    writeln!(file, "{{\"conversation\":\"{}\",\"seq\":\nnonsense", damaged.id).unwrap();
    assert!(matches!(store.load(&damaged, 9).await, Err(StoreError::Damaged(_))));
    assert_eq!(store.append(&whole, State::Bot, &[message("b")]).await.unwrap(), 2);
    assert_eq!(texts(&store.load(&whole, 9).await.unwrap().messages), [(1, "a"), (2, "b")]);
}

/// What two processes may do to three conversations.
#[derive(Debug, Clone)]
enum Deed {
    Create,
    Append(usize),
    Move(State, State),
    Revise(u64),
    Glance,
    Load(usize),
    Page(u64),
    Delete,
}

proptest! {
    /// Two stores on one directory behave as one store in memory, whatever is done through which of them.
    #[test]
    fn files_are_as_good_as_memory(deeds in proptest::collection::vec((0..3_usize, any::<bool>(), deed()), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let stores = [(); 2].map(|()| FileStore::open(directory.path()).unwrap());
            let memory = MemoryStore::default();
            let mut keys = [(); 3].map(|()| key_of(&stores[0]));
            for (number, (which, first, deed)) in deeds.into_iter().enumerate() {
                let store = &stores[usize::from(first)];
                let key = &mut keys[which];
                let [ours, theirs] = [store as &dyn ConversationStore, &memory];
                let say = |count| (0..count).map(|part| said(number + part, format!("{number}.{part}"))).collect::<Vec<_>>();
                let (a, b) = match deed {
                    Deed::Create if memory.load(key, 1).await.is_ok() => continue,
                    Deed::Create => (
                        format!("{:?}", ours.create(key, Some("u"), &say(1)).await),
                        format!("{:?}", theirs.create(key, Some("u"), &say(1)).await),
                    ),
                    Deed::Append(count) => (
                        format!("{:?}", ours.append(key, State::Bot, &say(count)).await),
                        format!("{:?}", theirs.append(key, State::Bot, &say(count)).await),
                    ),
                    Deed::Move(from, to) => (
                        format!("{:?}", ours.transition(key, from, to).await),
                        format!("{:?}", theirs.transition(key, from, to).await),
                    ),
                    Deed::Revise(seq) => {
                        let ended = message("ended");
                        (
                            format!("{:?}", ours.revise(key, seq, &ended).await),
                            format!("{:?}", theirs.revise(key, seq, &ended).await),
                        )
                    }
                    Deed::Glance => (
                        format!("{:?}", ours.glance(key).await),
                        format!("{:?}", theirs.glance(key).await),
                    ),
                    Deed::Load(limit) => (
                        format!("{:?}", ours.load(key, limit).await),
                        format!("{:?}", theirs.load(key, limit).await),
                    ),
                    Deed::Page(after) => (
                        format!("{:?}", ours.page(key, after, 5).await),
                        format!("{:?}", theirs.page(key, after, 5).await),
                    ),
                    Deed::Delete => (format!("{:?}", ours.delete(key).await), format!("{:?}", theirs.delete(key).await)),
                };
                assert_eq!(a, b, "{deed:?}");
            }
        });
    }
}

/// A question, a whole reply, or one that is being generated.
fn said(number: usize, text: String) -> Message {
    let message = Message::new(MessageId::default(), Role::User, text, 1);
    match number % 3 {
        0 => message,
        1 => Message { role: Role::Assistant, ..message },
        _ => Message { role: Role::Assistant, status: Status::Generating, ..message },
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    let state = || proptest::sample::select(&State::ALL[..2]);
    prop_oneof![
        3 => Just(Deed::Create),
        6 => (1..4_usize).prop_map(Deed::Append),
        2 => (state(), state()).prop_map(|(from, to)| Deed::Move(from, to)),
        2 => (1..9_u64).prop_map(Deed::Revise),
        4 => Just(Deed::Glance),
        4 => (1..20_usize).prop_map(Deed::Load),
        2 => (0..20_u64).prop_map(Deed::Page),
        1 => Just(Deed::Delete),
    ]
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

#[tokio::test]
async fn what_is_written_at_the_same_moment_is_there_when_each_writer_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (store, other) = (FileStore::open(directory.path()).unwrap(), FileStore::open(directory.path()).unwrap());
    let keys: Vec<_> = std::iter::repeat_with(|| key_of(&store)).take(20).collect();
    store.create(&keys[0], None, &[message("opens the segment")]).await.unwrap();
    let talk = |key: ConversationKey| {
        let (store, other) = (store.clone(), other.clone());
        async move {
            store.create(&key, None, &[message("a")]).await.unwrap();
            assert_eq!(texts(&other.load(&key, 9).await.unwrap().messages), [(1, "a")]);
            // Two at once in one conversation, and a reader in between.
            let twice = [[message("b")], [message("c")]];
            let [one, two] = twice.each_ref().map(|messages| store.append(&key, State::Bot, messages));
            let (one, two, read) = tokio::join!(one, two, store.load(&key, 9));
            let numbers = [one.unwrap(), two.unwrap()];
            assert!(numbers == [2, 3] || numbers == [3, 2], "{numbers:?}");
            assert!(!read.unwrap().messages.is_empty());
            let (messages, [b, c]) = (other.load(&key, 9).await.unwrap().messages, numbers);
            let mut said = texts(&messages);
            said.sort_by_key(|(_, text)| *text);
            assert_eq!(said, [(1, "a"), (b, "b"), (c, "c")]);
        }
    };
    futures_util::future::join_all(keys.iter().skip(1).cloned().map(talk)).await;
    assert_eq!(files(directory.path()).len(), 1);
}

#[tokio::test]
async fn a_write_that_fails_is_told_to_every_writer_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path()).unwrap();
    let keys = [key_of(&store), key_of(&store)];
    for key in &keys {
        store.create(key, None, &[message("a")]).await.unwrap();
    }
    // The same file, but open for reading only: every write fails.
    let path = store.path(&keys[0]);
    let mut broken = Segment::of(LockedFile::of(std::fs::File::open(&path).unwrap()));
    let known = |segment: &mut Segment, key: &ConversationKey| {
        segment.patiently(key.id, NO_MESSAGES, |held, _| Ok(held.append(State::Bot, &[])? - 1)).unwrap().unwrap()
    };
    assert_eq!(keys.each_ref().map(|key| known(&mut broken, key)), [1, 1]);
    let append = |segment: &mut Segment, key: &ConversationKey| {
        let done = segment.at_once(key.id, |_| true, |held| held.append(State::Bot, &[message("lost")]));
        done.unwrap().unwrap()
    };
    let told = keys.each_ref().map(|key| append(&mut broken, key));
    broken.commit();
    for (seq, committed) in told {
        assert_eq!(seq, 2);
        assert!(matches!(committed.await.unwrap(), Err(StoreError::Io(_))));
    }
    assert_eq!(keys.each_ref().map(|key| known(&mut broken, key)), [1, 1], "what was lost is not shown");
    assert_eq!(texts(&store.load(&keys[0], 9).await.unwrap().messages), [(1, "a")]);
    assert_eq!(store.append(&keys[0], State::Bot, &[message("b")]).await.unwrap(), 2, "nobody holds the file");
}
