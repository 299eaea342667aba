//! Log groups.

use environment::Span;

use crate::resources::logs::LogGroup;
use crate::template::Resource;
use crate::value::Intrinsic;

/// A log group that keeps its logs for a while, and goes with its stack.
pub(crate) fn group(name: impl Into<String>, retention: Span, key: Option<Intrinsic>) -> Resource<LogGroup> {
    let days = i64::try_from(retention.as_seconds() / 86_400).unwrap_or(i64::MAX);
    let group = LogGroup {
        log_group_name: Some(name.into().into()),
        retention_in_days: Some(days.into()),
        kms_key_id: key.map(Into::into),
        ..LogGroup::default()
    };
    Resource::new(group).disposable()
}
