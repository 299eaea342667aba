//! The program as a process: restart, sharing, drain, health check, configuration, logs.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{ask, get, post};
use crate::program::{Program, run, stderr};

#[test]
fn a_conversation_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = Program::start(directory.path(), &[]);
    let (_, asked) = ask(first.address, &json!({"message": "プランをダウングレードしたい"}));
    first.kill();

    let second = Program::start(directory.path(), &[]);
    let id = &asked["conversation_id"];
    let (status, reply) = ask(second.address, &json!({"message": "いつから有効になる？", "conversation_id": id}));
    assert_eq!(status, 200);
    assert_eq!(reply["citations"][0]["id"], "change-plan", "the question before the restart is remembered");
}

#[test]
fn two_processes_share_the_conversations() {
    let directory = tempfile::tempdir().unwrap();
    let (blue, green) = (Program::start(directory.path(), &[]), Program::start(directory.path(), &[]));
    let (_, asked) = ask(blue.address, &json!({"message": "hello"}));
    let id = asked["conversation_id"].as_str().unwrap();
    let question = json!({"message": "hello", "conversation_id": id});
    std::thread::scope(|scope| {
        for server in [&blue, &green, &blue, &green] {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(ask(server.address, &question).0, 200);
                }
            });
        }
    });
    for server in [&blue, &green] {
        let history = get(server.address, &format!("/v1/conversations/{id}")).json();
        let numbers: Vec<u64> =
            history["messages"].as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=82).collect::<Vec<_>>());
    }
}

#[test]
fn a_drain_finishes_what_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("DRAIN_DELAY_SECONDS", "2"), ("STREAM_DELTA_DELAY_MS", "250")];
    let server = Program::start(directory.path(), &variables);
    let address = server.address;
    let mut stream = post(address, &json!({"message": "How do I reset my password?", "stream": true}), &[]);
    assert_eq!(stream.event().unwrap().name, "start");

    server.terminate();
    let since = Instant::now();
    while get(address, "/ready").status != 503 {
        assert!(since.elapsed() < Duration::from_millis(1800), "not ready at once");
    }
    let health = get(address, "/health");
    assert_eq!((health.status, health.header("connection")), (200, Some("close")));
    assert_eq!(ask(address, &json!({"message": "hello"})).0, 200, "still serving");

    while TcpStream::connect(address).is_ok() {
        assert!(since.elapsed() < Duration::from_secs(5), "still accepting");
        std::thread::sleep(Duration::from_millis(20));
    }
    let events = stream.events();
    assert!(since.elapsed() > Duration::from_secs(2), "the stream outlived the listener");
    assert_eq!(events.last().unwrap().name, "done");
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("every reply was finished"));
}

#[test]
fn a_stream_beyond_the_deadline_is_finished_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("DRAIN_DEADLINE_SECONDS", "2"), ("STREAM_DELTA_DELAY_MS", "5000")];
    let server = Program::start(directory.path(), &variables);
    let mut stream = post(server.address, &json!({"message": "hello", "stream": true}), &[]);
    let id = stream.event().unwrap().data["conversation_id"].clone();
    server.terminate();
    let events = stream.events();
    assert_eq!(events.last().unwrap().name, "done", "the answer was there, only shown slowly");
    let text: String = events.iter().filter_map(|event| event.data["text"].as_str()).collect();
    assert_eq!(server.wait().0.code(), Some(0), "the stream ended properly");

    let next = Program::start(directory.path(), &[]);
    let history = get(next.address, &format!("/v1/conversations/{}", id.as_str().unwrap())).json();
    assert_eq!(history["messages"][1]["text"], text, "the whole answer is kept");
}

#[test]
fn the_health_check_tells_running_from_not() {
    let directory = tempfile::tempdir().unwrap();
    let server = Program::start(directory.path(), &[]);
    let listen = server.address.to_string();
    assert_eq!(run(&["--healthcheck"], &[("LISTEN", &listen)]).status.code(), Some(0));
    let everywhere = format!("0.0.0.0:{}", server.address.port());
    assert_eq!(run(&["--healthcheck"], &[("LISTEN", &everywhere)]).status.code(), Some(0));
    server.kill();
    let output = run(&["--healthcheck"], &[("LISTEN", &listen)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("hint:"));
}

#[test]
fn every_configuration_mistake_is_reported_with_exit_64() {
    let output = run(&[], &[("LISTEN", "nowhere"), ("WORKER_THREADS", "many"), ("STREAM_DELTA_DELAY_MS", "-1")]);
    assert_eq!(output.status.code(), Some(64));
    let text = stderr(&output);
    for name in ["LISTEN", "WORKER_THREADS", "STREAM_DELTA_DELAY_MS"] {
        assert!(text.contains(name), "{name} in {text}");
    }

    let output =
        run(&[], &[("LISTEN", "127.0.0.1:0"), ("CONVERSATIONS_DIR", "/proc/none"), ("KNOWLEDGE_FILE", "/none.yaml")]);
    assert_eq!(output.status.code(), Some(64));
    let text = stderr(&output);
    assert!(text.contains("CONVERSATIONS_DIR") && text.contains("KNOWLEDGE_FILE"), "{text}");

    assert_eq!(run(&["--nonsense"], &[]).status.code(), Some(2));
    assert_eq!(run(&["--help"], &[]).status.code(), Some(0));
}

#[test]
fn another_knowledge_file_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("faq.json");
    let knowledge = json!({
        "schema": 1,
        "name": "test",
        "replies": {
            "ja": {"did_you_mean": "?", "handover": "-"},
            "en": {"did_you_mean": "?", "handover": "-"},
        },
        "entries": [{"id": "colour", "en": {"question": "What colour is the sky?", "answer": "Blue."}}],
    });
    std::fs::write(&file, knowledge.to_string()).unwrap();
    let server = Program::start(&directory.path().join("c"), &[("KNOWLEDGE_FILE", file.to_str().unwrap())]);
    assert_eq!(ask(server.address, &json!({"message": "sky colour"})).1["answer"], "Blue.");
}

#[test]
fn the_log_has_requests_but_not_what_people_write() {
    let directory = tempfile::tempdir().unwrap();
    let server = Program::start(directory.path(), &[("LOG_LEVEL", "trace")]);
    let secret = "my secret word is xyzzyplugh";
    let headers = [("x-request-id", "find-me")];
    assert_eq!(post(server.address, &json!({"message": secret}), &headers).status, 200);
    assert_eq!(
        post(server.address, &json!({"message": secret, "stream": true}), &headers).events().last().unwrap().name,
        "done"
    );
    get(server.address, "/xyzzyplugh?q=xyzzyplugh");
    server.terminate();
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert!(!log.contains("xyzzy"), "{log}");
    let entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let request = entries.iter().find(|entry| entry["request_id"] == "find-me").expect("an access log line");
    assert_eq!(
        (&request["route"], &request["status"], &request["method"]),
        (&json!("/v1/chat"), &json!(200), &json!("POST"))
    );
    assert!(request["latency_ms"].as_f64().unwrap() > 0.0);
}
