//! Answers by language models, through the real program: when they are asked, what they are told, and
//! what a person gets when they fail.

use serde_json::{Value, json};

use crate::client::{Event, ask, get, post, send};
use crate::model::fake::{Act, FakeModel, Step, answer};
use crate::program::{Program, run, stderr};
use crate::tenants::Tenants;

/// Close to some entries, answered by none.
const UNANSWERED: &str = "Can an invoice be sent to our tax office in Osaka by fax?";

/// A server whose demo tenant has these models in turn.
fn server(fakes: &[&FakeModel]) -> (tempfile::TempDir, Program) {
    let directory = tempfile::tempdir().expect("a directory");
    let names = (0..fakes.len()).map(|n| format!("openai:m{n}")).collect::<Vec<_>>().join(",");
    let program = Program::start(directory.path(), &[("MODELS", &names), ("OPENAI_BASE_URL", &fakes[0].openai())]);
    (directory, program)
}

fn stream(server: &Program, question: &Value) -> Vec<Event> {
    post(server.address, question, &[("accept", "text/event-stream")]).events()
}

fn text(events: &[Event]) -> String {
    events.iter().filter_map(|event| event.data["text"].as_str()).collect()
}

#[test]
fn the_knowledge_comes_first_and_a_model_writes_the_rest() {
    let fake = FakeModel::start([answer(&["By ", "e-mail only."])]);
    let (_directory, server) = server(&[&fake]);
    let (status, known) = ask(server.address, &json!({"message": "How do I reset my password?"}));
    assert_eq!((status, &known["source"]), (200, &json!("faq")));
    assert_eq!(fake.asked().len(), 0);

    let id = &known["conversation_id"];
    let message = format!("{UNANSWERED} I am taro@example.com, 090-1234-5678.");
    let (status, reply) = ask(server.address, &json!({"message": message, "conversation_id": id}));
    assert_eq!((status, &reply["answer"]), (200, &json!("By e-mail only.")), "{reply}");
    assert_eq!(
        (&reply["source"], &reply["model"], &reply["outcome"]),
        (&json!("model"), &json!("openai:m0"), &json!("answer"))
    );
    assert_eq!((&reply["usage"]["input_tokens"], &reply["usage"]["output_tokens"]), (&json!(11), &json!(7)));
    assert_eq!(reply["citations"][0]["id"], "invoice");

    let told = fake.asked()[0].body.to_string();
    for part in ["How do I reset my password?", "tax office", "[email]", "[phone]", "<entries>"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("taro@") && !told.contains("090-1234"), "{told}");
    let page = get(server.address, "/metrics").text();
    assert!(page.contains("smartbot_model_requests_total{model=\"openai:m0\",result=\"answered\"} 1"), "{page}");
    assert!(page.contains("smartbot_model_healthy{model=\"openai:m0\"} 1"), "{page}");
}

#[test]
fn a_models_answer_is_streamed() {
    let fake = FakeModel::start([answer(&["Only by ", "e-mail, ", "sorry."])]);
    let (_directory, server) = server(&[&fake]);
    let events = stream(&server, &json!({"message": UNANSWERED}));
    assert_eq!(text(&events), "Only by e-mail, sorry.");
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!((names[0], &names[names.len() - 2..]), ("start", &["citations", "done"][..]));
    let done = &events.last().expect("an end").data;
    assert_eq!((&done["source"], &done["usage"]["output_tokens"]), (&json!("model"), &json!(7)));
}

