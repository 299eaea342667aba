//! How requests find pods, and who else may talk to whom.

use serde_json::Value as Json;

use super::{Report, Rule, has_port, items, name_of, pod_labels, selects, text};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "service-selector", finds: "services that lead to no pod", check: service_selector },
    Rule { name: "service-port", finds: "services that lead to a port that nobody listens on", check: service_port },
    Rule {
        name: "ingress-backend",
        finds: "ingresses that lead to no service, or to none of its ports",
        check: ingress,
    },
    Rule {
        name: "network-policy",
        finds: "pods that any other may talk to, and policies about no pod",
        check: policies,
    },
];

/// The workloads whose pods a selector takes.
fn selected<'a>(report: &Report<'a>, selector: &Json) -> Vec<&'a Json> {
    report.kind("Deployment").filter(|workload| selects(selector, pod_labels(workload))).collect()
}

fn service_selector(report: &mut Report<'_>) {
    for service in report.kind("Service") {
        let selector = &service["spec"]["selector"];
        let leads =
            selector.as_object().is_some_and(|labels| !labels.is_empty()) && !selected(report, selector).is_empty();
        let hint = "select the labels of the workload's pods";
        report.require(leads, service, "/spec/selector", || "no pod has these labels".into(), hint);
    }
}

fn service_port(report: &mut Report<'_>) {
    for service in report.kind("Service") {
        for workload in selected(report, &service["spec"]["selector"]) {
            for (index, port) in items(&service["spec"]["ports"]).enumerate() {
                let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
                let problem = || format!("{} has no port {target}", name_of(workload));
                let hint = "name one of the container's ports";
                let field = format!("/spec/ports/{index}/targetPort");
                report.require(has_port(workload, target), service, &field, problem, hint);
            }
        }
    }
}

fn ingress(report: &mut Report<'_>) {
    for ingress in report.kind("Ingress") {
        let paths = items(&ingress["spec"]["rules"]).flat_map(|rule| items(&rule["http"]["paths"]));
        let all: Vec<_> = paths.map(|path| &path["backend"]["service"]).collect();
        report.require(!all.is_empty(), ingress, "/spec/rules", || "leads nowhere".into(), "add a path with a backend");
        for backend in all {
            let name = text(&backend["name"]);
            let service = report.kind("Service").find(|service| name_of(service) == name);
            let field = "/spec/rules";
            let problem = || format!("there is no service `{name}`");
            report.require(service.is_some(), ingress, field, problem, "name a service of the same overlay");
            let Some(service) = service else { continue };
            let (port, number) = (&backend["port"]["name"], &backend["port"]["number"]);
            let fits =
                |of: &Json| (of["name"] == *port && !port.is_null()) || (of["port"] == *number && !number.is_null());
            let known = items(&service["spec"]["ports"]).any(fits);
            let problem = || format!("service `{name}` has no such port");
            report.require(known, ingress, field, problem, "name one of the service's ports");
        }
    }
}

fn policies(report: &mut Report<'_>) {
    for policy in report.kind("NetworkPolicy") {
        let taken = selected(report, &policy["spec"]["podSelector"]["matchLabels"]);
        let hint = "select the labels of the workload's pods";
        report.require(!taken.is_empty(), policy, "/spec/podSelector", || "it is about no pod".into(), hint);
        for workload in taken {
            let rules = items(&policy["spec"]["ingress"]);
            for port in rules.flat_map(|rule| items(&rule["ports"])).map(|port| &port["port"]) {
                let problem = || format!("{} has no port {port}", name_of(workload));
                let known = has_port(workload, port);
                report.require(known, policy, "/spec/ingress", problem, "open the container's port");
            }
        }
    }
    for workload in report.kind("Deployment") {
        for direction in ["Ingress", "Egress"] {
            let covered = report.kind("NetworkPolicy").any(|policy| {
                let types = &policy["spec"]["policyTypes"];
                selects(&policy["spec"]["podSelector"]["matchLabels"], pod_labels(workload))
                    && items(types).any(|kind| kind == direction)
            });
            let problem = || format!("no NetworkPolicy bounds its {}", direction.to_lowercase());
            let hint = "add a NetworkPolicy with policyTypes Ingress and Egress";
            report.require(covered, workload, "/spec/template/metadata/labels", problem, hint);
        }
    }
}
