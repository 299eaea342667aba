//! What people see while they wait, on stderr: one line for each change.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Instant;

/// Prints changes, with the seconds since the start.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    last: Mutex<HashMap<String, String>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Progress { start: Instant::now(), last: Mutex::new(HashMap::new()) }
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// A line.
    pub(crate) fn line(&self, text: &str) {
        // A closed stderr must not stop a deployment.
        let _ = writeln!(std::io::stderr(), "{:7.1}s  {text}", self.seconds());
    }

    /// The state of a thing, printed when it differs from what was printed last. True if it did.
    pub(crate) fn state(&self, thing: &str, text: &str) -> bool {
        let changed = match self.last.lock() {
            Ok(mut last) => last.insert(thing.to_owned(), text.to_owned()).as_deref() != Some(text),
            Err(_) => true,
        };
        if changed {
            self.line(&format!("{thing}: {text}"));
        }
        changed
    }
}
