//! What holds where a file says nothing: plain on the embedded endpoint, hardened in an account.

use super::{ConversationStore, Encryption, Endpoint, Environment};
use crate::project::Project;
use crate::units::Span;

/// Days that CloudWatch Logs can keep logs.
pub(crate) const LOG_RETENTIONS: [u64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// Requests from one address in five minutes: more than an office behind one address makes.
const FIREWALL_RATE: u32 = 2_000;

impl Environment {
    /// Whether the environment is in an AWS account, and not on the embedded endpoint.
    pub fn in_account(&self) -> bool {
        self.location.account.is_some()
    }

    /// Whose keys encrypt what the environment stores.
    pub fn encryption(&self) -> Encryption {
        self.security.encryption.unwrap_or_else(|| self.default_encryption())
    }

    /// Whose keys encrypt what the environments share: images and artifacts.
    pub fn shared_encryption(&self, project: &Project) -> Encryption {
        project.encryption.unwrap_or_else(|| self.default_encryption())
    }

    fn default_encryption(&self) -> Encryption {
        if self.in_account() { Encryption::CustomerManaged } else { Encryption::AwsManaged }
    }

    /// Whether the VPC's connections are recorded.
    pub fn flow_logs(&self) -> bool {
        self.security.flow_logs.unwrap_or_else(|| self.in_account())
    }

    /// Whether the load balancer's requests are recorded.
    pub fn access_logs(&self) -> bool {
        self.security.access_logs.unwrap_or_else(|| self.in_account())
    }

    /// How long container logs are kept.
    pub fn log_retention(&self) -> Span {
        self.security.log_retention.unwrap_or_else(|| Span::days(if self.in_account() { 365 } else { 30 }))
    }

    /// Requests that one address may make in five minutes.
    pub fn firewall_rate(&self) -> u32 {
        self.security.firewall_rate.unwrap_or(FIREWALL_RATE)
    }

    /// Whether the pipeline takes a stage back that fails.
    pub fn pipeline_rolls_back(&self, project: &Project) -> bool {
        project.pipeline.rollback_on_failure.unwrap_or_else(|| self.in_account())
    }

    /// The VPC endpoints: those of the file, and the free one of the store.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let mut endpoints = self.network.endpoints.clone();
        if self.chat.conversation_store == ConversationStore::Dynamodb && !endpoints.contains(&Endpoint::Dynamodb) {
            endpoints.push(Endpoint::Dynamodb);
        }
        endpoints
    }
}
