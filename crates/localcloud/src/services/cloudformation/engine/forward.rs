//! Creating and changing resources towards the definition.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Work, in_deletion_order};
use crate::services::cloudformation::evaluate::{Evaluation, existing};
use crate::services::cloudformation::records::{
    Action, OperationKind, OutputValue, Phase, Resource, Stage, Status, Step, importer,
};
use crate::services::cloudformation::resources::{
    self, Creation, Effect, Progress, changed, effect, kind, note, unknown_type,
};
use crate::services::cloudformation::template::{Policy, Template};

/// Moves every resource that can move; ends the phase when all have arrived, or at the first failure.
pub(super) async fn forward(work: &mut Work<'_>) {
    if let Err((logical, reason)) = advance(work).await {
        fail(work, &logical, reason);
    }
}

type Failed = (String, String);

async fn advance(work: &mut Work<'_>) -> Result<(), Failed> {
    let of_stack = |reason: String| (String::new(), reason);
    let definition = &work.stack.definition;
    let template = Template::parse(&definition.template).map_err(|error| of_stack(error.message))?;
    let ids = (work.stack.id.as_str(), work.stack.name.as_str());
    let evaluation = Evaluation::new(work.cloud, ids, template, &definition.parameters, false);
    let wanted = evaluation.wanted().map_err(of_stack)?;
    let mut all_done = true;
    for logical in &wanted {
        let step = work.operation().and_then(|operation| operation.steps.get(logical).cloned());
        let arrived = match step {
            Some(step) if step.stage == Stage::Done => true,
            Some(step) => drive(work, logical, &step, true).await?,
            None if is_ready(work, &evaluation, &wanted, logical) => begin(work, &evaluation, logical).await?,
            None => false,
        };
        all_done &= arrived;
    }
    if all_done { finish(work, &evaluation, &wanted).map_err(of_stack) } else { Ok(()) }
}

fn is_ready(work: &Work<'_>, evaluation: &Evaluation, wanted: &[String], logical: &str) -> bool {
    let needed = evaluation.template.resources.get(logical).map(|declaration| &declaration.depends_on);
    let steps = work.stack.operation.as_ref().map(|operation| &operation.steps);
    needed
        .into_iter()
        .flatten()
        .filter(|needed| wanted.contains(needed))
        .all(|needed| steps.and_then(|steps| steps.get(needed)).is_some_and(|step| step.stage == Stage::Done))
}

/// Decides what a resource needs, records the intent, and does it.
async fn begin(work: &mut Work<'_>, evaluation: &Evaluation, logical: &str) -> Result<bool, Failed> {
    let fail = |reason| (logical.to_owned(), reason);
    let Some(declaration) = evaluation.template.resources.get(logical) else { return Ok(true) };
    let before = work.stack.resources.get(logical).filter(|resource| resource.physical.is_some()).cloned();
    let evaluated = evaluation.properties(logical, &existing(&work.stack));
    let (properties, imports) = match evaluated {
        Ok(evaluated) => evaluated,
        Err(reason) => {
            record(work, logical, declaration, before.clone(), Value::Null, Action::Create);
            return Err(fail(reason));
        }
    };
    work.stack.imports.extend(imports);
    let action = match &before {
        None => Action::Create,
        Some(resource) if resource.kind != declaration.kind => Action::Replace,
        Some(resource) => {
            let names = changed(&resource.properties, &properties);
            match names.iter().map(|name| effect(&declaration.kind, name)).max() {
                None => Action::Keep,
                Some(Effect::Modify) => Action::Modify,
                Some(Effect::Replace) => Action::Replace,
            }
        }
    };
    record(work, logical, declaration, before, properties, action);
    let (status, reason) = match action {
        Action::Keep => return Ok(true),
        Action::Create => (Status::CreateInProgress, None),
        Action::Modify => (Status::UpdateInProgress, None),
        Action::Replace => {
            let reason = "Requested update requires the creation of a new physical resource; hence creating one.";
            (Status::UpdateInProgress, Some(reason.to_owned()))
        }
    };
    work.resource_event(logical, status, reason);
    work.save();
    let step = work.operation().and_then(|operation| operation.steps.get(logical).cloned());
    match step {
        Some(step) => drive(work, logical, &step, false).await,
        None => Ok(false),
    }
}

