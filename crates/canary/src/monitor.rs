//! MonitorCanary: what CloudWatch says of the new version once all customers have it.
//!
//! At a chatbot's volume some minutes may see no request at all, so the function makes requests itself and waits until
//! CloudWatch has counted them. Metrics without those say nothing, and nothing is not passed.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::Verdict;
use crate::call::Call;
use crate::function::Function;
use crate::metrics::Readings;

/// Between two looks at the metrics, which have a point a minute.
pub(crate) const PAUSE: Duration = Duration::from_secs(15);

/// What is watched. ECS carries it from one call of the function to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Watch {
    /// When the requests were made; seconds since 1970.
    pub(crate) since: u64,
    /// How many.
    pub(crate) requests: u32,
    /// When waiting for their metrics ends; seconds since 1970.
    until: u64,
}

impl Watch {
    /// Whether there is time for another look after a pause.
    pub(crate) fn goes_on(&self, now: u64) -> bool {
        now + PAUSE.as_secs() < self.until
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

impl Function {
    /// Makes the requests that the metrics have to show.
    pub(crate) async fn begin(&self, call: &Call, until: Instant) -> Result<Watch, String> {
        let (url, conversations) = (&self.settings.production_url, self.settings.conversations);
        let commit = self.aws.commit(call).await?;
        let since = now();
        self.customer.meets(url, &commit, until).await?;
        self.customer.converses(url, &commit, conversations).await?;
        let left = until.saturating_duration_since(Instant::now()).as_secs();
        Ok(Watch { since, requests: conversations, until: now() + left })
    }

    /// One look at alarms and metrics; none while CloudWatch has not counted all requests.
    pub(crate) async fn look(&self, watch: &Watch) -> Option<Verdict> {
        let firing = self.aws.firing(&self.settings.alarms).await;
        let readings = match firing {
            Err(reason) => return Some(Verdict::Failed(reason)),
            Ok(firing) if !firing.is_empty() => {
                return Some(Verdict::Failed(format!("alarms fire: {}", firing.join(", "))));
            }
            Ok(_) => self.aws.readings(&self.settings, watch.since, now()).await,
        };
        match readings {
            Err(reason) => Some(Verdict::Failed(reason)),
            Ok(readings) => self.judge(watch, &readings),
        }
    }

    fn judge(&self, watch: &Watch, readings: &Readings) -> Option<Verdict> {
        let Readings { requests, errors, latency, unhealthy } = readings;
        let allowed = self.settings.error_percent;
        let percent = if *requests > 0.0 { 100.0 * errors / requests } else { 100.0 };
        // Errors are seen as soon as there are any requests; they do not have to be complete.
        if *errors > 0.0 && percent > allowed {
            return Some(Verdict::Failed(format!("{percent:.1} % of {requests} requests failed, {allowed} % may")));
        }
        if *requests < f64::from(watch.requests) {
            return None;
        }
        let (latency, unhealthy) = ((*latency)?, (*unhealthy)?);
        let limit = self.settings.latency.as_secs_f64();
        Some(if unhealthy > 0.0 {
            Verdict::Failed(format!("{unhealthy} tasks of the new version are unhealthy"))
        } else if latency > limit {
            Verdict::Failed(format!(
                "the 99th percentile of the time to answer is {latency:.2} s, {limit} s is allowed"
            ))
        } else {
            Verdict::Passed(format!("{requests} requests, {percent:.1} % failed, 99 of 100 within {latency:.2} s"))
        })
    }

    /// Watches until there is a verdict: for a caller that calls once.
    pub(crate) async fn watch(&self, call: &Call, until: Instant) -> Verdict {
        let watch = match self.begin(call, until).await {
            Ok(watch) => watch,
            Err(reason) => return Verdict::Failed(reason),
        };
        loop {
            if let Some(verdict) = self.look(&watch).await {
                return verdict;
            }
            if !watch.goes_on(now()) {
                return no_data(&watch);
            }
            sleep(PAUSE).await;
        }
    }
}

/// The verdict when CloudWatch stays silent.
pub(crate) fn no_data(watch: &Watch) -> Verdict {
    Verdict::Failed(format!(
        "CloudWatch has not counted the {} requests that were made: no data is not passed",
        watch.requests
    ))
}
