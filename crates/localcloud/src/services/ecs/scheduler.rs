//! The scheduler: gives every task set the tasks it wants and takes every task through its life.

mod balancing;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::task::JoinSet;

use self::balancing::{all_healthy, deregister, out_of_service, register, replace_unhealthy};
use super::records::{Health, ServiceRecord, ServiceStatus, StopCode, Task, TaskSet, TaskState, add_event, tasks_of};
use super::task_definitions::{self, Definition};
use super::tasks::request_stop;
use super::{launch, output, task_sets};
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::engine::pause;
use crate::runtime::{Exit, Observation};

/// The reconciler.
pub(crate) async fn run(cloud: Cloud) {
    let mut changes = cloud.store().changes();
    // Dropped with this loop, so that no step goes on beside a restarted one.
    let mut steps = JoinSet::new();
    let mut busy: HashMap<tokio::task::Id, String> = HashMap::new();
    loop {
        while let Some(ended) = steps.try_join_next_with_id() {
            let id = match ended {
                Ok((id, ())) => id,
                Err(error) => {
                    tracing::error!(%error, "a task's step failed");
                    error.id()
                }
            };
            busy.remove(&id);
        }
        // Tasks are independent of one another; a slow image must not hold up a crash elsewhere.
        let busy_tasks: HashSet<&String> = busy.values().collect();
        let mut tasks = cloud.store().find::<Task>(|task| task.state != TaskState::Stopped);
        tasks.retain(|task| !busy_tasks.contains(&task.id));
        for task in tasks {
            let id = task.id.clone();
            busy.insert(steps.spawn(step(cloud.clone(), task)).id(), id);
        }
        forget_old_tasks(&cloud);
        for (_, set) in cloud.store().all::<TaskSet>() {
            reconcile(&cloud, set).await;
        }
        for (key, service) in cloud.store().all::<ServiceRecord>() {
            if service.status == ServiceStatus::Draining {
                finish_deletion(&cloud, &key);
            }
        }
        pause(&mut changes, Duration::from_millis(200)).await;
    }
}

/// Stopped tasks stay visible for an hour, as on AWS, but not more than a hundred of them: a crash loop makes many.
fn forget_old_tasks(cloud: &Cloud) {
    let mut stopped = cloud.store().find::<Task>(|task| task.state == TaskState::Stopped);
    stopped.sort_by_key(|task| std::cmp::Reverse(task.stopped));
    for (place, task) in stopped.iter().enumerate() {
        let age = cloud.clock().real_elapsed(task.stopped.unwrap_or(task.created));
        if place >= 100 || age > Duration::from_secs(3600) {
            let folder = launch::folder(cloud, &task.id);
            if let Err(error) = std::fs::remove_dir_all(folder.path())
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, task = task.id, "a stopped task's folder cannot be removed");
            }
            cloud.store().delete::<Task>(&task.id);
        }
    }
}

/// Launches what is missing, stops what is too much, and notes whether the set is steady.
async fn reconcile(cloud: &Cloud, set: TaskSet) {
    let Some(service) = cloud.store().get::<ServiceRecord>(&set.service) else { return };
    let wanted = set.wanted(&service);
    let tasks = tasks_of(cloud, &set.id);
    let live: Vec<&Task> = tasks.iter().filter(|task| task.is_live()).collect();
    if live.len() < wanted {
        if backoff_over(cloud, &set) {
            for _ in live.len()..wanted {
                add_task(cloud, &service, &set);
            }
            let message = format!("has started {} tasks in {}.", wanted - live.len(), set.id);
            add_event(cloud, &set.service, message);
        }
    } else {
        for task in &live[wanted..] {
            request_stop(cloud, &task.id, StopCode::ServiceSchedulerInitiated, &scaling_reason(&set));
        }
    }
    if set.draining && tasks.is_empty() {
        cloud.store().delete::<TaskSet>(&set.id);
        return;
    }
    let healthy = all_healthy(cloud, &set, &live).await;
    let steady = live.len() == wanted
        && tasks.len() == live.len()
        && live.iter().all(|task| task.state == TaskState::Running)
        && healthy;
    if steady != set.steady {
        let now = cloud.clock().now();
        cloud.store().update::<TaskSet>(&set.id, |set| {
            set.steady = steady;
            set.stability_at = now;
            if steady {
                set.failures = 0;
            }
        });
        if steady {
            add_event(cloud, &set.service, format!("has reached a steady state in {}.", set.id));
        }
    }
}

