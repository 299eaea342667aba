//! ValidateCanary.

use serde_json::{Value, json};

use crate::world::{COMMIT, Chat, OTHER, World};

const VALIDATE: &str = "bootstrap.validate";

/// The verdict of a version that fails, and the reason in the log.
async fn fails(world: World) -> String {
    let ended = world.call_by_codedeploy(VALIDATE).await;
    assert_eq!(ended.codedeploy_status(), "Failed", "{ended:?}");
    ended.reason()
}

#[tokio::test]
async fn a_version_that_answers_with_sources_passes() {
    let ended = World::default().call_by_codedeploy(VALIDATE).await;
    assert_eq!(ended.codedeploy_status(), "Succeeded", "{ended:?}");
    assert_eq!(ended.kind, "response");
    assert_eq!(ended.reason(), "commit 0a1b2c3 answered 4 conversations with sources");
}

#[tokio::test]
async fn ecs_is_answered_by_the_result() {
    let ended = World::default().call_by_ecs(VALIDATE, Value::Null).await;
    assert_eq!((ended.kind.as_str(), &ended.body), ("response", &json!({"hookStatus": "SUCCEEDED"})), "{ended:?}");
    assert_eq!(ended.told, None);

    let ended = World { chat: Chat::Error, ..World::default() }.call_by_ecs(VALIDATE, Value::Null).await;
    assert_eq!(ended.body, json!({"hookStatus": "FAILED"}), "{ended:?}");
}

#[tokio::test]
async fn another_commit_fails() {
    let reason = fails(World { serving: OTHER, ..World::default() }).await;
    assert!(reason.contains(OTHER) && reason.contains("0a1b2c3"), "{reason}");
}

#[tokio::test]
async fn a_version_that_is_not_ready_fails() {
    let reason = fails(World { ready: false, ..World::default() }).await;
    assert!(reason.contains("is not ready: 503"), "{reason}");
}

#[tokio::test]
async fn an_answer_without_sources_fails() {
    let reason = fails(World { chat: Chat::NoSources, ..World::default() }).await;
    assert!(reason.starts_with("conversation 1 of 4") && reason.contains("names no source"), "{reason}");
}

#[tokio::test]
async fn an_error_fails() {
    let reason = fails(World { chat: Chat::Error, ..World::default() }).await;
    assert!(reason.contains("with 502"), "{reason}");
}

/// CodeDeploy must hear of it before Lambda ends the function: it would wait an hour.
#[tokio::test]
async fn silence_fails_in_the_functions_time() {
    let reason = fails(World { chat: Chat::Hangs, ..World::default() }).await;
    assert_eq!(reason, "no verdict within the function's time");
}

#[tokio::test]
async fn an_image_whose_commit_nobody_knows_fails() {
    let reason = fails(World { image_tags: vec!["prod-0a1b2c3"], ..World::default() }).await;
    assert!(
        reason.contains("no tag of smartassist/chatbot@sha256:1111") && reason.ends_with("is a commit"),
        "{reason}"
    );
    assert!(COMMIT.starts_with("0a1b2c3"));
}

#[tokio::test]
async fn a_payload_of_nobody_is_an_error() {
    let ended = World::default().call(VALIDATE, json!({"detail": {}})).await;
    assert_eq!((ended.kind.as_str(), &ended.body["errorType"]), ("error", &json!("UnknownPayload")));
    let message = ended.body["errorMessage"].as_str().expect("a message");
    assert!(message.contains("DeploymentId"), "{message}");
}
