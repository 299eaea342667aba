//! Constant load that may not lose a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::system::{commit_of, get};

/// Asks without a pause longer than 5 ms until it is stopped: what answered how often, and every failure.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

/// How often each commit answered, and what failed.
type Seen = (BTreeMap<String, u32>, Vec<String>);

impl Load {
    /// Starts it on a port.
    pub(crate) fn on(port: u16) -> Self {
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
    pub(crate) fn answers(self) -> BTreeMap<String, u32> {
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
