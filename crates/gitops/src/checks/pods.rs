//! What a pod is: its image, what it may do, how it starts, answers and stops.

use serde_json::Value as Json;

use super::{POD, Report, Rule, has_port, items, pod_labels, selects, text};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "workload-selector", finds: "workloads that do not own their own pods", check: selector },
    Rule { name: "mutable-image", finds: "images that are not named by digest", check: image },
    Rule { name: "pod-security", finds: "containers that may more than they need", check: security },
    Rule {
        name: "pod-resources",
        finds: "containers without requests, or that ask for more than they may have",
        check: resources,
    },
    Rule { name: "pod-probes", finds: "containers that nobody asks whether they work", check: probes },
    Rule { name: "pod-reference", finds: "accounts, configurations and volumes that do not exist", check: references },
    Rule { name: "graceful-stop", finds: "pods that are killed before they have drained", check: stop },
];

fn containers(workload: &Json) -> impl Iterator<Item = (String, &Json)> {
    let containers = items(&workload["spec"]["template"]["spec"]["containers"]);
    containers.enumerate().map(|(index, container)| (format!("{POD}/containers/{index}"), container))
}

fn selector(report: &mut Report<'_>) {
    for workload in report.kind("Deployment") {
        let wanted = &workload["spec"]["selector"]["matchLabels"];
        let own = wanted.as_object().is_some_and(|labels| !labels.is_empty()) && selects(wanted, pod_labels(workload));
        let hint = "repeat the selector's labels in the template's metadata";
        report.require(own, workload, "/spec/selector", || "its pods do not have these labels".into(), hint);
    }
}

fn image(report: &mut Report<'_>) {
    for workload in report.kind("Deployment") {
        for (place, container) in containers(workload) {
            let image = text(&container["image"]);
            let problem = || format!("`{image}` can become another image");
            let hint = "name it by digest: `cargo xtask gitops --image ENVIRONMENT=REPOSITORY@sha256:…`";
            report.require(image.contains("@sha256:"), workload, &format!("{place}/image"), problem, hint);
        }
    }
}

fn security(report: &mut Report<'_>) {
    for workload in report.kind("Deployment") {
        let pod = &workload["spec"]["template"]["spec"]["securityContext"];
        for (place, container) in containers(workload) {
            let own = &container["securityContext"];
            let place = format!("{place}/securityContext");
            let user = own["runAsNonRoot"] == true || (own["runAsNonRoot"].is_null() && pod["runAsNonRoot"] == true);
            let root = own["runAsUser"].as_u64().or(pod["runAsUser"].as_u64()) == Some(0);
            let drops = items(&own["capabilities"]["drop"]).any(|dropped| dropped == "ALL");
            let adds = items(&own["capabilities"]["add"]).next().is_some();
            let demands = [
                (user && !root, "may run as root", "set runAsNonRoot, and a runAsUser other than 0"),
                (own["readOnlyRootFilesystem"] == true, "may change its own files", "set readOnlyRootFilesystem"),
                (
                    own["allowPrivilegeEscalation"] == false,
                    "may gain privileges",
                    "set allowPrivilegeEscalation: false",
                ),
                (own["privileged"] != true, "has all of the node", "set privileged: false"),
                (drops && !adds, "has capabilities", "drop ALL capabilities, and add none"),
            ];
            for (holds, problem, hint) in demands {
                report.require(holds, workload, &place, || problem.to_owned(), hint);
            }
        }
    }
}

fn resources(report: &mut Report<'_>) {
    for workload in report.kind("Deployment") {
        for (place, container) in containers(workload) {
            let (requests, limits) = (&container["resources"]["requests"], &container["resources"]["limits"]);
            let place = format!("{place}/resources");
            let asks = ["cpu", "memory"].iter().all(|name| !requests[*name].is_null());
            let hint = "request cpu and memory: the autoscaler's percentages are of the requests";
            report.require(asks, workload, &place, || "asks for nothing".into(), hint);
            let bounded = !limits["memory"].is_null();
            let hint = "limit the memory: a leak must end this container, and no other";
            report.require(bounded, workload, &place, || "may take the node's memory".into(), hint);
            for name in ["cpu", "memory"] {
                let (wanted, most) = (quantity(&requests[name]), quantity(&limits[name]));
                let fits = wanted.zip(most).is_none_or(|(wanted, most)| wanted <= most);
                let problem = || format!("asks for more {name} than it may have");
                report.require(fits, workload, &place, problem, "request at most the limit");
            }
        }
    }
}

