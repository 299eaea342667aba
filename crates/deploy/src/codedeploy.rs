//! One CodeDeploy deployment, read as a whole. Verdicts come from a deployment's own id.

use aws_sdk_codedeploy::types::{
    DeploymentStatus, DeploymentTarget, LifecycleEventStatus, RevisionLocation, TargetLabel,
};
use aws_sdk_sts::primitives::DateTime;

use crate::call::failed;
use crate::context::Context;
use crate::error::Error;
use crate::report::Phase;

/// A deployment at a moment.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    pub(crate) id: String,
    pub(crate) status: DeploymentStatus,
    pub(crate) description: Option<String>,
    pub(crate) creator: Option<String>,
    pub(crate) error: Option<String>,
    /// The deployment that rolls this one back.
    pub(crate) rollback: Option<String>,
    pub(crate) events: Vec<Event>,
    pub(crate) blue: Option<TaskSet>,
    pub(crate) green: Option<TaskSet>,
    pub(crate) revision: Option<RevisionLocation>,
    pub(crate) created: Option<DateTime>,
    pub(crate) completed: Option<DateTime>,
}

/// A lifecycle event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) status: LifecycleEventStatus,
    pub(crate) diagnostics: Option<String>,
    pub(crate) started: Option<DateTime>,
    pub(crate) ended: Option<DateTime>,
}

/// One side of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskSet {
    pub(crate) id: String,
    pub(crate) weight: f64,
    pub(crate) desired: i64,
    pub(crate) running: i64,
    pub(crate) target_group: Option<String>,
}

/// Where a deployment stands, for whoever follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not decided yet.
    Running,
    /// All traffic is on the new version and the hook after it passed; only the termination wait may be left.
    Shifted,
    /// Failed or stopped.
    Failed,
}

impl Deployment {
    /// Where it stands. Unknown statuses count as running: only success is success.
    pub(crate) fn standing(&self) -> Standing {
        match self.status {
            DeploymentStatus::Succeeded => Standing::Shifted,
            DeploymentStatus::Failed | DeploymentStatus::Stopped => Standing::Failed,
            _ if self.rollback.is_some() => Standing::Failed,
            _ if self.all_traffic_moved() => Standing::Shifted,
            _ => Standing::Running,
        }
    }

    fn all_traffic_moved(&self) -> bool {
        let after = self.events.iter().find(|event| event.name == "AfterAllowTraffic");
        after.is_some_and(|event| event.status == LifecycleEventStatus::Succeeded)
            && self.green.as_ref().is_some_and(|green| green.weight >= 100.0)
    }

    /// True while it may still change what serves, the termination wait included.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.status, DeploymentStatus::Succeeded | DeploymentStatus::Failed | DeploymentStatus::Stopped)
    }

    /// The first lifecycle event that failed.
    pub(crate) fn failed_event(&self) -> Option<&Event> {
        self.events.iter().find(|event| event.status == LifecycleEventStatus::Failed)
    }

    /// Lifecycle events as phases.
    pub(crate) fn phases(&self, prefix: &str) -> Vec<Phase> {
        let phase = |event: &Event| Phase {
            name: format!("{prefix}/{}", event.name),
            status: event.status.as_str().to_owned(),
            seconds: seconds_between(event.started.as_ref(), event.ended.as_ref()),
        };
        self.events.iter().map(phase).collect()
    }

    /// What changes when something happens, for the watchdog.
    pub(crate) fn fingerprint(&self) -> String {
        let sides: Vec<_> = [&self.blue, &self.green]
            .into_iter()
            .flatten()
            .map(|side| format!("{}:{}:{}", side.id, side.weight, side.running))
            .collect();
        let events: Vec<_> =
            self.events.iter().map(|event| format!("{}={}", event.name, event.status.as_str())).collect();
        format!("{} {} {}", self.status.as_str(), sides.join(" "), events.join(" "))
    }
}

/// Seconds between two times, if both are known.
pub(crate) fn seconds_between(start: Option<&DateTime>, end: Option<&DateTime>) -> Option<f64> {
    Some((end?.as_secs_f64() - start?.as_secs_f64()).max(0.0))
}

