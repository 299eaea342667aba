//! Keys, logs and firewall.

use serde::Deserialize;

use crate::units::Span;

/// Keys, logs and firewall. What a file does not say is on in an account and off on the embedded endpoint, except the
/// firewall, which is off everywhere because it has a price and opinions about requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecuritySettings {
    /// Whose keys encrypt logs, conversations, secrets and messages.
    pub encryption: Option<Encryption>,
    /// Whether the VPC's connections are recorded.
    pub flow_logs: Option<bool>,
    /// Whether the load balancer's requests are recorded.
    pub access_logs: Option<bool>,
    /// How long container logs are kept; one of the spans of CloudWatch Logs. Default: a year in an account, else 30d.
    pub log_retention: Option<Span>,
    /// Whether AWS WAF stands before the load balancer.
    pub firewall: bool,
    /// Requests that one address may make in five minutes before the firewall turns it away, 10 or more.
    pub firewall_rate: Option<u32>,
}

/// Whose keys encrypt what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// Each service's own; free.
    AwsManaged,
    /// Keys of our own in KMS, rotated every year: access is granted and recorded per key.
    CustomerManaged,
}
