//! The load balancers' data plane: a listening socket, a routing table and health checks for what the store records.
//!
//! Everything here follows from the store by `DataPlane::apply`, which is called after every change and once at the
//! start; what it keeps beside that are open connections and counters.

mod body;
mod health;
mod listener;
pub(crate) mod metrics;
mod proxy;
mod routes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cloud::Cloud;
use crate::services::elbv2::groups_in_use;
use crate::services::elbv2::records::{Action, Health, Listener, LoadBalancer, Rule, Target, TargetGroup};
use health::Checker;
use listener::Serving;
use metrics::{BalancerCounters, GroupCounters};
use routes::{Forward, Group, Outcome, Route, Routes, Upstream};

/// The running data plane of one endpoint.
#[derive(Default)]
pub struct DataPlane(Mutex<Plane>);

#[derive(Default)]
struct Plane {
    listeners: HashMap<String, Serving>,
    /// Listeners that are bound and about to be recorded.
    announced: HashSet<String>,
    /// Recorded listeners whose port could not be bound.
    unbound: usize,
    upstreams: HashMap<(String, SocketAddr), Arc<Upstream>>,
    checkers: HashMap<(String, SocketAddr), Checker>,
    groups: BTreeMap<(String, String), Arc<GroupCounters>>,
    balancers: BTreeMap<String, Arc<BalancerCounters>>,
    /// One per listener or rule and one per target group, so that turns go on across changes.
    turns: HashMap<String, Arc<AtomicU64>>,
}

impl DataPlane {
    /// Makes what the store records true: sockets, routing tables, health checks. A request that arrives after this
    /// returns is routed by the new table.
    pub(crate) fn apply(&self, cloud: &Cloud) {
        // Held across reading and swapping, so that an older view never replaces a newer one.
        let mut plane = self.lock();
        let view = View::read(cloud);
        plane.follow_targets(cloud, &view);
        plane.follow_listeners(&view);
    }

    /// Listens on a port for a listener that is about to be recorded.
    pub(crate) async fn bind(&self, listener_arn: &str, port: u16) -> io::Result<()> {
        let mut attempts = 0;
        let serving = loop {
            match Serving::bind(port) {
                // A listener deleted a moment ago lets go of its port in another task.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts < 10 => {
                    attempts += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                result => break result?,
            }
        };
        let mut plane = self.lock();
        plane.announced.insert(listener_arn.to_owned());
        plane.listeners.insert(listener_arn.to_owned(), serving);
        Ok(())
    }

    /// True when a recorded listener's port is still taken by someone else.
    pub(crate) fn has_unbound_listeners(&self) -> bool {
        self.lock().unbound > 0
    }

    /// Requests that a target is answering now.
    pub(crate) fn in_flight(&self, group: &str, address: SocketAddr) -> usize {
        self.lock().upstreams.get(&(group.to_owned(), address)).map_or(0, |upstream| upstream.in_flight())
    }

    /// Stops listening and checking, as the end of the process would; for tests that start again in the same process.
    pub fn stop(&self) {
        *self.lock() = Plane::default();
    }

    fn lock(&self) -> MutexGuard<'_, Plane> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The records that matter here.
struct View {
    balancers: HashMap<String, LoadBalancer>,
    listeners: Vec<Listener>,
    rules: Vec<Rule>,
    groups: HashMap<String, TargetGroup>,
    targets: Vec<Target>,
}

impl View {
    fn read(cloud: &Cloud) -> Self {
        let store = cloud.store();
        Self {
            balancers: store.all::<LoadBalancer>().into_iter().collect(),
            listeners: store.find::<Listener>(|_| true),
            rules: store.find::<Rule>(|_| true),
            groups: store.all::<TargetGroup>().into_iter().collect(),
            targets: store.find::<Target>(|_| true),
        }
    }
}

impl Plane {
    fn follow_targets(&mut self, cloud: &Cloud, view: &View) {
        let key = |target: &Target| (target.target_group_arn.clone(), target.address());
        let recorded: HashMap<_, _> = view.targets.iter().map(|target| (key(target), target)).collect();
        self.upstreams.retain(|key, _| recorded.contains_key(key));
        let used = groups_in_use(&view.listeners, &view.rules);
        self.checkers.retain(|key, _| {
            used.contains(&key.0) && recorded.get(key).is_some_and(|target| target.draining_since.is_none())
        });
        for (key, target) in recorded {
            self.upstreams.entry(key.clone()).or_insert_with(|| Arc::new(Upstream::new(key.1)));
            if used.contains(&key.0) && target.draining_since.is_none() {
                self.checkers.entry(key).or_insert_with(|| Checker::start(cloud, target));
            }
        }
    }

