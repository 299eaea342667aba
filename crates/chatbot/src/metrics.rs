//! Counters and gauges in the Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Release;
use crate::engine::Outcome;
use crate::model::Models;
use crate::text::Language;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Everything counted.
#[derive(Debug)]
pub struct Metrics {
    started: SystemTime,
    routes: Mutex<BTreeMap<String, Finished>>,
    answers: [[AtomicU64; Language::ALL.len()]; Outcome::ALL.len()],
    follow_ups: AtomicU64,
    store_failures: AtomicU64,
    webhooks: Mutex<BTreeMap<&'static str, u64>>,
    connections_refused: AtomicU64,
    in_flight: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
}

/// The finished requests of a route.
#[derive(Debug, Default)]
struct Finished {
    by: BTreeMap<(&'static str, u16), u64>,
    latency: Histogram,
}

/// Everything that a short report needs, since the process started.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Finished requests.
    pub requests: u64,
    /// Those answered with 4xx.
    pub client_errors: u64,
    /// Those answered with 5xx.
    pub server_errors: u64,
    /// Failed store operations.
    pub store_failures: u64,
    latency: [u64; BUCKETS.len()],
}

impl Totals {
    /// What came after an earlier count.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            client_errors: self.client_errors - before.client_errors,
            server_errors: self.server_errors - before.server_errors,
            store_failures: self.store_failures - before.store_failures,
            latency: std::array::from_fn(|bucket| self.latency[bucket] - before.latency[bucket]),
        }
    }

    /// Seconds within which this share of the requests was answered: a bucket's upper bound. None without requests, and when it is
    /// beyond the last bound.
    pub fn latency(&self, share: f64) -> Option<f64> {
        let wanted = (self.requests as f64 * share).ceil().max(1.0) as u64;
        let below = self.latency.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BUCKETS.into_iter().zip(below).find(|(_, below)| *below >= wanted).map(|(bound, _)| bound)
    }
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// Counts one thing as open until it is dropped.
#[derive(Debug)]
pub struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(gauge: &Arc<AtomicUsize>) -> Self {
        gauge.fetch_add(1, Relaxed);
        Self(Arc::clone(gauge))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            routes: Mutex::default(),
            in_flight: Arc::default(),
            answers: Default::default(),
            follow_ups: AtomicU64::default(),
            store_failures: AtomicU64::default(),
            webhooks: Mutex::default(),
            connections_refused: AtomicU64::default(),
            connections: Arc::default(),
            streams: Arc::default(),
        }
    }
}

