//! What is collected from a running task: its log lines, its CPU and memory.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::records::{ServiceRecord, Task};
use super::task_definitions::{self, Definition};
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::output::{Destination, Part, carry};
use crate::runtime::limits::{cpu_ticks, resident_bytes};
use crate::runtime::{ProcessId, TaskFolder};
use crate::services::Service;

/// How often a task is measured.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// Carries new whole lines of a task's output to CloudWatch Logs. The offset is kept with the task, so that nothing is lost or
/// sent twice over a restart.
pub(super) async fn pump(cloud: &Cloud, task: &Task, folder: &TaskFolder) {
    send(cloud, task, folder, Part::WholeLines).await;
}

/// Carries all that is left of an ended task's output.
pub(super) async fn flush(cloud: &Cloud, task: &Task, folder: &TaskFolder) {
    while send(cloud, task, folder, Part::Rest).await {}
    SAMPLES.lock().unwrap_or_else(PoisonError::into_inner).remove(&task.id);
}

/// Sends one chunk; true when there was one and it was delivered.
async fn send(cloud: &Cloud, task: &Task, folder: &TaskFolder, part: Part) -> bool {
    // The record may be older than the last pump of this very step.
    let Some(task) = cloud.store().get::<Task>(&task.id) else { return false };
    let Some(destination) = destination(cloud, &task) else { return false };
    let Some(consumed) = carry(cloud, &folder.output(), task.logged_bytes, part, &destination).await else {
        return false;
    };
    cloud.store().update::<Task>(&task.id, |task| task.logged_bytes += consumed).is_some()
}

/// `awslogs-group` and `<prefix>/<container>/<task>`.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html>
fn destination(cloud: &Cloud, task: &Task) -> Option<Destination> {
    let definition = definition(cloud, task)?;
    let container = definition.container();
    let options = &container.log_configuration.as_ref()?.options;
    let prefix = options.get("awslogs-stream-prefix")?;
    Some(Destination {
        group: options.get("awslogs-group")?.clone(),
        stream: format!("{prefix}/{}/{}", container.name, task.id),
        makes_group: false,
    })
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