    fn follow_listeners(&mut self, view: &View) {
        let recorded = |arn: &str, serving: &Serving| {
            view.listeners.iter().any(|listener| listener.listener_arn == arn && listener.port == serving.port())
        };
        let (listeners, announced) = (&mut self.listeners, &mut self.announced);
        listeners.retain(|arn, serving| {
            if recorded(arn, serving) {
                announced.remove(arn);
                return true;
            }
            announced.contains(arn)
        });
        self.unbound = 0;
        for listener in &view.listeners {
            let routes = self.routes(view, listener);
            if let Some(serving) = self.listeners.get(&listener.listener_arn) {
                serving.route(routes);
                continue;
            }
            match Serving::bind(listener.port) {
                Ok(serving) => {
                    serving.route(routes);
                    self.listeners.insert(listener.listener_arn.clone(), serving);
                }
                Err(error) => {
                    tracing::warn!(port = listener.port, %error, "a listener cannot listen yet");
                    self.unbound += 1;
                }
            }
        }
    }

    fn routes(&mut self, view: &View, listener: &Listener) -> Routes {
        let balancer = &listener.load_balancer_arn;
        let mut rules: Vec<&Rule> =
            view.rules.iter().filter(|rule| rule.listener_arn == listener.listener_arn).collect();
        rules.sort_by_key(|rule| rule.priority);
        let idle = view
            .balancers
            .get(balancer)
            .and_then(|record| record.attributes.get("idle_timeout.timeout_seconds")?.parse().ok())
            .unwrap_or(60);
        Routes {
            port: listener.port,
            idle_timeout: Duration::from_secs(idle),
            rules: rules
                .into_iter()
                .map(|rule| Route {
                    conditions: rule.conditions.clone(),
                    outcome: self.outcome(view, balancer, &rule.rule_arn, &rule.action),
                })
                .collect(),
            default: self.outcome(view, balancer, &listener.listener_arn, &listener.default_action),
            counters: self.balancers.entry(balancer.clone()).or_default().clone(),
        }
    }

    fn outcome(&mut self, view: &View, balancer: &str, owner: &str, action: &Action) -> Outcome {
        let shares = match action {
            Action::Forward(shares) => shares,
            Action::Fixed { status, content_type, body } => {
                return Outcome::Fixed { status: *status, content_type: content_type.clone(), body: body.clone() };
            }
            Action::Redirect(redirect) => return Outcome::Redirect(redirect.clone()),
        };
        let groups = shares
            .iter()
            .map(|share| {
                let arn = &share.target_group_arn;
                let least_outstanding = view.groups.get(arn).is_some_and(|group| {
                    group.attributes.get("load_balancing.algorithm.type").is_some_and(|kind| kind != "round_robin")
                });
                Group {
                    weight: share.weight,
                    upstreams: self.eligible(view, arn),
                    turn: self.turns.entry(arn.clone()).or_default().clone(),
                    least_outstanding,
                    counters: self.groups.entry((balancer.to_owned(), arn.clone())).or_default().clone(),
                }
            })
            .collect();
        Outcome::Forward(Forward::new(groups, self.turns.entry(owner.to_owned()).or_default().clone()))
    }

    /// The targets that may get a request: the healthy ones; with none healthy, the unhealthy ones (AWS calls it
    /// fail-open); never those that still register or that drain.
    fn eligible(&self, view: &View, group: &str) -> Vec<Arc<Upstream>> {
        let serving =
            view.targets.iter().filter(|target| target.target_group_arn == group && target.draining_since.is_none());
        let (mut healthy, mut unhealthy) = (vec![], vec![]);
        for target in serving {
            let Some(upstream) = self.upstreams.get(&(group.to_owned(), target.address())) else { continue };
            match target.health {
                Health::Healthy => healthy.push(upstream.clone()),
                Health::Unhealthy(_) => unhealthy.push(upstream.clone()),
                Health::Registering | Health::Checking => {}
            }
        }
        if healthy.is_empty() { unhealthy } else { healthy }
    }
}

/// The next number of a shared count.
fn next(turn: &AtomicU64) -> u64 {
    turn.fetch_add(1, Ordering::Relaxed)
}
