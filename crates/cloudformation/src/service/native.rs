//! Blue/green, canary and linear deployments by ECS itself.

use environment::{Engine, Environment, Strategy};

use super::balancing::Balancer;
use super::deployment::minutes;
use super::hooks::Hooks;
use crate::names::Names;
use crate::policy::{Statement, role};
use crate::resources::cloudwatch::Alarm;
use crate::resources::ecs::service::{
    AdvancedConfiguration, CanaryConfiguration, DeploymentAlarms, DeploymentConfiguration,
    DeploymentConfigurationStrategy, DeploymentLifecycleHook, DeploymentLifecycleHookLifecycleStage,
    LinearConfiguration,
};
use crate::resources::iam::Role;
use crate::template::{Handle, Resource, Template};

/// What the service says about its deployments.
pub(super) struct Native {
    pub(super) configuration: DeploymentConfiguration,
    pub(super) traffic: AdvancedConfiguration,
}

impl Native {
    /// What an environment of the engine `ecs` says; the listeners have rules there.
    pub(super) fn of(
        template: &mut Template,
        environment: &Environment,
        names: Names<'_>,
        balancer: &Balancer,
        alarms: &[Handle<Alarm>],
        hooks: Option<&Hooks>,
    ) -> Option<Self> {
        let rules = balancer.rules.as_ref().filter(|_| environment.deployment.engine == Engine::Ecs)?;
        let role = template.add("InfrastructureRole", infrastructure_role(names, balancer));
        let traffic = AdvancedConfiguration {
            production_listener_rule: Some(rules.production.reference().into()),
            test_listener_rule: Some(rules.test.reference().into()),
            role_arn: Some(role.arn().into()),
            ..AdvancedConfiguration::new(balancer.green.reference())
        };
        Some(Native { configuration: configuration(environment, alarms, hooks), traffic })
    }
}

fn configuration(
    environment: &Environment,
    alarms: &[Handle<Alarm>],
    hooks: Option<&Hooks>,
) -> DeploymentConfiguration {
    let deployment = &environment.deployment;
    let names: Vec<_> = alarms
        .iter()
        .map(|alarm| alarm.reference().into())
        .chain(deployment.alarms.iter().map(|name| name.as_str().into()))
        .collect();
    let base = DeploymentConfiguration {
        maximum_percent: Some(200.into()),
        minimum_healthy_percent: Some(100.into()),
        bake_time_in_minutes: Some(minutes(deployment.bake).into()),
        alarms: (!names.is_empty()).then(|| DeploymentAlarms::new(names, true, true)),
        lifecycle_hooks: hooks.map(lifecycle_hooks),
        ..DeploymentConfiguration::default()
    };
    match &deployment.strategy {
        Strategy::AllAtOnce => {
            DeploymentConfiguration { strategy: Some(DeploymentConfigurationStrategy::BlueGreen.into()), ..base }
        }
        Strategy::Canary(canary) => DeploymentConfiguration {
            strategy: Some(DeploymentConfigurationStrategy::Canary.into()),
            canary_configuration: Some(CanaryConfiguration {
                canary_percent: Some(f64::from(canary.percent).into()),
                canary_bake_time_in_minutes: Some(minutes(canary.duration).into()),
            }),
            ..base
        },
        Strategy::Linear(linear) => DeploymentConfiguration {
            strategy: Some(DeploymentConfigurationStrategy::Linear.into()),
            linear_configuration: Some(LinearConfiguration {
                step_percent: Some(f64::from(linear.percent).into()),
                step_bake_time_in_minutes: Some(minutes(linear.every).into()),
            }),
            ..base
        },
    }
}

/// One before customers see the new version, one once they all do.
fn lifecycle_hooks(hooks: &Hooks) -> Vec<DeploymentLifecycleHook> {
    use DeploymentLifecycleHookLifecycleStage as Stage;
    [(&hooks.validate, Stage::PostTestTrafficShift), (&hooks.monitor, Stage::PostProductionTrafficShift)]
        .map(|(function, stage)| DeploymentLifecycleHook {
            hook_target_arn: Some(function.arn().into()),
            role_arn: Some(hooks.caller.arn().into()),
            ..DeploymentLifecycleHook::new(vec![stage.into()])
        })
        .into()
}

/// ECS may move these two rules and fill these two target groups, nothing else.
fn infrastructure_role(names: Names<'_>, balancer: &Balancer) -> Resource<Role> {
    let groups = [balancer.blue.reference(), balancer.green.reference()];
    let rules = balancer.rules.iter().flat_map(|rules| [rules.production.reference(), rules.test.reference()]);
    let look = [
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
    ];
    let statements = vec![
        Statement::allow(
            "FillTargetGroups",
            ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"],
            groups,
        ),
        Statement::allow("MoveTraffic", ["elasticloadbalancing:ModifyRule"], rules),
        Statement::allow_unscoped("Look", look, "Elastic Load Balancing describes nothing by resource"),
    ];
    role(names.infrastructure_role(), "What ECS may do in a deployment", "ecs.amazonaws.com", statements)
}
