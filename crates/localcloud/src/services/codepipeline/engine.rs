//! Moves executions through their stages.
//!
//! A stage is locked by the execution that is in it, an approval that waits included. Executions enter a stage in the order of
//! their starts (QUEUED), or the newest that waits replaces older ones (SUPERSEDED).

use std::time::{Duration, Instant};

use super::actions::{self, Progress};
use super::declaration::{Declaration, ExecutionMode, Pipeline, Stage};
use super::execution::{
    ActionError, ActionRun, ActionStatus, Execution, ExecutionStatus, StageRun, StageStatus, of_pipeline,
};
use super::push;
use crate::cloud::Cloud;
use crate::engine::pause;

/// How often git is asked for the heads of branches: a process each time, and the store changes far more often than they do.
const LOOK: Duration = Duration::from_secs(1);

/// The reconciler.
pub(crate) async fn run(cloud: Cloud) {
    let mut changes = cloud.store().changes();
    let mut looked: Option<Instant> = None;
    loop {
        let look = looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        if look {
            looked = Some(Instant::now());
        }
        for (name, pipeline) in cloud.store().all::<Pipeline>() {
            match Declaration::parse(&pipeline.declaration) {
                Ok(declaration) => {
                    if look {
                        push::watch(&cloud, &name, &pipeline, &declaration);
                    }
                    step(&cloud, &name, &pipeline, &declaration).await;
                }
                Err(error) => tracing::error!(pipeline = name, %error, "a stored pipeline cannot be read"),
            }
        }
        pause(&mut changes, Duration::from_millis(500)).await;
    }
}

async fn step(cloud: &Cloud, name: &str, pipeline: &Pipeline, declaration: &Declaration) {
    admit(cloud, pipeline, declaration);
    for execution in of_pipeline(cloud, name) {
        if execution.status.is_open() {
            advance(cloud, declaration, execution).await;
        }
    }
}

/// Lets executions enter the stages that are free.
fn admit(cloud: &Cloud, pipeline: &Pipeline, declaration: &Declaration) {
    let executions = of_pipeline(cloud, &declaration.name);
    for (index, stage) in declaration.stages.iter().enumerate() {
        let waiting: Vec<&Execution> = executions.iter().filter(|execution| execution.waits_for(index)).collect();
        let taken = executions.iter().any(|execution| execution.holds(index));
        if declaration.execution_mode == ExecutionMode::Superseded
            && let Some((newest, older)) = waiting.split_last()
            && index > 0
        {
            for execution in older {
                let summary = format!("superseded by {}", newest.id);
                finish(cloud, &execution.id, ExecutionStatus::Superseded, Some(summary));
            }
        }
        let next = match declaration.execution_mode {
            ExecutionMode::Superseded if index > 0 => waiting.last(),
            _ => waiting.first(),
        };
        if let Some(next) = next
            && !taken
            && !pipeline.disabled_transitions.contains_key(&stage.name)
        {
            let now = cloud.clock().now();
            cloud.store().update::<Execution>(&next.id, |execution| {
                if execution.waits_for(index) {
                    let run = &mut execution.stages[index];
                    run.status = Some(StageStatus::InProgress);
                    run.entered = Some(now);
                    execution.updated = now;
                }
            });
        }
    }
}

fn finish(cloud: &Cloud, id: &str, status: ExecutionStatus, summary: Option<String>) {
    let now = cloud.clock().now();
    cloud.store().update::<Execution>(id, |execution| {
        if execution.status.is_open() {
            execution.status = status;
            execution.summary = summary.or(execution.summary.take());
            execution.updated = now;
        }
    });
}

