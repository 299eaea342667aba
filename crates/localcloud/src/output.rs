//! Carries what programs print from their files to CloudWatch Logs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::Service;

/// One `PutLogEvents` carries at most this much output.
const CHUNK: u64 = 256 * 1024;

/// How much of a file is to be carried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Whole lines: the program still prints.
    WholeLines,
    /// Also a last line without an end: the program has ended.
    Rest,
}

/// Where the lines go.
pub(crate) struct Destination {
    pub(crate) group: String,
    pub(crate) stream: String,
    /// CodeBuild makes its log groups itself, ECS does not.
    pub(crate) makes_group: bool,
}

/// Carries one chunk of what a file holds beyond an offset, and gives the number of bytes that it took; nothing when there is
/// nothing new or it could not be delivered. Who keeps the offset loses nothing and sends nothing twice over a restart.
pub(crate) async fn carry(cloud: &Cloud, file: &Path, from: u64, part: Part, to: &Destination) -> Option<u64> {
    let (text, consumed) = new_output(file, from, part)?;
    let now = cloud.clock().now().millis();
    let events: Vec<Value> =
        text.lines().filter(|line| !line.is_empty()).map(|line| json!({ "timestamp": now, "message": line })).collect();
    if !events.is_empty()
        && let Err(error) = put(cloud, &events, to).await
    {
        tracing::debug!(%error, file = %file.display(), "log lines could not be delivered");
        return None;
    }
    Some(consumed)
}

async fn put(cloud: &Cloud, events: &[Value], to: &Destination) -> Result<Value, ApiError> {
    let put = json!({ "logGroupName": to.group, "logStreamName": to.stream, "logEvents": events });
    match cloud.call(Service::Logs, "PutLogEvents", put.clone()).await {
        Err(error) if error.code == "ResourceNotFoundException" => {
            if to.makes_group {
                let _ = cloud.call(Service::Logs, "CreateLogGroup", json!({ "logGroupName": to.group })).await;
            }
            let name = json!({ "logGroupName": to.group, "logStreamName": to.stream });
            let _ = cloud.call(Service::Logs, "CreateLogStream", name).await;
            cloud.call(Service::Logs, "PutLogEvents", put).await
        }
        answer => answer,
    }
}

/// Text that ends at a line's end, and how many bytes it took. A line longer than a chunk is cut.
fn new_output(file: &Path, from: u64, part: Part) -> Option<(String, u64)> {
    let mut file = File::open(file).ok()?;
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = vec![];
    file.take(CHUNK).read_to_end(&mut bytes).ok()?;
    let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => last + 1,
        None if bytes.len() as u64 == CHUNK || (part == Part::Rest && !bytes.is_empty()) => bytes.len(),
        None => return None,
    };
    bytes.truncate(end);
    Some((String::from_utf8_lossy(&bytes).into_owned(), end as u64))
}
