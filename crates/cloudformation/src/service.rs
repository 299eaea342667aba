//! What runs an environment: cluster, tasks, load balancer and blue/green deployments.

mod balancing;
mod deployment;
mod scaling;

use environment::{Capacity, Environment, Project};
use serde_json::Value as Json;

use crate::names::Names;
use crate::network::Imports;
use crate::policy::{Statement, role};
use crate::resources::ecs::cluster::ClusterSettings;
use crate::resources::ecs::service::{
    AwsVpcConfiguration, AwsVpcConfigurationAssignPublicIp, CapacityProviderStrategyItem, DeploymentController,
    DeploymentControllerType, LoadBalancer, NetworkConfiguration, ServiceLaunchType, ServicePropagateTags,
};
use crate::resources::ecs::{Cluster, Service};
use crate::resources::iam::Role;
use crate::resources::logs::LogGroup;
use crate::stack::tags;
use crate::template::{Handle, Resource, Template};
use crate::value::{Intrinsic, arn};
use crate::{sub, task};

/// Days that container logs are kept.
const LOG_RETENTION_DAYS: i64 = 30;

pub(crate) fn template(project: &Project, environment: &Environment) -> Json {
    let names = Names::new(project, environment.name);
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

    let logs = LogGroup {
        log_group_name: Some(names.log_group().into()),
        retention_in_days: Some(LOG_RETENTION_DAYS.into()),
        ..LogGroup::default()
    };
    let logs = template.add("LogGroup", Resource::new(logs).disposable());
    let cluster = template.add("Cluster", cluster(names));
    let execution_role = template.add("ExecutionRole", execution_role(project, environment, &logs));
    // The chatbot calls no AWS service; the role exists so that permissions have a place.
    let task_role = role(names.task_role(), "What the chatbot may do", "ecs-tasks.amazonaws.com", Vec::new());
    let task_role = template.add("TaskRole", task_role);
    // Retained: deployments that came later may still run, or roll back to, this revision.
    let first = task::resource(project, environment, &image, execution_role.arn(), task_role.arn(), logs.reference());
    let first = template.add("FirstTaskDefinition", Resource::new(first).retained());

    let balancer = balancing::add(&mut template, environment, names);
    let service = Service {
        service_name: Some(names.service().into()),
        cluster: Some(cluster.reference().into()),
        task_definition: Some(is_live.choose(live, first.reference()).into()),
        desired_count: Some(desired.into()),
        load_balancers: Some(vec![LoadBalancer {
            container_name: Some(names.service().into()),
            container_port: Some(i64::from(Project::CONTAINER_PORT).into()),
            target_group_arn: Some(balancer.blue.reference().into()),
            ..LoadBalancer::default()
        }]),
        ..service_settings(environment, names)
    };
    let service = Resource::new(service).after(&balancer.production).after(&balancer.test);
    let service = template.add("Service", service);

    deployment::add(&mut template, environment, names, &balancer, &cluster, &service, [&execution_role, &task_role]);
    scaling::add(&mut template, environment, &cluster, &service);

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

fn cluster(names: Names<'_>) -> Cluster {
    Cluster {
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
fn execution_role(project: &Project, environment: &Environment, logs: &Handle<LogGroup>) -> Role {
    let names = Names::new(project, environment.name);
    let repository = arn("ecr", format!("repository/{}", project.image_repository));
    let pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];
    let mut statements = vec![
        Statement::allow_unscoped("RegistryLogin", ["ecr:GetAuthorizationToken"]),
        Statement::allow("PullImage", pull, [repository]),
        Statement::allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [logs.arn()]),
    ];
    if !environment.secrets.is_empty() {
        // Secrets Manager appends a dash and six characters to every name.
        let secrets = environment.secrets.values().map(|name| arn("secretsmanager", format!("secret:{name}-??????")));
        statements.push(Statement::allow("ReadSecrets", ["secretsmanager:GetSecretValue"], secrets));
    }
    if !environment.parameters.is_empty() {
        let of = |name: &String| arn("ssm", format!("parameter/{}", name.trim_start_matches('/')));
        let parameters = environment.parameters.values().map(of);
        statements.push(Statement::allow("ReadParameters", ["ssm:GetParameters"], parameters));
    }
    role(names.execution_role(), "What ECS uses to start a task", "ecs-tasks.amazonaws.com", statements)
}

/// What the service's settings say, without what it refers to in its stack.
fn service_settings(environment: &Environment, names: Names<'_>) -> Service {
    let network = Imports(names);
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
        deployment_controller: Some(DeploymentController { r#type: Some(DeploymentControllerType::CodeDeploy.into()) }),
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
