//! What CodeDeploy remembers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::appspec::AppSpec;
use super::configs::Routing;
use crate::clock::Timestamp;
use crate::store::Record;

/// An application; keyed by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Application {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created: Timestamp,
}

impl Record for Application {
    const TABLE: &'static str = "codedeploy/application";
}

/// A deployment group; keyed by [`group_key`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) application: String,
    pub(super) name: String,
    /// What it was created and updated with, in AWS's shape: most of its own description.
    pub(super) settings: Value,
}

impl Record for Group {
    const TABLE: &'static str = "codedeploy/group";
}

pub(super) fn group_key(application: &str, group: &str) -> String {
    format!("{application}/{group}")
}

/// A deployment configuration that somebody created; keyed by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created: Timestamp,
    pub(super) routing: Routing,
}

impl Record for Config {
    const TABLE: &'static str = "codedeploy/config";
}

/// A deployment; keyed by id. It holds copies of all settings, so that changing its group changes no running deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) application: String,
    pub(super) group: String,
    pub(super) description: Option<String>,
    pub(super) config: String,
    pub(super) routing: Routing,
    pub(super) creator: Creator,
    /// The revision as it was given.
    pub(super) revision: Value,
    pub(super) appspec: AppSpec,
    pub(super) previous_revision: Option<Value>,
    pub(super) settings: Settings,
    /// The group's own settings in AWS's shape, for the description.
    pub(super) group_settings: Value,
    pub(super) created: Timestamp,
    pub(super) started: Option<Timestamp>,
    pub(super) completed: Option<Timestamp>,
    pub(super) phase: Phase,
    pub(super) sides: Option<Sides>,
    /// Percent of production traffic that green gets.
    pub(super) green_weight: u32,
    pub(super) test_traffic_moved: bool,
    pub(super) events: Vec<Event>,
    pub(super) stop: Option<StopRequest>,
    pub(super) continue_traffic: bool,
    pub(super) continue_termination: bool,
    pub(super) error: Option<Failure>,
    pub(super) rollback: RollbackInfo,
    /// What is known about why it does not go on, while it runs.
    pub(super) notice: Option<String>,
}

impl Record for Deployment {
    const TABLE: &'static str = "codedeploy/deployment";
}

/// Where a deployment is. Every variant can be entered again after a kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Recorded; nothing has been looked at.
    Created,
    /// Green is created and awaited.
    Install {
        since: Timestamp,
    },
    /// The test listener goes to green.
    TestTraffic,
    /// Waits for somebody to continue.
    Ready {
        since: Timestamp,
    },
    /// Production traffic moves; `applied` says since when step number `step` is live.
    Shift {
        step: usize,
        applied: Option<Timestamp>,
    },
    /// Green becomes the service's primary task set.
    Promote,
    /// Blue stays for an instant rollback.
    Wait {
        since: Timestamp,
    },
    /// Blue is deleted; there is no way back from here.
    Terminate,
    /// It failed or was stopped without a rollback: what serves nobody is removed.
    CleanUp {
        verdict: Verdict,
    },
    /// A rollback deployment: traffic and primary go back to blue, green is deleted.
    Restore {
        attempts: u32,
    },
    Ended(Verdict),
}

impl Phase {
    pub(super) fn ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    Succeeded,
    Failed,
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Creator {
    User,
    Rollback,
}

/// What the group says about a deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) cluster: String,
    pub(super) service: String,
    /// The names of the pair's target groups.
    pub(super) target_groups: [String; 2],
    pub(super) production: String,
    pub(super) test: Option<String>,
    /// Minutes to wait for somebody to continue before the deployment stops; without, traffic moves at once.
    pub(super) ready_wait: Option<u64>,
    pub(super) termination_wait: u64,
    pub(super) rollback_on: Vec<RollbackEvent>,
    pub(super) alarms: Vec<String>,
    pub(super) ignore_alarm_poll_failure: bool,
}

/// What rolls a deployment back by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RollbackEvent {
    #[serde(rename = "DEPLOYMENT_FAILURE")]
    Failure,
    #[serde(rename = "DEPLOYMENT_STOP_ON_ALARM")]
    StopOnAlarm,
    #[serde(rename = "DEPLOYMENT_STOP_ON_REQUEST")]
    StopOnRequest,
}

