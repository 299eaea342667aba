//! `promote` and `reject`: the approval, and production's deployment up to its verdict.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use aws_sdk_codepipeline::types::{ActionExecutionStatus, ApprovalStatus, PipelineExecutionStatus};

use crate::call::{Pace, through_outages};
use crate::context::Context;
use crate::error::{Error, Message};
use crate::follow::{self, End};
use crate::pipeline::{self, Approval};
use crate::preflight::{self, Intent, short};
use crate::release::{detached, ended, failure, rejection};
use crate::report::{Outcome, Verdict};
use crate::watchdog::Limits;
use crate::{codedeploy, git, image, live};

/// What `promote` is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) yes: bool,
    pub(crate) limits: Limits,
    pub(crate) pipeline_patience: Duration,
}

/// What waits for approval.
#[derive(Debug, Default)]
struct Candidate {
    execution: String,
    commit: Option<String>,
    digest: Option<String>,
    task_definition: Option<String>,
}

/// Approves what waits and follows production.
pub(crate) async fn run(context: &Context, request: Request) -> Result<Outcome, Error> {
    preflight::identity(context).await?;
    let approval = waiting(context).await?;
    let candidate = candidate(context, &approval).await?;
    preflight::run(context, Intent::Promote { digest: candidate.digest.as_deref() }).await?;
    let text = describe(context, &candidate).await?;
    let _ = writeln!(std::io::stderr(), "{text}");
    if !request.yes {
        confirm(&candidate)?;
    }
    // Whoever looked at the description approved this execution and no other.
    let approval = waiting(context).await?;
    if approval.execution.as_deref() != Some(candidate.execution.as_str()) {
        return Err(Error::unexpected(
            "another execution waits for approval now",
            format!("{} was described", candidate.execution),
            "repeat the command and read what it would change",
        ));
    }
    if let Some(digest) = &candidate.digest {
        image::name_for(context, context.environment.name, digest).await?;
    }
    let summary = format!("approved by {} with `deploy promote`", person());
    pipeline::answer(context, &approval, ApprovalStatus::Approved, &summary).await?;
    context.progress.line(&format!("approved execution {}", candidate.execution));
    let outcome = follow_production(context, &candidate.execution, &request).await?;
    verify(context, outcome, &candidate).await
}

/// Turns down what waits.
pub(crate) async fn reject(context: &Context, reason: Option<&str>) -> Result<Outcome, Error> {
    preflight::identity(context).await?;
    let approval = waiting(context).await?;
    let summary = match reason {
        Some(reason) => format!("rejected by {}: {reason}", person()),
        None => format!("rejected by {}", person()),
    };
    pipeline::answer(context, &approval, ApprovalStatus::Rejected, &summary).await?;
    let mut outcome = Outcome::new("reject", context.environment.name.as_str(), Verdict::Rejected);
    outcome.cause = Some(summary);
    outcome.execution = approval.execution;
    follow::fill_live(context, &mut outcome).await?;
    Ok(outcome)
}

async fn waiting(context: &Context) -> Result<Approval, Error> {
    let approval = match pipeline::approval(context).await {
        Err(error) if error.aws_code() == Some("PipelineNotFoundException") => Approval::default(),
        other => other?,
    };
    if approval.token.is_some() && approval.execution.is_some() {
        return Ok(approval);
    }
    Err(Error::Preflight(vec![Message::new(
        "nothing waits for approval",
        "no execution of the pipeline has passed staging and its tests",
        "`cargo xtask deploy staging` first; `cargo xtask status` shows what runs",
    )]))
}

