//! How many tasks: bounds, targets and schedules.

use environment::{Environment, Schedule};

use super::balancing::Balancer;
use crate::resources::applicationautoscaling::scalable_target::{
    ScalableTargetAction, ScalableTargetScalableDimension, ScalableTargetServiceNamespace, ScheduledAction,
};
use crate::resources::applicationautoscaling::scaling_policy::{
    CustomizedMetricSpecification, PredefinedMetricSpecification, PredefinedMetricSpecificationPredefinedMetricType,
    ScalingPolicyPolicyType, TargetTrackingMetric, TargetTrackingMetricDataQuery, TargetTrackingMetricDimension,
    TargetTrackingMetricStat, TargetTrackingScalingPolicyConfiguration,
};
use crate::resources::applicationautoscaling::{ScalableTarget, ScalingPolicy};
use crate::resources::ecs::{Cluster, Service};
use crate::resources::elasticloadbalancingv2::TargetGroup;
use crate::sub;
use crate::template::{Handle, Template};
use crate::value::Intrinsic;

/// Seconds between two steps down; steps up follow faster.
const SCALE_IN_COOLDOWN: i64 = 300;
const SCALE_OUT_COOLDOWN: i64 = 60;

pub(super) fn add(
    template: &mut Template,
    environment: &Environment,
    balancer: &Balancer,
    cluster: &Handle<Cluster>,
    service: &Handle<Service>,
) {
    let scaling = &environment.autoscaling;
    let schedules: Vec<_> = scaling.schedules.iter().map(schedule).collect();
    let target = ScalableTarget {
        scheduled_actions: (!schedules.is_empty()).then_some(schedules),
        ..ScalableTarget::new(
            i64::from(scaling.max),
            i64::from(scaling.min),
            sub!["service/", cluster.reference(), "/", service.name()],
            ScalableTargetScalableDimension::EcsServiceDesiredCount,
            ScalableTargetServiceNamespace::Ecs,
        )
    };
    let target = template.add("ScalableTarget", target);

    use PredefinedMetricSpecificationPredefinedMetricType as Metric;
    let predefined = |metric| TargetTrackingScalingPolicyConfiguration {
        predefined_metric_specification: Some(PredefinedMetricSpecification::new(metric)),
        ..TargetTrackingScalingPolicyConfiguration::new(0.0)
    };
    let requests = || TargetTrackingScalingPolicyConfiguration {
        customized_metric_specification: Some(requests_per_task(balancer)),
        ..TargetTrackingScalingPolicyConfiguration::new(0.0)
    };
    let targets = &scaling.targets;
    let tracked = [
        ("Cpu", predefined(Metric::ECSServiceAverageCPUUtilization), targets.cpu_percent.map(f64::from)),
        ("Memory", predefined(Metric::ECSServiceAverageMemoryUtilization), targets.memory_percent.map(f64::from)),
        ("Requests", requests(), targets.requests_per_task.map(f64::from)),
    ];
    for (name, metric, value) in tracked {
        let Some(value) = value else { continue };
        let tracking = TargetTrackingScalingPolicyConfiguration {
            target_value: value.into(),
            scale_in_cooldown: Some(SCALE_IN_COOLDOWN.into()),
            scale_out_cooldown: Some(SCALE_OUT_COOLDOWN.into()),
            ..metric
        };
        let policy = ScalingPolicy {
            scaling_target_id: Some(target.reference().into()),
            target_tracking_scaling_policy_configuration: Some(tracking),
            ..ScalingPolicy::new(name, ScalingPolicyPolicyType::TargetTrackingScaling)
        };
        template.add(format!("{name}ScalingPolicy"), policy);
    }
}

/// Requests a minute and task of both versions together: after a swap the metric of one target group reads zero.
fn requests_per_task(balancer: &Balancer) -> CustomizedMetricSpecification {
    let count = |id: &str, group: &Handle<TargetGroup>| {
        let dimension = |name: &str, value: Intrinsic| TargetTrackingMetricDimension {
            name: Some(name.into()),
            value: Some(value.into()),
        };
        let dimensions = [
            dimension("LoadBalancer", balancer.load_balancer.load_balancer_full_name()),
            dimension("TargetGroup", group.target_group_full_name()),
        ];
        let metric = TargetTrackingMetric {
            namespace: Some("AWS/ApplicationELB".into()),
            metric_name: Some("RequestCountPerTarget".into()),
            dimensions: Some(dimensions.into()),
        };
        TargetTrackingMetricDataQuery {
            id: Some(id.into()),
            metric_stat: Some(TargetTrackingMetricStat {
                metric: Some(metric),
                stat: Some("Sum".into()),
                ..TargetTrackingMetricStat::default()
            }),
            return_data: Some(false.into()),
            ..TargetTrackingMetricDataQuery::default()
        }
    };
    let both = TargetTrackingMetricDataQuery {
        id: Some("both".into()),
        expression: Some("FILL(blue,0) + FILL(green,0)".into()),
        label: Some("Requests a minute and task".into()),
        return_data: Some(true.into()),
        ..TargetTrackingMetricDataQuery::default()
    };
    CustomizedMetricSpecification {
        metrics: Some(vec![count("blue", &balancer.blue), count("green", &balancer.green), both]),
        ..CustomizedMetricSpecification::default()
    }
}

fn schedule(schedule: &Schedule) -> ScheduledAction {
    ScheduledAction {
        timezone: Some(schedule.timezone.as_str().into()),
        scalable_target_action: Some(ScalableTargetAction {
            min_capacity: Some(i64::from(schedule.min).into()),
            max_capacity: Some(i64::from(schedule.max).into()),
        }),
        ..ScheduledAction::new(format!("cron({})", schedule.cron), schedule.name.as_str())
    }
}
