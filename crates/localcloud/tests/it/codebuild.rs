//! Builds of a real checkout with bash: phases, artifacts, exported variables, failures and a killed endpoint.

use serde_json::{Value, json};

use crate::checkout::Checkout;
use crate::client::eventually;
use crate::server::Endpoint;

const TARGET: &str = "CodeBuild_20161006";

fn start(checkout: &Checkout) -> Endpoint {
    let source = format!("owner/name={}", checkout.path().display());
    let path = format!("PATH={}", std::env::var("PATH").expect("a PATH"));
    let endpoint = Endpoint::start(&["--source", &source, "--build-env", &path]);
    let project = json!({
        "name": "project",
        "source": { "type": "CODEPIPELINE", "buildspec": "buildspec.yml" },
        "artifacts": { "type": "CODEPIPELINE" },
        "environment": {
            "type": "LINUX_CONTAINER", "image": "i", "computeType": "BUILD_GENERAL1_SMALL",
            "environmentVariables": [{ "name": "FROM_PROJECT", "value": "project" }],
        },
        "serviceRole": "arn:aws:iam::000000000000:role/r",
    });
    endpoint.call(TARGET, "CreateProject", &project).expect("created");
    endpoint
}

fn build(endpoint: &Endpoint, revision: &str) -> String {
    let input = json!({
        "projectName": "project", "sourceLocationOverride": "owner/name", "sourceVersion": revision,
        "environmentVariablesOverride": [{ "name": "FROM_BUILD", "value": "build", "type": "PLAINTEXT" }],
    });
    let started = endpoint.call(TARGET, "StartBuild", &input).expect("started");
    started["build"]["id"].as_str().expect("an id").to_owned()
}

fn ended(endpoint: &Endpoint, id: &str) -> Value {
    eventually("the build ends", || {
        let found = endpoint.call(TARGET, "BatchGetBuilds", &json!({ "ids": [id] })).expect("described");
        found["builds"].get(0).filter(|build| build["buildComplete"] == true).cloned()
    })
}

fn phase<'a>(build: &'a Value, kind: &str) -> &'a Value {
    build["phases"].as_array().expect("phases").iter().find(|phase| phase["phaseType"] == kind).unwrap_or(&Value::Null)
}

#[test]
fn a_build_runs_the_commits_own_buildspec_and_puts_out_its_artifacts() {
    let checkout = Checkout::new();
    let spec = r#"
version: 0.2
env:
  variables: { FROM_SPEC: spec }
  exported-variables: [RESULT]
phases:
  build:
    commands:
      - echo "$FROM_SPEC $FROM_PROJECT $FROM_BUILD $CODEBUILD_RESOLVED_SOURCE_VERSION"
      - mkdir -p out/deep && cp committed.txt out/deep/
      - export RESULT="it's fine"
artifacts:
  base-directory: out
  files: ["**/*.txt"]
"#;
    checkout.write("buildspec.yml", spec);
    checkout.write("committed.txt", "committed");
    let commit = checkout.commit("with a buildspec");
    checkout.write("committed.txt", "changed and not committed");
    let endpoint = start(&checkout);
    let id = build(&endpoint, &commit);
    let build = ended(&endpoint, &id);
    assert_eq!(build["buildStatus"], "SUCCEEDED", "{build:#}");
    assert_eq!(build["resolvedSourceVersion"], commit.as_str());
    assert_eq!(build["exportedEnvironmentVariables"], json!([{ "name": "RESULT", "value": "it's fine" }]));
    let artifact =
        endpoint.data_dir().join("artifacts").join(id.rsplit(':').next().expect("an uuid")).join("deep/committed.txt");
    assert_eq!(std::fs::read_to_string(artifact).expect("the artifact"), "committed");

    let group = build["logs"]["groupName"].as_str().expect("a group");
    let events = endpoint.call("Logs_20140328", "FilterLogEvents", &json!({ "logGroupName": group })).expect("logs");
    assert!(events.to_string().contains(&format!("spec project build {commit}")), "{events}");
}

#[test]
fn a_failing_command_is_named_and_post_build_still_runs_after_a_failed_build() {
    let checkout = Checkout::new();
    checkout.write(
        "buildspec.yml",
        "version: 0.2\nphases:\n  build:\n    commands: [\"false\"]\n  post_build:\n    commands: [\"true\"]\n",
    );
    let commit = checkout.commit("broken");
    let endpoint = start(&checkout);
    let build = ended(&endpoint, &build(&endpoint, &commit));
    assert_eq!(build["buildStatus"], "FAILED");
    let message = phase(&build, "BUILD")["contexts"][0]["message"].as_str().expect("a message");
    assert!(message.contains("Error while executing command: false"), "{message}");
    assert_eq!(phase(&build, "POST_BUILD")["phaseStatus"], "SUCCEEDED");
}

#[test]
fn a_bad_buildspec_and_an_unknown_commit_fail_with_the_reason() {
    let checkout = Checkout::new();
    checkout.write("buildspec.yml", "version: 0.2\nphazes: {}\n");
    let commit = checkout.commit("bad");
    let endpoint = start(&checkout);
    let bad = ended(&endpoint, &build(&endpoint, &commit));
    assert!(phase(&bad, "DOWNLOAD_SOURCE").to_string().contains("phazes"), "{bad:#}");
    let unknown = ended(&endpoint, &build(&endpoint, "0123456789012345678901234567890123456789"));
    assert_eq!(unknown["buildStatus"], "FAILED");
}

#[test]
fn a_build_goes_on_while_the_endpoint_is_killed() {
    let checkout = Checkout::new();
    checkout.write("buildspec.yml", "version: 0.2\nphases:\n  build:\n    commands: [\"sleep 2\", \"echo done\"]\n");
    let commit = checkout.commit("slow");
    let mut endpoint = start(&checkout);
    let id = build(&endpoint, &commit);
    eventually("the build phase runs", || {
        let found = endpoint.call(TARGET, "BatchGetBuilds", &json!({ "ids": [id] })).expect("described");
        (found["builds"][0]["currentPhase"] == "BUILD").then_some(())
    });
    endpoint.kill_and_restart();
    assert_eq!(ended(&endpoint, &id)["buildStatus"], "SUCCEEDED");
}
