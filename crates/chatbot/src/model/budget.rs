use std::sync::atomic::{AtomicU32, Ordering};

/// What one retry costs, in requests: at most a tenth of the load may be retries.
const RETRY_COST: u32 = 10;
/// The most that can be saved up: ten retries in a row.
const MOST: u32 = 10 * RETRY_COST;

/// Keeps retries from multiplying the load on a model that is already failing.
///
/// Every question pays one in, a retry takes ten out. It begins full, so that a quiet service may
/// retry too, and needs no clock.
#[derive(Debug)]
pub struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(MOST))
    }
}

impl RetryBudget {
    /// A question was asked.
    pub fn deposit(&self) {
        self.change(|saved| Some((saved + 1).min(MOST)));
    }

    /// Whether a retry is affordable; if so it is paid.
    pub fn withdraw(&self) -> bool {
        self.change(|saved| saved.checked_sub(RETRY_COST))
    }

    fn change(&self, by: impl Fn(u32) -> Option<u32>) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, by).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::RetryBudget;

    #[test]
    fn retries_end_when_everything_fails_and_return_with_the_traffic() {
        let budget = RetryBudget::default();
        assert_eq!((0..50).filter(|_| budget.withdraw()).count(), 10);
        (0..9).for_each(|_| budget.deposit());
        assert!(!budget.withdraw());
        budget.deposit();
        assert!(budget.withdraw());
    }

    #[test]
    fn under_load_a_tenth_are_retries() {
        let budget = RetryBudget::default();
        let retries = (0..1_000).filter(|_| {
            budget.deposit();
            budget.withdraw()
        });
        assert_eq!(retries.count(), 109);
    }

    #[test]
    fn a_quiet_night_saves_no_more_than_ten() {
        let budget = RetryBudget::default();
        (0..1_000).for_each(|_| budget.deposit());
        assert_eq!((0..50).filter(|_| budget.withdraw()).count(), 10);
    }
}
