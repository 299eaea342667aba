//! The task definition: one function for the template's resource and for the committed `taskdef.json`.

use std::collections::BTreeMap;

use environment::{Architecture, ConversationStore, Environment, Project, variables};
use serde_json::Value as Json;

use crate::names::Names;
use crate::resources::ecs::TaskDefinition;
use crate::resources::ecs::task_definition::{
    ContainerDefinition, HealthCheck, KernelCapabilities, KeyValuePair, LinuxParameters, LogConfiguration, MountPoint,
    PortMapping, PortMappingProtocol, RuntimePlatform, RuntimePlatformCpuArchitecture,
    RuntimePlatformOperatingSystemFamily, Secret, TaskDefinitionNetworkMode, TaskDefinitionRequiresCompatibility,
    Ulimit, UlimitName, Volume,
};
use crate::template::to_json;
use crate::value::{Intrinsic, Value};

/// What the task definition refers to: by reference in the template, by name in `taskdef.json`.
pub(crate) struct References<'a> {
    pub(crate) image: Value<String>,
    pub(crate) execution_role: Value<String>,
    pub(crate) task_role: Value<String>,
    pub(crate) log_group: Value<String>,
    pub(crate) region: Value<String>,
    /// The ARN of a resource (`secret:name`) of a service in the environment's account and region.
    pub(crate) arn: &'a dyn Fn(&str, &str) -> Value<String>,
}

/// The only place that the chatbot may write to; it keeps its embedded conversation store there.
const DATA: &str = "/data";
/// CloudWatch keeps metrics by the minute.
const EMF_SECONDS: &str = "60";
/// Who the chatbot runs as: the image's own user.
const USER: &str = "10001:10001";

pub(crate) fn definition(project: &Project, environment: &Environment, references: References<'_>) -> TaskDefinition {
    let names = Names::new(project, environment.name);
    let task = &environment.task;
    let architecture = match task.architecture {
        Architecture::X86_64 => RuntimePlatformCpuArchitecture::X8664,
        Architecture::Arm64 => RuntimePlatformCpuArchitecture::Arm64,
    };
    TaskDefinition {
        family: Some(names.task_family().into()),
        cpu: Some(task.cpu.to_string().into()),
        memory: Some(task.memory.as_mebibytes().to_string().into()),
        network_mode: Some(TaskDefinitionNetworkMode::Awsvpc.into()),
        requires_compatibilities: Some(vec![TaskDefinitionRequiresCompatibility::Fargate.into()]),
        runtime_platform: Some(RuntimePlatform {
            cpu_architecture: Some(architecture.into()),
            operating_system_family: Some(RuntimePlatformOperatingSystemFamily::Linux.into()),
        }),
        execution_role_arn: Some(references.execution_role.clone()),
        task_role_arn: Some(references.task_role.clone()),
        container_definitions: Some(vec![container(environment, names, references)]),
        volumes: Some(vec![Volume { name: Some("data".into()), ..Volume::default() }]),
        ..TaskDefinition::default()
    }
}

fn container(environment: &Environment, names: Names<'_>, references: References<'_>) -> ContainerDefinition {
    let health = &environment.health_check;
    // Fargate takes no `no-new-privileges`. Without capabilities, with nothing setuid in the image and nothing to write it to,
    // there are none to gain either.
    let drop_all = KernelCapabilities { drop: Some(vec!["ALL".into()]), ..KernelCapabilities::default() };
    ContainerDefinition {
        // The only container has all of the task's memory, and ends when it wants more.
        memory: Some(i64::from(environment.task.memory.as_mebibytes()).into()),
        essential: Some(true.into()),
        user: Some(USER.into()),
        readonly_root_filesystem: Some(true.into()),
        privileged: Some(false.into()),
        linux_parameters: Some(LinuxParameters { capabilities: Some(drop_all), ..LinuxParameters::default() }),
        port_mappings: Some(vec![PortMapping {
            container_port: Some(i64::from(Project::CONTAINER_PORT).into()),
            protocol: Some(PortMappingProtocol::Tcp.into()),
            ..PortMapping::default()
        }]),
        // The image has no shell and no curl: the binary asks itself.
        health_check: Some(HealthCheck {
            command: Some(vec!["CMD".into(), "/smartbot".into(), "--healthcheck".into()]),
            interval: Some(seconds(health.interval)),
            timeout: Some(seconds(health.timeout)),
            retries: Some(i64::from(health.unhealthy_threshold).into()),
            start_period: Some(seconds(health.start_period)),
        }),
        environment: Some(plain_variables(environment, names)),
        secrets: secrets(environment, &references),
        mount_points: Some(vec![MountPoint {
            source_volume: Some("data".into()),
            container_path: Some(DATA.into()),
            read_only: Some(false.into()),
        }]),
        log_configuration: Some(LogConfiguration {
            options: Some(BTreeMap::from([
                ("awslogs-group".to_owned(), references.log_group),
                ("awslogs-region".to_owned(), references.region),
                ("awslogs-stream-prefix".to_owned(), names.service().into()),
            ])),
            ..LogConfiguration::new("awslogs")
        }),
        stop_timeout: Some(seconds(environment.task.stop_timeout)),
        ulimits: Some(vec![Ulimit::new(65_536, UlimitName::Nofile, 65_536)]),
        ..ContainerDefinition::new(references.image, names.service())
    }
}

