//! Deleting what a stack no longer wants, one resource after the other.

use super::Work;
use crate::services::cloudformation::records::{Deletion, OperationKind, Stack, Status};
use crate::services::cloudformation::resources::{self, Progress};
use crate::services::cloudformation::template::Policy;

/// Deletes until one has to be waited for, or all are gone and the operation ends.
pub(super) async fn cleanup(work: &mut Work<'_>) {
    loop {
        let Some(operation) = work.stack.operation.as_ref() else { return };
        let Some(deletion) = operation.deletions.first().cloned() else { return finish(work) };
        let updating = operation.kind == OperationKind::Update;
        match delete(work, &deletion).await {
            Progress::Waiting => return,
            Progress::Settled => {}
            Progress::Failed(reason) => {
                event(work, &deletion, Status::DeleteFailed, Some(reason));
                if !updating {
                    return give_up(work, &deletion.logical);
                }
                // As on AWS, what an update cannot clean up is left behind.
            }
        }
        if let Some(operation) = work.operation() {
            operation.deletions.remove(0);
        }
        work.save();
    }
}

async fn delete(work: &mut Work<'_>, deletion: &Deletion) -> Progress {
    let resource = &deletion.resource;
    let Some(physical) = resource.physical.clone() else { return forget(work, deletion) };
    if deletion.retain || resource.deletion != Policy::Delete {
        event(work, deletion, Status::DeleteSkipped, None);
        return Progress::Settled;
    }
    if !deletion.called {
        event(work, deletion, Status::DeleteInProgress, None);
        work.save();
        if let Err(reason) = resources::delete(work.cloud, &resource.kind, &physical, &resource.properties).await {
            return Progress::Failed(reason);
        }
        if let Some(first) = work.operation().and_then(|operation| operation.deletions.first_mut()) {
            first.called = true;
        }
        work.save();
    }
    let progress = resources::deletion_progress(work.cloud, &resource.kind, &physical).await;
    if progress == Progress::Settled {
        event(work, deletion, Status::DeleteComplete, None);
    }
    progress
}

/// A resource that never came to be.
fn forget(work: &mut Work<'_>, deletion: &Deletion) -> Progress {
    work.stack.resources.remove(&deletion.logical);
    Progress::Settled
}

/// An event about the deleted resource; the stack's current one changes only when it is that one.
fn event(work: &mut Work<'_>, deletion: &Deletion, status: Status, reason: Option<String>) {
    let current = work.stack.resources.get(&deletion.logical);
    if current.is_some_and(|current| current.physical == deletion.resource.physical) {
        work.resource_event(&deletion.logical, status, reason);
    } else {
        work.push(&deletion.logical, &deletion.resource, status, reason);
    }
}

fn give_up(work: &mut Work<'_>, logical: &str) {
    let creating = work.stack.operation.as_ref().is_some_and(|operation| operation.kind == OperationKind::Create);
    let status = if creating { Status::RollbackFailed } else { Status::DeleteFailed };
    work.stack_event(status, Some(format!("The following resource(s) failed to delete: [{logical}]. ")));
    work.stack.operation = None;
}

fn finish(work: &mut Work<'_>) {
    let Some(operation) = work.stack.operation.as_ref() else { return };
    let rolled_back = work.stack.status == Status::UpdateRollbackCompleteCleanupInProgress;
    match operation.kind {
        OperationKind::Create => work.stack_event(Status::RollbackComplete, None),
        OperationKind::Update if rolled_back => work.stack_event(Status::UpdateRollbackComplete, None),
        OperationKind::Update => work.stack_event(Status::UpdateComplete, None),
        OperationKind::Delete => {
            work.stack_event(Status::DeleteComplete, None);
            end(&mut work.stack, work.cloud.clock().now());
        }
    }
    if work.stack.status == Status::RollbackComplete {
        work.stack.outputs.clear();
        work.stack.imports.clear();
    }
    work.stack.operation = None;
}

fn end(stack: &mut Stack, at: crate::clock::Timestamp) {
    stack.deleted = Some(at);
    stack.outputs.clear();
    stack.imports.clear();
}
