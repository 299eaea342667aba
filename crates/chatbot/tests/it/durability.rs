//! Nothing that was acknowledged is lost: by a drain, a crash, a lost connection or a repetition.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Event, Response, get, post, send};
use crate::model::fake::{Act, FakeModel, Step};
use crate::program::Program;
use crate::tenants::Tenants;

/// Near an entry, but answered by none: a model is asked.
const UNANSWERED: &str = "Can an invoice be sent to our tax office in Osaka by fax?";

fn events(address: SocketAddr, conversation: &str, message: &str, after: u64) -> Response {
    let path = format!("/v1/conversations/{conversation}/messages/{message}/events");
    send(address, "GET", &path, &[("last-event-id", &after.to_string())], b"").expect("an answer")
}

fn text(events: &[Event]) -> String {
    events.iter().filter_map(|event| event.data["text"].as_str()).collect()
}

fn ids(start: &Event) -> (String, String) {
    let id = |name: &str| start.data[name].as_str().expect("an id").to_owned();
    (id("conversation_id"), id("message_id"))
}

/// A server whose model hangs after saying something.
fn hanging(directory: &tempfile::TempDir, said: &'static str) -> (FakeModel, Program) {
    let fake = FakeModel::start([Act::Stream(vec![Step::Say(said), Step::Hang])]);
    let variables = [("MODELS", "openai:m"), ("OPENAI_BASE_URL", &fake.openai())];
    let server = Program::start(directory.path(), &variables);
    (fake, server)
}

#[test]
fn two_hundred_open_streams_are_finished_by_a_drain() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("STREAM_DELTA_DELAY_MS", "100"), ("DRAIN_DEADLINE_SECONDS", "30")];
    let server = Program::start(directory.path(), &variables);
    let question = json!({"message": "How do I reset my password?", "stream": true});
    let mut streams: Vec<_> = (0..200).map(|_| post(server.address, &question, &[])).collect();
    let started: Vec<_> = streams.iter_mut().map(|stream| ids(&stream.event().expect("a start"))).collect();
    server.terminate();
    let since = Instant::now();
    let mut answers = Vec::new();
    for stream in streams {
        let events = stream.events();
        assert_eq!(events.last().map(|event| event.name.as_str()), Some("done"));
        answers.push(text(&events));
    }
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(since.elapsed() < Duration::from_secs(30), "within the drain's limit");

    let next = Program::start(directory.path(), &[]);
    for ((conversation, _), answer) in started.iter().zip(&answers) {
        let kept = get(next.address, &format!("/v1/conversations/{conversation}")).json();
        assert_eq!(kept["messages"].as_array().map(Vec::len), Some(2));
        assert_eq!(kept["messages"][1]["text"].as_str(), Some(answer.as_str()));
    }
}

#[test]
fn two_hundred_answers_by_a_model_are_finished_or_kept_by_a_drain() {
    let directory = tempfile::tempdir().unwrap();
    let finishes = Act::Stream(vec![Step::Say("By e-mail"), Step::Wait, Step::Say(" or by post."), Step::End]);
    let hangs = Act::Stream(vec![Step::Say("Perhaps, but"), Step::Hang]);
    let fake = FakeModel::start((0..200).map(|n| if n % 2 == 0 { finishes.clone() } else { hangs.clone() }));
    let base = fake.openai();
    let variables = [("MODELS", "openai:m"), ("OPENAI_BASE_URL", base.as_str()), ("DRAIN_DEADLINE_SECONDS", "8")];
    let server = Program::start(directory.path(), &variables);
    let question = json!({"message": UNANSWERED, "stream": true});
    let mut streams: Vec<_> = (0..200).map(|_| post(server.address, &question, &[])).collect();
    let started: Vec<_> = streams.iter_mut().map(|stream| ids(&stream.event().expect("a start"))).collect();
    let begun: Vec<_> = streams.iter_mut().map(|stream| text(&[stream.event().expect("words")])).collect();
    server.terminate();
    // Nobody takes new requests any more, and the model goes on.
    fake.release();
    let mut told = Vec::new();
    for (stream, begun) in streams.into_iter().zip(begun) {
        let rest = stream.events();
        let last = rest.last().expect("an end");
        let code = last.data["problem"]["code"].as_str().unwrap_or_default().to_owned();
        told.push((last.name.clone(), code, begun + &text(&rest)));
    }
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "no connection was cut at the deadline: {log}");

    let next = Program::start(directory.path(), &[]);
    let mut finished = 0;
    for ((conversation, _), (name, code, text)) in started.iter().zip(&told) {
        let kept = get(next.address, &format!("/v1/conversations/{conversation}")).json();
        let [asked, reply] = &kept["messages"].as_array().unwrap()[..] else { panic!("{kept}") };
        assert_eq!(asked["text"], UNANSWERED);
        assert_eq!(reply["text"].as_str(), Some(text.as_str()), "what was read is what is kept");
        match name.as_str() {
            "done" => {
                finished += 1;
                assert_eq!((text.as_str(), &reply["status"]), ("By e-mail or by post.", &json!("complete")));
            }
            _ => {
                assert_eq!((name.as_str(), code.as_str()), ("error", "draining"));
                assert_eq!((text.as_str(), &reply["status"]), ("Perhaps, but", &json!("failed")));
                assert_eq!(reply["failure"], "draining");
            }
        }
    }
    assert_eq!(finished, 100);
}

