//! Moves stacks through their operations: an explicit state machine per stack, recorded after every move.

mod cleanup;
mod forward;
mod restore;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::records::{Deletion, Event, Operation, Resource, Stack, Status};
use crate::cloud::Cloud;
use crate::engine::pause;
use crate::ids;
use crate::store::Record;

/// The type of the stack's own events.
const STACK_TYPE: &str = "AWS::CloudFormation::Stack";

/// Marks a stack that has something to do. Stacks are large, and the loop looks after every change of the whole store.
#[derive(Debug, Serialize, Deserialize)]
struct Busy {}

impl Record for Busy {
    const TABLE: &'static str = "cloudformation/busy";
}

/// Works on every stack that has something to do, for ever.
pub(crate) async fn run(cloud: Cloud) {
    let mut changes = cloud.store().changes();
    loop {
        for (id, Busy {}) in cloud.store().all::<Busy>() {
            if let Some(stack) = cloud.store().get::<Stack>(&id) {
                step(&cloud, stack).await;
            }
        }
        pause(&mut changes, Duration::from_millis(300)).await;
    }
}

/// One move of one stack.
async fn step(cloud: &Cloud, stack: Stack) {
    let Some(phase) = stack.operation.as_ref().map(|operation| operation.phase) else { return };
    let mut work = Work { cloud, stack, events: vec![] };
    match phase {
        super::records::Phase::Forward => forward::forward(&mut work).await,
        super::records::Phase::Restore => restore::restore(&mut work).await,
        super::records::Phase::Cleanup => cleanup::cleanup(&mut work).await,
    }
    work.save();
}

/// A stack being worked on, and the events of its changes.
pub(super) struct Work<'a> {
    pub(super) cloud: &'a Cloud,
    pub(super) stack: Stack,
    events: Vec<Event>,
}

impl<'a> Work<'a> {
    /// Begins to change a stack outside of the engine.
    pub(super) fn new(cloud: &'a Cloud, stack: Stack) -> Self {
        Self { cloud, stack, events: vec![] }
    }

    /// Records the stack and its events in one transaction. Only then the outside may be touched again.
    pub(super) fn save(&mut self) {
        let events = std::mem::take(&mut self.events);
        let before = self.stack.event_count;
        let stack = &mut self.stack;
        stack.event_count += events.len() as u64;
        let saved: Result<(), std::convert::Infallible> = self.cloud.store().write(|tx| {
            if let Some(current) = tx.get::<Stack>(&stack.id) {
                stack.termination_protection = current.termination_protection;
            }
            tx.put(&stack.id, stack);
            if stack.operation.is_some() {
                tx.put(&stack.id, &Busy {});
            } else {
                tx.delete::<Busy>(&stack.id);
            }
            for (index, event) in (before..).zip(&events) {
                tx.put(&format!("{}#{index:08}", stack.id), event);
            }
            Ok(())
        });
        let _ = saved;
    }

    /// Sets a resource's status, with its event.
    fn resource_event(&mut self, logical: &str, status: Status, reason: Option<String>) {
        let at = self.cloud.clock().now();
        if let Some(resource) = self.stack.resources.get_mut(logical) {
            resource.status = status;
            resource.reason.clone_from(&reason);
            resource.changed = at;
            let resource = resource.clone();
            self.push(logical, &resource, status, reason);
        }
    }

    /// Adds an event about a resource that may no longer be the stack's current one.
    fn push(&mut self, logical: &str, resource: &Resource, status: Status, reason: Option<String>) {
        let id = format!("{logical}-{status:?}-{}", ids::uuid());
        self.events.push(Event {
            id,
            stack_id: self.stack.id.clone(),
            stack_name: self.stack.name.clone(),
            logical: logical.to_owned(),
            physical: resource.physical.clone().unwrap_or_default(),
            kind: resource.kind.clone(),
            at: self.cloud.clock().now(),
            status,
            reason,
            properties: Some(resource.properties.to_string()),
            token: self.token(),
        });
    }

    /// Sets the stack's status, with its event.
    pub(super) fn stack_event(&mut self, status: Status, reason: Option<String>) {
        self.stack.status = status;
        self.stack.status_reason.clone_from(&reason);
        self.events.push(Event {
            id: ids::uuid(),
            stack_id: self.stack.id.clone(),
            stack_name: self.stack.name.clone(),
            logical: self.stack.name.clone(),
            physical: self.stack.id.clone(),
            kind: STACK_TYPE.to_owned(),
            at: self.cloud.clock().now(),
            status,
            reason,
            properties: None,
            token: self.token(),
        });
    }

    fn token(&self) -> Option<String> {
        self.stack.operation.as_ref().and_then(|operation| operation.token.clone())
    }

    fn operation(&mut self) -> Option<&mut Operation> {
        self.stack.operation.as_mut()
    }
}

/// Deletions of resources, each before what it depends on.
pub(super) fn in_deletion_order(mut resources: Vec<(String, Resource)>, retained: &[String]) -> Vec<Deletion> {
    let mut deletions = vec![];
    while !resources.is_empty() {
        let free = |(logical, _): &(String, Resource)| {
            !resources.iter().any(|(other, resource)| other != logical && resource.depends_on.contains(logical))
        };
        // Templates have no circles; should the records have one, any order is better than none.
        let index = resources.iter().position(free).unwrap_or(0);
        let (logical, resource) = resources.remove(index);
        let retain = retained.contains(&logical);
        deletions.push(Deletion { logical, resource, called: false, retain });
    }
    deletions
}
