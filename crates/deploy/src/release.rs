//! `deploy staging`: a commit through the pipeline, up to the approval.

use std::time::{Duration, Instant};

use aws_sdk_codepipeline::types::{ActionExecutionStatus, PipelineExecutionStatus};

use crate::call::{Pace, through_outages};
use crate::context::Context;
use crate::error::Error;
use crate::follow::{self, End};
use crate::pipeline::{self, Action, Choice};
use crate::preflight::{self, Intent, short};
use crate::report::{Outcome, Phase, Verdict};
use crate::watchdog::Limits;
use crate::{bootstrap, build, git, live};

/// What `deploy` is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) image: Option<&'a str>,
    pub(crate) commit: &'a str,
    pub(crate) limits: Limits,
    pub(crate) pipeline_patience: Duration,
}

/// Deploys a commit to staging.
pub(crate) async fn run(context: &Context, request: Request<'_>) -> Result<Outcome, Error> {
    let environment = context.environment.name.as_str();
    let commit = git::commit(context.root(), request.commit)?;
    preflight::run(context, Intent::Release { commit: &commit }).await?;
    let fresh = bootstrap::create_missing(context, request.image, &commit).await?;

    // The pipeline's creation and a push both start executions by themselves, a moment later.
    let patience = Duration::from_secs(if fresh { 15 } else { 3 });
    let execution = match pipeline::find(context, &commit, patience).await? {
        Choice::Join(id) => {
            context.progress.line(&format!("following execution {id} of {}, which runs already", short(&commit)));
            id
        }
        Choice::Done(id) if serves(context, &commit).await? => {
            let mut outcome = Outcome::new("deploy", environment, Verdict::Unchanged);
            outcome.execution = Some(id);
            follow::fill_live(context, &mut outcome).await?;
            return Ok(outcome);
        }
        Choice::Done(_) | Choice::Undecided | Choice::None => {
            let id = pipeline::start(context, &commit).await?;
            context.progress.line(&format!("started execution {id} of {}", short(&commit)));
            id
        }
    };
    let mut outcome = follow_execution(context, &execution, &request).await?;
    outcome.execution = Some(execution);
    follow::fill_live(context, &mut outcome).await?;
    Ok(outcome)
}

async fn serves(context: &Context, commit: &str) -> Result<bool, Error> {
    let Some(digest) = live::read(context).await?.and_then(|live| live.digest()) else { return Ok(false) };
    let live = live::commit(context, &digest, None).await?;
    Ok(live.is_some_and(|live| commit.starts_with(&live)))
}

async fn follow_execution(context: &Context, id: &str, request: &Request<'_>) -> Result<Outcome, Error> {
    let environment = context.environment.name.as_str();
    let mut outcome = Outcome::new("deploy", environment, Verdict::Succeeded);
    let mut deployment_phases: Vec<Phase> = Vec::new();
    let mut followed: Option<String> = None;
    let mut pace = Pace::new();
    let mut progressed = Instant::now();
    loop {
        let actions = through_outages(context, async || pipeline::actions(context, id).await).await?;
        let mut changed = false;
        for action in &actions {
            changed |= show(context, action).await;
        }
        outcome.phases = actions.iter().map(Action::phase).chain(deployment_phases.iter().cloned()).collect();

        let deploying = actions.iter().find(|action| action.stage == pipeline::STAGING_STAGE);
        if let Some(deployment) = deploying.and_then(|action| action.external.clone())
            && followed.as_ref() != Some(&deployment)
        {
            let result = follow::deployment(context, &deployment, Some(request.limits)).await?;
            deployment_phases = result.deployment.phases(environment);
            outcome.phases.extend(deployment_phases.iter().cloned());
            outcome.deployment = Some(deployment.clone());
            followed = Some(deployment);
            progressed = Instant::now();
            pace.changed();
            match result.end {
                End::Shifted => continue,
                End::Failed(cause) => return Ok(ended(outcome, Verdict::Failed, Some(cause))),
                End::RolledBack(cause) => return Ok(ended(outcome, Verdict::RolledBack, Some(cause))),
                End::Detached => return Ok(detached(outcome)),
            }
        }

        if let Some(end) = standing(context, id, &actions).await? {
            return Ok(match end {
                Stand::Waits(note) => {
                    outcome.next = Some(note);
                    outcome
                }
                Stand::Ended(verdict, cause) => ended(outcome, verdict, cause),
            });
        }
        if changed {
            progressed = Instant::now();
            pace.changed();
        } else if progressed.elapsed() > request.pipeline_patience {
            let cause = format!("no progress for {} s", progressed.elapsed().as_secs());
            return Ok(ended(outcome, Verdict::Timeout, Some(cause)));
        }
        tokio::select! {
            () = pace.next() => {}
            _ = tokio::signal::ctrl_c() => return Ok(detached(outcome)),
        }
    }
}

