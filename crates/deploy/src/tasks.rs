//! Tasks that stopped, and the last lines they printed.

use aws_sdk_ecs::types::{DesiredStatus, Task, TaskStopCode};

use crate::call::failed;
use crate::context::Context;
use crate::error::Error;

/// A task that ended on its own, or was ended because it was not healthy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FailedTask {
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) exit_code: Option<i32>,
    /// Epoch seconds.
    pub(crate) stopped_at: f64,
}

/// Tasks of a task set that failed, oldest first. Without a task set: all of the service since `since`.
pub(crate) async fn failed_tasks(
    context: &Context,
    task_set: Option<&str>,
    since: f64,
) -> Result<Vec<FailedTask>, Error> {
    let names = context.names();
    let list = context
        .clients
        .ecs
        .list_tasks()
        .cluster(names.environment_wide())
        .service_name(names.service())
        .desired_status(DesiredStatus::Stopped)
        .send()
        .await
        .map_err(failed("list the stopped tasks"))?;
    let arns = list.task_arns.unwrap_or_default();
    if arns.is_empty() {
        return Ok(Vec::new());
    }
    let described = context
        .clients
        .ecs
        .describe_tasks()
        .cluster(names.environment_wide())
        .set_tasks(Some(arns.into_iter().take(100).collect()))
        .send()
        .await
        .map_err(failed("read the stopped tasks"))?;
    let mut tasks: Vec<_> = described
        .tasks
        .unwrap_or_default()
        .iter()
        .filter(|task| task_set.is_none_or(|set| task.started_by.as_deref() == Some(set)))
        .filter_map(|task| failed_task(task, names.service()))
        .filter(|task| task.stopped_at >= since)
        .collect();
    tasks.sort_by(|a, b| a.stopped_at.total_cmp(&b.stopped_at));
    Ok(tasks)
}

/// A stopped task as a failure; nothing if a deployment or scaling ended it as planned.
fn failed_task(task: &Task, container: &str) -> Option<FailedTask> {
    let containers = task.containers.as_deref().unwrap_or_default();
    let own = containers.iter().find(|c| c.name.as_deref() == Some(container)).or_else(|| containers.first());
    let exit_code = own.and_then(|container| container.exit_code);
    let stopped = task.stopped_reason.clone().unwrap_or_default();
    let unhealthy = stopped.contains("health check");
    let planned = match &task.stop_code {
        Some(TaskStopCode::ServiceSchedulerInitiated | TaskStopCode::UserInitiated) => !unhealthy,
        _ => false,
    };
    if planned {
        return None;
    }
    let detail = own.and_then(|container| container.reason.clone()).filter(|reason| !stopped.contains(reason.as_str()));
    let reason = [Some(stopped), detail].into_iter().flatten().filter(|text| !text.is_empty()).collect::<Vec<_>>();
    Some(FailedTask {
        id: task.task_arn.as_deref().and_then(|arn| arn.rsplit('/').next()).unwrap_or("unknown").to_owned(),
        reason: reason.join(": "),
        exit_code,
        stopped_at: task.stopped_at.as_ref().map_or(f64::MAX, aws_sdk_sts::primitives::DateTime::as_secs_f64),
    })
}

/// How many lines of a failing task are shown.
const LINES: usize = 15;

/// The last lines a task printed. No log is no error: the task may never have started.
pub(crate) async fn last_lines(context: &Context, task_id: &str) -> Vec<String> {
    let names = context.names();
    // The stream is prefix/container/task; only the prefix is a setting.
    let stream = format!("{0}/{0}/{task_id}", names.service());
    lines(context, &names.log_group(), &stream, LINES).await
}

/// The last lines of a log stream; none if it cannot be read.
pub(crate) async fn lines(context: &Context, group: &str, stream: &str, count: usize) -> Vec<String> {
    let limit = i32::try_from(count).unwrap_or(i32::MAX);
    let output = context
        .clients
        .logs
        .get_log_events()
        .log_group_name(group)
        .log_stream_name(stream)
        .start_from_head(false)
        .limit(limit)
        .send()
        .await;
    let events = output.ok().and_then(|output| output.events).unwrap_or_default();
    events.into_iter().filter_map(|event| event.message).map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::Container;

    fn task(code: TaskStopCode, reason: &str, exit: Option<i32>) -> Task {
        let container = Container::builder().name("chatbot").set_exit_code(exit).build();
        Task::builder()
            .task_arn("arn:aws:ecs:r:0:task/smartassist-staging/abc")
            .stop_code(code)
            .stopped_reason(reason)
            .containers(container)
            .build()
    }

    #[test]
    fn planned_ends_are_no_failures() {
        let scaled =
            task(TaskStopCode::ServiceSchedulerInitiated, "Scaling activity initiated by (deployment x)", Some(0));
        assert_eq!(failed_task(&scaled, "chatbot"), None);
    }

    #[test]
    fn crashes_and_failed_health_checks_are() {
        let crashed = task(TaskStopCode::EssentialContainerExited, "Essential container in task exited", Some(1));
        assert_eq!(failed_task(&crashed, "chatbot").unwrap().exit_code, Some(1));
        let reason = "Task failed ELB health checks in (target-group arn:x)";
        let sick = task(TaskStopCode::ServiceSchedulerInitiated, reason, Some(143));
        assert_eq!(failed_task(&sick, "chatbot").unwrap().reason, reason);
    }
}
