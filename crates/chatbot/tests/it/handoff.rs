//! From bot to person and back, with the tenant's own systems listening.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::client::{post, send};
use crate::tenants::Tenants;

const SECRET: &str = "a secret of the tenant";

/// A webhook as it arrived.
struct Delivery {
    headers: Vec<(String, String)>,
    body: String,
}

impl Delivery {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("{name} in {:?}", self.headers))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// A receiver that refuses the first delivery.
fn receiver() -> (SocketAddr, Receiver<Delivery>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, deliveries) = channel();
    std::thread::spawn(move || {
        for (number, socket) in listener.incoming().enumerate() {
            let socket = socket.unwrap();
            let mut reader = BufReader::new(socket);
            let mut headers = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                match line.trim_end().split_once(": ") {
                    Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
                    None if line.trim_end().is_empty() => break,
                    None => {}
                }
            }
            let length = headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = if number == 0 { "503 Unavailable" } else { "204 No Content" };
            write!(reader.get_mut(), "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            if sender.send(Delivery { headers, body: String::from_utf8(body).unwrap() }).is_err() {
                return;
            }
        }
    });
    (address, deliveries)
}

#[test]
fn a_person_takes_over_answers_and_gives_back() {
    let (address, deliveries) = receiver();
    let tenants = Tenants::with(&["acme"], |_, tenant| {
        tenant["handoff"] = json!({"url": format!("http://{address}/hook"), "secret": SECRET});
    });
    let server = tenants.start(&[]);
    let acme = tenants.key("acme");
    let call = |method: &str, path: &str, body: &Value, more: &[(&str, &str)]| {
        let mut headers = vec![("content-type", "application/json"), acme];
        headers.extend(more);
        let response = send(server.address, method, path, &headers, body.to_string().as_bytes()).expect("an answer");
        (response.status, response.json())
    };
    let asked = post(server.address, &json!({"message": "My number is 090-1234-5678, call me"}), &[acme]).json();
    let conversation = format!("/v1/conversations/{}", asked["conversation_id"].as_str().unwrap());
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let handoff = format!("{conversation}/handoff");
    let reason = json!({"reason": "write to taro@example.com"});
    assert_eq!(call("POST", &handoff, &reason, &[("traceparent", trace)]), (200, json!({"state": "pending_human"})));
    assert_eq!(call("POST", &handoff, &reason, &[]).0, 200, "asking twice changes nothing");

    let next = || deliveries.recv_timeout(Duration::from_secs(20)).expect("a delivery");
    let (refused, delivered) = (next(), next());
    assert_eq!(refused.header("webhook-id"), delivered.header("webhook-id"), "tried again, the same event");
    let event = delivered.json();
    assert_eq!((&event["type"], &event["data"]["state"]), (&json!("handoff.requested"), &json!("pending_human")));
    assert_eq!(event["data"]["reason"], "write to [email]");
    assert_eq!(event["data"]["messages"][0]["text"], "My number is [phone], call me");
    assert!(delivered.header("traceparent").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    let (id, seconds) = (delivered.header("webhook-id"), delivered.header("webhook-timestamp"));
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{id}.{seconds}.{}", delivered.body).as_bytes());
    let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(delivered.header("webhook-signature"), format!("v1,{expected}"));

    let (status, reply) = call("POST", &format!("{conversation}/replies"), &json!({"text": "Taro here."}), &[]);
    assert_eq!((status, &reply["state"]), (200, &json!("human")));
    assert_eq!(next().json()["type"], "conversation.state_changed");

    let id = &asked["conversation_id"];
    let silent = post(server.address, &json!({"message": "Hello", "conversation_id": id}), &[acme]).json();
    assert_eq!((&silent["answer"], &silent["source"]), (&json!(""), &json!("human")), "the bot is silent");
    let received = next().json();
    assert_eq!(
        (&received["type"], &received["data"]["message"]["text"]),
        (&json!("message.received"), &json!("Hello"))
    );

    let state = format!("{conversation}/state");
    assert_eq!(call("POST", &state, &json!({"state": "pending_human"}), &[]).1["code"], "invalid_transition");
    assert_eq!(call("POST", &state, &json!({"state": "bot"}), &[]), (200, json!({"state": "bot"})));
    let back = post(server.address, &json!({"message": "I forgot my password", "conversation_id": id}), &[acme]).json();
    assert_eq!(back["source"], "faq");

    let messages = call("GET", &format!("{conversation}/messages"), &json!({}), &[]).1;
    let roles: Vec<&str> =
        messages["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "agent", "user", "user", "assistant"]);
    assert_eq!(call("POST", &state, &json!({"state": "closed"}), &[]).0, 200);
    let closed = post(server.address, &json!({"message": "Hello", "conversation_id": id}), &[acme]);
    assert_eq!((closed.status, &closed.json()["code"]), (409, &json!("conversation_closed")));
}

#[test]
fn a_reply_is_rated() {
    let tenants = Tenants::new(&["acme"]);
    let server = tenants.start(&[]);
    let acme = tenants.key("acme");
    let asked = post(server.address, &json!({"message": "I forgot my password"}), &[acme]).json();
    let (id, message) = (asked["conversation_id"].as_str().unwrap(), asked["message_id"].as_str().unwrap());
    let path = format!("/v1/conversations/{id}/messages/{message}/feedback");
    let headers = [("content-type", "application/json"), acme];
    let rate = |body: Value| send(server.address, "POST", &path, &headers, body.to_string().as_bytes()).unwrap().status;
    assert_eq!(rate(json!({"rating": "down", "comment": "not what I meant"})), 204);
    assert_eq!(rate(json!({"rating": "up"})), 204, "a later opinion replaces the earlier one");
    assert_eq!(rate(json!({"rating": "sideways"})), 422);
    let kept = send(server.address, "GET", &format!("/v1/conversations/{id}"), &[acme], b"").unwrap().json();
    assert_eq!(kept["messages"][1]["feedback"], "up");
    assert_eq!(send(server.address, "DELETE", &format!("/v1/conversations/{id}"), &[acme], b"").unwrap().status, 204);
    assert_eq!(rate(json!({"rating": "up"})), 404, "it is forgotten");
}
