//! The commits of a pipeline's sources, and the watcher of their branches.

use std::collections::BTreeMap;

use super::declaration::{Declaration, Pipeline, Provider};
use super::execution::{Execution, ExecutionStatus, Trigger, TriggerKind, of_pipeline};
use crate::cloud::Cloud;
use crate::source::{checkout, git};

/// What git knows about a commit.
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) message: String,
    pub(super) author_date: String,
}

/// Resolves a branch head or a commit id in the checkout behind a repository id.
pub(super) fn resolve(cloud: &Cloud, repository: &str, revision: &str) -> Result<Commit, String> {
    let checkout = checkout(cloud, repository)?;
    let shown =
        git(checkout, ["show", "--no-patch", "--format=%H%n%aI%n%s", format!("{revision}^{{commit}}").as_str()])?;
    let mut lines = shown.lines();
    match (lines.next(), lines.next(), lines.next()) {
        (Some(id), Some(author_date), message) => Ok(Commit {
            id: id.to_owned(),
            author_date: author_date.to_owned(),
            message: message.unwrap_or_default().to_owned(),
        }),
        _ => Err(format!("git does not know the commit {revision} in {repository}")),
    }
}

/// The branch heads of a pipeline's sources, by action. A branch that cannot be read is left out.
pub(super) fn heads(cloud: &Cloud, declaration: &Declaration) -> BTreeMap<String, String> {
    let actions = declaration.stages.iter().flat_map(|stage| &stage.actions);
    actions
        .filter(|action| action.provider() == Ok(Provider::Source))
        .filter_map(|action| {
            let repository = action.configuration.get("FullRepositoryId")?;
            let branch = action.configuration.get("BranchName")?;
            let checkout = checkout(cloud, repository).ok()?;
            let head =
                git(checkout, ["rev-parse", "--verify", "--quiet", format!("refs/heads/{branch}").as_str()]).ok()?;
            Some((action.name.clone(), head.trim().to_owned()))
        })
        .collect()
}

/// Starts an execution where a branch has moved since the last look. A head that a running execution already carries is
/// only noted: the client that pushed has started it.
pub(super) fn watch(cloud: &Cloud, name: &str, pipeline: &Pipeline, declaration: &Declaration) {
    for (action, head) in heads(cloud, declaration) {
        if pipeline.seen_heads.get(&action) == Some(&head) {
            continue;
        }
        cloud.store().update::<Pipeline>(name, |pipeline| {
            pipeline.seen_heads.insert(action.clone(), head.clone());
        });
        let carries = |execution: &Execution| {
            execution.status == ExecutionStatus::InProgress
                && (execution.source_overrides.get(&action) == Some(&head)
                    || execution.revisions.iter().any(|revision| revision.commit == head))
        };
        if of_pipeline(cloud, name).iter().any(carries) {
            continue;
        }
        let trigger = Trigger { kind: TriggerKind::WebhookV2, detail: format!("push of {head}") };
        let mut execution = Execution::new(cloud, declaration, pipeline.version, trigger);
        execution.source_overrides.insert(action, head);
        cloud.store().put(&execution.id, &execution);
    }
}
