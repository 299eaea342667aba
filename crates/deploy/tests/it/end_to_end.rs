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
    let name = |prefix: &str, commit: &str| format!("{prefix}-{}", &commit[..7]);
    for prefix in ["staging", "prod"] {
        assert_eq!(system.tagged(&name(prefix, &first)), staged["digest"], "both services begin with the first image");
    }
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
    let promoted = system.expect(&["promote", "prod", "--yes"], "succeeded");
    assert_eq!(version(system.production), second);
    assert_eq!(system.tagged(&name("prod", &second)), promoted["digest"], "the registry keeps it by this name");
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

    // A third version passes staging. Its name in production is taken, which is told before anything is approved; it is turned down.
    let third = system.commit("third");
    let staged = system.expect(&["deploy", "staging"], "succeeded");
    let (taken, digests) = (name("prod", &third), [&promoted["digest"], &staged["digest"]]);
    system.tag(promoted["digest"].as_str().expect("a digest"), &taken);
    let (code, refused) = system.deploy(&["promote", "prod", "--yes"]);
    let error = refused["error"].as_str().expect("an error");
    assert!(code == 65 && error.contains(&taken), "{code} {error}");
    assert!(digests.iter().all(|digest| error.contains(digest.as_str().expect("a digest"))), "both are named: {error}");
    system.expect(&["reject", "prod", "--reason", "not today"], "rejected");
    assert_eq!(version(system.staging), third);
    assert_eq!(version(system.production), first);
}