fn scaling_reason(set: &TaskSet) -> String {
    if set.draining {
        format!("Task set {} was deleted", set.id)
    } else {
        "Scaling activity initiated by the service".to_owned()
    }
}

/// Tasks that keep ending are launched more and more slowly, up to one a minute, as ECS throttles them. Real time: it protects
/// this machine.
fn backoff_over(cloud: &Cloud, set: &TaskSet) -> bool {
    let Some(last) = set.last_launch else { return true };
    let wait = if set.failures == 0 { 0 } else { (1u64 << set.failures.min(6)).min(60) };
    cloud.clock().real_elapsed(last) >= Duration::from_secs(wait)
}

fn add_task(cloud: &Cloud, service: &ServiceRecord, set: &TaskSet) {
    let now = cloud.clock().now();
    let task = Task {
        id: uuid::Uuid::new_v4().simple().to_string(),
        cluster: service.cluster.clone(),
        service: set.service.clone(),
        task_set: set.id.clone(),
        task_definition: set.task_definition.clone(),
        state: TaskState::Provisioning,
        stop_requested: false,
        address: None,
        image_digest: None,
        created: now,
        started: None,
        stopping: None,
        stopped: None,
        stop_code: None,
        stopped_reason: None,
        exit_code: None,
        container_reason: None,
        health: Health::Unknown,
        logged_bytes: 0,
    };
    let _: Result<(), std::convert::Infallible> = cloud.store().write(|tx| {
        tx.put(&task.id, &task);
        if let Some(mut set) = tx.get::<TaskSet>(&set.id) {
            set.last_launch = Some(now);
            tx.put(&set.id.clone(), &set);
        }
        Ok(())
    });
}

fn finish_deletion(cloud: &Cloud, key: &str) {
    let sets = cloud.store().find::<TaskSet>(|set| set.service == key);
    for set in &sets {
        cloud.store().update::<TaskSet>(&set.id, |set| set.draining = true);
    }
    if sets.is_empty() {
        cloud.store().update::<ServiceRecord>(key, |service| service.status = ServiceStatus::Inactive);
    }
}

/// Takes one task one step on.
async fn step(cloud: Cloud, task: Task) {
    let folder = launch::folder(&cloud, &task.id);
    match task.state {
        TaskState::Provisioning if task.stop_requested => stopped(&cloud, &task, None).await,
        TaskState::Provisioning => provision(&cloud, &task).await,
        TaskState::Pending | TaskState::Running => {
            output::pump(&cloud, &task, &folder).await;
            match folder.observe() {
                Observation::Exited(exit) => stopped(&cloud, &task, Some(exit)).await,
                Observation::Lost => lost(&cloud, &task).await,
                Observation::Running(_) if task.state == TaskState::Pending && !task.stop_requested => {
                    register(&cloud, &task).await;
                }
                Observation::Running(process) => {
                    if task.stop_requested {
                        deregister(&cloud, &task).await;
                        set_state(&cloud, &task, TaskState::Deactivating);
                    } else {
                        output::measure(&cloud, &task, &process).await;
                        replace_unhealthy(&cloud, &task).await;
                    }
                }
                Observation::Starting if task.stop_requested => set_state(&cloud, &task, TaskState::Stopping),
                Observation::Starting => {}
            }
        }
        TaskState::Deactivating => {
            output::pump(&cloud, &task, &folder).await;
            match folder.observe() {
                Observation::Exited(exit) => stopped(&cloud, &task, Some(exit)).await,
                Observation::Lost => lost(&cloud, &task).await,
                Observation::Starting | Observation::Running(_) if out_of_service(&cloud, &task).await => {
                    folder.stop();
                    set_state(&cloud, &task, TaskState::Stopping);
                }
                Observation::Starting | Observation::Running(_) => {}
            }
        }
        TaskState::Stopping => {
            output::pump(&cloud, &task, &folder).await;
            match folder.observe() {
                Observation::Exited(exit) => stopped(&cloud, &task, Some(exit)).await,
                Observation::Lost => lost(&cloud, &task).await,
                // Repeated: the shim may have been told before a restart of the endpoint, or not.
                Observation::Starting | Observation::Running(_) => folder.stop(),
            }
        }
        TaskState::Stopped => {}
    }
}

