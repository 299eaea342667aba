use std::collections::BTreeMap;

use futures_util::stream;
use tokio::sync::mpsc;

use super::*;
use crate::access::{Caller, Proof};
use crate::answer::{AnswerWriter, Question};
use crate::config::Config;
use crate::conversation::{ConversationId, MemoryStore, State, StoredMessage};
use crate::knowledge::Knowledge;
use crate::session::Signer;
use crate::tenant::{Handoff, Registry, Settings};
use crate::turn::{self, Asked, Replying, Turn};

/// Writes what the test says, when it says so.
#[derive(Debug)]
struct Script(Mutex<Option<mpsc::UnboundedReceiver<Written>>>);

impl AnswerWriter for Script {
    fn write(&self, _: Question) -> Option<Writing> {
        let pieces = self.0.lock().unwrap().take()?;
        Some(Box::pin(stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) })))
    }
}

struct Test {
    app: Arc<App>,
    caller: Caller,
    pen: mpsc::UnboundedSender<Written>,
    key: ConversationKey,
    reader: watch::Receiver<Message>,
}

/// A question that the knowledge cannot answer, on its way to the script.
async fn asked() -> Test {
    let config = Config::read(&BTreeMap::new()).unwrap();
    let tenants = Registry::demo(Knowledge::built_in().unwrap());
    let open = tenants.open_tenant().unwrap();
    let handoff = Some(Handoff { url: "http://127.0.0.1:9/".into(), secret: "0123456789abcdef".into() });
    let settings = Settings { handoff, ..open.settings.clone() };
    let tenant = Arc::new(Tenant { settings, engine: Arc::clone(&open.engine), open: true });
    let (pen, pieces) = mpsc::unbounded_channel();
    let mut app = App::new(&config, tenants, Box::new(MemoryStore::default()), Signer::new(b"test"));
    app.writer = Some(Arc::new(Script(Mutex::new(Some(pieces)))));
    let app = Arc::new(app);
    let caller = Caller { tenant, proof: Proof::Nothing, end_user: None };
    let Turn { key, reply } = turn::take(&app, &caller, says(None, "What is the capital of France?")).await.unwrap();
    let Replying::Live(reader) = reply else { panic!("the script was not asked") };
    Test { app, caller, pen, key, reader }
}

impl Test {
    fn write(&self, text: &str) {
        self.pen.send(Written::Text(text.to_owned())).unwrap();
    }

    async fn kept(&self) -> Message {
        let StoredMessage { seq: 2, message } = self.app.store.load(&self.key, 1).await.unwrap().messages.remove(0)
        else {
            panic!("the reply is the second message")
        };
        message
    }

    /// Waits for the end of the reply, which must be kept by then.
    async fn ended(&mut self) -> Message {
        let ended = self.reader.wait_for(|message| message.status != Status::Generating).await.unwrap().clone();
        assert_eq!(self.kept().await, ended);
        ended
    }
}

fn ending() -> Written {
    let ending =
        Ending { model: "m".into(), finish_reason: FinishReason::Stop, input_tokens: Some(7), output_tokens: None };
    Written::End(ending)
}

fn says(conversation: Option<ConversationId>, message: &str) -> Asked<'_> {
    Asked { conversation, message, ..Asked::default() }
}

#[tokio::test]
async fn every_reader_gets_the_whole_reply_and_it_is_kept() {
    let mut test = asked().await;
    test.write("Par");
    let id = test.kept().await.id;
    assert_eq!(test.kept().await.status, Status::Generating);
    let mut second = test.app.generations.find(&test.key, id).unwrap().subscribe();
    test.write("is.");
    test.pen.send(ending()).unwrap();
    let ended = test.ended().await;
    assert_eq!((ended.text.as_str(), ended.status), ("Paris.", Status::Complete));
    let provenance = ended.provenance.unwrap();
    assert_eq!((provenance.usage.input_tokens, provenance.usage.output_characters), (Some(7), 6));
    assert_eq!(second.wait_for(|message| message.status == Status::Complete).await.unwrap().text, "Paris.");
    test.app.generations.idle().await;
    assert!(test.app.generations.find(&test.key, id).is_none());
}

#[tokio::test]
async fn a_writer_that_fails_before_its_first_word_leaves_the_engines_reply() {
    let mut test = asked().await;
    test.pen.send(Written::Failed).unwrap();
    let ended = test.ended().await;
    assert_eq!(ended.status, Status::Complete);
    assert_eq!(ended.provenance.unwrap().source, crate::conversation::Source::Handover);
    assert!(ended.text.contains("support team"));
    let state = test.app.store.load(&test.key, 1).await.unwrap().state;
    assert_eq!(state, State::PendingHuman, "a backend that fails asks for a person");
}

