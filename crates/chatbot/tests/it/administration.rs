//! Tenants, keys and knowledge, changed while the service runs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Response, post, send};
use crate::tenants::{Tenants, sha256};

const OPERATOR: (&str, &str) = ("authorization", "Bearer the-operator");
const JSON: (&str, &str) = ("content-type", "application/json");

fn call(address: SocketAddr, method: &str, path: &str, key: (&str, &str), body: &Value) -> Response {
    send(address, method, path, &[JSON, key], body.to_string().as_bytes()).expect("an answer")
}

#[test]
fn a_tenant_is_added_and_served_by_every_process_and_removed() {
    let tenants = Tenants::new(&["acme"]);
    let operator = sha256("the-operator");
    let variables = [("OPERATOR_KEY_SHA256", operator.as_str())];
    let (blue, green) = (tenants.start(&variables), tenants.start(&variables));
    let new =
        json!({"name": "New Ltd", "allowed_origins": ["https://new.example"], "handoff_url": "https://hook.example/"});
    let made = call(blue.address, "PUT", "/v1/tenants/new", OPERATOR, &new);
    assert_eq!(made.status, 201);
    let made = made.json();
    assert!(made["handoff_secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(call(blue.address, "PUT", "/v1/tenants/new", OPERATOR, &new).json()["handoff_secret"], Value::Null);

    let key = json!({"name": "first", "kind": "secret", "scopes": ["chat", "keys"]});
    let key = call(blue.address, "POST", "/v1/tenants/new/keys", OPERATOR, &key).json();
    let secret = format!("Bearer {}", key["secret"].as_str().unwrap());
    let secret = ("authorization", secret.as_str());
    assert_eq!(post(blue.address, &json!({"message": "Hello"}), &[secret]).status, 200);
    let kept = std::fs::read_to_string(tenants.file()).unwrap();
    assert!(!kept.contains(key["secret"].as_str().unwrap()), "only its hash is kept");
    let since = Instant::now();
    while post(green.address, &json!({"message": "Hello"}), &[secret]).status != 200 {
        assert!(since.elapsed() < Duration::from_secs(10), "the other process does not take it up");
        std::thread::sleep(Duration::from_millis(100));
    }

    let more = json!({"name": "more", "kind": "secret", "scopes": ["knowledge"]});
    assert_eq!(call(blue.address, "POST", "/v1/keys", secret, &more).status, 403, "more than it has itself");
    let old = key["id"].as_str().unwrap();
    let rotated =
        call(blue.address, "POST", &format!("/v1/keys/{old}/rotate"), secret, &json!({"grace_seconds": 0})).json();
    assert_eq!(post(blue.address, &json!({"message": "Hello"}), &[secret]).status, 401, "no grace was asked for");
    let next = format!("Bearer {}", rotated["secret"].as_str().unwrap());
    let next = ("authorization", next.as_str());
    let keys = call(blue.address, "GET", "/v1/keys", next, &json!({})).json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    assert!(!keys.to_string().contains("sha256"));

    for (wrong, code) in [
        (json!({"name": "x", "thresholds": {"answer": 0.2, "suggest": 0.5}}), "tenant_invalid"),
        (json!({"name": "x", "handoff_url": "http://elsewhere.example"}), "tenant_invalid"),
        (json!({"name": "x", "allowed_origins": ["https://x.example/path"]}), "invalid_request"),
        (json!({"name": "x", "surprise": 1}), "invalid_request"),
    ] {
        let refused = call(blue.address, "PUT", "/v1/tenants/new", OPERATOR, &wrong);
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!(code)), "{wrong}");
    }
    assert_eq!(call(blue.address, "DELETE", "/v1/tenants/new", OPERATOR, &json!({})).status, 204);
    assert_eq!(post(blue.address, &json!({"message": "Hello"}), &[next]).status, 401);
    assert_eq!(post(blue.address, &json!({"message": "Hello"}), &[tenants.key("acme")]).status, 200);
}

#[test]
fn a_broken_tenants_file_changes_nothing() {
    let tenants = Tenants::new(&["acme"]);
    let server = tenants.start(&[]);
    std::fs::write(tenants.file(), "{").unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(post(server.address, &json!({"message": "Hello"}), &[tenants.key("acme")]).status, 200);
    server.terminate();
    assert!(server.wait().1.contains("cannot be taken up"));
}

