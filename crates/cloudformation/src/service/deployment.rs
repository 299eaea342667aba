//! Blue/green deployments by CodeDeploy.

use environment::{Environment, Span, Strategy};

use super::balancing::Balancer;
use crate::names::Names;
use crate::policy::{Statement, role};
use crate::resources::cloudwatch::Alarm as CloudWatchAlarm;
use crate::resources::codedeploy::application::ApplicationComputePlatform;
use crate::resources::codedeploy::deployment_config::{
    DeploymentConfigComputePlatform, TimeBasedCanary, TimeBasedLinear, TrafficRoutingConfig, TrafficRoutingConfigType,
};
use crate::resources::codedeploy::deployment_group::{
    Alarm, AlarmConfiguration, AutoRollbackConfiguration, AutoRollbackConfigurationEvent,
    BlueGreenDeploymentConfiguration, BlueInstanceTerminationOption, BlueInstanceTerminationOptionAction,
    DeploymentReadyOption, DeploymentReadyOptionActionOnTimeout, DeploymentStyle, DeploymentStyleDeploymentOption,
    DeploymentStyleDeploymentType, ECSService, LoadBalancerInfo, TargetGroupInfo, TargetGroupPairInfo, TrafficRoute,
};
use crate::resources::codedeploy::{Application, DeploymentConfig, DeploymentGroup};
use crate::resources::ecs::{Cluster, Service};
use crate::resources::elasticloadbalancingv2::{Listener, TargetGroup};
use crate::resources::iam::Role;
use crate::template::{Handle, Resource, Template};
use crate::value::{Value, arn};

/// What deployments are about.
pub(super) struct Parts<'a> {
    pub(super) balancer: &'a Balancer,
    pub(super) cluster: &'a Handle<Cluster>,
    pub(super) service: &'a Handle<Service>,
    pub(super) alarms: Vec<Handle<CloudWatchAlarm>>,
    pub(super) roles: [&'a Handle<Role>; 2],
}

pub(super) fn add(template: &mut Template, environment: &Environment, names: Names<'_>, parts: Parts<'_>) {
    let Parts { balancer, cluster, service, alarms, roles } = parts;
    let role = template.add("CodeDeployRole", codedeploy_role(environment, names, balancer, roles));
    let application = template.add(
        "CodeDeployApplication",
        Application {
            application_name: Some(names.environment_wide().into()),
            compute_platform: Some(ApplicationComputePlatform::Ecs.into()),
            ..Application::default()
        },
    );
    let group = DeploymentGroup {
        deployment_group_name: Some(names.service().into()),
        deployment_config_name: Some(configuration(template, environment, names)),
        deployment_style: Some(DeploymentStyle {
            deployment_option: Some(DeploymentStyleDeploymentOption::WithTrafficControl.into()),
            deployment_type: Some(DeploymentStyleDeploymentType::BlueGreen.into()),
        }),
        blue_green_deployment_configuration: Some(blue_green(environment.deployment.bake)),
        ecs_services: Some(vec![ECSService::new(cluster.reference(), service.name())]),
        load_balancer_info: Some(LoadBalancerInfo {
            target_group_pair_info_list: Some(vec![pair(balancer)]),
            ..LoadBalancerInfo::default()
        }),
        auto_rollback_configuration: Some(AutoRollbackConfiguration {
            enabled: Some(true.into()),
            events: Some(vec![
                AutoRollbackConfigurationEvent::DeploymentFailure.into(),
                AutoRollbackConfigurationEvent::DeploymentStopOnAlarm.into(),
                AutoRollbackConfigurationEvent::DeploymentStopOnRequest.into(),
            ]),
        }),
        alarm_configuration: alarm_configuration(environment, &alarms),
        ..DeploymentGroup::new(application.reference(), role.arn())
    };
    let group = template.add("DeploymentGroup", group);
    template.output("CodeDeployApplication", "The CodeDeploy application", &application.reference());
    template.output("DeploymentGroup", "The CodeDeploy deployment group", &group.reference());
}

/// The environment's own alarms and those it names.
fn alarm_configuration(environment: &Environment, own: &[Handle<CloudWatchAlarm>]) -> Option<AlarmConfiguration> {
    let own = own.iter().map(|alarm| alarm.reference().into());
    let named = environment.deployment.alarms.iter().map(|name| name.as_str().into());
    let alarms: Vec<_> = own.chain(named).map(|name| Alarm { name: Some(name) }).collect();
    (!alarms.is_empty()).then(|| AlarmConfiguration {
        enabled: Some(true.into()),
        alarms: Some(alarms),
        // A deployment whose alarms cannot be read must not go on.
        ignore_poll_alarm_failure: Some(false.into()),
    })
}

