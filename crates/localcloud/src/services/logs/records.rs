//! What CloudWatch Logs remembers beside the events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::store::Record;

/// A log group; its key is its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) created_at: Timestamp,
    pub(super) class: Option<String>,
    pub(super) retention_days: Option<u64>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Record for Group {
    const TABLE: &'static str = "logs/group";
}

impl Group {
    pub(super) fn arn(&self, cloud: &Cloud) -> String {
        cloud.arn("logs", format_args!("log-group:{}", self.name))
    }

    /// The time before which events are no longer shown.
    pub(super) fn oldest(&self, cloud: &Cloud) -> i64 {
        let now = cloud.clock().now().millis() as i64;
        self.retention_days.map_or(0, |days| now - days as i64 * 24 * 3600 * 1000)
    }
}

/// A log stream; its key is `group` + newline + `stream`, since neither name can hold one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stream {
    pub(super) group: String,
    pub(super) name: String,
    pub(super) created_at: Timestamp,
}

impl Record for Stream {
    const TABLE: &'static str = "logs/stream";
}

pub(super) fn stream_key(group: &str, stream: &str) -> String {
    format!("{group}\n{stream}")
}

pub(super) fn group(cloud: &Cloud, name: &str) -> Result<Group, ApiError> {
    cloud
        .store()
        .get(name)
        .ok_or_else(|| ApiError::new("ResourceNotFoundException", "The specified log group does not exist."))
}

pub(super) fn stream(cloud: &Cloud, group_name: &str, name: &str) -> Result<Stream, ApiError> {
    group(cloud, group_name)?;
    cloud
        .store()
        .get(&stream_key(group_name, name))
        .ok_or_else(|| ApiError::new("ResourceNotFoundException", "The specified log stream does not exist."))
}

/// The streams of a group by name.
pub(super) fn streams(cloud: &Cloud, group_name: &str, prefix: &str) -> Vec<Stream> {
    cloud.store().find(|stream: &Stream| stream.group == group_name && stream.name.starts_with(prefix))
}

/// A group's name from a name or an ARN, with or without its trailing `:*`.
pub(super) fn group_name(name: Option<String>, identifier: Option<String>) -> Result<String, ApiError> {
    let given = name.or(identifier).ok_or_else(|| {
        ApiError::new("InvalidParameterException", "Either logGroupName or logGroupIdentifier must be given.")
    })?;
    let name = given.split_once(":log-group:").map_or(given.as_str(), |(_, name)| name);
    Ok(name.trim_end_matches(":*").to_owned())
}
