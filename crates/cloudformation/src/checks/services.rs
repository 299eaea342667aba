//! ECS services: what they put behind a load balancer, and who moves it.

use super::document::Field;
use super::{Report, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "target-type", finds: "awsvpc tasks in target groups of instances", check: target_type },
    Rule {
        name: "container-name",
        finds: "load balancers in front of containers that do not exist",
        check: container_name,
    },
    Rule {
        name: "container-port",
        finds: "load balancers in front of ports that no container has",
        check: container_port,
    },
    Rule {
        name: "listener-first",
        finds: "services created before a listener uses their target group",
        check: listener_first,
    },
    Rule { name: "public-task", finds: "tasks with public addresses", check: public_task },
    Rule { name: "single-zone", finds: "services and load balancers in fewer than two subnets", check: single_zone },
    Rule {
        name: "drain-and-deregister",
        finds: "targets that lose their connections while they drain",
        check: deregistration,
    },
];

fn services<'a>(report: &Report<'a>) -> impl Iterator<Item = Field<'a>> + use<'a> {
    report.resources("AWS::ECS::Service")
}

/// What services put behind load balancers, with the containers of their task definition where it is known.
fn balanced<'a>(report: &Report<'a>) -> Vec<(Field<'a>, Vec<Field<'a>>)> {
    let mut found = Vec::new();
    for service in services(report) {
        let containers = task_definition(&service).map(|definition| definition.at("ContainerDefinitions").items());
        for entry in service.at("LoadBalancers").items() {
            found.push((entry, containers.clone().unwrap_or_default()));
        }
    }
    found
}

/// The task definition of this template that a service starts with, if only where a condition does not hold.
pub(super) fn task_definition<'a>(service: &Field<'a>) -> Option<Field<'a>> {
    service.at("TaskDefinition").branches().iter().find_map(Field::target)
}

fn target_type(report: &mut Report<'_>) {
    for service in services(report) {
        let mode = task_definition(&service).is_some_and(|of| of.at("NetworkMode").text() == Some("awsvpc"));
        if !mode && !service.at("NetworkConfiguration").at("AwsvpcConfiguration").exists() {
            continue;
        }
        for entry in service.at("LoadBalancers").items() {
            let alternate = entry.at("AdvancedConfiguration").at("AlternateTargetGroupArn");
            for group in [entry.at("TargetGroupArn"), alternate].iter().filter_map(Field::target) {
                let kind = group.at("TargetType");
                let text = kind.text().unwrap_or("instance");
                let problem = || format!("tasks with awsvpc are no targets of type `{text}`");
                report.require(text == "ip", &kind, problem, "set TargetType to ip");
            }
        }
    }
    // The second group of a pair is reached through CodeDeploy only.
    for group in super::deployments::pairs(report).iter().flat_map(super::deployments::groups_of) {
        let kind = group.at("TargetType");
        let text = kind.text().unwrap_or("instance");
        let problem = || format!("tasks of a blue/green deployment are no targets of type `{text}`");
        report.require(text == "ip", &kind, problem, "set TargetType to ip");
    }
}

fn container_name(report: &mut Report<'_>) {
    for (entry, containers) in balanced(report) {
        let field = entry.at("ContainerName");
        let Some(name) = field.text() else { continue };
        let known = containers.is_empty() || containers.iter().any(|of| of.at("Name").text() == Some(name));
        let hint = "name a container of the task definition";
        report.require(known, &field, || format!("the task has no container `{name}`"), hint);
    }
}

fn container_port(report: &mut Report<'_>) {
    for (entry, containers) in balanced(report) {
        let field = entry.at("ContainerPort");
        let name = entry.at("ContainerName").text();
        let container = containers.iter().find(|of| of.at("Name").text() == name);
        let (Some(port), Some(container)) = (field.number(), container) else { continue };
        let mappings = container.at("PortMappings").items();
        let mapped = mappings.iter().any(|mapping| mapping.at("ContainerPort").number() == Some(port));
        let hint = "name a port of the container's PortMappings";
        report.require(mapped, &field, || format!("the container does not listen on {port}"), hint);
    }
}