/// Reads a deployment with its target.
pub(crate) async fn read(context: &Context, id: &str) -> Result<Deployment, Error> {
    let mut deployment = read_info(context, id).await?;
    read_target(context, &mut deployment).await?;
    Ok(deployment)
}

async fn read_info(context: &Context, id: &str) -> Result<Deployment, Error> {
    let client = &context.clients.codedeploy;
    let output =
        client.get_deployment().deployment_id(id).send().await.map_err(failed(format!("read deployment {id}")))?;
    let info = output
        .deployment_info
        .ok_or_else(|| Error::unexpected(format!("deployment {id} is empty"), "AWS answered without it", ""))?;
    Ok(Deployment {
        id: id.to_owned(),
        status: info.status.unwrap_or(DeploymentStatus::Created),
        description: info.description.filter(|text| !text.is_empty()),
        creator: info.creator.map(|creator| creator.as_str().to_owned()),
        error: info.error_information.and_then(|error| {
            let code = error.code.map(|code| code.as_str().to_owned()).unwrap_or_default();
            let text = error.message.unwrap_or_default();
            (!code.is_empty() || !text.is_empty()).then(|| format!("{text} ({code})"))
        }),
        rollback: info.rollback_info.and_then(|rollback| rollback.rollback_deployment_id).filter(|id| !id.is_empty()),
        events: Vec::new(),
        blue: None,
        green: None,
        revision: info.revision,
        created: info.create_time,
        completed: info.complete_time,
    })
}

async fn read_target(context: &Context, deployment: &mut Deployment) -> Result<(), Error> {
    if let Some(target) = target(context, &deployment.id).await? {
        for event in target.lifecycle_events.unwrap_or_default() {
            let diagnostics = event.diagnostics.and_then(|diagnostics| {
                let parts = [diagnostics.message, diagnostics.log_tail];
                let parts: Vec<_> = parts.into_iter().flatten().filter(|text| !text.is_empty()).collect();
                (!parts.is_empty()).then(|| parts.join("\n"))
            });
            deployment.events.push(Event {
                name: event.lifecycle_event_name.unwrap_or_default(),
                status: event.status.unwrap_or(LifecycleEventStatus::Pending),
                diagnostics,
                started: event.start_time,
                ended: event.end_time,
            });
        }
        for set in target.task_sets_info.unwrap_or_default() {
            let side = TaskSet {
                id: set.identifer.unwrap_or_default(),
                weight: set.traffic_weight,
                desired: set.desired_count,
                running: set.running_count,
                target_group: set.target_group.and_then(|group| group.name),
            };
            match set.task_set_label {
                Some(TargetLabel::Green) => deployment.green = Some(side),
                _ => deployment.blue = Some(side),
            }
        }
    }
    Ok(())
}