/// Takes every step that an execution's current stage can take now.
async fn advance(cloud: &Cloud, declaration: &Declaration, execution: Execution) {
    let position = execution.position;
    let (Some(stage), Some(run)) = (declaration.stages.get(position), execution.stages.get(position)) else {
        return finish(
            cloud,
            &execution.id,
            ExecutionStatus::Failed,
            Some("the pipeline was changed under the execution".to_owned()),
        );
    };
    if run.status.is_none() {
        if execution.status == ExecutionStatus::Stopping {
            finish(cloud, &execution.id, ExecutionStatus::Stopped, None);
        }
        return;
    }
    for action in &stage.actions {
        let Some(current) = run.actions.iter().find(|run| run.name == action.name) else { continue };
        let may_start =
            execution.status == ExecutionStatus::InProgress && earlier_succeeded(stage, run, action.run_order);
        let progress = match current.status {
            None if may_start => actions::start(cloud, &execution, action, current).await,
            Some(ActionStatus::InProgress) => actions::follow(cloud, &execution, action, current).await,
            _ => continue,
        };
        record(cloud, &execution.id, position, current, progress);
    }
    settle(cloud, &execution.id, position);
}

/// True when every action of a lower run order has succeeded.
fn earlier_succeeded(stage: &Stage, run: &StageRun, order: u32) -> bool {
    stage.actions.iter().filter(|action| action.run_order < order).all(|action| {
        run.actions.iter().any(|run| run.name == action.name && run.status == Some(ActionStatus::Succeeded))
    })
}

/// Writes down how far an action has come, unless somebody else has changed it meanwhile (an approval, an abandonment).
fn record(cloud: &Cloud, id: &str, position: usize, seen: &ActionRun, progress: Progress) {
    let now = cloud.clock().now();
    let changed = !matches!(progress, Progress::Unchanged);
    if !changed {
        return;
    }
    cloud.store().update::<Execution>(id, |execution| {
        let Some(run) =
            execution.stages.get_mut(position).and_then(|stage| stage.actions.iter_mut().find(|run| run.id == seen.id))
        else {
            return;
        };
        if run.status != seen.status {
            return;
        }
        run.started.get_or_insert(now);
        run.updated = Some(now);
        execution.updated = now;
        match progress {
            Progress::Unchanged => {}
            Progress::Running { external_id, token, summary } => {
                run.status = Some(ActionStatus::InProgress);
                run.external_id = external_id.or(run.external_id.take());
                run.token = token.or(run.token.take());
                run.external_summary = summary.or(run.external_summary.take());
            }
            Progress::Failed { code, message, external_id } => {
                run.status = Some(ActionStatus::Failed);
                run.external_id = external_id.or(run.external_id.take());
                run.error = Some(ActionError { code, message });
            }
            Progress::Succeeded(success) => {
                run.status = Some(ActionStatus::Succeeded);
                run.summary = success.summary.or(run.summary.take());
                run.external_id = success.external_id.or(run.external_id.take());
                run.outputs = success.outputs;
                execution.variables.extend(success.variables);
                execution.artifacts.extend(success.artifacts);
                execution.revisions.extend(success.revision);
            }
        }
    });
}

/// Ends the stage when its actions have ended, and moves the execution on.
fn settle(cloud: &Cloud, id: &str, position: usize) {
    let now = cloud.clock().now();
    cloud.store().update::<Execution>(id, |execution| {
        let stopping = execution.status == ExecutionStatus::Stopping;
        let last = position + 1 == execution.stages.len();
        if !execution.status.is_open() || execution.position != position {
            return;
        }
        let Some(stage) = execution.stages.get_mut(position) else { return };
        let statuses: Vec<Option<ActionStatus>> = stage.actions.iter().map(|action| action.status).collect();
        if statuses.contains(&Some(ActionStatus::InProgress)) {
            return;
        }
        if statuses.contains(&Some(ActionStatus::Failed)) {
            stage.status = Some(StageStatus::Failed);
            execution.status = if stopping { ExecutionStatus::Stopped } else { ExecutionStatus::Failed };
            let failed = stage.actions.iter().find_map(|action| Some((&action.name, action.error.as_ref()?)));
            execution.summary = failed.map(|(action, error)| format!("{}/{action}: {}", stage.name, error.message));
        } else if statuses.iter().all(|status| *status == Some(ActionStatus::Succeeded)) {
            stage.status = Some(StageStatus::Succeeded);
            if last {
                execution.status = ExecutionStatus::Succeeded;
            } else {
                execution.position += 1;
            }
        } else if stopping {
            stage.status = Some(StageStatus::Stopped);
            execution.status = ExecutionStatus::Stopped;
        } else {
            return;
        }
        execution.updated = now;
    });
}
