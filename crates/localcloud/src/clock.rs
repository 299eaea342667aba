//! Time, injected: what happened when is always real time; how long a model wait lasts is divided by the time scale.
//!
//! Deadlines are never stored. A record keeps when something began, and [`Clock::elapsed`] says how much *model* time has
//! passed since: so a wait goes on correctly after a restart, even with another scale.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::watch;

/// A moment in real time, in milliseconds since the Unix epoch. Serialised as seconds with fraction, as AWS's JSON does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Seconds since the epoch.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Milliseconds since the epoch.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// RFC 3339 in UTC with milliseconds.
    pub fn rfc3339(self) -> String {
        let format =
            time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|at| at.format(format).ok())
            .unwrap_or_default()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.seconds())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Ok(Self((seconds * 1000.0).round().max(0.0) as u64))
    }
}

/// The clock that every reconciler waits on.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System { scale: f64 },
    Manual(watch::Sender<u64>),
}

impl Clock {
    /// Real time; model waits are shortened by `scale` (1.0 = as on AWS).
    pub fn system(scale: f64) -> Self {
        Self(Arc::new(Source::System { scale }))
    }

    /// A clock that stands still until [`Clock::advance`]; for tests.
    pub fn manual(start: Timestamp) -> Self {
        Self(Arc::new(Source::Manual(watch::Sender::new(start.0))))
    }

    /// Moves a manual clock on. Does nothing to a system clock.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &*self.0 {
            now.send_modify(|now| *now += by.as_millis() as u64);
        }
    }

    /// How many times faster than on AWS model waits pass.
    pub fn scale(&self) -> f64 {
        match &*self.0 {
            Source::System { scale } => *scale,
            Source::Manual(_) => 1.0,
        }
    }

    /// The real time.
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::System { .. } => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(since_epoch.as_millis() as u64)
            }
            Source::Manual(now) => Timestamp(*now.borrow()),
        }
    }

    /// Model time that has passed since `since`: real time multiplied by the scale.
    pub fn elapsed(&self, since: Timestamp) -> Duration {
        Duration::from_millis(self.now().0.saturating_sub(since.0)).mul_f64(self.scale())
    }

    /// Real time that has passed since `since`, for waits that concern real processes (stop timeouts, draining).
    pub fn real_elapsed(&self, since: Timestamp) -> Duration {
        Duration::from_millis(self.now().0.saturating_sub(since.0))
    }

    /// Sleeps for a model duration (a canary's minutes, a health check's interval).
    pub async fn sleep(&self, model: Duration) {
        match &*self.0 {
            Source::System { scale } => tokio::time::sleep(model.div_f64(*scale)).await,
            Source::Manual(now) => {
                let until = *now.borrow() + model.as_millis() as u64;
                // The sender lives in self, so waiting cannot fail.
                let _ = now.subscribe().wait_for(|now| *now >= until).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_and_measures_model_time() {
        let clock = Clock::manual(Timestamp(1_000));
        let began = clock.now();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(59));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.expect("the sleeper ends");
        assert_eq!(clock.elapsed(began), Duration::from_secs(60));
    }

    #[test]
    fn timestamps_survive_json() {
        let at = Timestamp(1_764_000_000_123);
        let json = serde_json::to_string(&at).expect("serialises");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).expect("parses"), at);
        assert_eq!(at.rfc3339(), "2025-11-24T16:00:00.123Z");
    }
}