#[test]
fn a_crash_under_load_loses_no_acknowledged_message() {
    let directory = tempfile::tempdir().unwrap();
    let server = Program::start(directory.path(), &[]);
    let address = server.address;
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for writer in 0..6 {
            let acknowledged = &acknowledged;
            scope.spawn(move || {
                let mut conversation = Value::Null;
                for number in 0.. {
                    let message = format!("message {number} of {writer}");
                    let body = json!({"message": message, "conversation_id": conversation}).to_string();
                    let headers = [("content-type", "application/json")];
                    let answer = send(address, "POST", "/v1/chat", &headers, body.as_bytes());
                    let Some(reply) = answer.ok().filter(|answer| answer.status == 200).and_then(Response::try_json)
                    else {
                        return;
                    };
                    conversation = reply["conversation_id"].clone();
                    acknowledged.lock().unwrap().push((conversation.clone(), message, reply["message_id"].clone()));
                }
            });
        }
        while acknowledged.lock().unwrap().len() < 150 {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.kill();
    });
    let next = Program::start(directory.path(), &[]);
    for (conversation, message, reply) in acknowledged.into_inner().unwrap() {
        let mut cursor = String::from("0");
        let mut found = Vec::new();
        loop {
            let path =
                format!("/v1/conversations/{}/messages?limit=200&cursor={cursor}", conversation.as_str().unwrap());
            let page = get(next.address, &path).json();
            found.extend(page["messages"].as_array().unwrap().clone());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert!(found.iter().any(|kept| kept["text"] == message), "{message} is lost");
        assert!(found.iter().any(|kept| kept["id"] == reply), "the reply to {message} is lost");
    }
}

#[test]
fn a_stream_is_resumed_where_it_was_lost() {
    let directory = tempfile::tempdir().unwrap();
    let server = Program::start(directory.path(), &[("STREAM_DELTA_DELAY_MS", "20")]);
    let mut stream = post(server.address, &json!({"message": "How do I reset my password?", "stream": true}), &[]);
    let first: Vec<Event> = (0..4).map(|_| stream.event().expect("an event")).collect();
    let (conversation, message) = ids(&first[0]);
    drop(stream);

    let other = Program::start(directory.path(), &[]);
    for address in [server.address, other.address] {
        let rest = events(address, &conversation, &message, 4).events();
        let numbers: Vec<u64> = first.iter().chain(&rest).map(|event| event.id).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        let kept = get(address, &format!("/v1/conversations/{conversation}")).json();
        assert_eq!(format!("{}{}", text(&first), text(&rest)), kept["messages"][1]["text"].as_str().unwrap());
        let last = rest.last().unwrap();
        assert_eq!(last.name, "done");
        assert_eq!(events(address, &conversation, &message, last.id).status, 204, "there is nothing more");
    }
    assert_eq!(events(server.address, &conversation, "msg_unknown", 0).status, 404);
}

