//! Decides when a deployment that will not succeed is stopped, instead of letting it fail for an hour.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// What the watchdog tolerates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) failed_tasks: usize,
    pub(crate) without_progress: Duration,
}

/// Watches one deployment.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limits: Limits,
    failed: HashSet<String>,
    last: String,
    progressed: Instant,
}

impl Watchdog {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Watchdog { limits, failed: HashSet::new(), last: String::new(), progressed: now }
    }

    /// Takes what is seen now; answers with the reason to stop, if there is one.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        fingerprint: &str,
        failed: impl IntoIterator<Item = String>,
    ) -> Option<String> {
        self.failed.extend(failed);
        if self.last != fingerprint {
            self.last = fingerprint.to_owned();
            self.progressed = now;
        }
        if self.failed.len() >= self.limits.failed_tasks {
            return Some(format!("stopped by the watchdog: {} tasks failed", self.failed.len()));
        }
        let still = now.duration_since(self.progressed);
        (still >= self.limits.without_progress)
            .then(|| format!("stopped by the watchdog: no progress for {} s", still.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { failed_tasks: 3, without_progress: Duration::from_secs(60) };

    #[test]
    fn three_different_failed_tasks_are_enough() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, now);
        assert_eq!(watchdog.look(now, "a", ["1".to_owned(), "2".to_owned()]), None);
        assert_eq!(watchdog.look(now, "a", ["1".to_owned(), "2".to_owned()]), None);
        let reason = watchdog.look(now, "a", ["3".to_owned()]);
        assert_eq!(reason.as_deref(), Some("stopped by the watchdog: 3 tasks failed"));
    }

    #[test]
    fn progress_resets_the_clock() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(watchdog.look(at(0), "a", []), None);
        assert_eq!(watchdog.look(at(50), "b", []), None);
        assert_eq!(watchdog.look(at(100), "b", []), None);
        assert!(watchdog.look(at(110), "b", []).is_some());
    }
}
