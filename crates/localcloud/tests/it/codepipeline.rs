//! Pipelines of a source and two approvals: triggers, stage locks, tokens, retry, stop and restarts.

use serde_json::{Value, json};

use crate::checkout::Checkout;
use crate::client::{Refused, eventually};
use crate::server::Endpoint;

const TARGET: &str = "CodePipeline_20150709";

struct Pipeline {
    endpoint: Endpoint,
    checkout: Checkout,
}

impl Pipeline {
    fn create() -> Self {
        let checkout = Checkout::new();
        let source = format!("owner/name={}", checkout.path().display());
        let endpoint = Endpoint::start(&["--source", &source]);
        let pipeline = Self { endpoint, checkout };
        pipeline.call("CreatePipeline", &json!({ "pipeline": declaration() })).expect("it is created");
        pipeline
    }

    fn call(&self, operation: &str, input: &Value) -> Result<Value, Refused> {
        self.endpoint.call(TARGET, operation, input)
    }

    fn state(&self) -> Value {
        self.call("GetPipelineState", &json!({ "name": "p" })).expect("a state")
    }

    fn start(&self) -> String {
        let started = self.call("StartPipelineExecution", &json!({ "name": "p" })).expect("started");
        started["pipelineExecutionId"].as_str().expect("an id").to_owned()
    }

    fn executions(&self) -> Vec<Value> {
        let listed = self.call("ListPipelineExecutions", &json!({ "pipelineName": "p" })).expect("a list");
        listed["pipelineExecutionSummaries"].as_array().cloned().unwrap_or_default()
    }

    fn status(&self, execution: &str) -> String {
        let input = json!({ "pipelineName": "p", "pipelineExecutionId": execution });
        let output = self.call("GetPipelineExecution", &input).expect("an execution");
        output["pipelineExecution"]["status"].as_str().expect("a status").to_owned()
    }

    /// Waits until a stage's approval waits, and gives the execution and the token.
    fn waiting(&self, stage: usize) -> (String, String) {
        eventually("an approval waits", || {
            let state = self.state();
            let stage = &state["stageStates"][stage];
            let latest = &stage["actionStates"][0]["latestExecution"];
            let token = latest["token"].as_str()?.to_owned();
            Some((stage["latestExecution"]["pipelineExecutionId"].as_str()?.to_owned(), token))
        })
    }

    fn answer(&self, stage: &str, token: &str, status: &str) -> Result<Value, Refused> {
        let result = json!({ "summary": "by a test", "status": status });
        let input = json!({ "pipelineName": "p", "stageName": stage, "actionName": "Approve", "result": result, "token": token });
        self.call("PutApprovalResult", &input)
    }
}

fn approval(stage: &str) -> Value {
    let kind = json!({ "category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1" });
    json!({ "name": stage, "actions": [{ "name": "Approve", "actionTypeId": kind }] })
}

fn declaration() -> Value {
    let kind = json!({ "category": "Source", "owner": "AWS", "provider": "CodeStarSourceConnection", "version": "1" });
    let source = json!({
        "name": "Source",
        "actionTypeId": kind,
        "configuration": { "ConnectionArn": "arn:c", "FullRepositoryId": "owner/name", "BranchName": "main" },
        "outputArtifacts": [{ "name": "SourceOutput" }],
        "namespace": "SourceVariables",
    });
    json!({
        "name": "p",
        "roleArn": "arn:aws:iam::000000000000:role/p",
        "pipelineType": "V2",
        "executionMode": "QUEUED",
        "artifactStore": { "type": "S3", "location": "bucket" },
        "stages": [{ "name": "Source", "actions": [source] }, approval("First"), approval("Second")],
    })
}

#[test]
fn creation_runs_it_and_approvals_take_it_to_success() {
    let pipeline = Pipeline::create();
    let (execution, token) = pipeline.waiting(1);
    let head = pipeline.checkout.git(&["rev-parse", "HEAD"]);
    assert_eq!(pipeline.executions()[0]["sourceRevisions"][0]["revisionId"], head);
    assert_eq!(pipeline.executions()[0]["trigger"]["triggerType"], "CreatePipeline");

    let wrong =
        pipeline.answer("First", "00000000-0000-4000-8000-000000000000", "Approved").expect_err("a wrong token");
    assert_eq!(wrong.code, "InvalidApprovalTokenException");
    pipeline.answer("First", &token, "Approved").expect("approved");
    let again = pipeline.answer("First", &token, "Approved").expect_err("a second answer");
    assert_eq!(again.code, "ApprovalAlreadyCompletedException");
    let (_, token) = pipeline.waiting(2);
    pipeline.answer("Second", &token, "Approved").expect("approved");
    eventually("the execution succeeds", || (pipeline.status(&execution) == "Succeeded").then_some(()));
}