/// Exactly what passed staging: from the deployment that staging made in this execution.
async fn candidate(context: &Context, approval: &Approval) -> Result<Candidate, Error> {
    let execution = approval.execution.clone().unwrap_or_default();
    let (_, commit, _) = pipeline::execution(context, &execution).await?;
    let mut candidate = Candidate { execution, commit, ..Candidate::default() };
    let actions = pipeline::actions(context, &candidate.execution).await?;
    let staging = actions.into_iter().find(|action| action.stage == pipeline::STAGING_STAGE);
    if let Some(id) = staging.and_then(|action| action.external) {
        candidate.task_definition = revision(context, &id).await?;
        if let Some(arn) = &candidate.task_definition {
            let definition = live::task_definition(context, arn).await?;
            let image = live::image_of(&definition, context.names().service());
            candidate.digest = image.as_deref().and_then(live::digest_of);
        }
    }
    Ok(candidate)
}

/// The task definition of a deployment of any environment.
async fn revision(context: &Context, id: &str) -> Result<Option<String>, Error> {
    let output = context
        .clients
        .codedeploy
        .get_deployment()
        .deployment_id(id)
        .send()
        .await
        .map_err(crate::call::failed(format!("read deployment {id}")))?;
    Ok(output.deployment_info.and_then(|info| info.revision).as_ref().and_then(codedeploy::task_definition))
}

async fn describe(context: &Context, candidate: &Candidate) -> Result<String, Error> {
    let live = live::read(context).await?;
    let old_digest = live.as_ref().and_then(live::Live::digest);
    let old_commit = match &old_digest {
        Some(digest) => live::commit(context, digest, live.as_ref().and_then(|live| live.url.as_deref())).await?,
        None => None,
    };
    let unknown = || "unknown".to_owned();
    let mut text = format!("promote to {}\n", context.environment.name);
    let rows = [
        ("commit", &old_commit, &candidate.commit),
        ("digest", &old_digest, &candidate.digest),
        ("task", &live.as_ref().and_then(|live| live.task_definition.clone()), &candidate.task_definition),
    ];
    for (name, old, new) in rows {
        let (old, new) = (old.clone().unwrap_or_else(unknown), new.clone().unwrap_or_else(unknown));
        match name {
            // Each environment has a task definition of its own; production's is registered by the deployment.
            "task" => {
                text.push_str(&format!("  {name:<7} {old} -> the environment's next revision, with this image\n"));
            }
            _ if old == new => text.push_str(&format!("  {name:<7} {new} (unchanged)\n")),
            _ => text.push_str(&format!("  {name:<7} {old} -> {new}\n")),
        }
    }
    if let (Some(old), Some(new)) = (&old_commit, &candidate.commit)
        && let Some(commits) = git::between(context.root(), old, new)
        && !commits.is_empty()
    {
        text.push_str(&format!("  {} commit(s):\n", commits.len()));
        commits.iter().take(20).for_each(|commit| text.push_str(&format!("    {commit}\n")));
        if commits.len() > 20 {
            text.push_str("    …\n");
        }
    }
    Ok(text)
}

fn confirm(candidate: &Candidate) -> Result<(), Error> {
    let refused = |why: &str| {
        Error::NotApproved(Message::new(format!("execution {} is not approved", candidate.execution), why, "add --yes"))
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused("there is no terminal to ask at"));
    }
    let _ = write!(std::io::stderr(), "Promote this? [y/N] ");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused("you said no")) }
}

fn person() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "somebody".to_owned())
}

