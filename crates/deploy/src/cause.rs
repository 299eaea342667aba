//! The first cause of a failed deployment, from what is known about it.

use crate::call::failed;
use crate::codedeploy::Deployment;
use crate::context::Context;
use crate::error::Error;
use crate::live::{self, Target};
use crate::tasks::{self, FailedTask};

/// What is known about a failed deployment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// The first task that failed.
    pub(crate) task: Option<FailedTask>,
    /// How many did.
    pub(crate) failures: usize,
    /// The last lines it printed.
    pub(crate) log: Vec<String>,
    /// Targets that are not healthy.
    pub(crate) targets: Vec<Target>,
    /// Path of the health check.
    pub(crate) health_path: String,
    /// The lifecycle event that failed, with its diagnostics.
    pub(crate) event: Option<(String, Option<String>)>,
    /// CodeDeploy's own words.
    pub(crate) error: Option<String>,
    /// Why we stopped it.
    pub(crate) watchdog: Option<String>,
}

/// Puts the facts in order of causality: a task that ended explains the unhealthy target, which explains the event.
pub(crate) fn choose(facts: &Facts) -> String {
    let mut parts = Vec::new();
    let health_failed = |text: &str| text.contains("health check");
    if let Some(task) = &facts.task {
        let code = task.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        let more = if facts.failures > 1 { format!(" ({} tasks failed)", facts.failures) } else { String::new() };
        parts.push(format!("task {} stopped: {}{code}{more}", task.id, task.reason));
    }
    let sick = facts.targets.iter().find(|target| target.state == "unhealthy").or_else(|| {
        // Targets that are still starting explain a failure only when nothing else does.
        facts.targets.iter().find(|target| facts.task.is_none() && target.state != "healthy")
    });
    if let Some(target) = sick {
        let reason = target.reason.clone().unwrap_or_else(|| "no reason given".to_owned());
        parts.push(format!("target {} is {} on GET {}: {reason}", target.target, target.state, facts.health_path));
    } else if facts.task.as_ref().is_some_and(|task| health_failed(&task.reason)) {
        parts.push(format!("the health check asks GET {}", facts.health_path));
    }
    if parts.is_empty()
        && let Some((event, diagnostics)) = &facts.event
    {
        let diagnostics = diagnostics.clone().unwrap_or_else(|| "no diagnostics".to_owned());
        parts.push(format!("{event} failed: {diagnostics}"));
    }
    // After our own stop CodeDeploy can only say that somebody stopped it.
    if let (Some(error), None) = (&facts.error, &facts.watchdog) {
        parts.push(format!("CodeDeploy: {error}"));
    }
    if let Some(watchdog) = &facts.watchdog {
        parts.push(watchdog.clone());
    }
    if parts.is_empty() {
        parts.push("CodeDeploy gave no reason".to_owned());
    }
    if !facts.log.is_empty() {
        parts.push(format!("last log lines of the task:\n  {}", facts.log.join("\n  ")));
    }
    parts.join("\n")
}

/// Collects what is known. Parts that cannot be read are left out: they must not hide the rest.
pub(crate) async fn find(context: &Context, deployment: &Deployment, watchdog: Option<String>) -> Facts {
    let since = deployment.created.as_ref().map_or(0.0, |time| time.as_secs_f64() - 1.0);
    let green = deployment.green.as_ref().map(|side| side.id.as_str()).filter(|id| !id.is_empty());
    let mut tasks = tasks::failed_tasks(context, green, since).await.unwrap_or_default();
    if tasks.is_empty() && green.is_some() {
        tasks = tasks::failed_tasks(context, None, since).await.unwrap_or_default();
    }
    let log = match tasks.first() {
        Some(task) => tasks::last_lines(context, &task.id).await,
        None => Vec::new(),
    };
    let group = deployment.green.as_ref().and_then(|side| side.target_group.as_deref());
    let targets = match group {
        Some(group) => targets_by_name(context, group).await.unwrap_or_default(),
        None => Vec::new(),
    };
    Facts {
        failures: tasks.len(),
        task: tasks.into_iter().next(),
        log,
        targets,
        health_path: context.environment.health_check.path.clone(),
        event: deployment.failed_event().map(|event| (event.name.clone(), event.diagnostics.clone())),
        error: deployment.error.clone(),
        watchdog,
    }
}

/// The targets of a target group known by name.
pub(crate) async fn targets_by_name(context: &Context, name: &str) -> Result<Vec<Target>, Error> {
    let output = context
        .clients
        .balancer
        .describe_target_groups()
        .names(name)
        .send()
        .await
        .map_err(failed(format!("read target group {name}")))?;
    match output.target_groups.unwrap_or_default().into_iter().find_map(|group| group.target_group_arn) {
        Some(arn) => live::targets(context, &arn).await,
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(reason: &str, exit_code: Option<i32>) -> FailedTask {
        FailedTask { id: "abc".into(), reason: reason.into(), exit_code, stopped_at: 1.0 }
    }

    fn target(state: &str, reason: &str) -> Target {
        Target {
            target: "127.0.0.12:8080".into(),
            target_group: "green".into(),
            state: state.into(),
            reason: Some(reason.into()),
        }
    }

    #[test]
    fn a_crash_is_named_before_what_follows_from_it() {
        let facts = Facts {
            task: Some(task("Essential container in task exited", Some(3))),
            failures: 3,
            log: vec!["no such knowledge file".into()],
            event: Some(("Install".into(), None)),
            error: Some("the deployment was stopped (MANUAL_STOP)".into()),
            ..Facts::default()
        };
        assert_eq!(
            choose(&facts),
            "task abc stopped: Essential container in task exited, exit code 3 (3 tasks failed)\n\
             CodeDeploy: the deployment was stopped (MANUAL_STOP)\n\
             last log lines of the task:\n  no such knowledge file"
        );
    }

    #[test]
    fn a_wrong_health_path_is_named_with_its_path() {
        let facts = Facts {
            targets: vec![target(
                "unhealthy",
                "Health checks failed with these codes: [404] (Target.ResponseCodeMismatch)",
            )],
            health_path: "/helth".into(),
            ..Facts::default()
        };
        assert_eq!(
            choose(&facts),
            "target 127.0.0.12:8080 is unhealthy on GET /helth: Health checks failed with these codes: [404] (Target.ResponseCodeMismatch)"
        );
    }

    #[test]
    fn hooks_explain_themselves_and_silence_is_said() {
        let hook = Facts {
            event: Some(("AfterAllowTestTraffic".into(), Some("answer was wrong".into()))),
            ..Facts::default()
        };
        assert_eq!(choose(&hook), "AfterAllowTestTraffic failed: answer was wrong");
        assert_eq!(choose(&Facts::default()), "CodeDeploy gave no reason");
    }
}