fn set_state(cloud: &Cloud, task: &Task, state: TaskState) {
    cloud.store().update::<Task>(&task.id, |task| task.state = state);
}

async fn provision(cloud: &Cloud, task: &Task) {
    let launched = async {
        let service = cloud
            .store()
            .get::<ServiceRecord>(&task.service)
            .ok_or_else(|| crate::ApiError::internal("the task's service is gone"))?;
        let definition = Definition::of(&task_definitions::get(cloud, &task.task_definition)?)?;
        launch::launch(cloud, &service, &definition, task).await
    };
    match launched.await {
        Ok(launched) => {
            cloud.store().update::<Task>(&task.id, |task| {
                task.state = TaskState::Pending;
                task.address = Some(launched.address);
                task.image_digest = Some(launched.image_digest);
            });
        }
        Err(error) => {
            let reason = format!("{}: {}", error.code, error.message);
            end(cloud, task, StopCode::TaskFailedToStart, reason, None, None);
        }
    }
}

fn note_failure(cloud: &Cloud, task: &Task) {
    cloud.store().update::<TaskSet>(&task.task_set, |set| set.failures = set.failures.saturating_add(1));
}

async fn lost(cloud: &Cloud, task: &Task) {
    let folder = launch::folder(cloud, &task.id);
    folder.end_orphan().await;
    deregister(cloud, task).await;
    output::flush(cloud, task, &folder).await;
    note_failure(cloud, task);
    let reason = "Essential container in task exited: its process and its shim were killed from outside".to_owned();
    end(cloud, task, StopCode::EssentialContainerExited, reason, Some(137), None);
}

/// Records how a task ended.
async fn stopped(cloud: &Cloud, task: &Task, exit: Option<Exit>) {
    deregister(cloud, task).await;
    // What it printed last is what explains its end.
    output::flush(cloud, task, &launch::folder(cloud, &task.id)).await;
    let Some(exit) = exit else {
        return end(
            cloud,
            task,
            StopCode::ServiceSchedulerInitiated,
            "stopped before it was started".to_owned(),
            None,
            None,
        );
    };
    if !task.stop_requested {
        note_failure(cloud, task);
    }
    if let Some(reason) = exit.start_error {
        return end(cloud, task, StopCode::TaskFailedToStart, reason.clone(), None, Some(reason));
    }
    if exit.out_of_memory {
        let reason = "OutOfMemoryError: Container killed due to memory usage".to_owned();
        return end(cloud, task, StopCode::EssentialContainerExited, reason.clone(), Some(exit.code), Some(reason));
    }
    end(
        cloud,
        task,
        StopCode::EssentialContainerExited,
        "Essential container in task exited".to_owned(),
        Some(exit.code),
        None,
    );
}

fn end(
    cloud: &Cloud,
    task: &Task,
    code: StopCode,
    reason: String,
    exit_code: Option<i32>,
    container_reason: Option<String>,
) {
    let now: Timestamp = cloud.clock().now();
    if code == StopCode::TaskFailedToStart {
        note_failure(cloud, task);
    }
    add_event(
        cloud,
        &task.service,
        format!("(task {}) in {} has stopped: {reason}", task.id, task_sets::number(&task.task_set)),
    );
    cloud.store().update::<Task>(&task.id, |task| {
        task.state = TaskState::Stopped;
        task.stopped = Some(now);
        task.stopping.get_or_insert(now);
        task.stop_code.get_or_insert(code);
        task.stopped_reason.get_or_insert(reason);
        task.exit_code = exit_code;
        task.container_reason = container_reason;
    });
}
