//! Everything that can be known to be wrong before anything is changed, reported at once.

use crate::call::failed;
use crate::clients;
use crate::context::Context;
use crate::error::{Error, Message};
use crate::{change_set, codedeploy, git, live, signature};

/// What a command is about to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Intent<'a> {
    /// Send a commit through the pipeline.
    Release { commit: &'a str },
    /// Let production take the approved version; its digest, if it is known.
    Promote { digest: Option<&'a str> },
}

/// Runs all checks; fails with everything that was found.
pub(crate) async fn run(context: &Context, intent: Intent<'_>) -> Result<(), Error> {
    // Nothing else can be asked when nobody answers.
    let account = identity(context).await?;
    let mut findings = Vec::new();
    if account != context.environment.account() {
        findings.push(Message::new(
            format!("the credentials belong to account {account}"),
            format!("{} is in account {}", context.environment.name, context.environment.account()),
            "use the credentials of that account, or correct `where.account`",
        ));
    }
    match intent {
        Intent::Release { commit } => findings.extend(checkout(context, commit)?),
        Intent::Promote { digest } => findings.extend(signature::check(context, &context.environment, digest).await?),
    }
    findings.extend(stacks(context).await?);
    findings.extend(deployment(context).await?);
    findings.extend(alarms(context).await?);
    if findings.is_empty() { Ok(()) } else { Err(Error::Preflight(findings)) }
}

/// The account that answers.
pub(crate) async fn identity(context: &Context) -> Result<String, Error> {
    let output = context.clients.sts.get_caller_identity().send().await.map_err(failed("ask who we are"));
    match output {
        Ok(output) => Ok(output.account.unwrap_or_default()),
        Err(Error::Unreachable(mut message)) => {
            if let Some(endpoint) = clients::endpoint(&context.project, &context.environment) {
                message.what = format!("the endpoint {endpoint} does not answer");
            }
            Err(Error::Unreachable(message))
        }
        Err(error) => Err(error),
    }
}

fn checkout(context: &Context, commit: &str) -> Result<Vec<Message>, Error> {
    let mut findings = Vec::new();
    let changed = git::changed_paths(context.root())?;
    if !changed.is_empty() {
        let more = if changed.len() > 3 { ", …" } else { "" };
        findings.push(Message::new(
            format!("the checkout has {} change(s) that are not committed", changed.len()),
            format!("{}{more}", changed.iter().take(3).cloned().collect::<Vec<_>>().join(", ")),
            "commit or remove them: only commits are deployed",
        ));
    }
    let branch = &context.project.source.branch;
    if !git::branch_contains(context.root(), branch, commit) {
        findings.push(Message::new(
            format!("commit {} is not on branch {branch}", short(commit)),
            "the pipeline's source is that branch",
            format!("merge it into {branch} first"),
        ));
    }
    Ok(findings)
}

/// A stack that exists must be in a state it can be used in.
async fn stacks(context: &Context) -> Result<Vec<Message>, Error> {
    let names = context.names();
    let mut all = vec![names.registry_stack(), names.network_stack(), names.delivery_stack()];
    all.extend(crate::bootstrap::service_stacks(context));
    let mut findings = Vec::new();
    for name in all {
        let status = change_set::stack(context, &name).await?.and_then(|stack| stack.stack_status);
        let Some(status) = status else { continue };
        let status = status.as_str();
        if status.ends_with("_IN_PROGRESS") || status.ends_with("_FAILED") || status == "ROLLBACK_COMPLETE" {
            findings.push(Message::new(
                format!("stack {name} is {status}"),
                "a stack must be settled before versions move",
                "wait for it, or repair or delete it in CloudFormation",
            ));
        }
    }
    Ok(findings)
}

async fn deployment(context: &Context) -> Result<Vec<Message>, Error> {
    let Some(live) = live::read(context).await? else { return Ok(Vec::new()) };
    let mut findings = Vec::new();
    let recent = match codedeploy::recent(context, 3).await {
        Ok(recent) => recent,
        // A stack that is half created has a service and no application yet; the stack check says so.
        Err(error) if error.aws_code().is_some_and(|code| code.ends_with("DoesNotExistException")) => Vec::new(),
        Err(error) => return Err(error),
    };
    let open = recent.into_iter().find(codedeploy::Deployment::is_open);
    match open {
        // Only the termination wait is left: the next deployment ends it.
        Some(open) if open.standing() == codedeploy::Standing::Shifted => {}
        Some(open) => findings.push(Message::new(
            format!("deployment {} is running ({})", open.id, open.status.as_str()),
            "CodeDeploy moves one version at a time",
            format!("wait for it, or `cargo xtask rollback {}`", context.environment.name),
        )),
        None => findings.extend(live.check_weights().err()),
    }
    Ok(findings)
}

/// An alarm that already fires is ignored by a deployment: refuse to start under one.
async fn alarms(context: &Context) -> Result<Vec<Message>, Error> {
    let names = cloudformation::deployment_alarms(&context.project, &context.environment);
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let output = context
        .clients
        .alarms
        .describe_alarms()
        .set_alarm_names(Some(names))
        .state_value(aws_sdk_cloudwatch::types::StateValue::Alarm)
        .send()
        .await
        .map_err(failed("read the alarms"))?;
    let firing = output.metric_alarms.unwrap_or_default().into_iter().map(|alarm| {
        Message::new(
            format!("alarm {} fires", alarm.alarm_name.unwrap_or_default()),
            alarm.state_reason.unwrap_or_default(),
            "CodeDeploy ignores an alarm that fires already; repair it first",
        )
    });
    Ok(firing.collect())
}

/// The first twelve characters of a commit.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
