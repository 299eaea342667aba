//! Changing resources back after a failed update.

use super::{Work, in_deletion_order};
use crate::services::cloudformation::records::{Action, Phase, Resource, Stage, Status};
use crate::services::cloudformation::resources;

/// Changes one resource back, or ends the phase when none is left.
pub(super) async fn restore(work: &mut Work<'_>) {
    let Some(operation) = work.stack.operation.clone() else { return };
    for (logical, step) in &operation.steps {
        if step.stage == Stage::Restored {
            continue;
        }
        let (Action::Modify, Some(before)) = (step.action, &step.before) else { continue };
        let Some(current) = work.stack.resources.get(logical).cloned() else { continue };
        let physical = current.physical.clone().unwrap_or_default();
        work.resource_event(logical, Status::UpdateInProgress, None);
        work.save();
        let (from, to) = (&current.properties, &before.properties);
        let restored = resources::update(work.cloud, &current.kind, &physical, from, to).await;
        // What could not be changed for this very reason was not changed.
        if let Some(reason) = restored.err().filter(|reason| current.reason.as_ref() != Some(reason)) {
            work.resource_event(logical, Status::UpdateFailed, Some(reason));
            let summary = format!("The following resource(s) failed to update: [{logical}]. ");
            work.stack_event(Status::UpdateRollbackFailed, Some(summary));
            work.stack.operation = None;
            return;
        }
        work.stack.resources.insert(logical.clone(), before.clone());
        work.resource_event(logical, Status::UpdateComplete, None);
        if let Some(step) = work.operation().and_then(|operation| operation.steps.get_mut(logical)) {
            step.stage = Stage::Restored;
        }
        work.save();
    }
    let mut gone: Vec<(String, Resource)> = vec![];
    for (logical, step) in &operation.steps {
        let current = work.stack.resources.get(logical).cloned();
        match &step.before {
            Some(before) => {
                let replaced = current.filter(|current| current.physical != before.physical);
                gone.extend(replaced.map(|current| (logical.clone(), current)));
                work.stack.resources.insert(logical.clone(), before.clone());
            }
            None => {
                work.stack.resources.remove(logical);
                gone.extend(current.filter(|c| c.physical.is_some()).map(|current| (logical.clone(), current)));
            }
        }
    }
    (work.stack.definition, work.stack.outputs, work.stack.imports) = operation.previous;
    if let Some(operation) = work.operation() {
        operation.deletions = in_deletion_order(gone, &[]);
        operation.phase = Phase::Cleanup;
    }
    work.stack_event(Status::UpdateRollbackCompleteCleanupInProgress, None);
}