/// The traffic steps: AWS's own configuration where one fits, else ours. The name of ours says what it does, so a
/// change of the steps makes a new one beside the old.
fn configuration(template: &mut Template, environment: &Environment, names: Names<'_>) -> Value<String> {
    let (kind, percent, minutes) = match &environment.deployment.strategy {
        Strategy::AllAtOnce => return "CodeDeployDefault.ECSAllAtOnce".into(),
        Strategy::Canary(canary) => ("canary", canary.percent, minutes(canary.duration)),
        Strategy::Linear(linear) => ("linear", linear.percent, minutes(linear.every)),
    };
    match (kind, percent, minutes) {
        ("canary", 10, 5 | 15) => return format!("CodeDeployDefault.ECSCanary10Percent{minutes}Minutes").into(),
        ("linear", 10, 1 | 3) => return format!("CodeDeployDefault.ECSLinear10PercentEvery{minutes}Minutes").into(),
        _ => {}
    }
    let percent_value = i64::from(percent);
    let routing = if kind == "canary" {
        TrafficRoutingConfig {
            time_based_canary: Some(TimeBasedCanary::new(minutes, percent_value)),
            ..TrafficRoutingConfig::new(TrafficRoutingConfigType::TimeBasedCanary)
        }
    } else {
        TrafficRoutingConfig {
            time_based_linear: Some(TimeBasedLinear::new(minutes, percent_value)),
            ..TrafficRoutingConfig::new(TrafficRoutingConfigType::TimeBasedLinear)
        }
    };
    let name = format!("{}-{kind}-{percent}-percent-{minutes}-minutes", names.environment_wide());
    let own = DeploymentConfig {
        deployment_config_name: Some(name.into()),
        compute_platform: Some(DeploymentConfigComputePlatform::Ecs.into()),
        traffic_routing_config: Some(routing),
        ..DeploymentConfig::default()
    };
    template.add("DeploymentConfig", own).reference().into()
}

/// Whole minutes; that the span has them was checked when the environment was read.
pub(super) fn minutes(span: Span) -> i64 {
    i64::try_from(span.as_seconds() / 60).unwrap_or(i64::MAX)
}

fn blue_green(bake: Span) -> BlueGreenDeploymentConfiguration {
    BlueGreenDeploymentConfiguration {
        deployment_ready_option: Some(DeploymentReadyOption {
            action_on_timeout: Some(DeploymentReadyOptionActionOnTimeout::ContinueDeployment.into()),
            wait_time_in_minutes: Some(0.into()),
        }),
        terminate_blue_instances_on_deployment_success: Some(BlueInstanceTerminationOption {
            action: Some(BlueInstanceTerminationOptionAction::Terminate.into()),
            termination_wait_time_in_minutes: Some(minutes(bake).into()),
        }),
        ..BlueGreenDeploymentConfiguration::default()
    }
}

fn pair(balancer: &Balancer) -> TargetGroupPairInfo {
    let group = |group: &Handle<TargetGroup>| TargetGroupInfo { name: Some(group.target_group_name().into()) };
    let route = |listener: &Handle<Listener>| TrafficRoute { listener_arns: Some(vec![listener.reference().into()]) };
    TargetGroupPairInfo {
        target_groups: Some(vec![group(&balancer.blue), group(&balancer.green)]),
        prod_traffic_route: Some(route(&balancer.production)),
        test_traffic_route: Some(route(&balancer.test)),
    }
}

/// CodeDeploy may replace the task sets of this service, move these listeners and call these functions, nothing else.
fn codedeploy_role(
    environment: &Environment,
    names: Names<'_>,
    balancer: &Balancer,
    task_roles: [&Handle<Role>; 2],
) -> Resource<Role> {
    let path = format!("{}/{}", names.environment_wide(), names.service());
    let service = [arn("ecs", format!("service/{path}")), arn("ecs", format!("task-set/{path}/*"))];
    let replace = ["ecs:DeleteTaskSet", "ecs:DescribeServices", "ecs:UpdateServicePrimaryTaskSet"];
    let listeners = [balancer.production.reference(), balancer.test.reference()];
    let describe = [
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "cloudwatch:DescribeAlarms",
        "ecs:CreateTaskSet",
    ];
    let mut statements = vec![
        Statement::allow("ReplaceTasks", replace, service),
        Statement::allow("MoveTraffic", ["elasticloadbalancing:ModifyListener"], listeners),
        Statement::allow_unscoped(
            "Look",
            describe,
            "Elastic Load Balancing describes nothing by resource, composite alarms are shown with no narrower scope, and a task set \
             has no ARN before",
        ),
        Statement::pass_roles(task_roles.map(Handle::<Role>::arn), "ecs-tasks.amazonaws.com"),
    ];
    if environment.deployment.hooks.is_some() {
        let functions = ["validate", "monitor"].map(|what| arn("lambda", format!("function:{}", names.hook(what))));
        statements.push(Statement::allow("CallHooks", ["lambda:InvokeFunction"], functions));
    }
    role(names.codedeploy_role(), "What CodeDeploy may do in a deployment", "codedeploy.amazonaws.com", statements)
}