/// The deployment's ECS target. It has none before it has begun.
async fn target(context: &Context, id: &str) -> Result<Option<aws_sdk_codedeploy::types::EcsTarget>, Error> {
    let names = context.names();
    let target = format!("{}:{}", names.environment_wide(), names.service());
    let output = context.clients.codedeploy.get_deployment_target().deployment_id(id).target_id(target).send().await;
    match output.map_err(failed(format!("read the target of deployment {id}"))) {
        Ok(output) => Ok(output.deployment_target.and_then(|target: DeploymentTarget| target.ecs_target)),
        Err(error)
            if matches!(
                error.aws_code(),
                Some("DeploymentTargetDoesNotExistException" | "DeploymentNotStartedException")
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The newest deployments of the environment, newest first. Lifecycle events and task sets of open ones only.
pub(crate) async fn recent(context: &Context, limit: usize) -> Result<Vec<Deployment>, Error> {
    let names = context.names();
    let mut ids = Vec::new();
    let mut next = None;
    loop {
        let output = context
            .clients
            .codedeploy
            .list_deployments()
            .application_name(names.environment_wide())
            .deployment_group_name(names.service())
            .set_next_token(next)
            .send()
            .await
            .map_err(failed(format!("list the deployments of {}", names.environment_wide())))?;
        ids.extend(output.deployments.unwrap_or_default());
        next = output.next_token;
        if next.is_none() || ids.len() >= limit {
            break;
        }
    }
    let mut deployments = Vec::new();
    for id in ids.iter().take(limit) {
        let mut deployment = read_info(context, id).await?;
        // What is over has its verdict; only an open one is looked at closely, so that a rollback begins at once.
        if deployment.is_open() {
            read_target(context, &mut deployment).await?;
        }
        deployments.push(deployment);
    }
    deployments.sort_by(|a, b| created_seconds(b).total_cmp(&created_seconds(a)));
    Ok(deployments)
}

fn created_seconds(deployment: &Deployment) -> f64 {
    deployment.created.as_ref().map_or(0.0, DateTime::as_secs_f64)
}

/// The ARN of the task definition that a revision deploys.
pub(crate) fn task_definition(revision: &RevisionLocation) -> Option<String> {
    let content = match (&revision.app_spec_content, &revision.string) {
        (Some(content), _) => content.content.as_deref()?,
        #[expect(deprecated, reason = "CodeDeploy may still answer in the older shape")]
        (None, Some(raw)) => raw.content.as_deref()?,
        (None, None) => return None,
    };
    // JSON or YAML: in both the ARN is a single token.
    let start = content.find("arn:")?;
    let arn: String =
        content[start..].chars().take_while(|c| !c.is_whitespace() && !matches!(c, '"' | '\'' | ',' | '}')).collect();
    arn.contains(":task-definition/").then_some(arn)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use aws_sdk_codedeploy::types::AppSpecContent;

    pub(crate) fn deployment(id: &str, status: DeploymentStatus) -> Deployment {
        Deployment {
            id: id.to_owned(),
            status,
            description: None,
            creator: None,
            error: None,
            rollback: None,
            events: Vec::new(),
            blue: None,
            green: None,
            revision: None,
            created: None,
            completed: None,
        }
    }

    fn side(weight: f64) -> TaskSet {
        TaskSet { id: "ecs-svc/1".into(), weight, desired: 1, running: 1, target_group: None }
    }

    fn after_traffic(status: LifecycleEventStatus) -> Event {
        Event { name: "AfterAllowTraffic".into(), status, diagnostics: None, started: None, ended: None }
    }

    #[test]
    fn the_termination_wait_is_not_waited_for() {
        let mut running = deployment("d-1", DeploymentStatus::InProgress);
        assert_eq!(running.standing(), Standing::Running);
        running.green = Some(side(100.0));
        assert_eq!(running.standing(), Standing::Running, "the hook after the shift has not passed");
        running.events.push(after_traffic(LifecycleEventStatus::Succeeded));
        assert_eq!(running.standing(), Standing::Shifted);
        running.green = Some(side(10.0));
        assert_eq!(running.standing(), Standing::Running, "10 % is no success");
    }

    #[test]
    fn stopped_rolled_back_and_unknown_are_never_success() {
        assert_eq!(deployment("d-1", DeploymentStatus::Stopped).standing(), Standing::Failed);
        assert_eq!(deployment("d-1", DeploymentStatus::Failed).standing(), Standing::Failed);
        assert_eq!(deployment("d-1", DeploymentStatus::from("Levitating")).standing(), Standing::Running);
        let mut rolling = deployment("d-1", DeploymentStatus::InProgress);
        rolling.green = Some(side(100.0));
        rolling.events.push(after_traffic(LifecycleEventStatus::Succeeded));
        rolling.rollback = Some("d-2".into());
        assert_eq!(rolling.standing(), Standing::Failed);
    }

    #[test]
    fn the_task_definition_is_read_from_json_and_yaml() {
        let arn = "arn:aws:ecs:ap-northeast-1:000000000000:task-definition/smartassist-staging-chatbot:3";
        for content in [format!("{{\"TaskDefinition\":\"{arn}\",\"x\":1}}"), format!("TaskDefinition: {arn}\n")] {
            let content = AppSpecContent::builder().content(content).build();
            let revision = RevisionLocation::builder().app_spec_content(content).build();
            assert_eq!(task_definition(&revision).as_deref(), Some(arn));
        }
    }
}
