//! What runs an environment: cluster, tasks, load balancer and blue/green deployments.

mod alarms;
mod balancing;
mod deployment;
mod firewall;
mod hooks;
mod native;
mod scaling;

use environment::{Capacity, Engine, Environment, Project};
use serde_json::Value as Json;

use crate::keys::decrypt_through;
use crate::names::Names;
use crate::policy::{Statement, role};
use crate::registry::PULL;
use crate::resources::ecs::cluster::{self, ClusterSettings};
use crate::resources::ecs::service::{
    AwsVpcConfiguration, AwsVpcConfigurationAssignPublicIp, CapacityProviderStrategyItem, DeploymentController,
    DeploymentControllerType, LoadBalancer, NetworkConfiguration, ServiceLaunchType, ServicePropagateTags,
};
use crate::resources::ecs::{Cluster, Service};
use crate::resources::iam::Role;
use crate::resources::logs::LogGroup;
use crate::stack::tags;
use crate::template::{Handle, Resource, Template};
use crate::value::{Intrinsic, PARTITION, REGION, arn};
use crate::{data, logs, network, sub, task};

pub(crate) use alarms::gates;

/// What other stacks need of this one, by import.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Imports<'a>(pub(crate) Names<'a>);

impl Imports<'_> {
    /// Where customers reach the service.
    pub(crate) fn url(self) -> Intrinsic {
        self.import("Url")
    }

    /// The topic of the environment's alarms.
    pub(crate) fn alerts(self) -> Intrinsic {
        self.import("Alerts")
    }

    /// The load balancer as metrics name it.
    pub(crate) fn load_balancer(self) -> Intrinsic {
        self.import("LoadBalancer")
    }

    /// A target group as metrics name it.
    pub(crate) fn target_group(self, colour: &str) -> Intrinsic {
        self.import(colour)
    }

    fn import(self, output: &str) -> Intrinsic {
        Intrinsic::ImportValue(export(self.0, output))
    }
}

fn export(names: Names<'_>, output: &str) -> String {
    format!("{}-{output}", names.service_stack())
}

