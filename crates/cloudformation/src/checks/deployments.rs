//! Blue/green deployments: by CodeDeploy, and by ECS itself.

use super::document::Field;
use super::{Report, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "deployment-controller",
        finds: "CodeDeploy groups of services that it does not control",
        check: controller,
    },
    Rule { name: "target-group-pair", finds: "pairs that are one target group twice", check: pair },
    Rule { name: "traffic-routes", finds: "production and test traffic through one listener", check: routes },
    Rule { name: "automatic-rollback", finds: "deployments that fail and stay", check: rollback },
    Rule { name: "deployment-style", finds: "CodeDeploy groups for ECS that are not blue/green", check: style },
    Rule { name: "traffic-steps", finds: "steps of traffic that are no steps", check: steps },
    Rule { name: "hook-outlives-bake", finds: "hooks that judge a version after the old one is gone", check: hooks },
];

/// Services that CodeDeploy deploys are replaced in pairs of target groups.
pub(super) fn pairs<'a>(report: &Report<'a>) -> Vec<Field<'a>> {
    groups(report).flat_map(|group| group.at("LoadBalancerInfo").at("TargetGroupPairInfoList").items()).collect()
}

/// The target groups of a pair that are in the same template.
pub(super) fn groups_of<'a>(pair: &Field<'a>) -> Vec<Field<'a>> {
    pair.at("TargetGroups").items().iter().filter_map(|group| group.at("Name").target()).collect()
}

fn groups<'a>(report: &Report<'a>) -> impl Iterator<Item = Field<'a>> + use<'a> {
    report.resources("AWS::CodeDeploy::DeploymentGroup")
}

fn ecs_groups<'a>(report: &Report<'a>) -> impl Iterator<Item = Field<'a>> + use<'a> {
    groups(report).filter(|group| group.at("ECSServices").exists())
}

fn services<'a>(report: &Report<'a>) -> impl Iterator<Item = Field<'a>> + use<'a> {
    report.resources("AWS::ECS::Service")
}

fn controller(report: &mut Report<'_>) {
    for group in ecs_groups(report) {
        for entry in group.at("ECSServices").items() {
            let Some(service) = entry.at("ServiceName").target() else { continue };
            let field = service.at("DeploymentController").at("Type");
            let kind = field.text().unwrap_or("ECS");
            let problem = || format!("CodeDeploy cannot deploy a service whose controller is {kind}");
            report.require(kind == "CODE_DEPLOY", &field, problem, "set DeploymentController to CODE_DEPLOY");
        }
    }
    for service in services(report) {
        let deployment = service.at("DeploymentConfiguration");
        let strategy = deployment.at("Strategy");
        let native = matches!(strategy.text(), Some("BLUE_GREEN" | "CANARY" | "LINEAR"));
        let kind = service.at("DeploymentController").at("Type");
        let fits = !native || matches!(kind.text(), None | Some("ECS"));
        report.require(
            fits,
            &kind,
            || "only ECS itself follows this strategy".into(),
            "set DeploymentController to ECS",
        );
        for entry in service.at("LoadBalancers").items().iter().filter(|_| native) {
            let advanced = entry.at("AdvancedConfiguration");
            let complete = ["AlternateTargetGroupArn", "ProductionListenerRule", "RoleArn"];
            let complete = complete.iter().all(|name| advanced.at(name).exists());
            let hint = "name the alternate target group, the production rule and the role that moves traffic";
            report.require(complete, &advanced, || "ECS has nothing to move traffic with".into(), hint);
        }
    }
}

fn pair(report: &mut Report<'_>) {
    for pair in pairs(report) {
        let groups = pair.at("TargetGroups");
        let names: Vec<_> = groups.items().iter().map(|group| group.at("Name").json().clone()).collect();
        let different = names.len() == 2 && names[0] != names[1];
        report.require(different, &groups, || "blue and green are no two groups".into(), "name two target groups");
    }
    for service in services(report) {
        for entry in service.at("LoadBalancers").items() {
            let alternate = entry.at("AdvancedConfiguration").at("AlternateTargetGroupArn");
            let same = alternate.exists() && alternate.json() == entry.at("TargetGroupArn").json();
            report.require(!same, &alternate, || "blue and green are one group".into(), "name two target groups");
        }
    }
}

fn routes(report: &mut Report<'_>) {
    for pair in pairs(report) {
        let (production, test) =
            (pair.at("ProdTrafficRoute").at("ListenerArns"), pair.at("TestTrafficRoute").at("ListenerArns"));
        let one = production.items().len() == 1;
        report.require(
            one,
            &production,
            || "CodeDeploy moves exactly one listener".into(),
            "name the production listener",
        );
        let same = test.exists() && test.json() == production.json();
        report.require(!same, &test, || "test traffic would be production traffic".into(), "name a listener for tests");
    }
    for service in services(report) {
        for entry in service.at("LoadBalancers").items() {
            let advanced = entry.at("AdvancedConfiguration");
            let test = advanced.at("TestListenerRule");
            let same = test.exists() && test.json() == advanced.at("ProductionListenerRule").json();
            report.require(!same, &test, || "test traffic would be production traffic".into(), "name a rule for tests");
        }
    }
}

