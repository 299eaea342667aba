//! `rollback`: back to the last successful version.

use std::time::Duration;

use aws_sdk_codedeploy::types::{
    AlarmConfiguration, AppSpecContent, DeploymentStatus, RevisionLocation, RevisionLocationType,
};
use aws_sdk_ecs::types::TaskDefinition;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::call::failed;
use crate::codedeploy::{self, Deployment};
use crate::context::Context;
use crate::error::{Error, Message};
use crate::follow::{self, End};
use crate::live;
use crate::preflight;
use crate::release::{detached, ended};
use crate::report::{Outcome, Verdict};

const DESCRIPTION: &str = "rollback by `deploy rollback`";
/// How far back the history is read.
const HISTORY: usize = 30;

/// Brings the previous version back.
pub(crate) async fn run(context: &Context) -> Result<Outcome, Error> {
    preflight::identity(context).await?;
    let recent = codedeploy::recent(context, HISTORY).await?;
    let (id, expected) = match recent.iter().find(|deployment| deployment.is_open()) {
        // Undoing a rollback would bring back what was rolled back.
        Some(open) if is_rollback(open) => {
            context.progress.line(&format!("following rollback {}, which runs already", open.id));
            (open.id.clone(), None)
        }
        Some(open) => (undo(context, open).await?, None),
        None => redeploy(context, &recent).await?,
    };
    let mut outcome = Outcome::new("rollback", context.environment.name.as_str(), Verdict::Succeeded);
    let followed = follow::deployment(context, &id, None).await?;
    outcome.phases = followed.deployment.phases(context.environment.name.as_str());
    outcome.deployment = Some(id);
    let mut outcome = match followed.end {
        End::Shifted => outcome,
        End::Failed(cause) | End::RolledBack(cause) => ended(outcome, Verdict::Failed, Some(cause)),
        End::Detached => detached(outcome),
    };
    let live = follow::fill_live(context, &mut outcome).await?;
    if outcome.verdict == Verdict::Succeeded {
        let mut problems = Vec::new();
        problems.extend(live.as_ref().and_then(|live| live.check_weights().err()).map(|message| message.to_string()));
        if expected.is_some() && outcome.digest != expected {
            problems.push(format!(
                "{} serves, {} should",
                outcome.digest.as_deref().unwrap_or("nothing"),
                expected.as_deref().unwrap_or_default()
            ));
        }
        if !problems.is_empty() {
            let cause = format!("the rollback succeeded, and yet: {}", problems.join("; "));
            outcome = ended(outcome, Verdict::Failed, Some(cause));
        }
    }
    Ok(outcome)
}

/// A deployment that runs, or keeps the old version warm: CodeDeploy itself turns it back.
async fn undo(context: &Context, open: &Deployment) -> Result<String, Error> {
    if open.rollback.is_none() {
        context.progress.line(&format!("stopping deployment {} with rollback", open.id));
        match follow::stop(context, &open.id).await {
            // It ended between the look and the stop.
            Err(error) if error.aws_code() == Some("DeploymentAlreadyCompletedException") => {
                return Err(Error::unexpected(
                    format!("deployment {} ended just now", open.id),
                    "it cannot be stopped any more",
                    "repeat the command: it will deploy the previous version",
                ));
            }
            other => other?,
        }
    }
    let rollback = follow::rollback_of(context, &open.id, Duration::from_secs(30)).await?;
    rollback.ok_or_else(|| {
        Error::unexpected(
            format!("deployment {} was stopped, but no rollback began", open.id),
            "CodeDeploy names no rollback deployment",
            "look at `cargo xtask status`, then repeat the command",
        )
    })
}

/// Everything is finished: deploys the last successful version before the live one, at once and without alarms.
async fn redeploy(context: &Context, recent: &[Deployment]) -> Result<(String, Option<String>), Error> {
    let Some(live_arn) = live::read(context).await?.and_then(|live| live.task_definition) else {
        return Err(Error::Preflight(vec![Message::new(
            format!("{} serves nothing yet", context.environment.name),
            "there is no service or no task definition",
            "`cargo xtask deploy staging` creates it",
        )]));
    };
    let mut past = Vec::new();
    if let Some(first) = first_task_definition(context).await? {
        past.push(Past { task_definition: first, rollback: false });
    }
    past.extend(recent.iter().rev().filter(|d| d.status == DeploymentStatus::Succeeded).filter_map(|deployment| {
        let task_definition = codedeploy::task_definition(deployment.revision.as_ref()?)?;
        Some(Past { task_definition, rollback: is_rollback(deployment) })
    }));
    let live = live::task_definition(context, &live_arn).await?;
    let container = context.names().service();
    for arn in candidates(&past, &live_arn) {
        let Ok(definition) = live::task_definition(context, &arn).await else { continue };
        if same_version(&definition, &live) {
            continue;
        }
        let digest = live::image_of(&definition, container).as_deref().and_then(live::digest_of);
        context.progress.line(&format!("deploying {arn}"));
        return Ok((create(context, &arn).await?, digest));
    }
    Err(Error::Preflight(vec![Message::new(
        "there is no earlier version to go back to",
        format!("{live_arn} is the first that was deployed successfully"),
        "deploy a commit that repairs the problem",
    )]))
}

