//! Routing tables: immutable, and replaced as a whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::RequestBody;
use super::metrics::{BalancerCounters, GroupCounters};
use super::next;
use crate::services::elbv2::records::{Condition, Redirect};

/// How long a connection to a target may take, as on AWS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a listener does with requests.
pub(super) struct Routes {
    pub(super) port: u16,
    pub(super) idle_timeout: Duration,
    pub(super) rules: Vec<Route>,
    pub(super) default: Outcome,
    pub(super) counters: Arc<BalancerCounters>,
}

pub(super) struct Route {
    pub(super) conditions: Vec<Condition>,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Forward(Forward),
    Fixed { status: u16, content_type: String, body: String },
    Redirect(Redirect),
}

impl Routes {
    /// The outcome of the first rule that applies.
    pub(super) fn outcome(&self, host: &str, path: &str) -> &Outcome {
        let applies = |route: &&Route| {
            route.conditions.iter().all(|condition| match condition {
                Condition::Path(patterns) => patterns.iter().any(|pattern| matches(pattern, path)),
                Condition::Host(patterns) => {
                    patterns.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &host.to_ascii_lowercase()))
                }
            })
        };
        self.rules.iter().find(applies).map_or(&self.default, |route| &route.outcome)
    }
}

/// Target groups with weights.
pub(super) struct Forward {
    groups: Vec<Group>,
    total: u64,
    turn: Arc<AtomicU64>,
}

pub(super) struct Group {
    pub(super) weight: u32,
    pub(super) upstreams: Vec<Arc<Upstream>>,
    pub(super) turn: Arc<AtomicU64>,
    pub(super) least_outstanding: bool,
    pub(super) counters: Arc<GroupCounters>,
}

impl Forward {
    pub(super) fn new(groups: Vec<Group>, turn: Arc<AtomicU64>) -> Self {
        let total = groups.iter().map(|group| u64::from(group.weight)).sum();
        Self { groups, total, turn }
    }

    /// A group by weight, then one of its targets in turn. `None` when no group has a weight, or the chosen group no
    /// target: AWS does not look into another group then.
    pub(super) fn choose(&self) -> Option<(InFlight, &Group)> {
        if self.total == 0 {
            return None;
        }
        // Multiples of the golden ratio fill the range evenly, so that ten requests at 10 % are one and nine, not luck.
        let spread = next(&self.turn).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let mut point = (spread * self.total) >> 32;
        let group = self.groups.iter().find(|group| {
            let weight = u64::from(group.weight);
            let here = point < weight;
            point = point.saturating_sub(weight);
            here
        })?;
        let upstream = if group.least_outstanding {
            group.upstreams.iter().min_by_key(|upstream| upstream.in_flight())?
        } else {
            let count = group.upstreams.len() as u64;
            if count == 0 {
                return None;
            }
            &group.upstreams[(next(&group.turn) % count) as usize]
        };
        Some((InFlight::new(upstream.clone()), group))
    }
}

/// A target with its connections. Dropping the last reference closes those that are idle.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) client: Client<HttpConnector, RequestBody>,
    in_flight: AtomicUsize,
}

impl Upstream {
    pub(super) fn new(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(256)
            .retry_canceled_requests(true)
            .build(connector);
        Self { address, client, in_flight: AtomicUsize::new(0) }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

/// One request at a target, counted until dropped.
pub(super) struct InFlight(Arc<Upstream>);

impl InFlight {
    fn new(upstream: Arc<Upstream>) -> Self {
        upstream.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(upstream)
    }

    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// True when `text` matches a pattern in which `*` is any run of characters and `?` any one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut position) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, position));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else { return false };
                retry = Some((after_star, from + 1));
                (at, position) = (after_star, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_on_aws() {
        for (pattern, text, expected) in [
            ("/v1/*", "/v1/chat", true),
            ("/v1/*", "/v2/chat", false),
            ("*.example.com", "a.b.example.com", true),
            ("/a?c", "/abc", true),
            ("/a?c", "/ac", false),
            ("*", "", true),
            ("/*a*b", "/xxaxxb", true),
            ("/*a*b", "/xxbxxa", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[tokio::test]
    async fn weights_are_kept_closely_and_zero_means_none() {
        let group = |port: u16, weight| Group {
            weight,
            upstreams: vec![Arc::new(Upstream::new(SocketAddr::from(([127, 0, 0, 1], port))))],
            turn: Arc::default(),
            least_outstanding: false,
            counters: Arc::default(),
        };
        for weights in [[90, 10, 0], [0, 100, 0], [1, 1, 1], [999, 1, 0]] {
            let forward = Forward::new(
                weights.iter().zip(1..).map(|(weight, port)| group(port, *weight)).collect(),
                Arc::default(),
            );
            let mut counts = [0u32; 3];
            for _ in 0..1000 {
                let (chosen, _) = forward.choose().expect("a target");
                counts[usize::from(chosen.upstream().address.port()) - 1] += 1;
            }
            let total: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(weights) {
                let expected = 1000 * weight / total;
                assert!(count.abs_diff(expected) <= 3, "{weights:?} gave {counts:?}");
                assert!(weight != 0 || *count == 0, "{weights:?} gave {counts:?}");
            }
        }
        assert!(Forward::new(vec![group(1, 0)], Arc::default()).choose().is_none());
    }
}