fn plain_variables(environment: &Environment, names: Names<'_>) -> Vec<KeyValuePair> {
    let store = environment.chat.conversation_store;
    let variable = |name: &str, value: &str| KeyValuePair { name: Some(name.into()), value: Some(value.into()) };
    let mut all = vec![
        variable(variables::ENVIRONMENT, environment.name.as_str()),
        variable(variables::CONVERSATION_STORE, store.as_str()),
        variable(variables::DRAIN_DELAY_SECONDS, &variables::DRAIN_DELAY.as_seconds().to_string()),
        variable(variables::DRAIN_DEADLINE_SECONDS, &environment.task.drain.as_seconds().to_string()),
    ];
    match store {
        ConversationStore::Embedded => {
            all.push(variable(variables::CONVERSATIONS_DIR, &format!("{DATA}/conversations")));
        }
        ConversationStore::Dynamodb => all.extend([
            variable(variables::CONVERSATIONS_TABLE, &names.conversations_table()),
            variable(variables::TENANTS_STORE, store.as_str()),
        ]),
    }
    if !environment.chat.models.is_empty() {
        all.push(variable(variables::MODELS, &environment.chat.models.join(",")));
    }
    // CloudWatch makes metrics of such lines; nobody else does.
    if environment.location.account.is_some() {
        all.push(variable(variables::METRICS_EMF_SECONDS, EMF_SECONDS));
    }
    all
}

/// Secrets and parameters stay references; ECS resolves them when a task starts.
fn secrets(environment: &Environment, references: &References<'_>) -> Option<Vec<Secret>> {
    let of = |service: &'static str, kind: &'static str| {
        move |(variable, name): (&String, &String)| {
            let value = (references.arn)(service, &format!("{kind}{}", name.trim_start_matches('/')));
            Secret::new(variable.as_str(), value)
        }
    };
    let all: Vec<Secret> = environment
        .secrets
        .iter()
        .map(of("secretsmanager", "secret:"))
        .chain(environment.parameters.iter().map(of("ssm", "parameter/")))
        .collect();
    (!all.is_empty()).then_some(all)
}

fn seconds(span: environment::Span) -> Value<i64> {
    i64::try_from(span.as_seconds()).unwrap_or(i64::MAX).into()
}

/// The `taskdef.json` that the pipeline registers, with its placeholder for the image.
pub(crate) fn file(project: &Project, environment: &Environment) -> Json {
    let names = Names::new(project, environment.name);
    let (account, region) = (environment.account(), environment.region(project));
    let role = |name: String| format!("arn:{}:iam::{account}:role/{name}", partition(region)).into();
    let references = References {
        image: "<IMAGE1_NAME>".into(),
        execution_role: role(names.execution_role()),
        task_role: role(names.task_role()),
        log_group: names.log_group().into(),
        region: region.into(),
        arn: &|service, resource| fixed_arn(project, environment, service, resource).into(),
    };
    lower_first(to_json(&definition(project, environment, references)))
}

/// The ARN of a resource of the environment's account and region, for files that CloudFormation does not read.
pub(crate) fn fixed_arn(project: &Project, environment: &Environment, service: &str, resource: &str) -> String {
    let region = environment.region(project);
    format!("arn:{}:{service}:{region}:{}:{resource}", partition(region), environment.account())
}

fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") { "aws-cn" } else { "aws" }
}

/// The template's resource.
pub(crate) fn resource(
    project: &Project,
    environment: &Environment,
    image: &Intrinsic,
    execution_role: Intrinsic,
    task_role: Intrinsic,
    log_group: Intrinsic,
) -> TaskDefinition {
    let references = References {
        image: image.clone().into(),
        execution_role: execution_role.into(),
        task_role: task_role.into(),
        log_group: log_group.into(),
        region: crate::value::REGION.into(),
        arn: &|service, resource| crate::value::arn(service, resource).into(),
    };
    definition(project, environment, references)
}

/// CloudFormation writes `ContainerDefinitions`, the ECS API `containerDefinitions`.
fn lower_first(json: Json) -> Json {
    match json {
        Json::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| {
                let mut chars = key.chars();
                let first = chars.next().map(|c| c.to_ascii_lowercase());
                (first.into_iter().chain(chars).collect(), lower_first(value))
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Json::Array(items) => items.into_iter().map(lower_first).collect(),
        other => other,
    }
}