/// ECS refuses a target group that no listener uses yet.
fn listener_first(report: &mut Report<'_>) {
    let listeners: Vec<_> = report
        .resources("AWS::ElasticLoadBalancingV2::Listener")
        .chain(report.resources("AWS::ElasticLoadBalancingV2::ListenerRule"))
        .collect();
    for service in services(report) {
        for entry in service.at("LoadBalancers").items() {
            let field = entry.at("TargetGroupArn");
            let Some(group) = field.target() else { continue };
            let users = listeners.iter().filter(|listener| forwards_to(listener, &group));
            let users: Vec<_> = users.map(|listener| listener.place().1).collect();
            let waits = users.iter().any(|id| {
                let resource = service.whole_resource();
                let depends = &resource["DependsOn"];
                let listed = depends.as_array().is_some_and(|list| list.iter().any(|other| other == id));
                // A rule that the service itself names is created before it too.
                listed || depends == id || super::document::mentions(&resource["Properties"], id)
            });
            let hint = "let a listener forward to the target group, and the service depend on that listener";
            report.require(waits, &field, || "may be created before a listener uses its target group".into(), hint);
        }
    }
}

/// Whether a listener or a rule forwards to a target group.
pub(super) fn forwards_to(listener: &Field<'_>, group: &Field<'_>) -> bool {
    let actions = [listener.at("DefaultActions").items(), listener.at("Actions").items()].concat();
    actions.iter().any(|action| {
        let weighted = action.at("ForwardConfig").at("TargetGroups").items();
        let direct = action.at("TargetGroupArn");
        let mut targets = weighted.iter().map(|of| of.at("TargetGroupArn")).chain([direct]);
        targets.any(|target| target.target().is_some_and(|target| target.same_resource(group)))
    })
}

fn public_task(report: &mut Report<'_>) {
    for service in services(report) {
        let field = service.at("NetworkConfiguration").at("AwsvpcConfiguration").at("AssignPublicIp");
        let hint = "set AssignPublicIp to DISABLED; tasks reach out through NAT or endpoints";
        report.require(field.text() != Some("ENABLED"), &field, || "tasks get public addresses".into(), hint);
    }
}

fn single_zone(report: &mut Report<'_>) {
    let of_services = services(report).map(|service| service.at("NetworkConfiguration").at("AwsvpcConfiguration"));
    let balancers = report.resources("AWS::ElasticLoadBalancingV2::LoadBalancer");
    let holders: Vec<_> = of_services.filter(Field::exists).chain(balancers).collect();
    for subnets in holders.iter().map(|holder| holder.at("Subnets")).filter(|subnets| subnets.json().is_array()) {
        let mut distinct = subnets.items();
        distinct.dedup_by(|a, b| a.json() == b.json());
        let hint = "name subnets of two zones";
        report.require(distinct.len() >= 2, &subnets, || "one zone is one point of failure".into(), hint);
    }
}

fn deregistration(report: &mut Report<'_>) {
    for service in services(report) {
        let Some(definition) = task_definition(&service) else { continue };
        let containers = definition.at("ContainerDefinitions").items();
        let Some(drain) = containers.iter().find_map(super::tasks::drain) else { continue };
        for entry in service.at("LoadBalancers").items() {
            let Some(group) = entry.at("TargetGroupArn").target() else { continue };
            let attributes = group.at("TargetGroupAttributes").items();
            let delay = attributes
                .iter()
                .find(|attribute| attribute.at("Key").text() == Some("deregistration_delay.timeout_seconds"));
            let Some(delay) = delay.map(|attribute| attribute.at("Value")) else { continue };
            let Some(seconds) = delay.number() else { continue };
            let problem = || format!("connections end after {seconds}s, but draining takes {drain}s");
            report.require(seconds >= drain, &delay, problem, "make the delay at least as long as the drain");
        }
    }
}
