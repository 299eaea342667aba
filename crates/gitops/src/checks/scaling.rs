//! How many pods there are, and how ArgoCD keeps them.

use serde_json::Value as Json;

use super::{Report, Rule, items, name_of, pod_labels, selects, text};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "autoscaler-bounds", finds: "autoscalers whose bounds are crossed", check: bounds },
    Rule {
        name: "autoscaler-target",
        finds: "autoscalers of nothing, and two that decide on one number",
        check: target,
    },
    Rule { name: "disruption-budget", finds: "pods that a drained node takes all at once, or never", check: budget },
    Rule { name: "rolling-update", finds: "updates that take pods away before others are ready", check: rolling },
    Rule { name: "application-sync", finds: "applications that do not keep the cluster as git says", check: sync },
];

fn autoscalers<'a>(report: &Report<'a>) -> impl Iterator<Item = &'a Json> + use<'a> {
    report.kind("HorizontalPodAutoscaler")
}

fn bounds(report: &mut Report<'_>) {
    for scaler in autoscalers(report) {
        let (least, most) =
            (scaler["spec"]["minReplicas"].as_u64().unwrap_or(1), scaler["spec"]["maxReplicas"].as_u64());
        let holds = most.is_some_and(|most| (1..=most).contains(&least));
        let problem = || format!("from {least} to {} is no range", most.unwrap_or(0));
        report.require(holds, scaler, "/spec/minReplicas", problem, "make maxReplicas at least minReplicas");
    }
}

fn target(report: &mut Report<'_>) {
    for scaler in autoscalers(report) {
        let of = &scaler["spec"]["scaleTargetRef"];
        let workload = report
            .kind("Deployment")
            .find(|workload| workload["kind"] == of["kind"] && name_of(workload) == of["name"]);
        let problem = || format!("there is no {} `{}`", text(&of["kind"]), text(&of["name"]));
        report.require(workload.is_some(), scaler, "/spec/scaleTargetRef", problem, "name the Deployment");
        let Some(workload) = workload else { continue };
        let alone = workload["spec"]["replicas"].is_null();
        let hint = "leave it out: ArgoCD would set back what the autoscaler decided";
        report.require(alone, workload, "/spec/replicas", || "an autoscaler decides this".into(), hint);
    }
}

fn budget(report: &mut Report<'_>) {
    for workload in report.kind("Deployment") {
        let budgets = report.kind("PodDisruptionBudget");
        let own: Vec<_> =
            budgets.filter(|of| selects(&of["spec"]["selector"]["matchLabels"], pod_labels(workload))).collect();
        let hint = "add a PodDisruptionBudget that selects its pods";
        let field = "/spec/template/metadata/labels";
        report.require(!own.is_empty(), workload, field, || "no disruption budget is about its pods".into(), hint);
        for budget in own {
            let (gone, kept) = (&budget["spec"]["maxUnavailable"], &budget["spec"]["minAvailable"]);
            let never = [&0.into(), &Json::from("0%")].contains(&gone) || *kept == "100%";
            let hint = "allow one pod to go at a time";
            report.require(!never, budget, "/spec", || "no node could ever be drained".into(), hint);
        }
    }
}

fn rolling(report: &mut Report<'_>) {
    for workload in report.kind("Deployment") {
        let strategy = &workload["spec"]["strategy"];
        let rolling = &strategy["rollingUpdate"];
        let none = [&0.into(), &Json::from("0%")];
        let keeps = strategy["type"] != "Recreate" && none.contains(&&rolling["maxUnavailable"]);
        let hint = "RollingUpdate with maxUnavailable: 0";
        report.require(keeps, workload, "/spec/strategy", || "an update costs capacity".into(), hint);
        let moves = !none.contains(&&rolling["maxSurge"]);
        report.require(moves, workload, "/spec/strategy", || "no new pod may come".into(), "a maxSurge above 0");
    }
}

fn sync(report: &mut Report<'_>) {
    for application in report.kind("Application") {
        let automated = &application["spec"]["syncPolicy"]["automated"];
        for name in ["prune", "selfHeal"] {
            let problem = || format!("{name} is off: git is not what runs");
            let field = "/spec/syncPolicy/automated";
            report.require(automated[name] == true, application, field, problem, "set prune and selfHeal");
        }
        let sources = &application["spec"]["source"];
        let named = !text(&sources["path"]).is_empty() && items(&application["spec"]["sources"]).next().is_none();
        report.require(named, application, "/spec/source", || "names no folder".into(), "name the overlay's path");
    }
}