fn record(
    work: &mut Work<'_>,
    logical: &str,
    declaration: &crate::services::cloudformation::template::ResourceDeclaration,
    before: Option<Resource>,
    properties: Value,
    action: Action,
) {
    let at = work.cloud.clock().now();
    let mut resource = before.clone().unwrap_or_else(|| Resource {
        kind: declaration.kind.clone(),
        physical: None,
        properties: Value::Null,
        attributes: Default::default(),
        depends_on: BTreeSet::new(),
        deletion: Policy::Delete,
        update_replace: Policy::Delete,
        status: Status::CreateInProgress,
        reason: None,
        changed: at,
    });
    resource.kind.clone_from(&declaration.kind);
    resource.depends_on.clone_from(&declaration.depends_on);
    resource.deletion = declaration.deletion;
    resource.update_replace = declaration.update_replace;
    resource.properties = properties;
    work.stack.resources.insert(logical.to_owned(), resource);
    let stage = if action == Action::Keep { Stage::Done } else { Stage::Intended };
    if let Some(operation) = work.operation() {
        operation.steps.insert(logical.to_owned(), Step { action, stage, before });
    }
}

/// Moves one resource on; true when it has arrived.
async fn drive(work: &mut Work<'_>, logical: &str, step: &Step, resumed: bool) -> Result<bool, Failed> {
    let fail = |reason| (logical.to_owned(), reason);
    let Some(resource) = work.stack.resources.get(logical).cloned() else { return Ok(true) };
    let cloud = work.cloud;
    let mut physical = resource.physical.clone().unwrap_or_default();
    if step.stage == Stage::Intended {
        let kind_name = resource.kind.as_str();
        match (step.action, &step.before) {
            (Action::Modify, Some(before)) => {
                resources::update(cloud, kind_name, &physical, &before.properties, &resource.properties)
                    .await
                    .map_err(fail)?;
            }
            _ => {
                if kind(kind_name).is_none() {
                    return Err(fail(unknown_type(kind_name, logical)));
                }
                let generated = generated_name(&work.stack.name, logical);
                let creation =
                    Creation { kind: kind_name, properties: &resource.properties, generated_name: &generated, resumed };
                physical = resources::create(cloud, &creation).await.map_err(fail)?;
            }
        }
        if let Some(resource) = work.stack.resources.get_mut(logical) {
            resource.physical = Some(physical.clone());
        }
        set_stage(work, logical, Stage::Called);
        work.save();
    }
    match resources::progress(cloud, &resource.kind, &physical, resource.changed).await {
        Progress::Waiting => return Ok(false),
        Progress::Failed(reason) => return Err(fail(reason)),
        Progress::Settled => {}
    }
    let attributes =
        resources::attributes(cloud, &resource.kind, &physical, &resource.properties).await.map_err(fail)?;
    if let Some(resource) = work.stack.resources.get_mut(logical) {
        resource.attributes = attributes;
    }
    set_stage(work, logical, Stage::Done);
    let status = if step.action == Action::Create { Status::CreateComplete } else { Status::UpdateComplete };
    work.resource_event(logical, status, note(&resource.kind).map(str::to_owned));
    work.save();
    Ok(true)
}

fn set_stage(work: &mut Work<'_>, logical: &str, stage: Stage) {
    if let Some(step) = work.operation().and_then(|operation| operation.steps.get_mut(logical)) {
        step.stage = stage;
    }
}

/// `<stack>-<logical id>-<12 random>`; names it takes need their own limits kept by the type.
fn generated_name(stack: &str, logical: &str) -> String {
    format!("{stack}-{logical}-{}", crate::ids::alphanumeric(12).to_uppercase())
}