/// Which target group and task set is which, found out when the deployment began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sides {
    pub(super) blue: Side,
    pub(super) green: Side,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Side {
    pub(super) group_arn: String,
    pub(super) group_name: String,
    pub(super) task_set: Option<String>,
    pub(super) task_definition: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StopRequest {
    pub(super) rollback: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RollbackInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollback_deployment_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollback_triggering_deployment_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollback_message: Option<String>,
}

/// A lifecycle event, as AWS describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) lifecycle_event_name: Lifecycle,
    pub(super) status: EventStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) diagnostics: Option<Diagnostics>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Diagnostics {
    pub(super) error_code: String,
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Lifecycle {
    BeforeInstall,
    Install,
    AfterInstall,
    AllowTestTraffic,
    AfterAllowTestTraffic,
    BeforeAllowTraffic,
    AllowTraffic,
    AfterAllowTraffic,
}

impl Lifecycle {
    pub(super) const ALL: [Self; 8] = [
        Self::BeforeInstall,
        Self::Install,
        Self::AfterInstall,
        Self::AllowTestTraffic,
        Self::AfterAllowTestTraffic,
        Self::BeforeAllowTraffic,
        Self::AllowTraffic,
        Self::AfterAllowTraffic,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EventStatus {
    Pending,
    InProgress,
    Succeeded,
    Failed,
    Skipped,
}

impl Deployment {
    /// The events of a deployment that has not begun.
    pub(super) fn pending_events() -> Vec<Event> {
        let event = |name| Event {
            lifecycle_event_name: name,
            status: EventStatus::Pending,
            start_time: None,
            end_time: None,
            diagnostics: None,
        };
        Lifecycle::ALL.map(event).into()
    }

    /// Marks an event that goes on.
    pub(super) fn begin(&mut self, name: Lifecycle, now: Timestamp) {
        if let Some(event) = self.events.iter_mut().find(|event| event.lifecycle_event_name == name) {
            event.status = EventStatus::InProgress;
            event.start_time.get_or_insert(now);
        }
    }

    /// Marks an event that is over.
    pub(super) fn end(&mut self, name: Lifecycle, status: EventStatus, now: Timestamp) {
        if let Some(event) = self.events.iter_mut().find(|event| event.lifecycle_event_name == name) {
            event.status = status;
            if status != EventStatus::Skipped {
                event.start_time.get_or_insert(now);
                event.end_time.get_or_insert(now);
            }
        }
    }

    /// Marks the event that goes on, or would be next, as failed, and the later ones as skipped.
    pub(super) fn abandon_events(&mut self, failure: &Failure, now: Timestamp) {
        if !self.events.iter().any(|event| event.status == EventStatus::InProgress)
            && let Some(next) = self.events.iter().find(|event| event.status == EventStatus::Pending)
        {
            self.begin(next.lifecycle_event_name, now);
        }
        for event in &mut self.events {
            match event.status {
                EventStatus::InProgress => {
                    event.status = EventStatus::Failed;
                    event.end_time = Some(now);
                    event.diagnostics =
                        Some(Diagnostics { error_code: "UnknownError".to_owned(), message: failure.message.clone() });
                }
                EventStatus::Pending => event.status = EventStatus::Skipped,
                _ => {}
            }
        }
    }

    /// Its place among the deployments of its group.
    pub(super) fn is_of(&self, application: &str, group: &str) -> bool {
        self.application == application && self.group == group
    }

    /// The status that AWS's API gives it.
    pub(super) fn status(&self) -> &'static str {
        match self.phase {
            Phase::Created => "Created",
            Phase::Ready { .. } => "Ready",
            Phase::Wait { .. } | Phase::Terminate => "Baking",
            Phase::Install { .. }
            | Phase::TestTraffic
            | Phase::Shift { .. }
            | Phase::Promote
            | Phase::CleanUp { .. }
            | Phase::Restore { .. } => "InProgress",
            Phase::Ended(Verdict::Succeeded) => "Succeeded",
            Phase::Ended(Verdict::Failed) => "Failed",
            Phase::Ended(Verdict::Stopped) => "Stopped",
        }
    }
}

/// The newest deployment of a group for which `keep` holds.
pub(super) fn newest<'a>(
    deployments: &'a BTreeMap<String, Deployment>,
    application: &str,
    group: &str,
    keep: impl Fn(&Deployment) -> bool,
) -> Option<&'a Deployment> {
    deployments
        .values()
        .filter(|deployment| deployment.is_of(application, group) && keep(deployment))
        .max_by_key(|deployment| deployment.created)
}
