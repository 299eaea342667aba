//! The main job on one machine: deploy, promote, a second version by canary under load, roll back, reject.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::system::{System, commit_of, get, version};

/// Asks without a pause longer than 5 ms until it is stopped: what answered how often, and every failure.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

/// How often each commit answered, and what failed.
type Seen = (BTreeMap<String, u32>, Vec<String>);

impl Load {
    fn on(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let (mut answers, mut failures) = (BTreeMap::new(), vec![]);
                while !stop.load(Ordering::Relaxed) {
                    match get(port, "/version") {
                        Ok(answer) => *answers.entry(commit_of(&answer).unwrap_or_default()).or_default() += 1,
                        Err(why) => failures.push(why),
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                (answers, failures)
            })
        };
        Self { clients: (0..3).map(client).collect(), stop }
    }

    /// Stops it; no request may have failed. How often each commit answered.
    fn answers(self) -> BTreeMap<String, u32> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for client in self.clients {
            let (answers, failures) = client.join().expect("the client ends");
            assert!(failures.is_empty(), "{} requests failed, the first: {}", failures.len(), failures[0]);
            for (commit, count) in answers {
                *all.entry(commit).or_default() += count;
            }
        }
        all
    }
}

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
