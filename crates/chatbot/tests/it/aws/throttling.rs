//! What callers see when DynamoDB refuses: what passes is tried again, what does not is said in the documented words.

use serde_json::{Value, json};

use super::faults::Often::{Always, Times};
use super::faults::{Fault, FaultyDynamo};
use super::table::{table, variables};
use crate::client::{Response, post};
use crate::program::Program;

/// What DynamoDB says when there is too much.
const THROTTLED: [&str; 3] = ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"];

struct Service {
    dynamo: FaultyDynamo,
    program: Program,
    _directory: tempfile::TempDir,
}

impl Service {
    async fn start() -> Self {
        let (dynamo, directory) = (FaultyDynamo::start(), tempfile::tempdir().unwrap());
        let (name, endpoint) = (table().await, dynamo.endpoint());
        let program = Program::start(directory.path(), &variables(&name, &endpoint));
        Self { dynamo, program, _directory: directory }
    }

    fn ask(&self, conversation: Option<&str>, headers: &[(&str, &str)]) -> Response {
        let question = json!({"message": "How do I reset my password?", "conversation_id": conversation});
        post(self.program.address, &question, headers)
    }

    /// A conversation that exists.
    fn conversation(&self) -> String {
        self.ask(None, &[]).json()["conversation_id"].as_str().expect("an id").to_owned()
    }
}

/// Status and code of a refusal, which names a time to come back where that makes sense.
fn refusal(response: Response) -> (u16, String) {
    let status = response.status;
    assert_eq!(response.header("retry-after").is_some(), status == 503, "{status}");
    let problem: Value = response.json();
    assert!(!problem.to_string().contains("Exception"), "what happens inside is for the log: {problem}");
    (status, problem["code"].as_str().expect("a code").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_that_passes_is_not_noticed() {
    let service = Service::start().await;
    let conversation = service.conversation();
    for exception in THROTTLED {
        for operation in ["Query", "TransactWriteItems"] {
            service.dynamo.plan(operation, Fault::Refuse(400, exception), Times(2));
        }
        service.dynamo.count("TransactWriteItems");
        assert_eq!(service.ask(Some(&conversation), &[]).status, 200, "{exception}");
        assert_eq!(service.dynamo.count("TransactWriteItems"), 3, "{exception}: two refusals and the turn");
    }
    // The reasons of a cancelled transaction are where throttling hides.
    for reason in ["ThrottlingError", "ProvisionedThroughputExceeded"] {
        service.dynamo.plan("TransactWriteItems", Fault::Cancel(reason), Times(2));
        assert_eq!(service.ask(None, &[]).status, 200, "{reason}");
    }
    service.dynamo.plan("Query", Fault::Refuse(500, "InternalServerError"), Times(1));
    assert_eq!(service.ask(Some(&conversation), &[]).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_that_stays_is_503_until_it_ends() {
    let service = Service::start().await;
    let conversation = service.conversation();
    let unavailable = (503, "store_unavailable".to_owned());
    for fault in
        [Fault::Refuse(400, THROTTLED[0]), Fault::Cancel("ThrottlingError"), Fault::Refuse(500, "InternalServerError")]
    {
        service.dynamo.plan("TransactWriteItems", fault.clone(), Always);
        service.dynamo.count("TransactWriteItems");
        assert_eq!(refusal(service.ask(None, &[])), unavailable, "{fault:?}");
        assert_eq!(service.dynamo.count("TransactWriteItems"), 4, "{fault:?}: tried, and no more often than that");
        service.dynamo.heal();
    }
    service.dynamo.plan("Query", Fault::Refuse(400, THROTTLED[1]), Always);
    assert_eq!(refusal(service.ask(Some(&conversation), &[])), unavailable);
    service.dynamo.heal();
    assert_eq!(service.ask(Some(&conversation), &[]).status, 200, "nothing stays broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_stays_is_409() {
    let service = Service::start().await;
    let conversation = service.conversation();
    service.dynamo.plan("TransactWriteItems", Fault::Cancel("TransactionConflict"), Times(2));
    assert_eq!(service.ask(Some(&conversation), &[]).status, 200, "read again and kept");
    service.dynamo.plan("TransactWriteItems", Fault::Cancel("TransactionConflict"), Always);
    service.dynamo.count("TransactWriteItems");
    assert_eq!(refusal(service.ask(Some(&conversation), &[])), (409, "conversation_changed".to_owned()));
    assert_eq!(service.dynamo.count("TransactWriteItems"), 3);
    service.dynamo.heal();

    // One item may be in a transaction of another turn, too.
    service.dynamo.plan("UpdateItem", Fault::Refuse(400, "TransactionConflictException"), Times(2));
    let handoff = |service: &Service| {
        let path = format!("/v1/conversations/{conversation}/handoff");
        let json = [("content-type", "application/json")];
        crate::client::send(service.program.address, "POST", &path, &json, b"{}").expect("an answer").status
    };
    assert_eq!(handoff(&service), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_takes_no_key_from_its_own_request() {
    let service = Service::start().await;
    let key = [("idempotency-key", "order-7")];
    service.dynamo.plan("PutItem", Fault::LoseAnswer, Times(1));
    let first = service.ask(None, &key);
    assert_eq!(
        (first.status, first.header("idempotency-replayed")),
        (200, None),
        "the key was taken, by this very request"
    );
    assert_eq!(service.dynamo.count("PutItem"), 2);
    let first = first.json();
    let again = service.ask(None, &key);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.json(), first);
    service.dynamo.plan("PutItem", Fault::Refuse(400, THROTTLED[0]), Always);
    assert_eq!(refusal(service.ask(None, &key)), (503, "store_unavailable".to_owned()));
}