#[test]
fn an_answer_that_breaks_off_is_told_and_kept_as_far_as_it_came() {
    for fault in [Step::Cut, Step::Throttle, Step::Fail] {
        let fake = FakeModel::start([Act::Stream(vec![Step::Say("The first half"), fault])]);
        let (_directory, server) = server(&[&fake]);
        let events = stream(&server, &json!({"message": UNANSWERED}));
        assert_eq!(text(&events), "The first half");
        let last = events.last().expect("an end");
        assert_eq!((last.name.as_str(), &last.data["problem"]["code"]), ("error", &json!("reply_failed")));

        let id = events[0].data["conversation_id"].as_str().expect("an id");
        let kept = get(server.address, &format!("/v1/conversations/{id}/messages")).json();
        let reply = &kept["messages"][1];
        assert_eq!((&reply["text"], &reply["status"]), (&json!("The first half"), &json!("failed")), "{kept}");
        assert_eq!(fake.asked().len(), 1, "no second question after the first word");
    }
}

#[test]
fn when_no_model_can_the_knowledge_says_what_it_can() {
    let refusing = Act::Refuse(401, None, "invalid_api_key");
    for act in [refusing, answer(&["NO_ANSWER"]), Act::Html] {
        let fake = FakeModel::start([act.clone()]);
        let (_directory, server) = server(&[&fake]);
        let (status, reply) = ask(server.address, &json!({"message": UNANSWERED}));
        assert_eq!(status, 200, "{act:?}: {reply}");
        assert_ne!(reply["source"], "model");
        assert_ne!(reply["outcome"], "answer");
        assert!(!reply["answer"].as_str().expect("a text").is_empty());
        server.terminate();
        let (_, log) = server.wait();
        assert!(!log.contains("Osaka") && !log.contains("secret"), "{log}");
    }
}

#[test]
fn tenants_choose_their_models_and_their_words() {
    let fake = FakeModel::start([answer(&["Yes."])]);
    let tenants = Tenants::with(&["acme", "plain"], |id, tenant| {
        if id == "acme" {
            let prompt = "You are Acme's concierge.";
            tenant["model"] = json!({"chain": ["openai:second", "openai:first"], "system_prompt": prompt});
        }
    });
    let server =
        tenants.start(&[("MODELS", "openai:first,openai:second"), ("OPENAI_BASE_URL", fake.openai().as_str())]);
    let ask = |tenant| post(server.address, &json!({"message": UNANSWERED}), &[tenants.key(tenant)]).json();
    assert_ne!(ask("plain")["source"], "model");
    assert_eq!(fake.asked().len(), 0, "a tenant that names no model has none");
    assert_eq!(ask("acme")["model"], "openai:second");
    let asked = &fake.asked()[0].body;
    assert_eq!(asked["model"], "second");
    assert!(asked["messages"][0]["content"].as_str().expect("a prompt").starts_with("You are Acme's concierge."));
}

#[test]
fn a_tenant_with_an_unknown_model_stops_the_start() {
    let tenants = Tenants::with(&["acme"], |_, tenant| tenant["model"] = json!({"chain": ["openai:gone"]}));
    let (file, conversations) = (tenants.file(), tenants.conversations());
    let output = run(
        &[],
        &[
            ("LISTEN", "127.0.0.1:0"),
            ("TENANTS_FILE", file.to_str().expect("UTF-8")),
            ("CONVERSATIONS_DIR", conversations.to_str().expect("UTF-8")),
        ],
    );
    assert_eq!(output.status.code(), Some(64));
    let told = stderr(&output);
    assert!(told.contains("tenant acme: model.chain names openai:gone, which MODELS does not"), "{told}");
    assert!(told.contains("hint: add it to MODELS"), "{told}");
}

#[test]
fn a_months_tokens_are_a_cap() {
    let fake = FakeModel::start([answer(&["Yes."])]);
    let tenants = Tenants::with(&["acme"], |_, tenant| {
        tenant["model"] = json!({"chain": ["openai:m"]});
        tenant["limits"] = json!({"tokens_per_month": 18});
    });
    let server = tenants.start(&[("MODELS", "openai:m"), ("OPENAI_BASE_URL", fake.openai().as_str())]);
    let ask = || post(server.address, &json!({"message": UNANSWERED}), &[tenants.key("acme")]).json();
    assert_eq!(ask()["source"], "model");
    assert_ne!(ask()["source"], "model", "the first answer took 11 + 7 tokens");
    assert_eq!(fake.asked().len(), 1);
}