impl Metrics {
    /// Counts a finished request. `route` is the pattern, never the path: paths have no bound.
    pub fn request(&self, route: &str, method: &'static str, status: u16, latency: Duration) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = match routes.get_mut(route) {
            Some(finished) => finished,
            None => routes.entry(route.to_owned()).or_default(),
        };
        *finished.by.entry((method, status)).or_default() += 1;
        let histogram = &mut finished.latency;
        let seconds = latency.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|&bound| seconds <= bound) {
            histogram.counts[bucket] += 1;
        }
        histogram.count += 1;
        histogram.sum += seconds;
    }

    /// Sums over all routes.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { store_failures: self.store_failures.load(Relaxed), ..Totals::default() };
        for finished in self.routes.lock().unwrap_or_else(PoisonError::into_inner).values() {
            for (&(_, status), &count) in &finished.by {
                totals.requests += count;
                totals.client_errors += if (400..500).contains(&status) { count } else { 0 };
                totals.server_errors += if status >= 500 { count } else { 0 };
            }
            for (sum, count) in totals.latency.iter_mut().zip(finished.latency.counts) {
                *sum += count;
            }
        }
        totals
    }

    /// A request that is being answered, until the value is dropped; None when there are `most` already.
    pub fn admit(&self, most: usize) -> Option<Open> {
        let open = Open::new(&self.in_flight);
        (self.in_flight.load(Relaxed) <= most).then_some(open)
    }

    /// Counts a reply.
    pub fn reply(&self, outcome: Outcome, language: Language, follow_up: bool) {
        self.answers[outcome as usize][language as usize].fetch_add(1, Relaxed);
        if follow_up {
            self.follow_ups.fetch_add(1, Relaxed);
        }
    }

    /// Counts a conversation that could not be read or written.
    pub fn store_failure(&self) {
        self.store_failures.fetch_add(1, Relaxed);
    }

    /// Counts what became of a webhook delivery: `delivered`, `failed` or `given_up`.
    pub fn webhook(&self, result: &'static str) {
        *self.webhooks.lock().unwrap_or_else(PoisonError::into_inner).entry(result).or_default() += 1;
    }

    /// Counts a connection closed because there are too many.
    pub fn connection_refused(&self) {
        self.connections_refused.fetch_add(1, Relaxed);
    }

    /// A connection, open until the value is dropped.
    pub fn connection(&self) -> Open {
        Open::new(&self.connections)
    }

    /// An answer stream, open until the value is dropped.
    pub fn stream(&self) -> Open {
        Open::new(&self.streams)
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Everything, as text.
    pub fn render(&self, release: &Release, models: &Models, entries: usize, ready: bool) -> String {
        let mut page = Page::default();
        let label = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        page.family("smartbot_build_info", "gauge", "What is running.");
        page.sample(
            "smartbot_build_info",
            &[
                ("version", env!("CARGO_PKG_VERSION")),
                ("commit", &label(&release.commit)),
                ("environment", &label(&release.environment)),
            ],
            1.0,
        );
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        page.single("process_start_time_seconds", "gauge", "When the process started.", started);
        page.single("smartbot_ready", "gauge", "1 while /ready answers 200.", f64::from(u8::from(ready)));
        page.single("smartbot_knowledge_entries", "gauge", "Entries in the knowledge file.", entries as f64);
        page.single("smartbot_connections", "gauge", "Open connections.", self.connections() as f64);
        page.single("smartbot_streams", "gauge", "Open answer streams.", self.streams.load(Relaxed) as f64);
        let refused = self.connections_refused.load(Relaxed) as f64;
        page.single("smartbot_connections_refused_total", "counter", "Connections beyond the limit.", refused);
        let failures = self.store_failures.load(Relaxed) as f64;
        page.single("smartbot_store_failures_total", "counter", "Failed store operations.", failures);
        let follow_ups = self.follow_ups.load(Relaxed) as f64;
        page.single("smartbot_follow_ups_total", "counter", "Replies that needed the previous message.", follow_ups);

        page.family("smartbot_replies_total", "counter", "Replies by outcome and language.");
        for outcome in Outcome::ALL {
            for language in Language::ALL {
                let count = self.answers[outcome as usize][language as usize].load(Relaxed);
                let labels = [("outcome", outcome.name()), ("language", language.code())];
                page.sample("smartbot_replies_total", &labels, count as f64);
            }
        }
        page.family("smartbot_model_requests_total", "counter", "Questions to language models, by result.");
        for link in models.links() {
            for (result, count) in link.results() {
                let name = link.name.to_string();
                page.sample("smartbot_model_requests_total", &[("model", &name), ("result", result)], count as f64);
            }
        }
        page.family("smartbot_model_healthy", "gauge", "1 while a language model's circuit breaker is closed.");
        for link in models.links() {
            let name = link.name.to_string();
            page.sample("smartbot_model_healthy", &[("model", &name)], f64::from(u8::from(link.is_healthy())));
        }
        page.family("smartbot_webhooks_total", "counter", "Webhook deliveries tried, by result.");
        for (result, count) in &*self.webhooks.lock().unwrap_or_else(PoisonError::into_inner) {
            page.sample("smartbot_webhooks_total", &[("result", result)], *count as f64);
        }
        page.family("http_requests_total", "counter", "Finished requests.");
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        for (route, finished) in &*routes {
            for ((method, status), count) in &finished.by {
                let status = status.to_string();
                let labels = [("route", route.as_str()), ("method", method), ("status", &status)];
                page.sample("http_requests_total", &labels, *count as f64);
            }
        }
        page.family("http_request_duration_seconds", "histogram", "Time to the response's first byte.");
        for (route, finished) in &*routes {
            page.histogram("http_request_duration_seconds", route, &finished.latency);
        }
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, about: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    fn single(&mut self, name: &str, kind: &str, about: &str, value: f64) {
        self.family(name, kind, about);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (position, (label, text)) in labels.iter().enumerate() {
            let open = if position == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn histogram(&mut self, name: &str, route: &str, histogram: &Histogram) {
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(histogram.counts) {
            below += count;
            self.sample(&format!("{name}_bucket"), &[("route", route), ("le", &bound.to_string())], below as f64);
        }
        let count = histogram.count as f64;
        self.sample(&format!("{name}_bucket"), &[("route", route), ("le", "+Inf")], count);
        self.sample(&format!("{name}_sum"), &[("route", route)], histogram.sum);
        self.sample(&format!("{name}_count"), &[("route", route)], count);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Metrics;
    use crate::config::Release;

    #[test]
    fn buckets_add_up_and_labels_are_escaped() {
        let metrics = Metrics::default();
        metrics.request("/v1/chat", "POST", 200, Duration::from_millis(2));
        metrics.request("/v1/chat", "POST", 200, Duration::from_secs(9));
        let release = Release { commit: Some("a\"b".into()), ..Release::default() };
        let page = metrics.render(&release, &crate::model::Models::default(), 3, true);
        for line in [
            "http_requests_total{route=\"/v1/chat\",method=\"POST\",status=\"200\"} 2",
            "http_request_duration_seconds_bucket{route=\"/v1/chat\",le=\"0.0025\"} 1",
            "http_request_duration_seconds_bucket{route=\"/v1/chat\",le=\"+Inf\"} 2",
            "smartbot_knowledge_entries 3",
            "smartbot_ready 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} in\n{page}");
        }
        assert!(page.contains("commit=\"a\\\"b\""));
    }
}
