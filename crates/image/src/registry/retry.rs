//! How often and when a request is tried again.

use std::time::Duration;

/// The tries for one request.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// How often at most, the first included.
    pub attempts: u32,
    /// The longest pause before the second try; it doubles each time.
    pub base: Duration,
    /// The longest pause at all, also when the registry asks for a longer one.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 5, base: Duration::from_millis(400), cap: Duration::from_secs(20) }
    }
}

impl RetryPolicy {
    /// The pause after try number `attempt` (from 1): what the registry asks for, or a random part of a doubling bound,
    /// so that many clients do not come back at the same moment.
    pub(super) fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        if let Some(asked) = asked {
            return asked.min(self.cap);
        }
        let bound = self.base.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(self.cap);
        bound.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}
