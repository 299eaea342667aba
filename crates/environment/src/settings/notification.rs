//! Who is told.

use serde::Deserialize;

/// Who is told, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotificationSettings {
    /// E-mail addresses; each confirms once.
    pub emails: Vec<String>,
    /// A Slack channel, by way of AWS Chatbot.
    pub slack: Option<SlackSettings>,
    /// Name of the secret in Secrets Manager that holds PagerDuty's integration URL (`https://...`). Woken only when
    /// customers notice.
    pub pagerduty: Option<String>,
}

/// A Slack channel. Its workspace was authorized once in the console of AWS Chatbot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackSettings {
    /// Id of the workspace: `T0123ABCD`.
    pub workspace: String,
    /// Id of the channel: `C0123ABCD`. Every stack that tells people takes a channel of its own.
    pub channel: String,
}

impl NotificationSettings {
    /// Whether nobody is told.
    pub fn is_empty(&self) -> bool {
        self.emails.is_empty() && self.slack.is_none() && self.pagerduty.is_none()
    }
}
