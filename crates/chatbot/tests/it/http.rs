//! The HTTP interface: answers, streams, refusals.

use serde_json::json;

use crate::client::{ask, get, post, send};
use crate::program::Program;
use crate::tenants::Tenants;

fn server() -> (tempfile::TempDir, Program) {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Program::start(directory.path(), &[("SMARTBOT_COMMIT", "abc1234"), ("ENVIRONMENT", "test")]);
    (directory, program)
}

#[test]
fn a_question_is_answered_in_json() {
    let (_directory, server) = server();
    let response =
        post(server.address, &json!({"message": "パスワードを忘れてしまいました"}), &[("x-request-id", "r-1")]);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-smartbot-commit"), Some("abc1234"));
    assert_eq!(response.header("x-request-id"), Some("r-1"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    let reply = response.json();
    assert_eq!(reply["schema"], 1);
    assert_eq!(reply["outcome"], "answer");
    assert_eq!(reply["language"], "ja");
    assert_eq!(reply["source"], "faq");
    assert_eq!(reply["finish_reason"], "stop");
    assert_eq!(reply["citations"][0]["id"], "password-reset");
    assert!(reply["answer"].as_str().unwrap().contains("30分"));
    assert_eq!(reply["usage"]["input_characters"], 15);

    let alias = send(
        server.address,
        "POST",
        "/chat",
        &[("content-type", "application/json; charset=utf-8")],
        br#"{"message":"I forgot my password"}"#,
    );
    assert_eq!(alias.unwrap().json()["citations"][0]["id"], "password-reset");

    let (status, unknown) = ask(server.address, &json!({"message": "What is the capital of France?"}));
    assert_eq!((status, &unknown["outcome"], &unknown["source"]), (200, &json!("handover"), &json!("handover")));
    assert_eq!(unknown["citations"], json!([]));
}

#[test]
fn the_locale_chooses_the_language_of_the_reply() {
    let (_directory, server) = server();
    let reply = |message: &str, locale: &str| ask(server.address, &json!({"message": message, "locale": locale})).1;
    let english = reply("パスワードを忘れてしまいました", "en-GB");
    assert_eq!((&english["language"], &english["citations"][0]["id"]), (&json!("en"), &json!("password-reset")));
    assert!(english["citations"][0]["title"].as_str().unwrap().is_ascii(), "{english}");
    assert_eq!(reply("I forgot my password", "ja")["language"], "ja");
    assert_eq!(reply("I forgot my password", "fr")["language"], "en", "not spoken here: the message's");
    let nothing = reply("富士山の高さを教えて", "en");
    assert_eq!((&nothing["outcome"], &nothing["language"]), (&json!("handover"), &json!("en")));
    assert!(nothing["answer"].as_str().unwrap().is_ascii());
}

#[test]
fn suggestions_are_questions_to_ask_instead() {
    let (_directory, server) = server();
    let question = json!({"message": "Is there a way to forget my password and pay the invoice?"});
    let (_, reply) = ask(server.address, &question);
    assert_eq!(reply["outcome"], "did_you_mean", "{reply}");
    let suggestions: Vec<&str> = reply["suggestions"].as_array().unwrap().iter().filter_map(|s| s.as_str()).collect();
    assert!((1..=3).contains(&suggestions.len()), "{reply}");
    let titles: Vec<_> = reply["citations"].as_array().unwrap().iter().map(|citation| &citation["title"]).collect();
    assert_eq!(titles, suggestions);
    assert_eq!(ask(server.address, &json!({"message": suggestions[0]})).1["outcome"], "answer");

    let events = post(server.address, &question, &[("accept", "text/event-stream")]).events();
    assert_eq!(events.last().unwrap().data["suggestions"], reply["suggestions"]);
    let id = reply["conversation_id"].as_str().unwrap();
    let kept = get(server.address, &format!("/v1/conversations/{id}/messages")).json();
    assert_eq!(kept["messages"][1]["suggestions"], reply["suggestions"]);
    let (_, answered) = ask(server.address, &json!({"message": "I forgot my password"}));
    assert_eq!(answered["suggestions"], json!([]));
}

#[test]
fn a_stream_has_all_events_in_order() {
    let (_directory, server) = server();
    for (body, accept) in [
        (json!({"message": "How do I reset my password?"}), "text/html, text/event-stream;q=0.9"),
        (json!({"message": "How do I reset my password?", "stream": true}), "*/*"),
    ] {
        let response = post(server.address, &body, &[("accept", accept)]);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        assert_eq!(response.header("x-accel-buffering"), Some("no"));
        let events = response.events();
        let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
        assert_eq!(ids, (1..=events.len() as u64).collect::<Vec<_>>());
        let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names[0], "start");
        assert_eq!(names[names.len() - 2..], ["citations", "done"]);
        assert!(names[1..names.len() - 2].iter().all(|name| *name == "delta") && names.len() > 4);

        let text: String = events.iter().filter_map(|event| event.data["text"].as_str()).collect();
        let (_, whole) = ask(server.address, &json!({"message": "How do I reset my password?"}));
        assert_eq!(text, whole["answer"].as_str().unwrap());
        let done = &events.last().unwrap().data;
        assert_eq!((&done["finish_reason"], &done["source"]), (&json!("stop"), &json!("faq")));
        assert!(done["usage"]["output_characters"].as_u64().unwrap() > 0);
        assert!(events[0].data["conversation_id"].is_string() && events[0].data["message_id"].is_string());
    }
    let body = json!({"message": "hello", "stream": false});
    let refused = post(server.address, &body, &[("accept", "text/event-stream")]);
    assert_eq!(refused.header("content-type"), Some("application/json"), "the body decides");
}

#[test]
fn a_conversation_remembers_and_is_private_to_its_tenant() {
    let tenants = Tenants::new(&["acme", "other"]);
    let server = tenants.start(&[]);
    let (acme, other) = (tenants.key("acme"), tenants.key("other"));
    let first = post(server.address, &json!({"message": "プランをダウングレードしたい"}), &[acme]).json();
    let id = first["conversation_id"].as_str().unwrap();
    let follow_up = json!({"message": "いつから有効になる？", "conversation_id": id});
    assert_eq!(post(server.address, &follow_up, &[acme]).json()["citations"][0]["id"], "change-plan");
    let alone = post(server.address, &json!({"message": "いつから有効になる？"}), &[acme]).json();
    assert_ne!(alone["outcome"], "answer");

    let path = format!("/v1/conversations/{id}");
    let history = send(server.address, "GET", &path, &[acme], b"").unwrap().json();
    let roles: Vec<_> = history["messages"].as_array().unwrap().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);

    assert_eq!(send(server.address, "GET", &path, &[other], b"").unwrap().status, 404);
    let unknown = get(server.address, &path);
    assert_eq!((unknown.status, unknown.header("www-authenticate")), (401, Some("Bearer")));
    let refused = post(server.address, &follow_up, &[other]);
    assert_eq!((refused.status, &refused.json()["code"]), (404, &json!("conversation_not_found")));
}

