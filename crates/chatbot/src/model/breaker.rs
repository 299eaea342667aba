use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many of the last answers are remembered.
const REMEMBERED: u32 = 20;
/// Fewer answers than this say nothing.
const ENOUGH: u32 = 6;
/// How long a model is left alone before it is tried again.
const REST: Duration = Duration::from_secs(15);

/// Stops asking a model that keeps failing, and finds out when it is well again.
///
/// Closed, it lets everything through; when half of the last answers were failures it opens. After a
/// rest it lets a single request through: its success closes the breaker, its failure means another rest.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug)]
enum State {
    Closed(History),
    Open { until: Instant },
    Probing,
}

/// The last answers, one bit each, a failure is 1, the newest lowest.
#[derive(Debug, Clone, Copy, Default)]
struct History {
    bits: u32,
    count: u32,
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(History::default())
    }
}

impl History {
    fn with(self, failed: bool) -> Self {
        let bits = (self.bits << 1 | u32::from(failed)) & ((1 << REMEMBERED) - 1);
        Self { bits, count: (self.count + 1).min(REMEMBERED) }
    }

    fn is_bad(self) -> bool {
        self.count >= ENOUGH && self.bits.count_ones() * 2 >= self.count
    }
}

/// The right to ask once. Without a verdict (the person left) nothing is learnt.
#[derive(Debug)]
pub struct Permit {
    breaker: Arc<Breaker>,
    probe: bool,
    judged: bool,
}

impl Breaker {
    /// The right to ask now, if there is one.
    pub fn admit(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state();
        let probe = match *state {
            State::Closed(_) => false,
            State::Open { until } if Instant::now() >= until => true,
            State::Open { .. } | State::Probing => return None,
        };
        if probe {
            *state = State::Probing;
        }
        Some(Permit { breaker: Arc::clone(self), probe, judged: false })
    }

    /// Whether requests are let through as usual.
    pub fn is_closed(&self) -> bool {
        matches!(*self.state(), State::Closed(_))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every state is whole, even when another thread panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The model answered.
    pub fn succeeded(self) {
        self.judge(false);
    }

    /// The model failed.
    pub fn failed(self) {
        self.judge(true);
    }

    fn judge(mut self, failed: bool) {
        self.judged = true;
        let breaker = Arc::clone(&self.breaker);
        let mut state = breaker.state();
        *state = match *state {
            State::Closed(history) => {
                let history = history.with(failed);
                if history.is_bad() { open() } else { State::Closed(history) }
            }
            State::Probing if self.probe => {
                if failed {
                    open()
                } else {
                    State::default()
                }
            }
            // A late verdict from before the breaker opened.
            State::Probing => State::Probing,
            State::Open { until } => State::Open { until },
        };
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.probe && !self.judged {
            // The probe was abandoned: the next request is the probe.
            *self.breaker.state() = State::Open { until: Instant::now() };
        }
    }
}

fn open() -> State {
    State::Open { until: Instant::now() + REST }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Arc<Breaker>, times: u32) {
        (0..times).for_each(|_| breaker.admit().expect("closed").failed());
    }

    #[tokio::test(start_paused = true)]
    async fn opens_when_half_fail_and_closes_after_a_good_probe() {
        let breaker = Arc::<Breaker>::default();
        for _ in 0..2 {
            breaker.admit().unwrap().succeeded();
        }
        fail(&breaker, 3);
        assert!(breaker.is_closed(), "five answers say nothing");
        fail(&breaker, 1);
        assert!(breaker.admit().is_none());

        tokio::time::advance(REST).await;
        let probe = breaker.admit().expect("a probe");
        assert!(breaker.admit().is_none(), "one probe at a time");
        probe.succeeded();
        assert!(breaker.is_closed());
        fail(&breaker, ENOUGH - 1);
        assert!(breaker.is_closed(), "the bad history is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_probe_means_another_rest() {
        let breaker = Arc::<Breaker>::default();
        fail(&breaker, ENOUGH);
        tokio::time::advance(REST).await;
        breaker.admit().expect("a probe").failed();
        assert!(breaker.admit().is_none());
        tokio::time::advance(REST).await;
        assert!(breaker.admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_probe_blocks_nobody() {
        let breaker = Arc::<Breaker>::default();
        fail(&breaker, ENOUGH);
        tokio::time::advance(REST).await;
        drop(breaker.admit().expect("a probe"));
        assert!(breaker.admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_verdict_changes_nothing() {
        let breaker = Arc::<Breaker>::default();
        let late = breaker.admit().unwrap();
        fail(&breaker, ENOUGH);
        late.succeeded();
        assert!(breaker.admit().is_none());
    }

    #[test]
    fn a_few_failures_among_many_are_normal() {
        let breaker = Arc::<Breaker>::default();
        for round in 0..200 {
            let permit = breaker.admit().expect("closed");
            if round % 3 == 0 { permit.failed() } else { permit.succeeded() }
        }
        assert!(breaker.is_closed());
    }
}
