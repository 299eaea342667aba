//! What is collected from a running task: its log lines, its CPU and memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::records::{ServiceRecord, Task};
use super::task_definitions::{self, Definition};
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::runtime::limits::{cpu_ticks, resident_bytes};
use crate::runtime::{ProcessId, TaskFolder};
use crate::services::Service;

/// One `PutLogEvents` carries at most this much output.
const CHUNK: u64 = 256 * 1024;
/// How often a task is measured.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// Carries new whole lines of a task's output to CloudWatch Logs. The offset is kept with the task, so that nothing is lost or
/// sent twice over a restart.
pub(super) async fn pump(cloud: &Cloud, task: &Task, folder: &TaskFolder) {
    send(cloud, task, folder, Part::WholeLines).await;
}

/// Carries all that is left of an ended task's output, also a last line without an end.
pub(super) async fn flush(cloud: &Cloud, task: &Task, folder: &TaskFolder) {
    while send(cloud, task, folder, Part::Rest).await {}
    SAMPLES.lock().unwrap_or_else(PoisonError::into_inner).remove(&task.id);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    WholeLines,
    Rest,
}

/// Sends one chunk; true when there was one and it was delivered.
async fn send(cloud: &Cloud, task: &Task, folder: &TaskFolder, part: Part) -> bool {
    // The record may be older than the last pump of this very step.
    let Some(task) = cloud.store().get::<Task>(&task.id) else { return false };
    let Some((text, consumed)) = new_output(folder, task.logged_bytes, part) else { return false };
    let Some((group, stream)) = destination(cloud, &task) else { return false };
    let now = cloud.clock().now().millis();
    let events: Vec<Value> =
        text.lines().filter(|line| !line.is_empty()).map(|line| json!({ "timestamp": now, "message": line })).collect();
    if !events.is_empty() {
        let put = json!({ "logGroupName": group, "logStreamName": stream, "logEvents": events });
        let mut sent = cloud.call(Service::Logs, "PutLogEvents", put.clone()).await;
        if sent.as_ref().is_err_and(|error| error.code == "ResourceNotFoundException") {
            let name = json!({ "logGroupName": group, "logStreamName": stream });
            let _ = cloud.call(Service::Logs, "CreateLogStream", name).await;
            sent = cloud.call(Service::Logs, "PutLogEvents", put).await;
        }
        if let Err(error) = sent {
            tracing::debug!(%error, task = task.id, "log lines could not be delivered");
            return false;
        }
    }
    cloud.store().update::<Task>(&task.id, |task| task.logged_bytes += consumed).is_some()
}

/// Text that ends at a line's end, and how many bytes it took. A line longer than a chunk is cut.
fn new_output(folder: &TaskFolder, from: u64, part: Part) -> Option<(String, u64)> {
    let mut file = File::open(folder.output()).ok()?;
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

/// `awslogs-group` and `<prefix>/<container>/<task>`.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html>
fn destination(cloud: &Cloud, task: &Task) -> Option<(String, String)> {
    let definition = definition(cloud, task)?;
    let container = definition.container();
    let options = &container.log_configuration.as_ref()?.options;
    let prefix = options.get("awslogs-stream-prefix")?;
    Some((options.get("awslogs-group")?.clone(), format!("{prefix}/{}/{}", container.name, task.id)))
}

fn definition(cloud: &Cloud, task: &Task) -> Option<Definition> {
    let record = task_definitions::get(cloud, &task.task_definition).ok()?;
    Definition::of(&record).ok()
}

/// What was measured last, by task. Only a cache: after a restart the next sample starts anew.
static SAMPLES: LazyLock<Mutex<HashMap<String, (Timestamp, u64)>>> = LazyLock::new(Mutex::default);

/// Puts the task's CPU and memory into CloudWatch, as percent of what its task definition reserves.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-metrics.html>
pub(super) async fn measure(cloud: &Cloud, task: &Task, process: &ProcessId) {
    let now = cloud.clock().now();
    let ticks = cpu_ticks(process.pid);
    let previous = {
        let mut samples = SAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
        match samples.get(&task.id) {
            Some((at, _)) if cloud.clock().real_elapsed(*at) < SAMPLE_EVERY => return,
            _ => samples.insert(task.id.clone(), (now, ticks)),
        }
    };
    let (Some((at, before)), Some(definition)) = (previous, definition(cloud, task)) else { return };
    let Some(service) = cloud.store().get::<ServiceRecord>(&task.service) else { return };
    let seconds = cloud.clock().real_elapsed(at).as_secs_f64();
    let cores = ticks.saturating_sub(before) as f64 / 100.0 / seconds.max(0.001);
    let cpu = cores * 1024.0 / definition.cpu_units() as f64 * 100.0;
    let memory = resident_bytes(process.pid) as f64 / definition.memory_bytes() as f64 * 100.0;
    let dimensions = json!([
        { "Name": "ClusterName", "Value": service.cluster },
        { "Name": "ServiceName", "Value": service.name },
    ]);
    let mut by_task = dimensions.clone();
    if let Some(dimensions) = by_task.as_array_mut() {
        dimensions.push(json!({ "Name": "TaskId", "Value": task.id }));
    }
    let mut data = vec![];
    for (name, value) in [("CPUUtilization", cpu), ("MemoryUtilization", memory)] {
        for dimensions in [&dimensions, &by_task] {
            data.push(json!({
                "MetricName": name, "Dimensions": dimensions, "Timestamp": now, "Value": value, "Unit": "Percent",
            }));
        }
    }
    if let Err(error) =
        cloud.call(Service::CloudWatch, "PutMetricData", json!({ "Namespace": "AWS/ECS", "MetricData": data })).await
    {
        tracing::debug!(%error, "a measurement could not be delivered");
    }
}