/// Method, path, headers, body; expected status and code.
type Refusal<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, &'a [u8], u16, &'a str);

#[test]
fn what_cannot_be_accepted_is_explained() {
    let (_directory, server) = server();
    let json_type = ("content-type", "application/json");
    let long = json!({"message": "あ".repeat(4001)}).to_string();
    let longest = json!({"message": "あ".repeat(4000)}).to_string();
    let huge = vec![b' '; 70 * 1024];
    let cases: Vec<Refusal<'_>> = vec![
        ("POST", "/v1/chat", vec![json_type], b"{", 400, "invalid_json"),
        ("POST", "/v1/chat", vec![json_type], b"\xff", 400, "invalid_json"),
        ("POST", "/v1/chat", vec![json_type], b"[]", 422, "invalid_request"),
        ("POST", "/v1/chat", vec![json_type], b"{}", 422, "invalid_request"),
        (
            "POST",
            "/v1/chat",
            vec![json_type],
            b"{\"message\":\"private words\",\"stream\":\"private words\"}",
            422,
            "invalid_request",
        ),
        ("POST", "/v1/chat", vec![json_type], b"{\"message\":\" \"}", 422, "message_empty"),
        ("POST", "/v1/chat", vec![json_type], long.as_bytes(), 422, "message_too_long"),
        (
            "POST",
            "/v1/chat",
            vec![json_type],
            b"{\"message\":\"x\",\"conversation_id\":\"../x\"}",
            422,
            "invalid_conversation_id",
        ),
        ("POST", "/v1/chat", vec![json_type], &huge, 413, "body_too_large"),
        ("POST", "/v1/chat", vec![], b"{}", 415, "unsupported_media_type"),
        ("POST", "/v1/chat", vec![("content-type", "text/plain")], b"{}", 415, "unsupported_media_type"),
        ("GET", "/v1/chat", vec![], b"", 405, "method_not_allowed"),
        ("GET", "/nothing", vec![], b"", 404, "not_found"),
        ("GET", "/v1/conversations/xyz", vec![], b"", 422, "invalid_conversation_id"),
    ];
    for (method, path, headers, body, status, code) in cases {
        let response = send(server.address, method, path, &headers, body).expect("an answer");
        assert_eq!(response.status, status, "{method} {path} {code}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{code}");
        assert_eq!(response.header("x-smartbot-commit"), Some("abc1234"), "{code}");
        if status == 405 {
            assert_eq!(response.header("allow"), Some("POST"));
        }
        let id = response.header("x-request-id").map(str::to_owned);
        let problem = response.json();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:smartbot:problem:{code}"));
        assert_eq!(problem["request_id"].as_str(), id.as_deref());
        assert!(!problem.to_string().contains("private words"));
    }
    let accepted = send(server.address, "POST", "/v1/chat", &[json_type], longest.as_bytes()).unwrap();
    assert_eq!(accepted.status, 200, "4,000 characters are allowed");
}

