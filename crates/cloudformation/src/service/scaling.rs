//! How many tasks: bounds, targets and schedules.

use environment::{Environment, Schedule};

use crate::resources::applicationautoscaling::scalable_target::{
    ScalableTargetAction, ScalableTargetScalableDimension, ScalableTargetServiceNamespace, ScheduledAction,
};
use crate::resources::applicationautoscaling::scaling_policy::{
    PredefinedMetricSpecification, PredefinedMetricSpecificationPredefinedMetricType, ScalingPolicyPolicyType,
    TargetTrackingScalingPolicyConfiguration,
};
use crate::resources::applicationautoscaling::{ScalableTarget, ScalingPolicy};
use crate::resources::ecs::{Cluster, Service};
use crate::sub;
use crate::template::{Handle, Template};

/// Seconds between two steps down; steps up follow faster.
const SCALE_IN_COOLDOWN: i64 = 300;
const SCALE_OUT_COOLDOWN: i64 = 60;

pub(super) fn add(
    template: &mut Template,
    environment: &Environment,
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
    let tracked = [
        ("Cpu", Metric::ECSServiceAverageCPUUtilization, scaling.targets.cpu_percent),
        ("Memory", Metric::ECSServiceAverageMemoryUtilization, scaling.targets.memory_percent),
    ];
    for (name, metric, percent) in tracked {
        let Some(percent) = percent else { continue };
        let tracking = TargetTrackingScalingPolicyConfiguration {
            predefined_metric_specification: Some(PredefinedMetricSpecification::new(metric)),
            scale_in_cooldown: Some(SCALE_IN_COOLDOWN.into()),
            scale_out_cooldown: Some(SCALE_OUT_COOLDOWN.into()),
            ..TargetTrackingScalingPolicyConfiguration::new(f64::from(percent))
        };
        let policy = ScalingPolicy {
            scaling_target_id: Some(target.reference().into()),
            target_tracking_scaling_policy_configuration: Some(tracking),
            ..ScalingPolicy::new(name, ScalingPolicyPolicyType::TargetTrackingScaling)
        };
        template.add(format!("{name}ScalingPolicy"), policy);
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
