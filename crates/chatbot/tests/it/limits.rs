//! Too much, too fast, too slow: each gets its documented answer, and the others are served.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{get, post, send};
use crate::program::Program;
use crate::tenants::Tenants;

#[test]
fn a_tenant_that_is_too_fast_is_told_when_to_come_back() {
    let tenants = Tenants::with(&["acme", "other"], |_, tenant| {
        tenant["limits"] = json!({"requests_per_second": 1, "burst": 3, "user_messages_per_minute": 2});
    });
    let server = tenants.start(&[]);
    let (acme, question) = (tenants.key("acme"), json!({"message": "Hello"}));
    let origin = ("origin", "https://acme.example");
    let first = post(server.address, &question, &[acme, origin]);
    assert_eq!((first.status, first.header("ratelimit-policy")), (200, Some("\"requests\";q=3;w=3")));
    assert!(first.header("ratelimit").unwrap().starts_with("\"requests\";r=2;t="));
    let refused = (0..5).map(|_| post(server.address, &question, &[acme, origin])).find(|answer| answer.status != 200);
    let refused = refused.expect("five more are too many");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://acme.example"), "a page can read why");
    assert!(refused.header("access-control-expose-headers").unwrap().contains("retry-after"));
    assert_eq!(refused.json()["code"], "rate_limited");

    let (other, ann, bob) = (tenants.key("other"), ("x-end-user", "ann"), ("x-end-user", "bob"));
    let status = |user| post(server.address, &question, &[other, user]).status;
    assert_eq!([status(ann), status(ann)], [200, 200]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!([status(ann), status(bob)], [429, 200], "one person's limit is not another's");
}

#[test]
fn beyond_the_request_limit_only_probes_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let server = Program::start(directory.path(), &[("MAX_REQUESTS", "1")]);
    // Its body does not come, so it stays in flight.
    let mut slow = TcpStream::connect(server.address).unwrap();
    write!(slow, "POST /v1/chat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{{")
        .unwrap();
    let since = Instant::now();
    let refused = loop {
        let answer = post(server.address, &json!({"message": "Hello"}), &[]);
        if answer.status != 200 || since.elapsed() > Duration::from_secs(5) {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["code"], "overloaded");
    assert_eq!([get(server.address, "/health").status, get(server.address, "/ready").status], [200, 200]);

    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap_or_default();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
    assert_eq!(post(server.address, &json!({"message": "Hello"}), &[]).status, 200, "room again");
}

#[test]
fn a_head_that_never_ends_is_cut_off_and_one_too_large_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = Program::start(directory.path(), &[("IDLE_SECONDS", "1")]);
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    slow.write_all(b"POST /v1/chat HTTP/1.1\r\nhost: x\r\nx-slow: ").unwrap();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).expect("it is closed, not left open");
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));

    // It answers and closes before it has read everything: the rest cannot be sent any more.
    let mut huge = TcpStream::connect(server.address).unwrap();
    huge.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = huge.write_all(format!("GET /health HTTP/1.1\r\nhost: x\r\nx-huge: {}", "x".repeat(300 * 1024)).as_bytes());
    let mut refused = [0; 12];
    huge.read_exact(&mut refused).expect("an answer");
    assert_eq!(&refused, b"HTTP/1.1 431");
    assert_eq!(get(server.address, "/health").status, 200);
}

#[test]
fn a_browser_may_ask_from_a_tenants_pages_only() {
    let tenants = Tenants::new(&["acme"]);
    let server = tenants.start(&[]);
    let preflight = |origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        send(server.address, "OPTIONS", "/v1/chat", &headers, b"").expect("an answer")
    };
    let known = preflight("https://acme.example");
    assert_eq!((known.status, known.header("access-control-allow-origin")), (204, Some("https://acme.example")));
    assert!(known.header("access-control-allow-headers").unwrap().contains("last-event-id"));
    for origin in ["https://evil.example", "null", "https://acme.example.evil.example", "http://acme.example"] {
        assert_eq!(preflight(origin).header("access-control-allow-origin"), None, "{origin}");
    }
}
