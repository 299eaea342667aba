//! CloudWatch Logs: groups and streams in the store, events in append-only files.

mod events;
mod file;
mod pattern;
mod records;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::paging::page;
use crate::services::{Service, parse, unsupported_operation};

use file::blocking;
use records::{Group, Stream, group, group_name, stream, stream_key, streams};

/// The retention times that AWS accepts, in days.
const RETENTIONS: [u64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateLogGroup" => create_log_group(cloud, parse(input)?),
        "DescribeLogGroups" => describe_log_groups(cloud, parse(input)?).await,
        "DeleteLogGroup" => delete_log_group(cloud, parse(input)?).await,
        "PutRetentionPolicy" => put_retention_policy(cloud, parse(input)?),
        "DeleteRetentionPolicy" => delete_retention_policy(cloud, parse(input)?),
        "CreateLogStream" => create_log_stream(cloud, parse(input)?),
        "DescribeLogStreams" => describe_log_streams(cloud, parse(input)?).await,
        "DeleteLogStream" => delete_log_stream(cloud, parse(input)?).await,
        "PutLogEvents" => events::put_log_events(cloud, parse(input)?).await,
        "GetLogEvents" => events::get_log_events(cloud, parse(input)?).await,
        "FilterLogEvents" => events::filter_log_events(cloud, parse(input)?).await,
        "TagResource" => tag_resource(cloud, parse(input)?),
        "UntagResource" => untag_resource(cloud, parse(input)?),
        "ListTagsForResource" => list_tags_for_resource(cloud, parse(input)?),
        _ => Err(unsupported_operation(Service::Logs, operation)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateGroup {
    log_group_name: String,
    log_group_class: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

fn create_log_group(cloud: &Cloud, input: CreateGroup) -> Result<Value, ApiError> {
    let created = Group {
        name: input.log_group_name.clone(),
        created_at: cloud.clock().now(),
        class: input.log_group_class,
        retention_days: None,
        tags: input.tags,
    };
    cloud.store().write(|tx| {
        if tx.get::<Group>(&created.name).is_some() {
            return Err(ApiError::new("ResourceAlreadyExistsException", "The specified log group already exists"));
        }
        tx.put(&created.name, &created);
        Ok(())
    })?;
    Ok(Value::Null)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeGroups {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
}

async fn describe_log_groups(cloud: &Cloud, input: DescribeGroups) -> Result<Value, ApiError> {
    let prefix = input.log_group_name_prefix.unwrap_or_default();
    let pattern = input.log_group_name_pattern.unwrap_or_default();
    let groups = cloud.store().find(|group: &Group| group.name.starts_with(&prefix) && group.name.contains(&pattern));
    let (groups, next) =
        page(groups, input.limit.unwrap_or(50), input.next_token.as_deref(), "InvalidParameterException")?;
    let mut views = vec![];
    for group in groups {
        let paths: Vec<_> =
            streams(cloud, &group.name, "").iter().map(|stream| file::path(cloud, &group.name, &stream.name)).collect();
        let bytes =
            blocking(move || paths.iter().map(|path| Ok(file::summary(path)?.bytes)).sum::<std::io::Result<u64>>());
        let arn = group.arn(cloud);
        views.push(json!({
            "logGroupName": group.name,
            "creationTime": group.created_at.millis(),
            "retentionInDays": group.retention_days,
            "metricFilterCount": 0,
            "arn": format!("{arn}:*"),
            "logGroupArn": arn,
            "storedBytes": bytes.await?,
            "logGroupClass": group.class.as_deref().unwrap_or("STANDARD"),
        }));
    }
    Ok(json!({"logGroups": views, "nextToken": next}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupName {
    log_group_name: String,
}

async fn delete_log_group(cloud: &Cloud, input: GroupName) -> Result<Value, ApiError> {
    group(cloud, &input.log_group_name)?;
    let folder = file::folder(cloud, &input.log_group_name);
    blocking(move || file::remove(&folder)).await?;
    let _: Result<(), std::convert::Infallible> = cloud.store().write(|tx| {
        for (key, stream) in tx.all::<Stream>() {
            if stream.group == input.log_group_name {
                tx.delete::<Stream>(&key);
            }
        }
        tx.delete::<Group>(&input.log_group_name);
        Ok(())
    });
    Ok(Value::Null)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PutRetention {
    log_group_name: String,
    retention_in_days: u64,
}

fn put_retention_policy(cloud: &Cloud, input: PutRetention) -> Result<Value, ApiError> {
    if !RETENTIONS.contains(&input.retention_in_days) {
        return Err(ApiError::new(
            "InvalidParameterException",
            format!("{} is not one of the retention times that CloudWatch Logs accepts", input.retention_in_days),
        ));
    }
    group(cloud, &input.log_group_name)?;
    cloud.store().update::<Group>(&input.log_group_name, |group| group.retention_days = Some(input.retention_in_days));
    Ok(Value::Null)
}

fn delete_retention_policy(cloud: &Cloud, input: GroupName) -> Result<Value, ApiError> {
    group(cloud, &input.log_group_name)?;
    cloud.store().update::<Group>(&input.log_group_name, |group| group.retention_days = None);
    Ok(Value::Null)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StreamName {
    log_group_name: String,
    log_stream_name: String,
}

fn create_log_stream(cloud: &Cloud, input: StreamName) -> Result<Value, ApiError> {
    let StreamName { log_group_name, log_stream_name } = input;
    group(cloud, &log_group_name)?;
    let key = stream_key(&log_group_name, &log_stream_name);
    cloud.store().write(|tx| {
        if tx.get::<Stream>(&key).is_some() {
            return Err(ApiError::new("ResourceAlreadyExistsException", "The specified log stream already exists"));
        }
        let created = Stream { group: log_group_name, name: log_stream_name, created_at: cloud.clock().now() };
        tx.put(&key, &created);
        Ok(())
    })?;
    Ok(Value::Null)
}

async fn delete_log_stream(cloud: &Cloud, input: StreamName) -> Result<Value, ApiError> {
    stream(cloud, &input.log_group_name, &input.log_stream_name)?;
    let path = file::path(cloud, &input.log_group_name, &input.log_stream_name);
    blocking(move || file::remove(&path)).await?;
    cloud.store().delete::<Stream>(&stream_key(&input.log_group_name, &input.log_stream_name));
    Ok(Value::Null)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeStreams {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    #[serde(default)]
    order_by: Order,
    #[serde(default)]
    descending: bool,
    next_token: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize, Default, PartialEq, Eq, Clone, Copy)]
enum Order {
    #[default]
    LogStreamName,
    LastEventTime,
}

async fn describe_log_streams(cloud: &Cloud, input: DescribeStreams) -> Result<Value, ApiError> {
    let name = group_name(input.log_group_name, input.log_group_identifier)?;
    let log_group = group(cloud, &name)?;
    let prefix = input.log_stream_name_prefix.unwrap_or_default();
    if !prefix.is_empty() && input.order_by == Order::LastEventTime {
        return Err(ApiError::new(
            "InvalidParameterException",
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ));
    }
    let found = streams(cloud, &name, &prefix);
    let paths: Vec<_> = found.iter().map(|stream| file::path(cloud, &name, &stream.name)).collect();
    let summaries =
        blocking(move || paths.iter().map(|path| file::summary(path)).collect::<Result<Vec<_>, _>>()).await?;
    let mut found: Vec<_> = found.into_iter().zip(summaries).collect();
    if input.order_by == Order::LastEventTime {
        found.sort_by_key(|(_, summary)| summary.last);
    }
    if input.descending {
        found.reverse();
    }
    let (found, next) =
        page(found, input.limit.unwrap_or(50), input.next_token.as_deref(), "InvalidParameterException")?;
    let view = |(stream, summary): (Stream, file::Summary)| {
        json!({
            "logStreamName": stream.name,
            "creationTime": stream.created_at.millis(),
            "firstEventTimestamp": summary.first,
            "lastEventTimestamp": summary.last,
            "lastIngestionTime": summary.last_ingested,
            "arn": format!("{}:log-stream:{}", log_group.arn(cloud), stream.name),
            "storedBytes": summary.bytes,
        })
    };
    let views: Vec<Value> = found.into_iter().map(view).collect();
    Ok(json!({"logStreams": views, "nextToken": next}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tagging {
    resource_arn: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    tag_keys: Vec<String>,
}

fn tagged(cloud: &Cloud, arn: &str) -> Result<Group, ApiError> {
    group(cloud, &group_name(Some(arn.to_owned()), None)?)
}

fn tag_resource(cloud: &Cloud, input: Tagging) -> Result<Value, ApiError> {
    let name = tagged(cloud, &input.resource_arn)?.name;
    cloud.store().update::<Group>(&name, |group| group.tags.extend(input.tags));
    Ok(Value::Null)
}

fn untag_resource(cloud: &Cloud, input: Tagging) -> Result<Value, ApiError> {
    let name = tagged(cloud, &input.resource_arn)?.name;
    cloud.store().update::<Group>(&name, |group| group.tags.retain(|key, _| !input.tag_keys.contains(key)));
    Ok(Value::Null)
}

fn list_tags_for_resource(cloud: &Cloud, input: Tagging) -> Result<Value, ApiError> {
    Ok(json!({"tags": tagged(cloud, &input.resource_arn)?.tags}))
}
