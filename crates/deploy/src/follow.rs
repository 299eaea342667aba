//! Follows one CodeDeploy deployment by its own id to its verdict, and stops it when it will not succeed.

use std::time::{Duration, Instant};

use environment::Strategy;

use crate::call::{Pace, failed, through_outages};
use crate::cause::{self, Facts};
use crate::codedeploy::{self, Deployment, Standing};
use crate::context::Context;
use crate::error::Error;
use crate::live::Target;
use crate::watchdog::{Limits, Watchdog};
use crate::{live, tasks};

/// How following ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All traffic is on the new version.
    Shifted,
    /// It failed, and no rollback deployment was needed or none succeeded.
    Failed(String),
    /// It failed, and a rollback deployment restored the version before.
    RolledBack(String),
    /// The person at the terminal stopped watching.
    Detached,
}

/// A deployment and how following it ended.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) deployment: Deployment,
    pub(crate) end: End,
}

/// The environment's limits: a canary's own pause is no lack of progress.
pub(crate) fn limits(context: &Context, failed_tasks: usize, without_progress: Duration) -> Limits {
    let pause = match &context.environment.deployment.strategy {
        Strategy::AllAtOnce => Duration::ZERO,
        Strategy::Canary(canary) => canary.duration.as_duration(),
        Strategy::Linear(linear) => linear.every.as_duration(),
    };
    Limits { failed_tasks, without_progress: without_progress.max(pause + Duration::from_secs(300)) }
}

/// Follows a deployment; with limits, stops it when they are exceeded.
pub(crate) async fn deployment(context: &Context, id: &str, limits: Option<Limits>) -> Result<Followed, Error> {
    let mut watchdog = limits.map(|limits| Watchdog::new(limits, Instant::now()));
    let mut pace = Pace::new();
    let mut sick: Vec<Target> = Vec::new();
    let mut stopped: Option<Facts> = None;
    loop {
        let deployment = through_outages(context, async || codedeploy::read(context, id).await).await?;
        let mut changed = show(context, &deployment);
        match deployment.standing() {
            Standing::Shifted => return Ok(Followed { deployment, end: End::Shifted }),
            Standing::Failed => {
                let mut facts = match stopped.take() {
                    Some(facts) => Facts { error: deployment.error.clone(), ..facts },
                    None => cause::find(context, &deployment, None).await,
                };
                if !facts.targets.iter().any(|target| target.state == "unhealthy") && !sick.is_empty() {
                    facts.targets = sick;
                }
                let text = cause::choose(&facts);
                context.progress.line(&format!("failed: {text}"));
                let end = after_failure(context, &deployment, text).await?;
                return Ok(Followed { deployment, end });
            }
            Standing::Running => {
                let targets = green_targets(context, &deployment).await;
                for target in &targets {
                    let reason = target.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
                    changed |= context
                        .progress
                        .state(&format!("target {}", target.target), &format!("{}{reason}", target.state));
                }
                let unhealthy: Vec<_> = targets.into_iter().filter(|target| target.state == "unhealthy").collect();
                if !unhealthy.is_empty() {
                    sick = unhealthy;
                }
                if let (Some(watchdog), None) = (&mut watchdog, &stopped) {
                    let failed = failed_since(context, &deployment).await;
                    for task in &failed {
                        let code = task.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
                        changed |=
                            context.progress.state(&format!("task {}", task.id), &format!("{}{code}", task.reason));
                    }
                    let ids = failed.into_iter().map(|task| task.id);
                    if let Some(reason) = watchdog.look(Instant::now(), &deployment.fingerprint(), ids) {
                        context.progress.line(&reason);
                        // What failed is read before the rollback removes it.
                        stopped = Some(cause::find(context, &deployment, Some(reason)).await);
                        stop(context, id).await?;
                    }
                }
            }
        }
        if changed {
            pace.changed();
        }
        tokio::select! {
            () = pace.next() => {}
            _ = tokio::signal::ctrl_c() => return Ok(Followed { deployment, end: End::Detached }),
        }
    }
}

