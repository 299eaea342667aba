//! What must not harm production: versions that do not work, and an endpoint that is killed in the middle.

use std::thread;

use serde_json::Value;

use crate::load::Load;
use crate::system::{System, version};

/// A system with a first version in production, and its commit.
fn in_production() -> (System, String) {
    let system = System::start();
    let first = system.commit("first");
    system.deploy(&["bootstrap", "staging"]);
    let image = system.first_image(&first);
    system.expect(&["deploy", "staging", "--image", &image], "succeeded");
    system.expect(&["promote", "prod", "--yes"], "succeeded");
    (system, first)
}

#[test]
fn broken_versions_never_take_production_traffic_and_their_cause_is_told() {
    let (system, first) = in_production();
    let load = Load::on(system.production);
    for (mode, cause) in [("crash", "42"), ("badhealth", "health check"), ("leak", "OutOfMemoryError")] {
        system.production_mode(Some(mode));
        let commit = system.commit(mode);
        system.expect(&["deploy", "staging"], "succeeded");
        assert_eq!(version(system.staging), commit);
        let failed = system.expect(&["promote", "prod", "--yes"], "rolled_back");
        let told = failed["cause"].as_str().expect("a cause");
        assert!(told.to_lowercase().contains(&cause.to_lowercase()), "{mode} fails because of: {told}");
        assert_eq!(version(system.production), first, "after {mode}");
    }
    let answers = load.answers();
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&first], "only the version that works has answered");

    // And the next good one goes through.
    system.production_mode(None);
    let good = system.commit("good");
    system.expect(&["deploy", "staging"], "succeeded");
    system.expect(&["promote", "prod", "--yes"], "succeeded");
    assert_eq!(version(system.production), good);
}

#[test]
fn an_endpoint_killed_during_a_canary_comes_back_to_a_truthful_verdict() {
    let (mut system, first) = in_production();
    let second = system.commit("second");
    system.expect(&["deploy", "staging"], "succeeded");
    let promotion = {
        let mut promote = system.deploy_command(&["promote", "prod", "--yes"]);
        thread::spawn(move || promote.output().expect("deploy runs"))
    };
    system.until("the canary takes traffic", |status| {
        status["traffic"].as_array()?.iter().any(|group| group["percent"] == 10).then_some(())
    });
    system.kill_and_restart();
    assert!([&first, &second].contains(&&version(system.production)), "it serves again");
    let load = Load::on(system.production);
    let promotion = promotion.join().expect("the promotion ends");
    let document: Value = serde_json::from_slice(&promotion.stdout).expect("a document");
    load.answers();
    let expected = match document["verdict"].as_str() {
        Some("succeeded") => &second,
        _ => &first,
    };
    assert_eq!(&version(system.production), expected, "the verdict is true: {document:#}");
    assert_eq!(document["verdict"], "succeeded", "nothing was wrong with the version: {document:#}");
}