enum Stand {
    Waits(String),
    Ended(Verdict, Option<String>),
}

/// Whether an execution has come to the approval, or to an end.
async fn standing(context: &Context, id: &str, actions: &[Action]) -> Result<Option<Stand>, Error> {
    const PROMOTE: &str = "cargo xtask promote production";
    if let Some(approval) = actions.iter().find(|action| action.stage == pipeline::APPROVAL_STAGE) {
        return Ok(match approval.status {
            ActionExecutionStatus::InProgress => Some(Stand::Waits(PROMOTE.to_owned())),
            ActionExecutionStatus::Succeeded => Some(Stand::Waits("approved already: cargo xtask status".to_owned())),
            _ => Some(Stand::Ended(Verdict::Rejected, rejection(approval))),
        });
    }
    let (status, _, summary) = pipeline::execution(context, id).await?;
    match status {
        PipelineExecutionStatus::Succeeded => Ok(Some(Stand::Waits("cargo xtask status".to_owned()))),
        PipelineExecutionStatus::InProgress | PipelineExecutionStatus::Stopping => {
            let approval = pipeline::approval(context).await?;
            if approval.inbound.as_deref() != Some(id) {
                return Ok(None);
            }
            let before = approval.execution.unwrap_or_default();
            Ok(Some(Stand::Waits(format!("{PROMOTE} (execution {before} waits for its approval first)"))))
        }
        status => {
            let mut causes = Vec::new();
            if let Some(action) = actions.iter().find(|action| action.status == ActionExecutionStatus::Failed) {
                causes.push(failure(context, action).await);
            }
            if causes.is_empty() {
                causes.push(summary.unwrap_or_else(|| format!("the execution is {}", status.as_str())));
            }
            Ok(Some(Stand::Ended(Verdict::Failed, Some(causes.join("\n")))))
        }
    }
}

/// Why an approval was turned down.
pub(crate) fn rejection(action: &Action) -> Option<String> {
    Some(action.error.clone().unwrap_or_else(|| "rejected without a reason".to_owned()))
}

/// Why an action failed.
pub(crate) async fn failure(context: &Context, action: &Action) -> String {
    let build = match (&action.external, action.provider.as_str()) {
        (Some(id), "CodeBuild") => build::cause(context, id).await,
        _ => None,
    };
    let error = build.or_else(|| action.error.clone()).unwrap_or_else(|| "no reason given".to_owned());
    format!("{}/{} failed: {error}", action.stage, action.name)
}

/// Prints the state of an action, with the phase of its build; true if it changed.
async fn show(context: &Context, action: &Action) -> bool {
    let mut text = action.status.as_str().to_owned();
    if action.status == ActionExecutionStatus::InProgress
        && action.provider == "CodeBuild"
        && let Some(id) = &action.external
        && let Ok(Some(build)) = build::read(context, id).await
    {
        text = format!("{text}, {}", build::stand(&build));
    }
    let name =
        if action.stage == action.name { action.stage.clone() } else { format!("{}/{}", action.stage, action.name) };
    context.progress.state(&name, &text)
}

pub(crate) fn ended(mut outcome: Outcome, verdict: Verdict, cause: Option<String>) -> Outcome {
    outcome.verdict = verdict;
    outcome.cause = cause;
    outcome.next = match verdict {
        Verdict::Failed if outcome.deployment.is_none() => Some("commit a repair, then repeat the command".to_owned()),
        Verdict::Failed | Verdict::RolledBack => Some(format!("cargo xtask logs {}", outcome.environment)),
        Verdict::Timeout => Some(format!("cargo xtask status {}", outcome.environment)),
        _ => outcome.next,
    };
    outcome
}

pub(crate) fn detached(mut outcome: Outcome) -> Outcome {
    outcome.verdict = Verdict::Detached;
    outcome.next = Some(format!(
        "it goes on without you: follow it again with the same command, or `cargo xtask rollback {}`",
        outcome.environment
    ));
    outcome
}