fn rollback(report: &mut Report<'_>) {
    for group in ecs_groups(report) {
        let automatic = group.at("AutoRollbackConfiguration");
        let events = automatic.at("Events").texts();
        let on = automatic.at("Enabled").may_be_true() && events.contains(&"DEPLOYMENT_FAILURE");
        let hint = "enable it for DEPLOYMENT_FAILURE, DEPLOYMENT_STOP_ON_ALARM and DEPLOYMENT_STOP_ON_REQUEST";
        report.require(on, &automatic, || "a failed deployment is not rolled back".into(), hint);
        let alarms = group.at("AlarmConfiguration");
        let watched = alarms.at("Enabled").truth() == Some(true) && !alarms.at("Alarms").items().is_empty();
        let stops = !watched || events.contains(&"DEPLOYMENT_STOP_ON_ALARM");
        report.require(stops, &automatic, || "an alarm stops a deployment halfway".into(), hint);
        let few = alarms.at("Alarms").items().len() <= 10;
        report.require(few, &alarms, || "CodeDeploy watches 10 alarms at most".into(), "combine them into one");
    }
    for service in services(report) {
        let alarms = service.at("DeploymentConfiguration").at("Alarms");
        let stays = alarms.at("Enable").truth() == Some(true) && alarms.at("Rollback").truth() != Some(true);
        report.require(!stays, &alarms, || "an alarm stops a deployment halfway".into(), "set Rollback");
    }
}

fn style(report: &mut Report<'_>) {
    for group in ecs_groups(report) {
        let style = group.at("DeploymentStyle");
        let fits = style.at("DeploymentType").text() == Some("BLUE_GREEN")
            && style.at("DeploymentOption").text() == Some("WITH_TRAFFIC_CONTROL");
        let hint = "set BLUE_GREEN and WITH_TRAFFIC_CONTROL";
        report.require(fits, &style, || "CodeDeploy deploys ECS blue/green only".into(), hint);
        let pairs = group.at("LoadBalancerInfo").at("TargetGroupPairInfoList");
        let one = pairs.items().len() == 1;
        report.require(one, &pairs, || "CodeDeploy takes exactly one pair".into(), "name blue and green once");
        let name = group.at("DeploymentConfigName");
        let foreign = name.text().is_some_and(|text| text.starts_with("CodeDeployDefault.") && !text.contains("ECS"));
        let hint = "choose one of CodeDeployDefault.ECS*";
        report.require(!foreign, &name, || "is a configuration for another platform".into(), hint);
    }
}

fn steps(report: &mut Report<'_>) {
    let mut percents = Vec::new();
    let mut waits = Vec::new();
    for config in report.resources("AWS::CodeDeploy::DeploymentConfig") {
        let routing = config.at("TrafficRoutingConfig");
        let (name, percent, wait) = match routing.at("Type").text() {
            Some("TimeBasedCanary") => ("TimeBasedCanary", "CanaryPercentage", "CanaryInterval"),
            Some("TimeBasedLinear") => ("TimeBasedLinear", "LinearPercentage", "LinearInterval"),
            _ => continue,
        };
        percents.push(routing.at(name).at(percent));
        waits.push(routing.at(name).at(wait));
    }
    for deployment in services(report).map(|service| service.at("DeploymentConfiguration")) {
        match deployment.at("Strategy").text() {
            Some("CANARY") => percents.push(deployment.at("CanaryConfiguration").at("CanaryPercent")),
            Some("LINEAR") => percents.push(deployment.at("LinearConfiguration").at("StepPercent")),
            _ => {}
        }
    }
    for percent in percents {
        let step = percent.number().is_some_and(|share| share > 0.0 && share < 100.0);
        report.require(step, &percent, || "is no share of the traffic".into(), "more than 0 and less than 100");
    }
    for group in ecs_groups(report) {
        let blue = group.at("BlueGreenDeploymentConfiguration").at("TerminateBlueInstancesOnDeploymentSuccess");
        waits.push(blue.at("TerminationWaitTimeInMinutes"));
    }
    for wait in waits {
        let short = wait.number().is_none_or(|minutes| (0.0..=2880.0).contains(&minutes));
        report.require(short, &wait, || "is longer than CodeDeploy waits".into(), "at most 2880 minutes");
    }
}

/// A hook that runs after all traffic has moved must end while the old version still runs: its verdict is a rollback.
fn hooks(report: &mut Report<'_>) {
    for service in services(report) {
        let deployment = service.at("DeploymentConfiguration");
        let bake = deployment.at("BakeTimeInMinutes").number().unwrap_or(15.0) * 60.0;
        for hook in deployment.at("LifecycleHooks").items() {
            if !hook.at("LifecycleStages").texts().contains(&"POST_PRODUCTION_TRAFFIC_SHIFT") {
                continue;
            }
            let Some(function) = hook.at("HookTargetArn").target() else { continue };
            outlives(report, &function, bake);
        }
    }
    // CodeDeploy's appspec names the hook; what watches after the move is called a monitor.
    let after: Vec<_> = report
        .resources("AWS::Lambda::Function")
        .filter(|function| function.at("FunctionName").rendered().is_some_and(|name| is_monitor(&name)))
        .collect();
    for group in ecs_groups(report) {
        let blue = group.at("BlueGreenDeploymentConfiguration").at("TerminateBlueInstancesOnDeploymentSuccess");
        let Some(minutes) = blue.at("TerminationWaitTimeInMinutes").number() else { continue };
        for function in after.iter().filter(|function| function.place().0 == group.place().0) {
            outlives(report, function, minutes * 60.0);
        }
    }
}

fn is_monitor(name: &str) -> bool {
    name.to_ascii_lowercase().contains("monitor")
}

fn outlives(report: &mut Report<'_>, function: &Field<'_>, bake: f64) {
    let timeout = function.at("Timeout");
    let seconds = timeout.number().unwrap_or(3.0);
    let problem = || format!("may judge for {seconds}s, but the old version goes after {bake}s");
    report.require(seconds <= bake, &timeout, problem, "shorten the hook's Timeout, or lengthen the bake");
}
