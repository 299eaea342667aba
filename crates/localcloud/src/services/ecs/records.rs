//! What ECS remembers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::store::Record;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) settings: Value,
    pub(super) capacity_providers: Value,
    pub(super) tags: Value,
}

impl Record for Cluster {
    const TABLE: &'static str = "ecs/cluster";
}

/// A registered revision; the key is `family:revision`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TaskDefinition {
    pub(super) family: String,
    pub(super) revision: u32,
    pub(super) active: bool,
    pub(super) registered: Timestamp,
    /// Everything else as it was registered.
    pub(super) definition: Value,
    pub(super) tags: Value,
}

impl Record for TaskDefinition {
    const TABLE: &'static str = "ecs/task-definition";
}

/// A service; the key is `cluster/service`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ServiceRecord {
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) desired_count: u32,
    pub(super) grace_period_seconds: u32,
    pub(super) status: ServiceStatus,
    pub(super) created: Timestamp,
    pub(super) primary: String,
    pub(super) events: Vec<Event>,
    /// The request that created it, for what is only told back.
    pub(super) request: Value,
}

impl Record for ServiceRecord {
    const TABLE: &'static str = "ecs/service";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ServiceStatus {
    Active,
    Draining,
    Inactive,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) at: Timestamp,
    pub(super) message: String,
}

/// A task set; the key is its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TaskSet {
    pub(super) id: String,
    /// Key of its service.
    pub(super) service: String,
    pub(super) task_definition: String,
    pub(super) load_balancers: Vec<LoadBalancer>,
    /// Percent of the service's desired count.
    pub(super) scale: f64,
    pub(super) draining: bool,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) steady: bool,
    pub(super) stability_at: Timestamp,
    pub(super) client_token: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) network: Value,
    /// Tasks in a row that ended without having become steady: the launches slow down with them.
    pub(super) failures: u32,
    pub(super) last_launch: Option<Timestamp>,
}

impl Record for TaskSet {
    const TABLE: &'static str = "ecs/task-set";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancer {
    pub(super) target_group_arn: String,
    pub(super) container_name: String,
    pub(super) container_port: u16,
}

/// A task; the key is its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) cluster: String,
    /// Key of its service.
    pub(super) service: String,
    pub(super) task_set: String,
    pub(super) task_definition: String,
    pub(super) state: TaskState,
    /// True once it is to stop.
    pub(super) stop_requested: bool,
    pub(super) address: Option<(String, u16)>,
    pub(super) image_digest: Option<String>,
    pub(super) created: Timestamp,
    pub(super) started: Option<Timestamp>,
    pub(super) stopping: Option<Timestamp>,
    pub(super) stopped: Option<Timestamp>,
    pub(super) stop_code: Option<StopCode>,
    pub(super) stopped_reason: Option<String>,
    pub(super) exit_code: Option<i32>,
    pub(super) container_reason: Option<String>,
    pub(super) health: Health,
    /// Bytes of its output that are in CloudWatch Logs.
    pub(super) logged_bytes: u64,
}

impl Record for Task {
    const TABLE: &'static str = "ecs/task";
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum TaskState {
    /// To be given an address, its image unpacked, its shim started.
    Provisioning,
    /// The shim has been started.
    Pending,
    /// The process runs and is registered at its target group.
    Running,
    /// Taken out of its target group; requests in flight finish.
    Deactivating,
    /// Told to stop.
    Stopping,
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    UserInitiated,
    ServiceSchedulerInitiated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Health {
    Unknown,
    Healthy,
    Unhealthy,
}

impl TaskSet {
    /// How many tasks it should have.
    pub(super) fn wanted(&self, service: &ServiceRecord) -> usize {
        if self.draining || service.status != ServiceStatus::Active {
            return 0;
        }
        (f64::from(service.desired_count) * self.scale / 100.0).ceil() as usize
    }
}

impl ServiceRecord {
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.cluster, self.name)
    }

    pub(super) fn arn(&self, cloud: &Cloud) -> String {
        cloud.arn("ecs", format_args!("service/{}/{}", self.cluster, self.name))
    }
}

impl Task {
    pub(super) fn arn(&self, cloud: &Cloud) -> String {
        cloud.arn("ecs", format_args!("task/{}/{}", self.cluster, self.id))
    }

    /// True while it counts towards its task set's wanted tasks.
    pub(super) fn is_live(&self) -> bool {
        match self.state {
            TaskState::Provisioning | TaskState::Pending | TaskState::Running => !self.stop_requested,
            TaskState::Deactivating | TaskState::Stopping | TaskState::Stopped => false,
        }
    }
}

/// The tasks of a task set that are not yet stopped.
pub(super) fn tasks_of(cloud: &Cloud, task_set: &str) -> Vec<Task> {
    let mut tasks = cloud.store().find::<Task>(|task| task.task_set == task_set && task.state != TaskState::Stopped);
    tasks.sort_by_key(|task| task.created);
    tasks
}

/// Adds an event to a service, newest first, at most 100 as on AWS.
pub(super) fn add_event(cloud: &Cloud, service: &str, message: impl Into<String>) {
    let at = cloud.clock().now();
    let message = message.into();
    cloud.store().update::<ServiceRecord>(service, |service| {
        let message = format!("(service {}) {message}", service.name);
        if service.events.first().is_some_and(|last| last.message == message) {
            return;
        }
        service.events.insert(0, Event { id: uuid::Uuid::new_v4().to_string(), at, message });
        service.events.truncate(100);
    });
}