pub(crate) fn template(project: &Project, environment: &Environment) -> Json {
    let names = Names::new(project, environment.name);
    let stored = data::Imports::new(names, environment);
    let description = format!("{}: service of {}", project.name, environment.name);
    let mut template = Template::new(description, tags(project, Some(environment)));

    let image = template.parameter("ImageUri", "String", "First image, by digest; later ones come by deployment", None);
    let live = template.parameter(
        "TaskDefinition",
        "String",
        "ARN of the task definition that serves, so that an update leaves it; empty when the stack is created",
        Some(""),
    );
    let desired = environment.autoscaling.desired.to_string();
    let desired = template.parameter("DesiredCount", "Number", "Tasks that run now", Some(&desired));
    let is_live = template.when_given("HasTaskDefinition", &live);

    let logs = logs::group(names.log_group(), environment.log_retention(), stored.key());
    let logs = template.add("LogGroup", logs);
    let cluster = template.add("Cluster", cluster(environment, names));
    let execution_role = template.add("ExecutionRole", execution_role(project, environment, &logs));
    let task_role = template.add("TaskRole", task_role(environment, names, stored));
    // Retained: deployments that came later may still run, or roll back to, this revision.
    let first = task::resource(project, environment, &image, execution_role.arn(), task_role.arn(), logs.reference());
    let first = template.add("FirstTaskDefinition", Resource::new(first).retained());

    let balancer = balancing::add(&mut template, environment, names);
    firewall::add(&mut template, environment, names, &balancer, stored.key());
    let alarms = alarms::add(&mut template, environment, names, &balancer, stored.key());
    let hooks = hooks::add(&mut template, project, environment, &balancer, (stored.key(), alarms.topic));

    let native = native::Native::of(&mut template, environment, names, &balancer, &alarms.stop, hooks.as_ref());
    let service = Service {
        service_name: Some(names.service().into()),
        cluster: Some(cluster.reference().into()),
        task_definition: Some(is_live.choose(live, first.reference()).into()),
        desired_count: Some(desired.into()),
        deployment_controller: Some(DeploymentController { r#type: Some(controller(environment).into()) }),
        deployment_configuration: native.as_ref().map(|native| native.configuration.clone()),
        load_balancers: Some(vec![LoadBalancer {
            container_name: Some(names.service().into()),
            container_port: Some(i64::from(Project::CONTAINER_PORT).into()),
            target_group_arn: Some(balancer.blue.reference().into()),
            advanced_configuration: native.map(|native| native.traffic),
            ..LoadBalancer::default()
        }]),
        ..service_settings(environment, names)
    };
    let service = Resource::new(service).after(&balancer.production).after(&balancer.test);
    let service = template.add("Service", service);

    if environment.deployment.engine == Engine::Codedeploy {
        let roles = [&execution_role, &task_role];
        let parts =
            deployment::Parts { balancer: &balancer, cluster: &cluster, service: &service, alarms: alarms.stop, roles };
        deployment::add(&mut template, environment, names, parts);
    }
    scaling::add(&mut template, environment, &balancer, &cluster, &service);

    let outputs = [
        ("ClusterName", "The ECS cluster", cluster.reference()),
        ("ServiceName", "The ECS service", service.name()),
        ("LogGroup", "Logs of the tasks", logs.reference()),
    ];
    for (name, description, value) in outputs {
        template.output(name, description, &value);
    }
    template.finish()
}

fn controller(environment: &Environment) -> DeploymentControllerType {
    match environment.deployment.engine {
        Engine::Codedeploy => DeploymentControllerType::CodeDeploy,
        Engine::Ecs => DeploymentControllerType::Ecs,
    }
}

fn cluster(environment: &Environment, names: Names<'_>) -> Cluster {
    let provider = match environment.task.capacity {
        Capacity::OnDemand => "FARGATE",
        Capacity::Spot => "FARGATE_SPOT",
    };
    Cluster {
        default_capacity_provider_strategy: Some(vec![cluster::CapacityProviderStrategyItem {
            capacity_provider: Some(provider.into()),
            weight: Some(1.into()),
            ..cluster::CapacityProviderStrategyItem::default()
        }]),
        cluster_name: Some(names.environment_wide().into()),
        cluster_settings: Some(vec![ClusterSettings {
            name: Some("containerInsights".into()),
            value: Some("enabled".into()),
        }]),
        capacity_providers: Some(vec!["FARGATE".into(), "FARGATE_SPOT".into()]),
        ..Cluster::default()
    }
}

/// What ECS uses to start a task: pull this one repository, write to this one log group, read these secrets.
fn execution_role(project: &Project, environment: &Environment, logs: &Handle<LogGroup>) -> Resource<Role> {
    let names = Names::new(project, environment.name);
    let repository = arn("ecr", format!("repository/{}", project.image_repository));
    let mut statements = vec![
        registry_login(),
        Statement::allow("PullImage", PULL, [repository]),
        Statement::allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [logs.arn()]),
    ];
    if !environment.secrets.is_empty() {
        // Secrets Manager appends a dash and six characters to every name.
        let secrets = environment.secrets.values().map(|name| arn("secretsmanager", format!("secret:{name}-??????")));
        statements.push(Statement::allow("ReadSecrets", ["secretsmanager:GetSecretValue"], secrets));
        if let Some(key) = data::Imports::new(names, environment).key() {
            statements.push(decrypt_through(&key, "secretsmanager"));
        }
    }
    if !environment.parameters.is_empty() {
        let of = |name: &String| arn("ssm", format!("parameter/{}", name.trim_start_matches('/')));
        let parameters = environment.parameters.values().map(of);
        statements.push(Statement::allow("ReadParameters", ["ssm:GetParameters"], parameters));
    }
    role(names.execution_role(), "What ECS uses to start a task", "ecs-tasks.amazonaws.com", statements)
}

/// A login is for the registry of the whole account; what it may read is another statement's.
pub(crate) fn registry_login() -> Statement {
    Statement::allow_unscoped(
        "RegistryLogin",
        ["ecr:GetAuthorizationToken"],
        "AWS has no resource for it: a login is for the account's registry, and repositories are granted one by one",
    )
}

/// What the chatbot itself may do: keep conversations in its table and ask its models, if it has them.
fn task_role(environment: &Environment, names: Names<'_>, stored: data::Imports<'_>) -> Resource<Role> {
    let keep = [
        "dynamodb:BatchGetItem",
        "dynamodb:BatchWriteItem",
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "dynamodb:DescribeTable",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:UpdateItem",
    ];
    let mut statements = Vec::new();
    if let Some(table) = stored.table() {
        statements.push(Statement::allow("KeepConversations", keep, [table]));
    }
    let models: Vec<_> = environment.chat.bedrock_models().flat_map(model_resources).collect();
    if !models.is_empty() {
        let ask = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"];
        statements.push(Statement::allow("AskModels", ask, models));
    }
    role(names.task_role(), "What the chatbot may do", "ecs-tasks.amazonaws.com", statements)
}

/// What a model is to IAM. An inference profile needs itself and its model in every region that it may choose.
fn model_resources(model: &str) -> Vec<Intrinsic> {
    let foundation =
        |region: &str, model: &str| sub!["arn:", PARTITION, format!(":bedrock:{region}::foundation-model/{model}")];
    match model.split_once('.') {
        _ if model.starts_with("arn:") => vec![sub![model.to_owned()]],
        Some(("us" | "eu" | "apac" | "jp" | "global" | "us-gov", of)) => {
            vec![arn("bedrock", format!("inference-profile/{model}")), foundation("*", of)]
        }
        _ => vec![sub!["arn:", PARTITION, ":bedrock:", REGION, format!("::foundation-model/{model}")]],
    }
}

/// What the service's settings say, without what it refers to in its stack.
fn service_settings(environment: &Environment, names: Names<'_>) -> Service {
    let network = network::Imports(names);
    let subnets = (1..=environment.network.zones).map(|zone| network.private_subnet(zone).into());
    let (launch_type, strategy) = match environment.task.capacity {
        Capacity::OnDemand => (Some(ServiceLaunchType::Fargate.into()), None),
        Capacity::Spot => {
            let spot = CapacityProviderStrategyItem {
                capacity_provider: Some("FARGATE_SPOT".into()),
                weight: Some(1.into()),
                ..CapacityProviderStrategyItem::default()
            };
            (None, Some(vec![spot]))
        }
    };
    let grace = i64::try_from(environment.health_check.grace_period.as_seconds()).unwrap_or(i64::MAX);
    Service {
        launch_type,
        capacity_provider_strategy: strategy,
        network_configuration: Some(NetworkConfiguration {
            awsvpc_configuration: Some(AwsVpcConfiguration {
                assign_public_ip: Some(AwsVpcConfigurationAssignPublicIp::Disabled.into()),
                security_groups: Some(vec![network.task_group().into()]),
                subnets: Some(subnets.collect()),
            }),
        }),
        health_check_grace_period_seconds: Some(grace.into()),
        enable_ecs_managed_tags: Some(true.into()),
        propagate_tags: Some(ServicePropagateTags::Service.into()),
        ..Service::default()
    }
}

/// Where customers reach the service through a listener.
fn url(environment: &Environment, dns_name: Intrinsic, port: u16) -> Intrinsic {
    let scheme = if environment.edge.certificate.is_some() { "https" } else { "http" };
    let port = match (scheme, port) {
        ("http", 80) | ("https", 443) => String::new(),
        _ => format!(":{port}"),
    };
    match &environment.edge.domain {
        Some(domain) => sub![format!("{scheme}://{domain}{port}")],
        None => sub![format!("{scheme}://"), dns_name, port],
    }
}