#[test]
fn openais_protocol_is_spoken() {
    let fake = FakeModel::start([answer(&["Only ", "by e-mail."])]);
    let (_directory, server) = server(&[&fake]);
    let complete = |body: &Value| {
        let headers = [("content-type", "application/json")];
        send(server.address, "POST", "/v1/chat/completions", &headers, body.to_string().as_bytes()).expect("an answer")
    };
    let known = complete(&json!({"model": "smartbot", "messages": [
        {"role": "system", "content": "You are a pirate."},
        {"role": "user", "content": [{"type": "text", "text": "How do I reset my password?"}]},
    ]}));
    assert_eq!(known.status, 200);
    let known = known.json();
    assert_eq!((&known["object"], &known["usage"]["total_tokens"]), (&json!("chat.completion"), &json!(0)));
    let choice = &known["choices"][0];
    assert_eq!((&choice["message"]["role"], &choice["finish_reason"]), (&json!("assistant"), &json!("stop")));
    assert_eq!(known["smartbot"]["citations"][0]["id"], "password-reset");

    let body = json!({"model": "smartbot", "stream": true, "stream_options": {"include_usage": true}, "messages": [
        {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello! How can I help?"},
        {"role": "user", "content": UNANSWERED},
    ]});
    let response = complete(&body);
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    let page = response.text();
    let data: Vec<&str> = page.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(data.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> =
        data[..data.len() - 1].iter().map(|data| serde_json::from_str(data).expect("JSON")).collect();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let said: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, "Only by e-mail.");
    let usage = json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18});
    assert_eq!(chunks.last().expect("chunks")["usage"], usage);
    let told = &fake.asked()[0].body["messages"];
    assert_eq!((&told[1]["content"], &told[2]["role"]), (&json!("Hello"), &json!("assistant")));

    let user = json!([{"role": "user", "content": "Hello"}]);
    for (body, status, code) in [
        (json!({"model": "gpt-4o", "messages": user}), 404, "model_not_found"),
        (json!({"model": "smartbot", "messages": []}), 422, "invalid_request"),
        (json!({"model": "smartbot", "messages": [{"role": "user", "content": " "}]}), 422, "message_empty"),
        (json!({"model": "smartbot", "messages": user, "n": 2}), 422, "unsupported_parameter"),
        (json!({"messages": user}), 422, "invalid_request"),
    ] {
        let refused = complete(&body);
        assert_eq!((refused.status, refused.header("content-type")), (status, Some("application/json")), "{body}");
        let error = &refused.json()["error"];
        assert_eq!((&error["code"], &error["type"]), (&json!(code), &json!("invalid_request_error")), "{error}");
    }
    let models = get(server.address, "/v1/models").json();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("smartbot")));
    assert_eq!(get(server.address, "/v1/models/smartbot").json()["owned_by"], "default");
    assert_eq!(get(server.address, "/v1/models/gpt-4o").json()["error"]["code"], "model_not_found");
}

#[test]
fn openais_errors_are_told_in_the_middle_of_a_stream() {
    let fake = FakeModel::start([Act::Stream(vec![Step::Say("The first half"), Step::Cut])]);
    let (_directory, server) = server(&[&fake]);
    let body = json!({"model": "smartbot", "stream": true, "messages": [{"role": "user", "content": UNANSWERED}]});
    let headers = [("content-type", "application/json")];
    let page = send(server.address, "POST", "/v1/chat/completions", &headers, body.to_string().as_bytes());
    let page = page.expect("an answer").text();
    let last = page.trim_end().rsplit_once("data: ").expect("an event").1;
    let error: Value = serde_json::from_str(last).expect("JSON");
    assert_eq!((&error["error"]["code"], &error["error"]["type"]), (&json!("reply_failed"), &json!("server_error")));
    assert!(page.contains("The first half") && !page.contains("[DONE]"), "{page}");
}