#[test]
fn knowledge_is_tried_replaced_and_put_back() {
    let tenants = Tenants::new(&["acme"]);
    let server = tenants.start(&[]);
    let acme = tenants.key("acme");
    let ask = |message: &str| post(server.address, &json!({"message": message}), &[acme]).json();
    let before = ask("What colour is the sky?");
    assert_ne!(before["outcome"], "answer");

    let csv = "id,language,question,answer\nsky,en,What colour is the sky?,Blue.\n";
    let put = |path: &str, kind: &str, body: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("content-type", kind), acme];
        headers.extend(more);
        send(server.address, "PUT", path, &headers, body.as_bytes()).expect("an answer")
    };
    let tried = put("/v1/knowledge?dry_run=true", "text/csv", csv, &[]).json();
    assert_eq!(
        (&tried["version"], &tried["dry_run"], &tried["diff"]["added"]),
        (&json!(0), &json!(true), &json!(["sky"]))
    );
    assert_ne!(ask("What colour is the sky?")["outcome"], "answer", "nothing changed");

    let done = put("/v1/knowledge", "text/csv", csv, &[("if-match", "\"0\"")]);
    assert_eq!((done.status, done.header("etag")), (200, Some("\"1\"")));
    assert_eq!(ask("What colour is the sky?")["answer"], "Blue.");
    assert_eq!(put("/v1/knowledge", "text/csv", csv, &[("if-match", "\"0\"")]).status, 412);
    let search = call(server.address, "POST", "/v1/knowledge/search", acme, &json!({"query": "sky"})).json();
    assert_eq!((&search["results"][0]["id"], &search["results"][0]["answer"]), (&json!("sky"), &json!("Blue.")));

    let wrong =
        put("/v1/knowledge", "application/json", r#"{"schema": 1, "name": "x", "entries": [{"id": "a"}]}"#, &[]);
    assert_eq!(wrong.status, 422);
    let wrong = wrong.json();
    assert_eq!(wrong["code"], "knowledge_invalid");
    assert!(wrong["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{wrong}");
    assert_eq!(put("/v1/knowledge", "image/png", "x", &[]).status, 415);
    assert_eq!(put("/v1/knowledge", "text/csv", &"x".repeat(2 * 1024 * 1024 + 1), &[]).status, 413);

    let versions = call(server.address, "GET", "/v1/knowledge/versions", acme, &json!({})).json();
    assert_eq!((&versions["current"], &versions["versions"][0]["version"]), (&json!(1), &json!(1)));
    let back = call(server.address, "POST", "/v1/knowledge/versions/0/activate", acme, &json!({}));
    assert_eq!(back.status, 200);
    assert_ne!(ask("What colour is the sky?")["outcome"], "answer");
    assert_eq!(call(server.address, "POST", "/v1/knowledge/versions/7/activate", acme, &json!({})).status, 404);
}

#[test]
fn usage_is_counted_and_what_was_not_answered_is_shown_masked() {
    let tenants = Tenants::with(&["acme"], |_, tenant| tenant["limits"] = json!({"messages_per_month": 3}));
    let server = tenants.start(&[]);
    let acme = tenants.key("acme");
    let ask = |message: &str| post(server.address, &json!({"message": message}), &[acme]);
    assert_eq!(ask("I forgot my password").status, 200);
    for _ in 0..2 {
        assert_eq!(ask("zebra crossing 090-1234-5678 giraffe?").status, 200);
    }
    let over = ask("Hello");
    assert_eq!((over.status, over.header("retry-after").is_some()), (429, true));
    assert_eq!(over.json()["code"], "monthly_limit_reached");

    let get = |path: &str| send(server.address, "GET", path, &[acme], b"").unwrap().json();
    let usage = get("/v1/usage");
    assert_eq!((&usage["used"]["messages"], &usage["messages_left"]), (&json!(3), &json!(0)));
    assert_eq!(get("/v1/analytics")["total"]["answered"], 1);
    let unanswered = get("/v1/analytics/unanswered");
    assert_eq!(unanswered["questions"][0]["question"], "zebra crossing [phone] giraffe?");
    assert_eq!(unanswered["questions"][0]["count"], 2);
    assert_eq!(get("/v1/usage?month=2020-01")["used"]["messages"], 0);
    assert_eq!(get("/v1/usage?month=never")["code"], "invalid_query");

    server.terminate();
    assert!(server.wait().0.success());
    let server = tenants.start(&[]);
    assert_eq!(post(server.address, &json!({"message": "Hello"}), &[acme]).status, 429, "the cap outlives the process");
}
