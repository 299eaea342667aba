//! What Elastic Load Balancing remembers. Field names are AWS's, so that a record is most of its own description.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::store::Record;

/// An application load balancer; keyed by ARN.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LoadBalancer {
    pub(crate) load_balancer_arn: String,
    pub(crate) load_balancer_name: String,
    pub(crate) created_time: Timestamp,
    pub(crate) scheme: String,
    pub(crate) ip_address_type: String,
    pub(crate) subnets: Vec<String>,
    pub(crate) security_groups: Vec<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Record for LoadBalancer {
    const TABLE: &'static str = "elbv2/load-balancer";
}

/// A target group; keyed by ARN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TargetGroup {
    pub(crate) target_group_arn: String,
    pub(crate) target_group_name: String,
    pub(crate) port: u16,
    pub(crate) vpc_id: Option<String>,
    pub(crate) health_check: HealthCheck,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Record for TargetGroup {
    const TABLE: &'static str = "elbv2/target-group";
}

/// How the targets of a group are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HealthCheck {
    /// `traffic-port` or a number.
    pub(crate) port: String,
    pub(crate) path: String,
    pub(crate) interval_seconds: u64,
    pub(crate) timeout_seconds: u64,
    pub(crate) healthy_threshold: u32,
    pub(crate) unhealthy_threshold: u32,
    /// Codes that count as healthy: `200`, `200-299`, `200,202`.
    pub(crate) matcher: String,
}

/// A registered or draining target; keyed by [`Target::key`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Target {
    pub(crate) target_group_arn: String,
    pub(crate) id: IpAddr,
    pub(crate) port: u16,
    pub(crate) availability_zone: Option<String>,
    pub(crate) health: Health,
    pub(crate) draining_since: Option<Timestamp>,
}

impl Record for Target {
    const TABLE: &'static str = "elbv2/target";
}

impl Target {
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.id, self.port)
    }

    pub(crate) fn key(&self) -> String {
        target_key(&self.target_group_arn, self.address())
    }
}

pub(crate) fn target_key(group: &str, address: SocketAddr) -> String {
    format!("{group} {address}")
}

/// What the health checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Health {
    /// Registered, and no check has ended yet.
    Registering,
    /// Checked, without enough results in a row for a verdict.
    Checking,
    Healthy,
    Unhealthy(Failure),
}

/// Why a check failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// No connection, or no HTTP answer on it.
    NoAnswer,
    Timeout,
    Status(u16),
}

impl Failure {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoAnswer => "Target.FailedHealthChecks",
            Self::Timeout => "Target.Timeout",
            Self::Status(_) => "Target.ResponseCodeMismatch",
        }
    }

    pub(crate) fn description(&self) -> String {
        match self {
            Self::NoAnswer => "Health checks failed".to_owned(),
            Self::Timeout => "Request timed out".to_owned(),
            Self::Status(code) => format!("Health checks failed with these codes: [{code}]"),
        }
    }
}

/// A listener; keyed by ARN.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listener {
    pub(crate) listener_arn: String,
    pub(crate) load_balancer_arn: String,
    pub(crate) port: u16,
    pub(crate) default_action: Action,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Record for Listener {
    const TABLE: &'static str = "elbv2/listener";
}

/// A rule of a listener other than its default; keyed by ARN.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Rule {
    pub(crate) rule_arn: String,
    pub(crate) listener_arn: String,
    pub(crate) priority: u32,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) action: Action,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Record for Rule {
    const TABLE: &'static str = "elbv2/rule";
}

/// What a request must look like for a rule to apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Condition {
    /// Any of these patterns matches the path.
    Path(Vec<String>),
    /// Any of these patterns matches the host.
    Host(Vec<String>),
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    Forward(Vec<Share>),
    Fixed { status: u16, content_type: String, body: String },
    Redirect(Redirect),
}

impl Action {
    /// The target groups that it sends to, whatever their weight.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        let shares: &[Share] = if let Self::Forward(shares) = self { shares } else { &[] };
        shares.iter().map(|share| share.target_group_arn.as_str())
    }
}

/// A target group's part of a forward action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Share {
    pub(crate) target_group_arn: String,
    #[serde(default = "one")]
    pub(crate) weight: u32,
}

fn one() -> u32 {
    1
}

/// Where a redirect points; `#{host}` and the like are filled in from the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Redirect {
    #[serde(default = "same_protocol")]
    pub(crate) protocol: String,
    #[serde(default = "same_port")]
    pub(crate) port: String,
    #[serde(default = "same_host")]
    pub(crate) host: String,
    #[serde(default = "same_path")]
    pub(crate) path: String,
    #[serde(default = "same_query")]
    pub(crate) query: String,
    pub(crate) status_code: String,
}

fn same_protocol() -> String {
    "#{protocol}".to_owned()
}
fn same_port() -> String {
    "#{port}".to_owned()
}
fn same_host() -> String {
    "#{host}".to_owned()
}
fn same_path() -> String {
    "/#{path}".to_owned()
}
fn same_query() -> String {
    "#{query}".to_owned()
}

/// One key and value, as in AWS's attribute and tag lists.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Pair {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

pub(crate) fn pairs(map: &BTreeMap<String, String>) -> Vec<Value> {
    map.iter().map(|(key, value)| serde_json::json!({"Key": key, "Value": value})).collect()
}