/// All resources have arrived: outputs, then what is no longer wanted.
fn finish(work: &mut Work<'_>, evaluation: &Evaluation, wanted: &[String]) -> Result<(), String> {
    let (outputs, imports) = evaluation.outputs(&existing(&work.stack))?;
    check_exports(work, &outputs)?;
    work.stack.imports.extend(imports);
    work.stack.outputs = outputs;
    let Some(operation) = work.stack.operation.as_mut() else { return Ok(()) };
    if operation.kind == OperationKind::Create {
        work.stack_event(Status::CreateComplete, None);
        work.stack.operation = None;
        return Ok(());
    }
    let mut gone: Vec<(String, Resource)> = vec![];
    for (logical, step) in &operation.steps {
        if let (Action::Replace, Some(before)) = (step.action, &step.before) {
            let mut before = before.clone();
            before.deletion = before.update_replace;
            gone.push((logical.clone(), before));
        }
    }
    let removed: Vec<String> = work.stack.resources.keys().filter(|id| !wanted.contains(id)).cloned().collect();
    for logical in removed {
        if let Some(resource) = work.stack.resources.remove(&logical) {
            gone.push((logical, resource));
        }
    }
    operation.deletions = in_deletion_order(gone, &[]);
    operation.phase = Phase::Cleanup;
    work.stack.updated = Some(work.cloud.clock().now());
    work.stack_event(Status::UpdateCompleteCleanupInProgress, None);
    Ok(())
}

/// Exports that other stacks read can neither go nor change, and no two stacks export the same name.
fn check_exports(work: &Work<'_>, outputs: &[OutputValue]) -> Result<(), String> {
    for old in &work.stack.outputs {
        let Some(name) = &old.export else { continue };
        let same = outputs.iter().any(|new| new.export.as_ref() == Some(name) && new.value == old.value);
        if !same && let Some(importer) = importer(work.cloud, name, &work.stack.id) {
            let kept = outputs.iter().any(|new| new.export.as_ref() == Some(name));
            let verb = if kept { "update" } else { "delete" };
            return Err(format!("Cannot {verb} export {name} as it is in use by {importer}."));
        }
    }
    let others = crate::services::cloudformation::records::exports(work.cloud);
    for name in outputs.iter().filter_map(|output| output.export.as_ref()) {
        if let Some((_, other)) = others.get(name).filter(|(_, other)| other.id != work.stack.id) {
            return Err(format!("Export with name {name} is already exported by stack {}", other.name));
        }
    }
    Ok(())
}

/// Records the first cause and turns the operation round.
fn fail(work: &mut Work<'_>, logical: &str, reason: String) {
    let Some(operation) = work.stack.operation.as_ref() else { return };
    let creating = operation.kind == OperationKind::Create;
    let unsettled: Vec<String> = operation
        .steps
        .iter()
        .filter(|(other, step)| other.as_str() != logical && matches!(step.stage, Stage::Intended | Stage::Called))
        .map(|(other, _)| other.clone())
        .collect();
    let failed_as = |work: &Work<'_>, logical: &str| {
        let action = work.stack.operation.as_ref().and_then(|o| o.steps.get(logical)).map(|step| step.action);
        if action == Some(Action::Create) { Status::CreateFailed } else { Status::UpdateFailed }
    };
    let mut summary = reason.clone();
    if !logical.is_empty() {
        let status = failed_as(work, logical);
        work.resource_event(logical, status, Some(reason));
        let verb = if creating { "create" } else { "update" };
        summary = format!("The following resource(s) failed to {verb}: [{logical}]. ");
    }
    for other in unsettled {
        let status = failed_as(work, &other);
        let verb = if status == Status::CreateFailed { "creation" } else { "update" };
        work.resource_event(&other, status, Some(format!("Resource {verb} cancelled")));
    }
    if work.stack.disable_rollback {
        let status = if creating { Status::CreateFailed } else { Status::UpdateFailed };
        work.stack_event(status, Some(summary));
        work.stack.operation = None;
    } else if creating {
        work.stack_event(Status::RollbackInProgress, Some(summary));
        let created: Vec<_> = work.stack.resources.clone().into_iter().collect();
        let mut deletions = in_deletion_order(created, &[]);
        for deletion in &mut deletions {
            // What this very operation created, RetainExceptOnCreate does not retain.
            if deletion.resource.deletion == Policy::RetainExceptOnCreate {
                deletion.resource.deletion = Policy::Delete;
            }
        }
        if let Some(operation) = work.operation() {
            operation.deletions = deletions;
            operation.phase = Phase::Cleanup;
        }
    } else {
        work.stack_event(Status::UpdateRollbackInProgress, Some(summary));
        if let Some(operation) = work.operation() {
            operation.phase = Phase::Restore;
        }
    }
}
