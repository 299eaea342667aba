//! Autoscaling and schedules.

use super::document::Field;
use super::{Report, Rule, schedule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "capacity-bounds", finds: "bounds that are crossed", check: bounds },
    Rule { name: "desired-count", finds: "services that start outside their bounds", check: desired },
    Rule { name: "schedule", finds: "cron, rate and at expressions that AWS refuses", check: schedules },
    Rule { name: "time-zone", finds: "time zones that are none", check: time_zone },
    Rule { name: "scaling-target", finds: "levels at which no service can be kept", check: target },
    Rule {
        name: "one-sided-metric",
        finds: "blue/green services scaled by one of their target groups",
        check: one_sided,
    },
];

fn targets<'a>(report: &Report<'a>) -> impl Iterator<Item = Field<'a>> + use<'a> {
    report.resources("AWS::ApplicationAutoScaling::ScalableTarget")
}

fn scheduled<'a>(report: &Report<'a>) -> Vec<Field<'a>> {
    targets(report).flat_map(|target| target.at("ScheduledActions").items()).collect()
}

fn bounds(report: &mut Report<'_>) {
    let scheduled = scheduled(report).into_iter().map(|action| action.at("ScalableTargetAction"));
    for holder in targets(report).chain(scheduled).collect::<Vec<_>>() {
        let (min, max) = (holder.at("MinCapacity"), holder.at("MaxCapacity"));
        let (Some(low), Some(high)) = (min.number(), max.number()) else { continue };
        report.require(low <= high, &max, || format!("{high} is below the minimum {low}"), "raise it to the minimum");
        report.require(low >= 0.0, &min, || format!("{low} tasks cannot run"), "0 or more");
    }
}

fn desired(report: &mut Report<'_>) {
    for target in targets(report) {
        let (Some(low), Some(high)) = (target.at("MinCapacity").number(), target.at("MaxCapacity").number()) else {
            continue;
        };
        let resource = target.at("ResourceId").json();
        let services = report.resources("AWS::ECS::Service").filter(|service| {
            let (stack, id) = service.place();
            stack == target.place().0 && super::document::mentions(resource, id)
        });
        for count in services.map(|service| service.at("DesiredCount")).collect::<Vec<_>>() {
            let Some(tasks) = count.number() else { continue };
            let problem = || format!("{tasks} tasks are outside {low} to {high}");
            report.require((low..=high).contains(&tasks), &count, problem, "start within the bounds of scaling");
        }
    }
}

fn schedules(report: &mut Report<'_>) {
    let actions = scheduled(report).into_iter().map(|action| action.at("Schedule"));
    let rules = report.resources("AWS::Events::Rule").map(|rule| rule.at("ScheduleExpression"));
    let schedules = report.resources("AWS::Scheduler::Schedule").map(|entry| entry.at("ScheduleExpression"));
    let rotations = report
        .resources("AWS::SecretsManager::RotationSchedule")
        .map(|rotation| rotation.at("RotationRules").at("ScheduleExpression"));
    for field in actions.chain(rules).chain(schedules).chain(rotations).collect::<Vec<_>>() {
        if let Some(problem) = field.text().and_then(schedule::problem) {
            let hint =
                "six fields: minutes hours day-of-month month day-of-week year, such as cron(30 8 ? * MON-FRI *)";
            report.add(&field, problem, hint);
        }
    }
}

fn time_zone(report: &mut Report<'_>) {
    for zone in scheduled(report).iter().map(|action| action.at("Timezone")) {
        let Some(name) = zone.text() else { continue };
        let area = name.split_once('/').map_or(name, |(area, _)| area);
        let known = [
            "UTC",
            "GMT",
            "Etc",
            "Africa",
            "America",
            "Antarctica",
            "Arctic",
            "Asia",
            "Atlantic",
            "Australia",
            "Europe",
            "Indian",
            "Pacific",
        ];
        let holds = known.contains(&area) && (name.contains('/') || matches!(name, "UTC" | "GMT"));
        report.require(holds, &zone, || format!("`{name}` is no time zone"), "a name such as Asia/Tokyo or UTC");
    }
}

fn policies<'a>(report: &Report<'a>) -> Vec<Field<'a>> {
    report
        .resources("AWS::ApplicationAutoScaling::ScalingPolicy")
        .map(|policy| policy.at("TargetTrackingScalingPolicyConfiguration"))
        .filter(Field::exists)
        .collect()
}

fn target(report: &mut Report<'_>) {
    for policy in policies(report) {
        let metric = policy.at("PredefinedMetricSpecification").at("PredefinedMetricType");
        let percent = metric.text().is_some_and(|name| name.ends_with("Utilization"));
        let value = policy.at("TargetValue");
        let Some(level) = value.number() else { continue };
        let holds = level > 0.0 && (!percent || level < 100.0);
        report.require(holds, &value, || format!("no service stays at {level}"), "between 10 and 95 percent");
    }
}

/// After a swap the metric of one group reads zero.
fn one_sided(report: &mut Report<'_>) {
    let pairs = super::deployments::pairs(report);
    let groups: Vec<_> = pairs.iter().flat_map(super::deployments::groups_of).collect();
    let native = report.resources("AWS::ECS::Service").any(|service| {
        matches!(service.at("DeploymentConfiguration").at("Strategy").text(), Some("BLUE_GREEN" | "CANARY" | "LINEAR"))
    });
    if groups.is_empty() && !native {
        return;
    }
    for policy in policies(report) {
        let metric = policy.at("PredefinedMetricSpecification").at("PredefinedMetricType");
        let one = metric.text() == Some("ALBRequestCountPerTarget");
        let hint = "add up the RequestCountPerTarget of both target groups by metric math";
        report.require(!one, &metric, || "follows one target group; after a swap it reads zero".into(), hint);
    }
}