#[test]
fn a_waiting_approval_locks_its_stage_and_the_queue_keeps_its_order() {
    let pipeline = Pipeline::create();
    let (first, token) = pipeline.waiting(1);
    let second = pipeline.start();
    let third = pipeline.start();
    eventually("both wait before the stage", || {
        let inbound = pipeline.state()["stageStates"][1]["inboundExecutions"].as_array().map(Vec::len);
        (inbound == Some(2)).then_some(())
    });
    assert_eq!(pipeline.state()["stageStates"][1]["inboundExecution"]["pipelineExecutionId"], second);

    pipeline.answer("First", &token, "Approved").expect("approved");
    let next = eventually("the next enters", || Some(pipeline.waiting(1)).filter(|(id, _)| *id != first));
    assert_eq!(next.0, second);
    pipeline.answer("First", &next.1, "Rejected").expect("rejected");
    eventually("the rejected one fails", || (pipeline.status(&second) == "Failed").then_some(()));
    let next = eventually("the third enters", || Some(pipeline.waiting(1)).filter(|(id, _)| *id == third));
    assert_eq!(next.0, third);
    assert_eq!(pipeline.status(&first), "InProgress");
}

#[test]
fn a_rejected_stage_can_be_retried_and_an_execution_stopped() {
    let pipeline = Pipeline::create();
    let (execution, token) = pipeline.waiting(1);
    pipeline.answer("First", &token, "Rejected").expect("rejected");
    eventually("it fails", || (pipeline.status(&execution) == "Failed").then_some(()));
    let retry = json!({
        "pipelineName": "p", "stageName": "First", "pipelineExecutionId": execution, "retryMode": "FAILED_ACTIONS",
    });
    pipeline.call("RetryStageExecution", &retry).expect("retried");
    let (again, fresh) = pipeline.waiting(1);
    assert_eq!(again, execution);
    assert_ne!(fresh, token);

    let stop = json!({ "pipelineName": "p", "pipelineExecutionId": execution, "abandon": true, "reason": "enough" });
    pipeline.call("StopPipelineExecution", &stop).expect("stopping");
    eventually("it stops", || (pipeline.status(&execution) == "Stopped").then_some(()));
    let late = pipeline.answer("First", &fresh, "Approved").expect_err("an abandoned approval");
    assert_eq!(late.code, "ApprovalAlreadyCompletedException");
}

#[test]
fn a_push_starts_an_execution_of_that_commit_once() {
    let pipeline = Pipeline::create();
    pipeline.waiting(1);
    let head = pipeline.checkout.commit("second");
    let pushed = eventually("the push starts one", || {
        let executions = pipeline.executions();
        executions.into_iter().find(|execution| execution["sourceRevisions"][0]["revisionId"] == head.as_str())
    });
    assert_eq!(pushed["trigger"]["triggerType"], "WebhookV2");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(pipeline.executions().len(), 2);
}

#[test]
fn state_survives_a_kill() {
    let mut pipeline = Pipeline::create();
    let (execution, token) = pipeline.waiting(1);
    pipeline.endpoint.kill_and_restart();
    assert_eq!(pipeline.waiting(1), (execution.clone(), token.clone()));
    pipeline.answer("First", &token, "Approved").expect("approved after the restart");
    assert_eq!(pipeline.waiting(2).0, execution);
}

#[test]
fn what_cannot_run_is_refused_at_creation() {
    let pipeline = Pipeline::create();
    let mut unsupported = declaration();
    unsupported["name"] = json!("other");
    unsupported["stages"][1]["actions"][0]["actionTypeId"]["category"] = json!("Deploy");
    unsupported["stages"][1]["actions"][0]["actionTypeId"]["provider"] = json!("ElasticBeanstalk");
    let refused = pipeline.call("CreatePipeline", &json!({ "pipeline": unsupported })).expect_err("refused");
    assert_eq!(refused.code, "UnsupportedByLocalEndpoint");
    assert!(refused.message.contains("ElasticBeanstalk"), "{}", refused.message);
    let unknown = pipeline.call("GetPipelineState", &json!({ "name": "nope" })).expect_err("unknown");
    assert_eq!(unknown.code, "PipelineNotFoundException");
}