#[test]
fn operators_see_probes_version_and_metrics() {
    let (_directory, server) = server();
    assert_eq!(get(server.address, "/health").json(), json!({"status": "ok"}));
    assert_eq!(get(server.address, "/ready").json(), json!({"status": "ready"}));
    assert_eq!(
        get(server.address, "/version").json(),
        json!({
            "schema": 1,
            "name": "smartbot",
            "version": env!("CARGO_PKG_VERSION"),
            "commit": "abc1234",
            "commit_time": null,
            "image_digest": null,
            "environment": "test",
        })
    );
    ask(server.address, &json!({"message": "How do I reset my password?"}));
    get(server.address, "/no/such/path");
    get(server.address, "/v1/chat");
    let response = get(server.address, "/metrics");
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = response.text();
    for line in [
        "http_requests_total{route=\"/v1/chat\",method=\"POST\",status=\"200\"} 1",
        "http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"} 1",
        "http_requests_total{route=\"/v1/chat\",method=\"GET\",status=\"405\"} 1",
        "http_request_duration_seconds_count{route=\"/v1/chat\"} 2",
        "smartbot_replies_total{outcome=\"answer\",language=\"en\"} 1",
        "smartbot_ready 1",
        "smartbot_build_info{version=\"0.1.0\",commit=\"abc1234\",environment=\"test\"} 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
    }
}

#[test]
fn beyond_the_connection_limit_only_probes_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("MAX_CONNECTIONS", "1"), ("STREAM_DELTA_DELAY_MS", "100")];
    let server = Program::start(directory.path(), &variables);
    let mut stream = post(server.address, &json!({"message": "Hello", "stream": true}), &[]);
    stream.event().expect("the only regular connection is taken");
    let refused = post(server.address, &json!({"message": "Hello"}), &[]);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(get(server.address, "/health").status, 200);
    assert_eq!(stream.events().last().unwrap().name, "done");
}
