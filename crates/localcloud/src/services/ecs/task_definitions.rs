//! Task definitions and what the scheduler reads from them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::TaskDefinition;
use super::{invalid, short};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::runtime::docker::Ulimit;
use crate::services::parse;

/// The parts of a task definition that running needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Definition {
    pub(super) family: String,
    pub(super) cpu: Option<String>,
    pub(super) memory: Option<String>,
    pub(super) network_mode: Option<String>,
    pub(super) container_definitions: Vec<Container>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    #[serde(default)]
    pub(super) entry_point: Vec<String>,
    #[serde(default)]
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) environment: Vec<NameValue>,
    #[serde(default)]
    pub(super) secrets: Vec<Secret>,
    #[serde(default)]
    pub(super) port_mappings: Vec<PortMapping>,
    #[serde(default)]
    pub(super) mount_points: Vec<MountPoint>,
    pub(super) stop_timeout: Option<u64>,
    pub(super) log_configuration: Option<LogConfiguration>,
    pub(super) health_check: Option<HealthCheck>,
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) readonly_root_filesystem: bool,
    #[serde(default)]
    pub(super) linux_parameters: LinuxParameters,
    #[serde(default)]
    pub(super) ulimits: Vec<Ulimit>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct LinuxParameters {
    #[serde(default)]
    pub(super) capabilities: Capabilities,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Capabilities {
    #[serde(default)]
    pub(super) drop: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct NameValue {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Secret {
    pub(super) name: String,
    pub(super) value_from: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortMapping {
    pub(super) container_port: u16,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MountPoint {
    pub(super) source_volume: String,
    pub(super) container_path: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogConfiguration {
    pub(super) log_driver: String,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

/// Times in seconds. <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html>
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthCheck {
    pub(super) command: Vec<String>,
    #[serde(default = "thirty")]
    pub(super) interval: u64,
    #[serde(default = "five")]
    pub(super) timeout: u64,
    #[serde(default = "three")]
    pub(super) retries: u32,
    #[serde(default)]
    pub(super) start_period: u64,
}

fn thirty() -> u64 {
    30
}

fn five() -> u64 {
    5
}

fn three() -> u32 {
    3
}

impl Definition {
    pub(super) fn of(record: &TaskDefinition) -> Result<Self, ApiError> {
        parse(record.definition.clone())
    }

    /// The one container; registration has made sure of it.
    pub(super) fn container(&self) -> &Container {
        &self.container_definitions[0]
    }

    /// Memory limit in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory.as_deref().and_then(|memory| memory.parse::<u64>().ok()).unwrap_or(512) << 20
    }

    /// CPU units.
    pub(super) fn cpu_units(&self) -> u64 {
        self.cpu.as_deref().and_then(|cpu| cpu.parse().ok()).unwrap_or(256)
    }

    fn check(&self) -> Result<(), ApiError> {
        let client = |message: String| ApiError::new("ClientException", message);
        if self.container_definitions.len() != 1 {
            return Err(ApiError::unsupported("a task definition with more or fewer than one container"));
        }
        if self.network_mode.as_deref() != Some("awsvpc") {
            return Err(ApiError::unsupported("a network mode other than awsvpc"));
        }
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<u64>().ok());
        let (Some(cpu), Some(memory)) = (number(&self.cpu), number(&self.memory)) else {
            return Err(client("Fargate requires task definition to have cpu and memory as whole numbers.".to_owned()));
        };
        if !fargate_pair(cpu, memory) {
            return Err(client(format!(
                "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory."
            )));
        }
        let container = self.container();
        if container.stop_timeout.is_some_and(|seconds| seconds > 120) {
            return Err(client("stopTimeout must be at most 120 seconds on Fargate.".to_owned()));
        }
        if container.log_configuration.as_ref().is_some_and(|log| log.log_driver != "awslogs") {
            return Err(ApiError::unsupported("a log driver other than awslogs"));
        }
        Ok(())
    }
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>
fn fargate_pair(cpu: u64, memory: u64) -> bool {
    let gib = |from: u64, to: u64, step: u64| {
        memory >= from * 1024 && memory <= to * 1024 && memory.is_multiple_of(step * 1024)
    };
    match cpu {
        256 => matches!(memory, 512 | 1024 | 2048),
        512 => gib(1, 4, 1),
        1024 => gib(2, 8, 1),
        2048 => gib(4, 16, 1),
        4096 => gib(8, 30, 1),
        8192 => gib(16, 60, 4),
        16384 => gib(32, 120, 8),
        _ => false,
    }
}

pub(super) fn register(cloud: &Cloud, mut input: Value) -> Result<Value, ApiError> {
    let tags = input.as_object_mut().and_then(|input| input.remove("tags")).unwrap_or(json!([]));
    let definition: Definition = parse(input.clone())?;
    definition.check()?;
    let registered = cloud.clock().now();
    let record = cloud.store().write(|tx| {
        let all = tx.all::<TaskDefinition>();
        let newest = all
            .iter()
            .filter(|(_, record)| record.family == definition.family)
            .map(|(_, record)| record.revision)
            .max();
        let record = TaskDefinition {
            family: definition.family.clone(),
            revision: newest.unwrap_or(0) + 1,
            active: true,
            registered,
            definition: input,
            tags,
        };
        tx.put(&key(&record), &record);
        Ok::<_, ApiError>(record)
    })?;
    Ok(json!({ "taskDefinition": view(cloud, &record), "tags": record.tags }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NameInput {
    task_definition: String,
}

pub(super) fn describe(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let NameInput { task_definition } = parse(input)?;
    let record = get(cloud, &task_definition)?;
    Ok(json!({ "taskDefinition": view(cloud, &record), "tags": record.tags }))
}

pub(super) fn deregister(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let NameInput { task_definition } = parse(input)?;
    let record = get(cloud, &task_definition)?;
    let record =
        cloud.store().update::<TaskDefinition>(&key(&record), |record| record.active = false).unwrap_or(record);
    Ok(json!({ "taskDefinition": view(cloud, &record) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListInput {
    family_prefix: Option<String>,
    sort: Option<String>,
    status: Option<String>,
}

pub(super) fn list(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: ListInput = parse(input)?;
    let active = input.status.as_deref() != Some("INACTIVE");
    let mut records = cloud.store().find::<TaskDefinition>(|record| {
        record.active == active && input.family_prefix.as_ref().is_none_or(|family| *family == record.family)
    });
    records.sort_by(|a, b| (&a.family, a.revision).cmp(&(&b.family, b.revision)));
    if input.sort.as_deref() == Some("DESC") {
        records.reverse();
    }
    let arns: Vec<String> = records.iter().map(|record| arn(cloud, record)).collect();
    Ok(json!({ "taskDefinitionArns": arns }))
}

/// The record of `family`, `family:revision` or an ARN; a family alone means its newest active revision.
pub(super) fn get(cloud: &Cloud, name_or_arn: &str) -> Result<TaskDefinition, ApiError> {
    let name = short(name_or_arn);
    let found = if name.contains(':') {
        cloud.store().get::<TaskDefinition>(name)
    } else {
        let mut active = cloud.store().find::<TaskDefinition>(|record| record.family == name && record.active);
        active.sort_by_key(|record| record.revision);
        active.pop()
    };
    found.ok_or_else(|| ApiError::new("ClientException", "Unable to describe task definition."))
}

/// The record of an active revision, for what is to be run.
pub(super) fn get_active(cloud: &Cloud, name_or_arn: &str) -> Result<TaskDefinition, ApiError> {
    let record = get(cloud, name_or_arn).map_err(|_| invalid("TaskDefinition not found."))?;
    if record.active { Ok(record) } else { Err(invalid("TaskDefinition is inactive.")) }
}

fn key(record: &TaskDefinition) -> String {
    format!("{}:{}", record.family, record.revision)
}

pub(super) fn arn(cloud: &Cloud, record: &TaskDefinition) -> String {
    cloud.arn("ecs", format_args!("task-definition/{}", key(record)))
}

fn view(cloud: &Cloud, record: &TaskDefinition) -> Value {
    let mut view = record.definition.clone();
    view["taskDefinitionArn"] = json!(arn(cloud, record));
    view["revision"] = json!(record.revision);
    view["status"] = json!(if record.active { "ACTIVE" } else { "INACTIVE" });
    view["registeredAt"] = json!(record.registered);
    view["compatibilities"] = json!(["EC2", "FARGATE"]);
    for container in view["containerDefinitions"].as_array_mut().into_iter().flatten() {
        for (key, default) in [
            ("cpu", json!(0)),
            ("essential", json!(true)),
            ("environment", json!([])),
            ("mountPoints", json!([])),
            ("volumesFrom", json!([])),
        ] {
            if container[key].is_null() {
                container[key] = default;
            }
        }
    }
    view
}