/// From the approval to production's verdict.
async fn follow_production(context: &Context, id: &str, request: &Request) -> Result<Outcome, Error> {
    let environment = context.environment.name.as_str();
    let mut outcome = Outcome::new("promote", environment, Verdict::Succeeded);
    outcome.execution = Some(id.to_owned());
    let mut pace = Pace::new();
    let mut progressed = Instant::now();
    loop {
        let actions = through_outages(context, async || pipeline::actions(context, id).await).await?;
        let late = |stage: &str| stage == pipeline::APPROVAL_STAGE || stage == pipeline::PRODUCTION_STAGE;
        let mut changed = false;
        for action in actions.iter().filter(|action| late(&action.stage)) {
            let name = format!("{}/{}", action.stage, action.name);
            changed |= context.progress.state(&name, action.status.as_str());
        }
        outcome.phases = actions.iter().filter(|a| late(&a.stage)).map(pipeline::Action::phase).collect();

        let approval = actions.iter().find(|action| action.stage == pipeline::APPROVAL_STAGE);
        if let Some(rejected) = approval.filter(|action| action.status == ActionExecutionStatus::Failed) {
            return Ok(ended(outcome, Verdict::Rejected, rejection(rejected)));
        }
        let deploying = actions.iter().find(|action| action.stage == pipeline::PRODUCTION_STAGE);
        if let Some(deployment) = deploying.and_then(|action| action.external.clone()) {
            let result = follow::deployment(context, &deployment, Some(request.limits)).await?;
            outcome.phases.extend(result.deployment.phases(environment));
            outcome.deployment = Some(deployment);
            return Ok(match result.end {
                End::Shifted => {
                    if result.deployment.is_open() {
                        context
                            .progress
                            .line("the old version is kept warm for an instant rollback; not waiting for it");
                    }
                    outcome
                }
                End::Failed(cause) => ended(outcome, Verdict::Failed, Some(cause)),
                End::RolledBack(cause) => ended(outcome, Verdict::RolledBack, Some(cause)),
                End::Detached => detached(outcome),
            });
        }
        if let Some(failed) = deploying.filter(|action| action.status == ActionExecutionStatus::Failed) {
            let cause = failure(context, failed).await;
            return Ok(ended(outcome, Verdict::Failed, Some(cause)));
        }
        let (status, _, summary) = pipeline::execution(context, id).await?;
        if !matches!(status, PipelineExecutionStatus::InProgress | PipelineExecutionStatus::Succeeded) {
            let cause = summary.unwrap_or_else(|| format!("the execution is {}", status.as_str()));
            return Ok(ended(outcome, Verdict::Failed, Some(cause)));
        }
        if deploying.is_none() {
            changed |= say_who_is_before_us(context, id).await?;
        }
        if changed {
            progressed = Instant::now();
            pace.changed();
        } else if progressed.elapsed() > request.pipeline_patience {
            return Ok(ended(outcome, Verdict::Timeout, Some("production's stage did not begin".to_owned())));
        }
        tokio::select! {
            () = pace.next() => {}
            _ = tokio::signal::ctrl_c() => return Ok(detached(outcome)),
        }
    }
}

async fn say_who_is_before_us(context: &Context, id: &str) -> Result<bool, Error> {
    let production = pipeline::approval(context).await?.production;
    Ok(match production.filter(|execution| execution != id) {
        Some(other) => {
            context.progress.state(pipeline::PRODUCTION_STAGE, &format!("locked by execution {other}; waiting for it"))
        }
        None => false,
    })
}

/// What serves afterwards is asked of the load balancer, not concluded.
async fn verify(context: &Context, mut outcome: Outcome, candidate: &Candidate) -> Result<Outcome, Error> {
    let live = follow::fill_live(context, &mut outcome).await?;
    if outcome.verdict != Verdict::Succeeded {
        return Ok(outcome);
    }
    let mut problems = Vec::new();
    if let Some(live) = &live {
        problems.extend(live.check_weights().err().map(|message| message.to_string()));
    }
    if candidate.digest.is_some() && outcome.digest != candidate.digest {
        problems.push(format!(
            "{} serves, {} was approved",
            outcome.digest.as_deref().unwrap_or("nothing"),
            candidate.digest.as_deref().unwrap_or_default()
        ));
    }
    if let (Some(url), Some(wanted)) = (&outcome.url, &candidate.commit)
        && let Some(answers) = crate::probe::commit(url).await
        && !wanted.starts_with(&answers)
    {
        problems.push(format!("{url} answers with commit {}", short(&answers)));
    }
    if problems.is_empty() {
        outcome.commit = candidate.commit.clone().or(outcome.commit);
        return Ok(outcome);
    }
    let cause = format!("the deployment succeeded, and yet: {}", problems.join("; "));
    Ok(ended(outcome, Verdict::Failed, Some(cause)))
}
