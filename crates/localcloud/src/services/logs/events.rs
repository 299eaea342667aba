//! Putting and reading log events.

use serde::Deserialize;
use serde_json::{Value, json};

use super::file::{self, Event, blocking};
use super::pattern::Pattern;
use super::records::{group, group_name, stream, streams};
use crate::cloud::Cloud;
use crate::error::ApiError;

const HOUR: i64 = 3600 * 1000;
/// AWS's bounds for the age of an event.
const TOO_NEW: i64 = 2 * HOUR;
const TOO_OLD: i64 = 14 * 24 * HOUR;
/// No answer holds more events or bytes of messages than this, as on AWS.
const PAGE_EVENTS: usize = 10_000;
const PAGE_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Put {
    log_group_name: String,
    log_stream_name: String,
    log_events: Vec<InputEvent>,
}

#[derive(Deserialize)]
struct InputEvent {
    timestamp: i64,
    message: String,
}

pub(super) async fn put_log_events(cloud: &Cloud, input: Put) -> Result<Value, ApiError> {
    let log_group = group(cloud, &input.log_group_name)?;
    stream(cloud, &input.log_group_name, &input.log_stream_name)?;
    if !input.log_events.is_sorted_by_key(|event| event.timestamp) {
        return Err(ApiError::new(
            "InvalidParameterException",
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    let now = cloud.clock().now().millis() as i64;
    let count = input.log_events.len();
    // The events are in order, so those that are refused are the first and the last ones.
    let before = |bound: i64| input.log_events.partition_point(|event| event.timestamp < bound);
    let (too_old, expired, accepted_end) =
        (before(now - TOO_OLD), before(log_group.oldest(cloud)), before(now + TOO_NEW));
    let first = too_old.max(expired).min(accepted_end);
    let mut rejected = json!({});
    for (name, index, is_some) in [
        ("tooOldLogEventEndIndex", too_old, too_old > 0),
        ("expiredLogEventEndIndex", expired, expired > 0),
        ("tooNewLogEventStartIndex", accepted_end, accepted_end < count),
    ] {
        if is_some {
            rejected[name] = json!(index);
        }
    }
    let events: Vec<Event> = input
        .log_events
        .into_iter()
        .skip(first)
        .take(accepted_end - first)
        .map(|event| Event { timestamp: event.timestamp, ingested: now, message: event.message })
        .collect();
    let path = file::path(cloud, &input.log_group_name, &input.log_stream_name);
    blocking(move || file::append(&path, &events)).await?;
    let mut output = json!({"nextSequenceToken": format!("{now:056}")});
    if rejected.as_object().is_some_and(|rejected| !rejected.is_empty()) {
        output["rejectedLogEventsInfo"] = rejected;
    }
    Ok(output)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Get {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: String,
    start_time: Option<i64>,
    end_time: Option<i64>,
    next_token: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    start_from_head: bool,
}

/// Where a page begins (`f`) or ends (`b`), by the number of a line.
enum Cursor {
    Forward(u64),
    Backward(u64),
}

impl Cursor {
    fn parse(token: &str) -> Result<Self, ApiError> {
        let number = |text: &str| text.parse().ok();
        let parsed = match token.split_once('/') {
            Some(("f", line)) => number(line).map(Self::Forward),
            Some(("b", line)) => number(line).map(Self::Backward),
            _ => None,
        };
        parsed.ok_or_else(|| ApiError::new("InvalidParameterException", "The specified nextToken is invalid."))
    }
}

pub(super) async fn get_log_events(cloud: &Cloud, input: Get) -> Result<Value, ApiError> {
    let group_name = group_name(input.log_group_name, input.log_group_identifier)?;
    stream(cloud, &group_name, &input.log_stream_name)?;
    let since = input.start_time.unwrap_or(0).max(group(cloud, &group_name)?.oldest(cloud));
    let until = input.end_time.unwrap_or(i64::MAX);
    let cursor = match &input.next_token {
        Some(token) => Cursor::parse(token)?,
        None if input.start_from_head => Cursor::Forward(0),
        None => Cursor::Backward(u64::MAX),
    };
    let limit = input.limit.unwrap_or(PAGE_EVENTS);
    let path = file::path(cloud, &group_name, &input.log_stream_name);
    let (events, lines) = blocking(move || {
        let mut events = vec![];
        let lines = file::read(&path, |number, event| {
            if (since..until).contains(&event.timestamp) {
                events.push((number, event));
            }
        })?;
        Ok((events, lines))
    })
    .await?;
    let (page, from, to): (Vec<Event>, u64, u64) = match cursor {
        Cursor::Forward(start) => {
            let candidates = events.into_iter().filter(|(number, _)| *number >= start);
            let (page, last) = take_page(candidates, limit);
            let end = last.map_or(lines.max(start), |(number, complete)| if complete { lines } else { number + 1 });
            (page, start, end)
        }
        Cursor::Backward(end) => {
            let end = end.min(lines);
            let candidates = events.into_iter().rev().filter(|(number, _)| *number < end);
            let (mut page, last) = take_page(candidates, limit);
            page.reverse();
            let start = last.map_or(end, |(number, _)| number);
            (page, start, end)
        }
    };
    let mut page = page;
    page.sort_by_key(|event| event.timestamp);
    let view =
        |event: Event| json!({"timestamp": event.timestamp, "message": event.message, "ingestionTime": event.ingested});
    Ok(json!({
        "events": page.into_iter().map(view).collect::<Vec<_>>(),
        "nextForwardToken": format!("f/{to:056}"),
        "nextBackwardToken": format!("b/{from:056}"),
    }))
}

/// As many events as a page holds; the last one's number, and whether nothing was left.
fn take_page(candidates: impl Iterator<Item = (u64, Event)>, limit: usize) -> (Vec<Event>, Option<(u64, bool)>) {
    let (mut page, mut bytes, mut last) = (vec![], 0, None);
    let mut candidates = candidates.peekable();
    while let Some((number, event)) = candidates
        .next_if(|(_, event)| page.is_empty() || (page.len() < limit && bytes + event.message.len() <= PAGE_BYTES))
    {
        bytes += event.message.len();
        page.push(event);
        last = Some(number);
    }
    let complete = candidates.peek().is_none();
    (page, last.map(|number| (number, complete)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filter {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
}

/// An event's place in the merged order of all streams; a page goes on after it.
type Place = (i64, String, u64);

pub(super) async fn filter_log_events(cloud: &Cloud, input: Filter) -> Result<Value, ApiError> {
    let group_name = group_name(input.log_group_name, input.log_group_identifier)?;
    let since = input.start_time.unwrap_or(0).max(group(cloud, &group_name)?.oldest(cloud));
    let until = input.end_time.unwrap_or(i64::MAX);
    let names: Vec<String> = match (input.log_stream_names, input.log_stream_name_prefix) {
        (Some(_), Some(_)) => {
            return Err(ApiError::new(
                "InvalidParameterException",
                "logStreamNames and logStreamNamePrefix cannot be given together.",
            ));
        }
        (Some(names), None) => {
            for name in &names {
                stream(cloud, &group_name, name)?;
            }
            names
        }
        (None, prefix) => {
            let prefix = prefix.unwrap_or_default();
            streams(cloud, &group_name, &prefix).into_iter().map(|stream| stream.name).collect()
        }
    };
    let pattern = Pattern::parse(input.filter_pattern.as_deref().unwrap_or(""))?;
    let after: Option<Place> = match &input.next_token {
        None => None,
        Some(token) => Some(
            serde_json::from_str(token)
                .map_err(|_| ApiError::new("InvalidParameterException", "The specified nextToken is invalid."))?,
        ),
    };
    let files: Vec<_> = names.into_iter().map(|name| (file::path(cloud, &group_name, &name), name)).collect();
    let events = blocking(move || {
        let mut events: Vec<(Place, Event)> = vec![];
        for (path, name) in files {
            file::read(&path, |number, event| {
                let wanted = (since..=until).contains(&event.timestamp) && pattern.matches(&event.message);
                if wanted {
                    let place = (event.timestamp, name.clone(), number);
                    if after.as_ref().is_none_or(|after| place > *after) {
                        events.push((place, event));
                    }
                }
            })?;
        }
        events.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(events)
    })
    .await?;

    let limit = input.limit.unwrap_or(PAGE_EVENTS);
    let total = events.len();
    let (mut page, mut bytes, mut last) = (vec![], 0, None);
    for (place, event) in events {
        if !page.is_empty() && (page.len() >= limit || bytes + event.message.len() > PAGE_BYTES) {
            break;
        }
        bytes += event.message.len();
        page.push(json!({
            "logStreamName": place.1,
            "timestamp": event.timestamp,
            "message": event.message,
            "ingestionTime": event.ingested,
            "eventId": event_id(&place),
        }));
        last = Some(place);
    }
    let mut output = json!({"searchedLogStreams": []});
    if page.len() < total {
        output["nextToken"] = json!(serde_json::to_string(&last).unwrap_or_default());
    }
    output["events"] = Value::Array(page);
    Ok(output)
}

/// 56 digits, as AWS's; unique, and the same each time the event is read.
fn event_id((timestamp, stream, number): &Place) -> String {
    let name = stream
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{timestamp:020}{number:016}{name:020}")
}