#[tokio::test]
async fn a_writer_that_finds_no_answer_leaves_the_engines_reply_and_disturbs_nobody() {
    let mut test = asked().await;
    test.pen.send(Written::Declined).unwrap();
    assert_eq!(test.ended().await.provenance.unwrap().source, crate::conversation::Source::Handover);
    assert_eq!(test.app.store.load(&test.key, 1).await.unwrap().state, State::Bot);
}

#[tokio::test]
async fn a_writer_that_breaks_off_leaves_what_it_wrote() {
    let mut test = asked().await;
    test.write("Par");
    test.pen.send(Written::Failed).unwrap();
    let ended = test.ended().await;
    assert_eq!((ended.text.as_str(), ended.status, ended.failure), ("Par", Status::Failed, Some(Failure::Model)));
}

#[tokio::test]
async fn a_cancelled_reply_stops_its_writer() {
    let mut test = asked().await;
    test.write("Par");
    test.reader.wait_for(|message| message.text == "Par").await.unwrap();
    test.app.generations.find(&test.key, test.kept().await.id).unwrap().cancel();
    let ended = test.ended().await;
    assert_eq!((ended.text.as_str(), ended.status), ("Par", Status::Cancelled));
    test.pen.closed().await;
}

#[tokio::test(start_paused = true)]
async fn another_processs_cancel_is_noticed() {
    let mut test = asked().await;
    let cancelled = Message { status: Status::Cancelled, ..test.kept().await };
    test.app.store.revise(&test.key, 2, &cancelled).await.unwrap();
    assert_eq!(test.ended().await.status, Status::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn silence_and_endlessness_have_an_end() {
    let mut test = asked().await;
    assert_eq!(test.ended().await.failure, Some(Failure::Timeout));

    let mut test = asked().await;
    let before = Instant::now();
    for _ in 0..1_000 {
        test.write("word ");
        tokio::time::sleep(Duration::from_secs(10)).await;
        if test.app.generations.is_empty() {
            break;
        }
    }
    assert_eq!(test.ended().await.failure, Some(Failure::Timeout));
    assert!(before.elapsed() <= TOTAL + Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_reply_goes_on_without_readers_but_not_for_ever() {
    let mut test = asked().await;
    let id = test.kept().await.id;
    test.reader = watch::channel(test.kept().await).1;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        test.write("word ");
    }
    let generation = test.app.generations.find(&test.key, id).expect("it goes on for 25 seconds");
    let mut back = generation.subscribe();
    assert_eq!(back.borrow_and_update().text.matches("word").count(), 4);
    drop((back, generation));
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let _ = test.pen.send(Written::Text("word ".to_owned()));
    }
    assert_eq!(test.kept().await.failure, Some(Failure::Abandoned));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_replies_with_what_they_have() {
    let mut test = asked().await;
    test.write("Par");
    test.reader.wait_for(|message| message.text == "Par").await.unwrap();
    test.app.drain.advance(Phase::Closing);
    let ended = test.ended().await;
    assert_eq!((ended.text.as_str(), ended.failure), ("Par", Some(Failure::Draining)));
}

#[tokio::test]
async fn a_reply_whose_process_is_gone_becomes_a_failure() {
    let test = asked().await;
    let orphan = Arc::new(Message { lease_until_ms: Some(now_ms() - 1), ..test.kept().await });
    let store = MemoryStore::default();
    store.create(&test.key, None, std::slice::from_ref(&orphan)).await.unwrap();
    let found = stored(&store, &test.key, 1).await.unwrap();
    assert_eq!((found.status, found.failure), (Status::Failed, Some(Failure::Interrupted)));
    assert_eq!(store.load(&test.key, 1).await.unwrap().messages[0].message, found);
}

#[tokio::test]
async fn the_next_question_waits_for_the_reply() {
    let mut test = asked().await;
    let id = test.key.id;
    let refused = turn::take(&test.app, &test.caller, says(Some(id), "Hello")).await.unwrap_err();
    assert_eq!(refused.code, "reply_in_progress");
    test.pen.send(ending()).unwrap();
    test.ended().await;
    turn::take(&test.app, &test.caller, says(Some(id), "Hello")).await.unwrap();
    assert_eq!(test.app.store.load(&test.key, 9).await.unwrap().state, State::Bot);
}
