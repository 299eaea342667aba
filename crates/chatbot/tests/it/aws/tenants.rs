//! Tenants in the table: made through one task, served by all.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::endpoint;
use super::faults::{Fault, FaultyDynamo, Often};
use super::table::{table, variables};
use crate::client::{Response, send};
use crate::program::{Program, run, stderr};

const OPERATOR: &str = "the operator's own key";

/// Tasks of one service; `endpoint` is where they find the table.
struct Service {
    table: String,
    endpoint: String,
    directory: tempfile::TempDir,
    operator: String,
}

impl Service {
    async fn new(endpoint: String) -> Self {
        let operator = Sha256::digest(OPERATOR).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { table: table().await, endpoint, directory: tempfile::tempdir().unwrap(), operator }
    }

    fn task(&self) -> Program {
        let mut all = variables(&self.table, &self.endpoint).to_vec();
        all.extend([("TENANTS_STORE", "dynamodb"), ("OPERATOR_KEY_SHA256", &self.operator)]);
        Program::start(self.directory.path(), &all)
    }
}

fn call(task: &Program, method: &str, path: &str, key: &str, kind: &str, body: &[u8]) -> Response {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str()), ("content-type", kind)];
    send(task.address, method, path, &headers, body).expect("an answer")
}

fn json_call(task: &Program, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let response = call(task, method, path, key, "application/json", body.to_string().as_bytes());
    (response.status, response.json())
}

/// Waits until a task has taken up what another one changed.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_made_through_one_task_is_served_by_all() {
    let service = Service::new(endpoint()).await;
    let (blue, green) = (service.task(), service.task());
    let (status, _) = json_call(&blue, "PUT", "/v1/tenants/acme", OPERATOR, &json!({"name": "Acme"}));
    assert_eq!(status, 201);
    let key = json!({"name": "server", "kind": "secret", "scopes": ["chat", "knowledge"]});
    let (status, made) = json_call(&blue, "POST", "/v1/tenants/acme/keys", OPERATOR, &key);
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    let ask =
        |task: &Program, message: &str| json_call(task, "POST", "/v1/chat", &secret, &json!({"message": message}));
    assert_eq!(ask(&blue, "Hello").0, 200);
    eventually("the other task knows the key", || ask(&green, "Hello").0 == 200);

    // A knowledge that no single item could hold, random so that it cannot be packed.
    let noise =
        |n: u64| (0..24).map(|k| format!("{:x}", fastrand::Rng::with_seed(n * 100 + k).u64(..))).collect::<String>();
    let rows = (0..2_000).map(|n| format!("Question number {n} {}?,{}\n", noise(n), noise(n + 5_000)));
    let csv = format!("question,answer\nIs the moon made of cheese?,Not at all.\n{}", rows.collect::<String>());
    let put = call(&green, "PUT", "/v1/knowledge", &secret, "text/csv", csv.as_bytes());
    assert_eq!(put.status, 200);
    assert_eq!(put.json()["entries"], 2_001);
    let knows = |task: &Program| ask(task, "Is the moon made of cheese?").1["answer"] == "Not at all.";
    assert!(knows(&green));
    eventually("the other task has the new knowledge", || knows(&blue));

    blue.kill();
    drop(green);
    let next = service.task();
    assert!(knows(&next), "and so has one that starts later");
    let (status, versions) = json_call(&next, "GET", "/v1/knowledge/versions", &secret, &Value::Null);
    assert_eq!((status, versions["versions"].as_array().map(Vec::len)), (200, Some(1)), "{versions}");
    let back = call(&next, "POST", "/v1/knowledge/versions/0/activate", &secret, "application/json", b"");
    assert_eq!(back.status, 200);
    assert!(!knows(&next));
    assert_eq!(call(&next, "POST", "/v1/knowledge/versions/1/activate", &secret, "application/json", b"").status, 200);
    assert!(knows(&next));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_none_is_lost() {
    let dynamo = FaultyDynamo::start();
    let service = Service::new(dynamo.endpoint()).await;
    let task = service.task();
    let put = |name: &str| json_call(&task, "PUT", &format!("/v1/tenants/{name}"), OPERATOR, &json!({"name": name}));
    assert_eq!(put("one").0, 201);
    // Another task was faster.
    dynamo.plan("PutItem", Fault::Refuse(400, "ConditionalCheckFailedException"), Often::Times(1));
    let (status, refused) = put("two");
    assert_eq!((status, &refused["code"]), (409, &json!("tenants_changed")));
    assert_eq!(put("two").0, 201);
    let (_, all) = json_call(&task, "GET", "/v1/tenants", OPERATOR, &Value::Null);
    assert_eq!(all["tenants"].as_array().map(Vec::len), Some(2));

    // A table that cannot be read changes nothing of what is known.
    dynamo.plan("GetItem", Fault::Refuse(400, "ThrottlingException"), Often::Always);
    assert_eq!(put("three").0, 503);
    let (status, _) = json_call(&task, "GET", "/v1/tenants/one", OPERATOR, &Value::Null);
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_there_is_a_mistake_in_the_configuration() {
    let (endpoint, directory) = (endpoint(), tempfile::tempdir().unwrap());
    let mut all = variables("no-such-table", &endpoint).to_vec();
    let hash = "0".repeat(64);
    let directory = directory.path().to_str().unwrap();
    all.extend([("TENANTS_STORE", "dynamodb"), ("OPERATOR_KEY_SHA256", &hash), ("TMPDIR", directory)]);
    let output = run(&[], &all);
    assert_eq!(output.status.code(), Some(64));
    let told = stderr(&output);
    assert!(told.contains("TENANTS_STORE") && told.contains("ResourceNotFound") && told.contains("hint:"), "{told}");
}
