//! Moves deployments through their phases.
//!
//! A step does one thing to the outside (a weight, a task set) and then records it. A kill between the two repeats the
//! thing after the restart, so each is written to be repeatable.

mod cause;
mod install;
mod restore;
#[cfg(test)]
mod tests;
mod traffic;

use std::convert::Infallible;
use std::time::Duration;

use serde_json::{Value, json};

use super::records::{
    Creator, Deployment, EventStatus, Failure, Lifecycle, Phase, RollbackEvent, RollbackInfo, Verdict,
};
use super::{appspec, configs, deployments};
use crate::cloud::Cloud;
use crate::engine::pause;
use crate::error::ApiError;
use crate::services::Service;

/// The reconciler.
pub(crate) async fn run(cloud: Cloud) {
    let mut changes = cloud.store().changes();
    loop {
        for deployment in cloud.store().find::<Deployment>(|deployment| !deployment.phase.ended()) {
            step(&cloud, &deployment).await;
        }
        pause(&mut changes, Duration::from_millis(200)).await;
    }
}

/// Calls ECS. Through here only, so that unit tests can put a model of it in the place of the real one.
pub(super) async fn ecs(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    #[cfg(test)]
    if let Some(answer) = tests::ecs(cloud, operation, &input).await {
        return answer;
    }
    cloud.call(Service::Ecs, operation, input).await
}

/// A failure of a call that a deployment cannot do without.
fn failure(code: &str, what: &str, error: &ApiError) -> Failure {
    Failure { code: code.to_owned(), message: format!("{what}: {error}") }
}

/// One step of one deployment.
async fn step(cloud: &Cloud, deployment: &Deployment) {
    match &deployment.phase {
        Phase::Ended(_) => {}
        Phase::Restore { attempts } => restore::step(cloud, deployment, *attempts).await,
        Phase::CleanUp { verdict } => restore::clean_up(cloud, deployment, *verdict).await,
        Phase::Terminate => terminate(cloud, deployment).await,
        _ => {
            if let Some(stop) = &deployment.stop {
                let mut message = "The deployment was stopped by a request".to_owned();
                if let Some(cause) = cause_before_traffic(cloud, deployment).await {
                    message = format!("{message}. {cause}");
                }
                let failure = Failure { code: "MANUAL_STOP".to_owned(), message };
                return fail(cloud, deployment, failure, Verdict::Stopped, stop.rollback);
            }
            if let Some(failure) = alarm(cloud, deployment).await {
                let rollback = deployment.settings.rollback_on.contains(&RollbackEvent::StopOnAlarm);
                return fail(cloud, deployment, failure, Verdict::Stopped, rollback);
            }
            if let Err((failure, verdict)) = forward(cloud, deployment).await {
                let rollback = deployment.settings.rollback_on.contains(&RollbackEvent::Failure);
                fail(cloud, deployment, failure, verdict, rollback);
            }
        }
    }
}

/// What keeps green from being steady, as long as that is what the deployment waits for.
async fn cause_before_traffic(cloud: &Cloud, deployment: &Deployment) -> Option<String> {
    if !matches!(deployment.phase, Phase::Install { .. }) {
        return None;
    }
    // Between a stopped task and the next one's failure there is nothing to see: what was seen last is still true.
    cause::find(cloud, deployment).await.or_else(|| deployment.notice.clone())
}

async fn alarm(cloud: &Cloud, deployment: &Deployment) -> Option<Failure> {
    let settings = &deployment.settings;
    if settings.alarms.is_empty() {
        return None;
    }
    let code = "ALARM_ACTIVE".to_owned();
    let asked = json!({"AlarmNames": settings.alarms, "StateValue": "ALARM"});
    match cloud.call(Service::CloudWatch, "DescribeAlarms", asked).await {
        Ok(answer) => {
            let alarms = answer["MetricAlarms"].as_array().into_iter().flatten();
            let active: Vec<&str> = alarms
                .filter(|alarm| alarm["StateValue"] == "ALARM")
                .filter_map(|alarm| alarm["AlarmName"].as_str())
                .filter(|name| settings.alarms.iter().any(|alarm| alarm == name))
                .collect();
            (!active.is_empty()).then(|| Failure {
                code,
                message: format!("One or more alarms have been activated: {}", active.join(", ")),
            })
        }
        Err(_) if settings.ignore_alarm_poll_failure => None,
        Err(error) => Some(Failure { code, message: format!("The alarms cannot be read: {error}") }),
    }
}

