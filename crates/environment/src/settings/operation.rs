//! Scaling, chat, alarms, cost and protection.

use serde::Deserialize;

use super::NotificationSettings;
use crate::units::{Span, percent};

/// How many tasks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoscalingSettings {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// At the start; afterwards scaling decides.
    pub desired: u32,
    /// What scaling keeps steady.
    #[serde(default)]
    pub targets: AutoscalingTargets,
    /// Other bounds at certain times.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
}

/// What scaling keeps steady, each when given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoscalingTargets {
    /// Average CPU of the service, percent.
    pub cpu_percent: Option<u8>,
    /// Average memory of the service, percent.
    pub memory_percent: Option<u8>,
    /// Requests a minute and task, over both versions while a deployment runs.
    pub requests_per_task: Option<u32>,
}

/// Other bounds from a time on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Name, unique in the environment: `weekday-peak`.
    pub name: String,
    /// When, as the six fields of an AWS cron: `30 8 ? * MON-FRI *`.
    pub cron: String,
    /// Time zone of `cron`: `Asia/Tokyo`.
    #[serde(default = "utc")]
    pub timezone: String,
    /// Never fewer from then on.
    pub min: u32,
    /// Never more from then on.
    pub max: u32,
}

/// What answers and where conversations are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatSettings {
    /// Language models in the order asked: `bedrock:` and a model's id or inference profile, `openai:` and a model's name.
    /// Without any the FAQ engine alone answers.
    pub models: Vec<String>,
    /// Where conversations are kept.
    pub conversation_store: ConversationStore,
}

impl ChatSettings {
    /// What a model of Bedrock begins with.
    pub const BEDROCK: &str = "bedrock:";
    /// What a model of an OpenAI-compatible endpoint begins with.
    pub const OPENAI: &str = "openai:";

    /// The models of Bedrock, without their prefix.
    pub fn bedrock_models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().filter_map(|model| model.strip_prefix(Self::BEDROCK))
    }

    /// The cargo features that the chatbot must be built with.
    pub fn features(&self) -> Vec<&'static str> {
        let bedrock = self.bedrock_models().next().is_some();
        let dynamodb = self.conversation_store == ConversationStore::Dynamodb;
        [("bedrock", bedrock), ("dynamodb", dynamodb)]
            .into_iter()
            .filter(|(_, needed)| *needed)
            .map(|(name, _)| name)
            .collect()
    }
}

/// Where conversations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConversationStore {
    /// In files of the task's own volume.
    #[default]
    Embedded,
    /// In a DynamoDB table; tenants are in it too.
    Dynamodb,
}

impl ConversationStore {
    /// As the chatbot reads it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ConversationStore::Embedded => "embedded",
            ConversationStore::Dynamodb => "dynamodb",
        }
    }
}

/// When people are told, and who.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmSettings {
    /// Share of requests answered with a server error, percent. Stops a deployment too.
    #[serde(deserialize_with = "percent")]
    pub error_percent: u8,
    /// 99th percentile of the time to answer. Stops a deployment too.
    pub latency_p99: Span,
    /// Memory of the service, percent.
    #[serde(deserialize_with = "percent")]
    pub memory_percent: u8,
    /// CPU of the service, percent.
    #[serde(deserialize_with = "percent")]
    pub cpu_percent: u8,
    /// Containers that may end by themselves within ten minutes.
    pub restarts: u32,
    /// Errors that the log may hold of ten minutes.
    pub log_errors: u32,
    /// Who is told.
    pub notify: NotificationSettings,
}

impl Default for AlarmSettings {
    fn default() -> Self {
        AlarmSettings {
            error_percent: 5,
            latency_p99: Span::seconds(2),
            memory_percent: 85,
            cpu_percent: 90,
            restarts: 2,
            log_errors: 20,
            notify: NotificationSettings::default(),
        }
    }
}

/// Assumptions behind the monthly cost.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CostSettings {
    /// Conversations a month.
    pub conversations: u64,
    /// Deployments a day.
    pub deployments_per_day: u32,
    /// Log volume a month, GB.
    pub log_gigabytes: u32,
    /// Images kept in the repository, GB.
    pub image_gigabytes: u32,
    /// Minutes that CodeBuild works for a deployment: build and tests.
    pub build_minutes: u32,
    /// Requests of a conversation.
    pub requests_per_conversation: u32,
    /// Size of a request and its answer together, KB.
    pub kilobytes_per_request: u32,
    /// Data that tasks exchange with AWS services and the internet a month, GB.
    pub nat_gigabytes: u32,
    /// Metrics that Container Insights makes of the cluster, its service and its tasks.
    pub insights_metrics: u32,
}

impl Default for CostSettings {
    fn default() -> Self {
        CostSettings {
            conversations: 1_000_000,
            deployments_per_day: 1,
            log_gigabytes: 5,
            image_gigabytes: 10,
            build_minutes: 6,
            requests_per_conversation: 5,
            kilobytes_per_request: 8,
            nat_gigabytes: 10,
            insights_metrics: 25,
        }
    }
}

/// What must not happen by mistake.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProtectionSettings {
    /// Stacks refuse to be deleted, and so does the load balancer.
    pub termination: bool,
}

fn utc() -> String {
    "UTC".to_owned()
}