/// A successful deployment of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Past {
    task_definition: String,
    rollback: bool,
}

fn is_rollback(deployment: &Deployment) -> bool {
    deployment.description.as_deref() == Some(DESCRIPTION)
        || deployment.creator.as_deref() == Some("codeDeployRollback")
}

/// Versions to go back to, best first. A rollback takes its version off the stack of versions, so that a second
/// rollback goes further back and never returns to what was rolled back.
fn candidates(past: &[Past], live: &str) -> Vec<String> {
    let mut stack: Vec<&str> = Vec::new();
    for deployment in past {
        let version = deployment.task_definition.as_str();
        match stack.iter().rposition(|other| *other == version) {
            Some(position) if deployment.rollback => stack.truncate(position + 1),
            // Back to before what we can see: everything we see was rolled back.
            None if deployment.rollback => stack = vec![version],
            _ => stack.push(version),
        }
    }
    if let Some(position) = stack.iter().rposition(|version| *version == live) {
        stack.truncate(position);
    }
    let mut versions = Vec::new();
    for version in stack.into_iter().rev() {
        if version != live && !versions.iter().any(|other| other == version) {
            versions.push(version.to_owned());
        }
    }
    versions
}

/// The same image and settings under two revision numbers are one version.
fn same_version(a: &TaskDefinition, b: &TaskDefinition) -> bool {
    a.container_definitions == b.container_definitions
        && a.cpu == b.cpu
        && a.memory == b.memory
        && a.volumes == b.volumes
}

/// What served before the first deployment: the task definition of the stack.
async fn first_task_definition(context: &Context) -> Result<Option<String>, Error> {
    let output = context
        .clients
        .cloudformation
        .describe_stack_resources()
        .stack_name(context.names().service_stack())
        .logical_resource_id("FirstTaskDefinition")
        .send()
        .await
        .map_err(failed("read the first task definition"));
    match output {
        Ok(output) => {
            let resource = output.stack_resources.unwrap_or_default().into_iter().next();
            Ok(resource.and_then(|resource| resource.physical_resource_id))
        }
        // Without it there is one version less to go back to.
        Err(error) if error.aws_code() == Some("ValidationError") => Ok(None),
        Err(error) => Err(error),
    }
}

async fn create(context: &Context, task_definition: &str) -> Result<String, Error> {
    let names = context.names();
    let appspec = json!({
        "version": 0.0,
        "Resources": [{"TargetService": {
            "Type": "AWS::ECS::Service",
            "Properties": {
                "TaskDefinition": task_definition,
                "LoadBalancerInfo": {
                    "ContainerName": names.service(),
                    "ContainerPort": environment::Project::CONTAINER_PORT,
                },
            },
        }}],
    })
    .to_string();
    let hash: String = Sha256::digest(appspec.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let content = AppSpecContent::builder().content(appspec).sha256(hash).build();
    let revision = RevisionLocation::builder()
        .revision_type(RevisionLocationType::AppSpecContent)
        .app_spec_content(content)
        .build();
    let mut request = context
        .clients
        .codedeploy
        .create_deployment()
        .application_name(names.environment_wide())
        .deployment_group_name(names.service())
        .deployment_config_name("CodeDeployDefault.ECSAllAtOnce")
        .description(DESCRIPTION)
        .revision(revision);
    if !cloudformation::deployment_alarms(&context.project, &context.environment).is_empty() {
        // The alarm that calls for this rollback must not stop it.
        let off = AlarmConfiguration::builder().enabled(false).ignore_poll_alarm_failure(true).build();
        request = request.override_alarm_configuration(off);
    }
    let output = request.send().await.map_err(failed("create the rollback deployment"))?;
    output
        .deployment_id
        .ok_or_else(|| Error::unexpected("the rollback deployment has no id", "AWS answered without it", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(versions: &[&str]) -> Vec<Past> {
        let one = |version: &&str| match version.strip_prefix('<') {
            Some(version) => Past { task_definition: version.to_owned(), rollback: true },
            None => Past { task_definition: (*version).to_owned(), rollback: false },
        };
        versions.iter().map(one).collect()
    }

    #[test]
    fn the_version_before_the_live_one_comes_back() {
        assert_eq!(candidates(&past(&["1", "2", "3"]), "3"), ["2", "1"]);
    }

    #[test]
    fn a_second_rollback_goes_further_back_and_not_to_what_was_rolled_back() {
        assert_eq!(candidates(&past(&["1", "2", "3", "<2"]), "2"), ["1"]);
        assert_eq!(candidates(&past(&["1", "2", "3", "<2", "<1"]), "1"), Vec::<String>::new());
        assert_eq!(candidates(&past(&["1", "2", "<1", "4"]), "4"), ["1"]);
    }

    #[test]
    fn the_first_version_has_nothing_before_it() {
        assert_eq!(candidates(&past(&["1"]), "1"), Vec::<String>::new());
        assert_eq!(candidates(&[], "1"), Vec::<String>::new());
    }

    #[test]
    fn a_rollback_to_a_version_out_of_sight_still_counts() {
        assert_eq!(candidates(&past(&["2", "<1"]), "1"), Vec::<String>::new());
        assert_eq!(candidates(&past(&["2", "<1", "3"]), "3"), ["1"]);
    }
}
