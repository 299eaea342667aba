//! The main job on one machine: deploy, promote, a second version by canary under load, roll back, reject.

use std::thread;

use crate::load::Load;
use crate::system::{System, get, version};

#[test]
fn from_an_empty_endpoint_to_a_promoted_and_rolled_back_production() {
    let system = System::start();
    let first = system.commit("first");
    let (_, bootstrap) = system.deploy(&["bootstrap", "staging"]);
    assert_eq!(bootstrap["first_image_needed"], true, "{bootstrap:#}");
    let image = system.first_image(&first);

    let staged = system.expect(&["deploy", "staging", "--image", &image], "succeeded");
    assert_eq!(staged["commit"], first.as_str());
    assert_eq!(version(system.staging), first);
    system.aws_cli_agrees(&first);
    let promoted = system.expect(&["promote", "prod", "--yes"], "succeeded");
    assert_eq!(promoted["digest"], staged["digest"], "what passed staging is what production runs");
    assert_eq!(version(system.production), first);

    // The second version comes by a canary, under load and with a stream that is open all the while.
    let second = system.commit("second");
    system.expect(&["deploy", "staging"], "succeeded");
    assert_eq!(version(system.staging), second);
    assert_eq!(version(system.production), first, "production has not moved before the approval");
    let load = Load::on(system.production);
    let port = system.production;
    let stream = thread::spawn(move || get(port, "/stream?seconds=15"));
    system.expect(&["promote", "prod", "--yes"], "succeeded");
    assert_eq!(version(system.production), second);
    let stream = stream.join().expect("the reader ends").expect("the stream is whole");
    assert!(stream.contains("event: end"), "the stream was cut off: {stream}");
    let answers = load.answers();
    assert_eq!(answers.keys().len(), 2, "both versions answered during the canary, and no other: {answers:?}");

    // Back, under load.
    let load = Load::on(system.production);
    let back = system.expect(&["rollback", "prod"], "succeeded");
    assert_eq!(back["commit"], first.as_str());
    assert_eq!(version(system.production), first);
    load.answers();

    // A third version passes staging and is turned down.
    let third = system.commit("third");
    system.expect(&["deploy", "staging"], "succeeded");
    system.expect(&["reject", "prod", "--reason", "not today"], "rejected");
    assert_eq!(version(system.staging), third);
    assert_eq!(version(system.production), first);
}
