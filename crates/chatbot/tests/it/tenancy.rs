//! No tenant sees or changes anything of another: every route is tried, whichever there are.

use std::net::SocketAddr;

use chatbot::access::Access;
use chatbot::router::{Route, routes};
use serde_json::{Value, json};

use crate::client::{post, send};
use crate::program::Program;
use crate::tenants::{SCOPES, Tenants, sha256};

const OPERATOR: (&str, &str) = ("authorization", "Bearer the-operator");
const JSON: (&str, &str) = ("content-type", "application/json");
/// In everything of the tenant `acme` that others must not see.
const MARK: &str = "acme-private";

/// A valid body for a route.
fn body(route: &Route) -> Value {
    match (route.method.as_str(), route.path) {
        ("GET" | "DELETE", _) => Value::Null,
        (_, "/v1/chat" | "/chat") => json!({"message": "Hello"}),
        (_, "/v1/chat/completions") => {
            json!({"model": "smartbot", "messages": [{"role": "user", "content": "Hello"}]})
        }
        (_, "/v1/conversations/{id}/messages/{message_id}/feedback") => json!({"rating": "up"}),
        (_, "/v1/conversations/{id}/messages/{message_id}/cancel") => json!({}),
        (_, "/v1/conversations/{id}/handoff") => json!({"reason": "please"}),
        (_, "/v1/conversations/{id}/replies") => json!({"text": "I am an agent"}),
        (_, "/v1/conversations/{id}/state") => json!({"state": "closed"}),
        (_, "/v1/knowledge") => knowledge("theirs"),
        (_, "/v1/knowledge/search") => json!({"query": MARK}),
        (_, "/v1/knowledge/versions/{version}/activate") => json!({}),
        (_, "/v1/keys" | "/v1/tenants/{tenant_id}/keys") => json!({"name": "k", "kind": "secret", "scopes": ["chat"]}),
        (_, "/v1/keys/{key_id}/rotate") => json!({}),
        (_, "/v1/tenants/{tenant_id}") => json!({"name": "taken over"}),
        (_, "/v1/widget/sessions") => json!({"key": "sb_pub_other"}),
        (method, path) => panic!("say what to send to {method} {path}"),
    }
}

fn knowledge(word: &str) -> Value {
    json!({
        "schema": 1,
        "name": word,
        "entries": [{"id": word, "en": {"question": format!("What is {word}?"), "answer": format!("It is {word}.")}}],
    })
}

/// What exists of a tenant.
struct Things {
    conversation: String,
    message: String,
    key: String,
}

impl Things {
    fn path(&self, route: &Route) -> String {
        route
            .path
            .replace("{id}", &self.conversation)
            .replace("{message_id}", &self.message)
            .replace("{key_id}", &self.key)
            .replace("{tenant_id}", "acme")
            .replace("{version}", "1")
    }
}

fn call(address: SocketAddr, route: &Route, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut all = vec![JSON];
    all.extend(headers);
    let body = body(route);
    let bytes = if body.is_null() { String::new() } else { body.to_string() };
    let response = send(address, route.method.as_str(), path, &all, bytes.as_bytes()).expect("an answer");
    (response.status, response.text())
}

/// Everything that `acme` can see of itself.
fn state(server: &Program, tenants: &Tenants, things: &Things) -> Vec<Value> {
    let paths = [
        format!("/v1/conversations/{}/messages", things.conversation),
        "/v1/knowledge".to_owned(),
        "/v1/knowledge/versions".to_owned(),
        "/v1/keys".to_owned(),
        "/v1/usage".to_owned(),
        "/v1/analytics".to_owned(),
        "/v1/analytics/unanswered".to_owned(),
    ];
    paths.iter().map(|path| send(server.address, "GET", path, &[tenants.key("acme")], b"").unwrap().json()).collect()
}

/// A server with two tenants, `acme` full of things.
fn stocked() -> (Tenants, Program, Things) {
    let tenants = Tenants::with(&["acme", "other"], |id, tenant| {
        let weak = |scope: &str| {
            let secret = format!("sb_live_{id}_{scope}");
            json!({"id": format!("key_{scope}"), "kind": "secret", "sha256": sha256(&secret), "scopes": [scope]})
        };
        tenant["keys"].as_array_mut().unwrap().extend(SCOPES.map(weak));
        tenant["handoff"] = json!({"url": "http://127.0.0.1:9/", "secret": format!("{MARK}-secret")});
    });
    let server = tenants.start(&[("OPERATOR_KEY_SHA256", &sha256("the-operator"))]);
    let acme = tenants.key("acme");
    let put = send(server.address, "PUT", "/v1/knowledge", &[JSON, acme], knowledge(MARK).to_string().as_bytes());
    assert_eq!(put.unwrap().json()["version"], 1);
    let asked = post(server.address, &json!({"message": format!("{MARK} unknown zzz?")}), &[acme]).json();
    let new = json!({"name": MARK, "kind": "secret", "scopes": ["chat"]}).to_string();
    let new = send(server.address, "POST", "/v1/keys", &[JSON, acme], new.as_bytes()).unwrap();
    assert_eq!(new.status, 201);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let things = Things {
        conversation: text(&asked["conversation_id"]),
        message: text(&asked["message_id"]),
        key: text(&new.json()["id"]),
    };
    (tenants, server, things)
}