/// Stops a deployment and has CodeDeploy roll it back.
pub(crate) async fn stop(context: &Context, id: &str) -> Result<(), Error> {
    context
        .clients
        .codedeploy
        .stop_deployment()
        .deployment_id(id)
        .auto_rollback_enabled(true)
        .send()
        .await
        .map_err(failed(format!("stop deployment {id}")))?;
    Ok(())
}

/// Waits for the id of the deployment that rolls this one back. It appears a moment after the failure.
pub(crate) async fn rollback_of(context: &Context, id: &str, patience: Duration) -> Result<Option<String>, Error> {
    let start = Instant::now();
    let mut pace = Pace::new();
    loop {
        let deployment = codedeploy::read(context, id).await?;
        if deployment.rollback.is_some() || start.elapsed() >= patience {
            return Ok(deployment.rollback);
        }
        pace.next().await;
    }
}

async fn after_failure(context: &Context, deployment: &Deployment, cause: String) -> Result<End, Error> {
    let Some(rollback) = rollback_of(context, &deployment.id, Duration::from_secs(15)).await? else {
        return Ok(End::Failed(cause));
    };
    context.progress.line(&format!("rolling back with deployment {rollback}"));
    let followed = Box::pin(self::deployment(context, &rollback, None)).await?;
    Ok(match followed.end {
        End::Shifted => End::RolledBack(cause),
        End::Detached => End::Detached,
        End::Failed(why) | End::RolledBack(why) => {
            End::Failed(format!("{cause}\nand the rollback {rollback} failed too: {why}"))
        }
    })
}

/// Prints what changed; true if anything did.
fn show(context: &Context, deployment: &Deployment) -> bool {
    let progress = &context.progress;
    let name = context.environment.name;
    let mut changed = progress.state(&format!("deployment {}", deployment.id), deployment.status.as_str());
    for event in &deployment.events {
        let seconds = codedeploy::seconds_between(event.started.as_ref(), event.ended.as_ref());
        let seconds = seconds.map(|seconds| format!(" ({seconds:.1}s)")).unwrap_or_default();
        if !matches!(event.status.as_str(), "Pending" | "Skipped") {
            changed |=
                progress.state(&format!("{name} {}", event.name), &format!("{}{seconds}", event.status.as_str()));
        }
    }
    if let (Some(blue), Some(green)) = (&deployment.blue, &deployment.green) {
        let text =
            format!("blue {}% · green {}% ({}/{} tasks)", blue.weight, green.weight, green.running, green.desired);
        changed |= progress.state(&format!("{name} traffic"), &text);
    }
    changed
}

async fn green_targets(context: &Context, deployment: &Deployment) -> Vec<Target> {
    match deployment.green.as_ref().and_then(|side| side.target_group.as_deref()) {
        // The health of the targets explains; the verdict does not depend on it.
        Some(group) => cause::targets_by_name(context, group).await.unwrap_or_default(),
        None => Vec::new(),
    }
}

async fn failed_since(context: &Context, deployment: &Deployment) -> Vec<tasks::FailedTask> {
    let since = deployment.created.as_ref().map_or(f64::MAX, |time| time.as_secs_f64() - 1.0);
    let green = deployment.green.as_ref().map(|side| side.id.as_str()).filter(|id| !id.is_empty());
    tasks::failed_tasks(context, green, since).await.unwrap_or_default()
}

/// Fills in what serves now: every outcome ends with what the load balancer and ECS say, not with what was asked for.
pub(crate) async fn fill_live(context: &Context, outcome: &mut crate::Outcome) -> Result<Option<live::Live>, Error> {
    outcome.seconds = context.progress.seconds();
    let Some(live) = live::read(context).await? else { return Ok(None) };
    outcome.digest = live.digest();
    outcome.url = live.url.clone();
    if let Some(digest) = &outcome.digest {
        outcome.commit = live::commit(context, digest, live.url.as_deref()).await?;
    }
    Ok(Some(live))
}
