//! How often and when a request is tried again.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The tries for one request.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// How often at most, the first included. An upload that gets further in between may fail as often as this squared.
    pub attempts: u32,
    /// The longest pause before the second try; it doubles each time.
    pub base: Duration,
    /// The longest pause that is chosen here.
    pub cap: Duration,
    /// The longest pause that a registry may ask for; one that asks for more is given up.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_millis(400),
            cap: Duration::from_secs(20),
            longest_wait: Duration::from_secs(120),
        }
    }
}

impl RetryPolicy {
    /// The pause after try number `attempt` (from 1): what the registry asks for, or a random part of a doubling bound,
    /// so that many clients do not come back at the same moment. None if the registry asks for too much.
    pub(super) fn pause(&self, attempt: u32, asked: Option<Duration>) -> Option<Duration> {
        if let Some(asked) = asked {
            return (asked <= self.longest_wait).then_some(asked);
        }
        let bound = self.base.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(self.cap);
        Some(bound.mul_f64(0.5 + fastrand::f64() / 2.0))
    }
}

/// `Retry-After`: seconds, or the time of an HTTP date.
pub(super) fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // An HTTP date is RFC 2822's form with GMT for the zone.
    let date = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
    Some(SystemTime::from(date).duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().expect("a header"));
        asked_pause(&headers)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO), "long ago");
        assert!(asked("Fri, 21 Oct 2130 07:28:00 GMT").expect("a pause") > Duration::from_secs(3600));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn a_registry_is_obeyed_up_to_a_limit_and_pauses_of_our_own_double_up_to_the_cap() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.pause(1, Some(Duration::from_secs(30))), Some(Duration::from_secs(30)));
        assert_eq!(policy.pause(1, Some(Duration::from_secs(3600))), None);
        for attempt in 1..12 {
            let bound = policy.base.mul_f64(f64::from(2_u32.pow(attempt - 1))).min(policy.cap);
            let pause = policy.pause(attempt, None).expect("a pause");
            assert!(pause <= bound && pause >= bound / 2, "{attempt}: {pause:?}");
        }
    }
}