#[test]
fn another_tenants_key_reaches_nothing_on_any_route() {
    let (tenants, server, things) = stocked();
    let before = state(&server, &tenants, &things);
    for route in routes() {
        let Access::Tenant(_) = route.needs.access else { continue };
        let path = things.path(&route);
        let (status, text) = call(server.address, &route, &path, &[tenants.key("other")]);
        let what = format!("{} {path}: {status} {text}", route.method);
        assert!(!text.contains(MARK) && !text.contains("\"acme\""), "{what}");
        // Versions are numbered for each tenant: number 1 of this one is another.
        if route.path.contains("{id}") || route.path.contains("{key_id}") {
            assert_eq!(status, 404, "{what}");
        }
        if route.path.ends_with("/chat") {
            let message = json!({"message": "Hello", "conversation_id": things.conversation});
            let refused = post(server.address, &message, &[tenants.key("other")]);
            assert_eq!(refused.json()["code"], "conversation_not_found", "{what}");
        }
    }
    assert_eq!(state(&server, &tenants, &things), before, "nothing changed either");
}

#[test]
fn every_route_needs_what_the_table_says() {
    let (tenants, server, things) = stocked();
    for route in routes() {
        let path = things.path(&route);
        let what = format!("{} {path}", route.method);
        let status = |headers: &[(&str, &str)]| call(server.address, &route, &path, headers).0;
        match route.needs.access {
            Access::Public => assert_ne!(status(&[("authorization", "Bearer nonsense")]), 401, "{what}"),
            Access::Operator => {
                assert_eq!(status(&[]), 401, "{what}");
                assert_eq!(status(&[tenants.key("acme")]), 401, "{what}");
            }
            Access::Tenant(scope) => {
                for wrong in
                    ["Bearer sb_live_nobody", "Bearer sb_pub_acme", "Bearer sbw_e30.AAAA", "Basic YTpi", OPERATOR.1]
                {
                    assert_eq!(status(&[("authorization", wrong)]), 401, "{what} with {wrong}");
                }
                assert_eq!(status(&[]), 401, "{what}");
                for other in SCOPES.into_iter().filter(|other| *other != scope.name()) {
                    let key = format!("Bearer sb_live_acme_{other}");
                    assert_eq!(status(&[("authorization", &key)]), 403, "{what} with {other}");
                }
            }
        }
    }
}

#[test]
fn one_visitor_does_not_see_anothers_conversation_on_any_route() {
    let (_tenants, server, _) = stocked();
    let origin = ("origin", "https://acme.example");
    let session = |key: &str| {
        let opened = json!({"key": key}).to_string();
        let opened = send(server.address, "POST", "/v1/widget/sessions", &[JSON, origin], opened.as_bytes()).unwrap();
        assert_eq!((opened.status, opened.header("access-control-allow-origin")), (200, Some("https://acme.example")));
        let token = opened.json()["token"].as_str().unwrap().to_owned();
        (format!("Bearer {token}"), token)
    };
    let ((mine, token), (theirs, _)) = (session("sb_pub_acme"), session("sb_pub_acme"));
    let (mine, theirs) = (("authorization", mine.as_str()), ("authorization", theirs.as_str()));
    let asked = post(server.address, &json!({"message": format!("{MARK} mine")}), &[mine, origin]).json();
    let things = Things {
        conversation: asked["conversation_id"].as_str().unwrap().to_owned(),
        message: asked["message_id"].as_str().unwrap().to_owned(),
        key: "key_all".to_owned(),
    };
    for route in routes().iter().filter(|route| route.path.contains("{id}")) {
        let (status, text) = call(server.address, route, &things.path(route), &[theirs, origin]);
        assert!(matches!(status, 403 | 404) && !text.contains(MARK), "{} {}: {status}", route.method, route.path);
    }
    let path = format!("/v1/conversations/{}", things.conversation);
    let foreign = send(server.address, "GET", &path, &[mine, ("origin", "https://evil.example")], b"").unwrap();
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (403, None));

    let renewed = json!({"key": "sb_pub_acme", "renew": token}).to_string();
    let renewed = send(server.address, "POST", "/v1/widget/sessions", &[JSON, origin], renewed.as_bytes()).unwrap();
    let renewed = format!("Bearer {}", renewed.json()["token"].as_str().unwrap());
    let found = send(server.address, "GET", &path, &[("authorization", &renewed), origin], b"").unwrap();
    assert_eq!(found.status, 200, "a renewed session keeps its conversations");
}

#[test]
fn a_server_can_speak_for_one_of_its_users() {
    let (tenants, server, _) = stocked();
    let (key, ann, bob) = (tenants.key("acme"), ("x-end-user", "ann"), ("x-end-user", "bob"));
    let asked = post(server.address, &json!({"message": "Hello"}), &[key, ann]).json();
    let path = format!("/v1/conversations/{}", asked["conversation_id"].as_str().unwrap());
    let status = |headers: &[(&str, &str)]| send(server.address, "GET", &path, headers, b"").unwrap().status;
    assert_eq!([status(&[key, ann]), status(&[key, bob]), status(&[key])], [200, 404, 200]);
    assert_eq!(status(&[key, ("x-end-user", "a b")]), 400);
}