#[test]
fn a_reply_whose_process_crashed_becomes_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let (_fake, server) = hanging(&directory, "Perhaps, but");
    let mut stream = post(server.address, &json!({"message": UNANSWERED, "stream": true}), &[]);
    let (conversation, message) = ids(&stream.event().unwrap());
    assert_eq!(stream.event().unwrap().data["text"], "Perhaps,");
    server.kill();

    let next = Program::start(directory.path(), &[]);
    let rest = events(next.address, &conversation, &message, 2).events();
    let last = rest.last().expect("an end");
    assert_eq!((last.name.as_str(), &last.data["problem"]["code"]), ("error", &json!("reply_interrupted")));
    let kept = get(next.address, &format!("/v1/conversations/{conversation}")).json();
    assert_eq!((&kept["messages"][0]["text"], &kept["messages"][1]["status"]), (&json!(UNANSWERED), &json!("failed")));
    let again = json!({"message": "How do I reset my password?", "conversation_id": conversation});
    assert_eq!(post(next.address, &again, &[]).status, 200, "the conversation goes on");
}

#[test]
fn a_reply_is_followed_and_cancelled_through_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let (_fake, server) = hanging(&directory, "Perhaps, but not today");
    let other = Program::start(directory.path(), &[]);
    let mut stream = post(server.address, &json!({"message": UNANSWERED, "stream": true}), &[]);
    let (conversation, message) = ids(&stream.event().unwrap());
    let busy = post(other.address, &json!({"message": "Hello", "conversation_id": conversation}), &[]);
    assert_eq!((busy.status, &busy.json()["code"]), (409, &json!("reply_in_progress")));
    let path = format!("/v1/conversations/{conversation}/messages/{message}/cancel");
    let cancelled = send(other.address, "POST", &path, &[("content-type", "application/json")], b"{}").unwrap();
    assert_eq!(cancelled.status, 202);
    let last = stream.events().pop().expect("an end");
    assert_eq!((last.name.as_str(), &last.data["finish_reason"]), ("done", &json!("cancelled")));
    let kept = get(server.address, &format!("/v1/conversations/{conversation}/messages")).json();
    assert_eq!(kept["messages"][1]["status"], "cancelled");
}

#[test]
fn a_request_sent_twice_is_done_once() {
    let tenants = Tenants::new(&["acme", "other"]);
    let (blue, green) = (tenants.start(&[]), tenants.start(&[]));
    let (acme, key) = (tenants.key("acme"), ("idempotency-key", "order-7"));
    let question = json!({"message": "How do I reset my password?"});
    let first = post(blue.address, &question, &[acme, key]);
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    let first = first.json();
    let second = post(green.address, &question, &[acme, key]);
    assert_eq!((second.status, second.header("idempotency-replayed")), (200, Some("true")));
    assert_eq!(second.json(), first, "the same reply, from another process");
    let stream = post(blue.address, &question, &[acme, key, ("accept", "text/event-stream")]).events();
    assert_eq!(text(&stream), first["answer"].as_str().unwrap(), "and as a stream");

    // As OpenAI's clients send it: the key is for this request too, and its repetition gets the same completion.
    let completion = |server: &Program, question: &str, stream: bool| {
        let body = json!({"model": "smartbot", "messages": [{"role": "user", "content": question}], "stream": stream});
        let headers = [("content-type", "application/json"), acme, ("idempotency-key", "order-9")];
        send(server.address, "POST", "/v1/chat/completions", &headers, body.to_string().as_bytes()).unwrap()
    };
    let whole = completion(&blue, "How do I reset my password?", false).json();
    let again = completion(&green, "How do I reset my password?", false);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.json(), whole, "the same completion, from another process");
    let other = completion(&blue, "Hello", true);
    assert_eq!((other.status, &other.json()["error"]["code"]), (422, &json!("idempotency_mismatch")));

    let path = format!("/v1/conversations/{}", first["conversation_id"].as_str().unwrap());
    let kept = send(blue.address, "GET", &path, &[acme], b"").unwrap().json();
    assert_eq!(kept["messages"].as_array().map(Vec::len), Some(2), "asked once");

    let mismatch = post(blue.address, &json!({"message": "Hello"}), &[acme, key]);
    assert_eq!((mismatch.status, &mismatch.json()["code"]), (422, &json!("idempotency_mismatch")));
    let others = post(blue.address, &json!({"message": "Hello"}), &[tenants.key("other"), key]);
    assert_eq!((others.status, others.header("idempotency-replayed")), (200, None), "keys are apart by tenant");
    let refused = post(blue.address, &json!({"message": " "}), &[acme, ("idempotency-key", "order-8")]);
    assert_eq!(refused.status, 422);
    assert_eq!(post(blue.address, &question, &[acme, ("idempotency-key", "order-8")]).status, 200, "nothing was done");
}
