//! Rates: how fast a tenant and each of its end users may ask.
//!
//! A bucket is one number, the time at which it would be full again (GCRA); nothing ticks.
//! Buckets are this process's own. What must hold over all processes, the monthly caps, is in
//! [`crate::ledger`].

use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::problem::Problem;
use crate::tenant::{Limits, TenantId};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");
/// Buckets kept before those that are full again are thrown away.
const MOST: usize = 20_000;

/// The buckets of everybody.
#[derive(Debug, Default)]
pub struct Rates {
    tenants: Buckets<TenantId>,
    users: Buckets<(TenantId, String)>,
}

#[derive(Debug)]
struct Buckets<K>(Mutex<HashMap<K, Instant>>);

/// How a bucket stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Requests that fit at once.
    burst: u32,
    /// How long an empty bucket takes to be full.
    window: Duration,
    /// Requests that still fit now.
    remaining: u32,
    /// Until the bucket is full again or, when refused, until one request fits.
    wait: Duration,
}

impl Rates {
    /// Takes one request from a tenant's bucket.
    pub fn request(&self, tenant: &TenantId, limits: &Limits) -> Standing {
        let interval = Duration::from_secs(1) / limits.requests_per_second.max(1);
        self.tenants.take(tenant, interval, limits.burst)
    }

    /// Takes one message from an end user's bucket.
    pub fn message(&self, tenant: &TenantId, user: &str, limits: &Limits) -> Standing {
        let most = limits.user_messages_per_minute.max(1);
        self.users.take(&(tenant.clone(), user.to_owned()), Duration::from_secs(60) / most, most)
    }
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn take(&self, key: &K, interval: Duration, burst: u32) -> Standing {
        self.take_at(Instant::now(), key, interval, burst)
    }

    fn take_at(&self, now: Instant, key: &K, interval: Duration, burst: u32) -> Standing {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST && !buckets.contains_key(key) {
            buckets.retain(|_, full| *full > now);
        }
        let window = interval * burst;
        let full = buckets.get(key).copied().unwrap_or(now).max(now);
        let next = full + interval;
        let Some(room) = window.checked_sub(next - now) else {
            return Standing { allowed: false, burst, window, remaining: 0, wait: next - now - window };
        };
        match buckets.get_mut(key) {
            Some(kept) => *kept = next,
            None => drop(buckets.insert(key.clone(), next)),
        }
        let remaining = (room.as_nanos() as u64 / (interval.as_nanos() as u64).max(1)) as u32;
        Standing { allowed: true, burst, window, remaining, wait: next - now }
    }
}

impl Standing {
    /// Tells the caller, by the names of draft-ietf-httpapi-ratelimit-headers-10.
    pub fn describe(&self, headers: &mut HeaderMap) {
        let seconds = |duration: Duration| (duration.as_millis() as u64).div_ceil(1000);
        let policy = [(";q=", self.burst.into()), (";w=", seconds(self.window).max(1))];
        let now = [(";r=", self.remaining.into()), (";t=", seconds(self.wait))];
        for (name, parameters) in [(POLICY, policy), (STANDING, now)] {
            // Every response has both: formatted, they took a fiftieth of the whole request.
            let mut value = String::with_capacity(48);
            value.push_str("\"requests\"");
            for (parameter, number) in parameters {
                value.push_str(parameter);
                value.push_str(itoa::Buffer::new().format(number));
            }
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }

    /// What a caller that was too fast is told.
    pub fn problem(&self, whose: &str) -> Problem {
        let seconds = self.wait.as_millis().div_ceil(1000).max(1) as u32;
        let detail = format!("{whose} may send {} requests in {} seconds.", self.burst, self.window.as_secs().max(1));
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests", detail).retry_after(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_the_rate() {
        let (buckets, now) = (Buckets::default(), Instant::now());
        let interval = Duration::from_millis(100);
        let take = |after: u64| buckets.take_at(now + Duration::from_millis(after), &"a", interval, 3);
        assert_eq!([take(0), take(0), take(0)].map(|standing| standing.remaining), [2, 1, 0]);
        let refused = take(40);
        assert_eq!((refused.allowed, refused.wait), (false, Duration::from_millis(60)));
        assert!(take(100).allowed && !take(150).allowed && take(200).allowed);
        assert!(buckets.take_at(now, &"b", interval, 3).allowed, "others have buckets of their own");
        assert_eq!(take(10_000).remaining, 2, "a pause fills it, but not beyond the burst");
    }

    #[test]
    fn what_is_full_again_is_forgotten() {
        let (buckets, now) = (Buckets::default(), Instant::now());
        for key in 0..MOST {
            buckets.take_at(now, &key, Duration::from_millis(1), 1);
        }
        buckets.take_at(now + Duration::from_secs(1), &MOST, Duration::from_millis(1), 1);
        assert_eq!(buckets.0.lock().unwrap().len(), 1);
    }
}