type Stopped = (Failure, Verdict);

fn failed(failure: Failure) -> Stopped {
    (failure, Verdict::Failed)
}

async fn forward(cloud: &Cloud, deployment: &Deployment) -> Result<(), Stopped> {
    let clock = cloud.clock();
    match &deployment.phase {
        Phase::Created => install::begin(cloud, deployment).await.map_err(failed),
        Phase::Install { since } => install::step(cloud, deployment, *since).await.map_err(failed),
        Phase::TestTraffic => test_traffic(cloud, deployment).await.map_err(failed),
        Phase::Ready { since } => {
            let wait = Duration::from_secs(deployment.settings.ready_wait.unwrap_or_default() * 60);
            if deployment.continue_traffic {
                change(cloud, deployment, |it| it.phase = Phase::Shift { step: 0, applied: None });
            } else if clock.elapsed(*since) >= wait {
                let message = format!("Nobody continued the deployment within {} minutes", wait.as_secs() / 60);
                return Err((Failure { code: "TIMEOUT".to_owned(), message }, Verdict::Stopped));
            }
            Ok(())
        }
        Phase::Shift { step, applied } => {
            let this = deployment.routing.step(*step);
            match applied {
                None => {
                    traffic::production(cloud, deployment, this.green).await.map_err(failed)?;
                    let now = clock.now();
                    change(cloud, deployment, |it| {
                        it.end(Lifecycle::BeforeAllowTraffic, EventStatus::Succeeded, now);
                        it.begin(Lifecycle::AllowTraffic, now);
                        it.green_weight = this.green;
                        it.phase = Phase::Shift { step: *step, applied: Some(now) };
                    });
                }
                Some(_) if this.green == 100 => change(cloud, deployment, |it| it.phase = Phase::Promote),
                Some(since) if clock.elapsed(*since) >= this.then_wait => {
                    change(cloud, deployment, |it| it.phase = Phase::Shift { step: step + 1, applied: None });
                }
                Some(_) => {}
            }
            Ok(())
        }
        Phase::Promote => {
            restore::make_primary(cloud, deployment, Color::Green).await.map_err(|error| {
                failed(failure("ECS_UPDATE_ERROR", "The new task set cannot be made primary", &error))
            })?;
            let now = clock.now();
            change(cloud, deployment, |it| {
                it.end(Lifecycle::AllowTraffic, EventStatus::Succeeded, now);
                it.end(Lifecycle::AfterAllowTraffic, EventStatus::Succeeded, now);
                it.phase = Phase::Wait { since: now };
            });
            Ok(())
        }
        Phase::Wait { since } => {
            let wait = Duration::from_secs(deployment.settings.termination_wait * 60);
            if deployment.continue_termination || clock.elapsed(*since) >= wait {
                // Nothing may have asked for a stop between the check above and this.
                change(cloud, deployment, |it| {
                    if it.stop.is_none() {
                        it.phase = Phase::Terminate;
                    }
                });
            }
            Ok(())
        }
        Phase::Terminate | Phase::CleanUp { .. } | Phase::Restore { .. } | Phase::Ended(_) => Ok(()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Color {
    Blue,
    Green,
}

async fn test_traffic(cloud: &Cloud, deployment: &Deployment) -> Result<(), Failure> {
    let moved = traffic::test(cloud, deployment, Color::Green).await?;
    let now = cloud.clock().now();
    let status = if moved { EventStatus::Succeeded } else { EventStatus::Skipped };
    change(cloud, deployment, |it| {
        it.test_traffic_moved = moved;
        it.end(Lifecycle::AllowTestTraffic, status, now);
        it.end(Lifecycle::AfterAllowTestTraffic, status, now);
        it.phase = match it.settings.ready_wait {
            Some(_) => Phase::Ready { since: now },
            None => Phase::Shift { step: 0, applied: None },
        };
    });
    Ok(())
}

async fn terminate(cloud: &Cloud, deployment: &Deployment) {
    if let Err(error) = restore::delete(cloud, deployment, Color::Blue).await {
        tracing::warn!(deployment = deployment.id, %error, "the original task set cannot be deleted yet");
        let notice = Some(format!("The original task set cannot be deleted yet: {error}"));
        if deployment.notice != notice {
            change(cloud, deployment, |it| it.notice = notice);
        }
        return;
    }
    let now = cloud.clock().now();
    change(cloud, deployment, |it| {
        it.notice = None;
        it.completed = Some(now);
        it.phase = Phase::Ended(Verdict::Succeeded);
    });
}

/// Ends a deployment that goes no further: with a rollback deployment, or by removing what serves nobody.
fn fail(cloud: &Cloud, deployment: &Deployment, failure: Failure, verdict: Verdict, rollback: bool) {
    tracing::info!(
        deployment = deployment.id,
        code = failure.code,
        message = failure.message,
        rollback,
        "a deployment ends early"
    );
    let now = cloud.clock().now();
    let rollback_deployment = match &deployment.sides {
        Some(sides) if rollback => {
            let back_to = deployment.previous_revision.clone().or_else(|| {
                let definition = sides.blue.task_definition.as_deref()?;
                Some(appspec::revision_of(
                    definition,
                    &deployment.appspec.container_name,
                    deployment.appspec.container_port,
                ))
            });
            let revision = back_to.unwrap_or_else(|| deployment.revision.clone());
            let mut events = Deployment::pending_events();
            for event in &mut events {
                if event.lifecycle_event_name != Lifecycle::AllowTraffic {
                    event.status = EventStatus::Skipped;
                }
            }
            let mut record = Deployment {
                id: deployments::deployment_id(),
                description: Some(format!("Rollback of the deployment {}", deployment.id)),
                config: configs::DEFAULT.to_owned(),
                routing: configs::Routing::AllAtOnce,
                creator: Creator::Rollback,
                appspec: appspec::read(&revision).unwrap_or_else(|_| deployment.appspec.clone()),
                previous_revision: Some(deployment.revision.clone()),
                revision,
                created: now,
                started: Some(now),
                completed: None,
                phase: Phase::Restore { attempts: 0 },
                events,
                stop: None,
                error: None,
                rollback: RollbackInfo {
                    rollback_triggering_deployment_id: Some(deployment.id.clone()),
                    rollback_message: Some(format!("{}: {}", failure.code, failure.message)),
                    rollback_deployment_id: None,
                },
                notice: None,
                ..deployment.clone()
            };
            record.begin(Lifecycle::AllowTraffic, now);
            Some(record)
        }
        _ => None,
    };
    let _: Result<(), Infallible> = cloud.store().write(|tx| {
        let Some(mut it) = tx.get::<Deployment>(&deployment.id) else { return Ok(()) };
        it.started.get_or_insert(now);
        it.abandon_events(&failure, now);
        it.error = Some(failure);
        it.notice = None;
        it.phase = match &rollback_deployment {
            Some(record) => {
                it.rollback.rollback_deployment_id = Some(record.id.clone());
                it.rollback.rollback_message =
                    Some(format!("The deployment {} rolls back to the original task set", record.id));
                tx.put(&record.id, record);
                Phase::Ended(verdict)
            }
            // Green has production traffic, and nobody asked to take it back.
            None if it.sides.is_none() || it.green_weight > 0 => Phase::Ended(verdict),
            None => Phase::CleanUp { verdict },
        };
        if it.phase.ended() {
            it.completed = Some(now);
        }
        tx.put(&it.id, &it);
        Ok(())
    });
}

/// Records a change, unless the deployment has moved on or been deleted meanwhile.
fn change(cloud: &Cloud, deployment: &Deployment, change: impl FnOnce(&mut Deployment)) {
    let _: Result<(), Infallible> = cloud.store().write(|tx| {
        if let Some(mut it) = tx.get::<Deployment>(&deployment.id)
            && it.phase == deployment.phase
        {
            change(&mut it);
            tx.put(&it.id, &it);
        }
        Ok(())
    });
}