/// A quantity in the units that manifests of ours use, and some more.
fn quantity(value: &Json) -> Option<f64> {
    let text = value.as_str().map(str::to_owned).or_else(|| value.as_f64().map(|number| number.to_string()))?;
    let units = [("m", 1e-3), ("Ki", 1024.0), ("Mi", 1_048_576.0), ("Gi", 1_073_741_824.0), ("M", 1e6), ("G", 1e9)];
    let unit = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (digits, factor) = unit.unwrap_or((&text, 1.0));
    digits.parse::<f64>().ok().map(|number| number * factor)
}

fn probes(report: &mut Report<'_>) {
    for workload in report.kind("Deployment") {
        for (place, container) in containers(workload) {
            for name in ["readinessProbe", "livenessProbe"] {
                let hint = "add one: without it traffic meets what does not work, or works no more";
                let there = container[name].is_object();
                report.require(there, workload, &format!("{place}/{name}"), || "there is none".into(), hint);
            }
            for name in ["readinessProbe", "livenessProbe", "startupProbe"] {
                let port = &container[name]["httpGet"]["port"];
                let known = port.is_null() || has_port(workload, port);
                let problem = || format!("the container has no port {port}");
                report.require(known, workload, &format!("{place}/{name}"), problem, "name one of its ports");
            }
        }
    }
}

fn references(report: &mut Report<'_>) {
    for workload in report.kind("Deployment") {
        let pod = &workload["spec"]["template"]["spec"];
        let account = text(&pod["serviceAccountName"]);
        let known = account.is_empty() || report.has("ServiceAccount", account);
        let field = format!("{POD}/serviceAccountName");
        report.require(
            known,
            workload,
            &field,
            || format!("there is no account `{account}`"),
            "add the ServiceAccount",
        );
        for (place, container) in containers(workload) {
            for source in items(&container["envFrom"]) {
                let map = &source["configMapRef"];
                let name = text(&map["name"]);
                let known = map.is_null() || map["optional"] == true || report.has("ConfigMap", name);
                let problem = || format!("there is no ConfigMap `{name}`");
                report.require(known, workload, &format!("{place}/envFrom"), problem, "generate it in the overlay");
                let secret = &source["secretRef"];
                let name = text(&secret["name"]);
                let external = || report.kind("ExternalSecret").any(|of| of["spec"]["target"]["name"] == name);
                let known = secret.is_null() || secret["optional"] == true || report.has("Secret", name) || external();
                let problem = || format!("nobody makes the secret `{name}`");
                report.require(known, workload, &format!("{place}/envFrom"), problem, "add an ExternalSecret");
            }
            for mount in items(&container["volumeMounts"]) {
                let name = text(&mount["name"]);
                let known = items(&pod["volumes"]).any(|volume| volume["name"] == name);
                let problem = || format!("there is no volume `{name}`");
                report.require(known, workload, &format!("{place}/volumeMounts"), problem, "add it to volumes");
            }
        }
    }
}

fn stop(report: &mut Report<'_>) {
    for workload in report.kind("Deployment") {
        let field = format!("{POD}/terminationGracePeriodSeconds");
        let grace = workload.pointer(&field).and_then(Json::as_u64).unwrap_or(30);
        for (place, container) in containers(workload) {
            let waits = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64();
            let hint = "sleep in preStop: load balancers send requests for some seconds after a pod was told to stop";
            let there = waits.is_some() || container["lifecycle"]["preStop"].is_object();
            report.require(there, workload, &format!("{place}/lifecycle"), || "it stops at once".into(), hint);
            let time = waits.is_none_or(|waits| waits < grace);
            let problem = || format!("{grace}s are over before preStop is");
            report.require(time, workload, &field, problem, "longer than preStop and the drain together");
        }
    }
}
