//! Network, edge, task and health check.

use serde::Deserialize;

use crate::units::{Memory, Span};

/// VPC, zones and ways out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSettings {
    /// Address range of the VPC, a /16 to /20: `10.20.0.0/16`.
    pub cidr: String,
    /// Number of availability zones (2 or 3).
    #[serde(default = "two")]
    pub zones: u8,
    /// How tasks in private subnets reach the internet.
    #[serde(default)]
    pub nat: Nat,
    /// VPC endpoints of AWS services; that of DynamoDB comes by itself with the store `dynamodb`.
    #[serde(default = "s3_only")]
    pub endpoints: Vec<Endpoint>,
}

/// How tasks in private subnets reach the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// Not at all: every AWS service in use needs an endpoint.
    None,
    /// One gateway for all zones: cheaper, lost with its zone.
    #[default]
    Single,
    /// One gateway in each zone.
    PerZone,
}

/// A VPC endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// Gateway endpoint, free; image layers come from S3.
    S3,
    /// Gateway endpoint, free.
    Dynamodb,
    /// Interface endpoint of the registry's API.
    EcrApi,
    /// Interface endpoint of the registry itself.
    EcrDkr,
    /// Interface endpoint of CloudWatch Logs.
    Logs,
    /// Interface endpoint of Secrets Manager.
    Secretsmanager,
    /// Interface endpoint of Parameter Store.
    Ssm,
    /// Interface endpoint of the Security Token Service.
    Sts,
}

impl Endpoint {
    /// Last part of the endpoint's service name (`com.amazonaws.<region>.<this>`).
    pub const fn service(self) -> &'static str {
        match self {
            Endpoint::S3 => "s3",
            Endpoint::Dynamodb => "dynamodb",
            Endpoint::EcrApi => "ecr.api",
            Endpoint::EcrDkr => "ecr.dkr",
            Endpoint::Logs => "logs",
            Endpoint::Secretsmanager => "secretsmanager",
            Endpoint::Ssm => "ssm",
            Endpoint::Sts => "sts",
        }
    }

    /// Whether it is a gateway endpoint (a route) and not an interface endpoint (an address).
    pub const fn is_gateway(self) -> bool {
        matches!(self, Endpoint::S3 | Endpoint::Dynamodb)
    }
}

/// What the internet sees.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeSettings {
    /// Name under which customers reach the service; needs a certificate.
    pub domain: Option<String>,
    /// ARN of an ACM certificate. Without it the listeners speak plain HTTP.
    pub certificate: Option<String>,
    /// Port of the production listener.
    pub port: u16,
    /// Port of the test listener, where a new version is tried before it takes production traffic.
    pub test_port: u16,
    /// Address ranges that may use the test listener; default: the VPC's own.
    #[serde(default)]
    pub test_sources: Vec<String>,
}

impl EdgeSettings {
    /// Whether port 80 sends customers on to HTTPS.
    pub fn redirects_http(&self) -> bool {
        self.certificate.is_some() && self.port == 443 && self.test_port != 80
    }
}

/// Size and kind of a task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSettings {
    /// CPU units, 1024 to a vCPU.
    pub cpu: u32,
    /// Memory; Fargate allows certain pairs with `cpu`.
    pub memory: Memory,
    /// Processor architecture of the image.
    #[serde(default)]
    pub architecture: Architecture,
    /// What the tasks run on.
    #[serde(default)]
    pub capacity: Capacity,
    /// Time between SIGTERM and SIGKILL, at most 120s on Fargate.
    #[serde(default = "a_minute")]
    pub stop_timeout: Span,
    /// How long replies and open streams may take to finish after SIGTERM; within `stop_timeout`.
    #[serde(default = "forty_five_seconds")]
    pub drain: Span,
}

/// Processor architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// x86, 64 bits.
    #[default]
    #[serde(rename = "x86_64")]
    X86_64,
    /// Graviton.
    Arm64,
}

/// What tasks run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capacity {
    /// Fargate.
    #[default]
    OnDemand,
    /// Fargate Spot: cheaper, may be taken back with two minutes' notice.
    Spot,
}

/// When a task counts as healthy and when as gone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheckSettings {
    /// Path that answers 200.
    pub path: String,
    /// Time between two checks, 5s to 300s.
    pub interval: Span,
    /// Time an answer may take, shorter than the interval.
    pub timeout: Span,
    /// Good answers in a row until a target takes traffic (2 to 10).
    pub healthy_threshold: u32,
    /// Bad answers in a row until it takes none (2 to 10).
    pub unhealthy_threshold: u32,
    /// Time a container has to come up before failed checks count.
    pub start_period: Span,
    /// Time a service ignores the load balancer's verdict about a new task.
    pub grace_period: Span,
    /// Time a target leaving the load balancer keeps its open connections; at least `task.drain`.
    pub deregistration_delay: Span,
}

impl Default for HealthCheckSettings {
    fn default() -> Self {
        HealthCheckSettings {
            path: "/health".to_owned(),
            interval: Span::seconds(5),
            timeout: Span::seconds(2),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            start_period: Span::seconds(10),
            grace_period: Span::seconds(30),
            deregistration_delay: Span::seconds(60),
        }
    }
}

fn two() -> u8 {
    2
}

fn s3_only() -> Vec<Endpoint> {
    vec![Endpoint::S3]
}

fn a_minute() -> Span {
    Span::seconds(60)
}

fn forty_five_seconds() -> Span {
    Span::seconds(45)
}
