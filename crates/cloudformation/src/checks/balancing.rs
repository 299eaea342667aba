//! Load balancers, listeners and target groups.

use super::document::Field;
use super::{Report, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "target-health", finds: "health checks of targets that cannot pass", check: target_health },
    Rule { name: "listener-port", finds: "two listeners of a load balancer on one port", check: listener_port },
    Rule {
        name: "listener-tls",
        finds: "HTTPS listeners without certificate, or with an old TLS policy",
        check: listener_tls,
    },
    Rule { name: "plain-http", finds: "plain HTTP that serves beside HTTPS instead of redirecting", check: plain_http },
    Rule {
        name: "forward-weights",
        finds: "listeners that forward nothing, or to one group twice",
        check: forward_weights,
    },
    Rule { name: "rule-priority", finds: "rules of a listener with the same priority", check: rule_priority },
];

fn listeners<'a>(report: &Report<'a>) -> Vec<Field<'a>> {
    report.resources("AWS::ElasticLoadBalancingV2::Listener").collect()
}

fn target_health(report: &mut Report<'_>) {
    for group in report.resources("AWS::ElasticLoadBalancingV2::TargetGroup") {
        let timeout = group.at("HealthCheckTimeoutSeconds");
        let interval = group.at("HealthCheckIntervalSeconds").number().unwrap_or(30.0);
        let fits = timeout.number().is_none_or(|seconds| seconds < interval);
        let problem = || format!("a check may take longer than the {interval}s between two");
        report.require(fits, &timeout, problem, "make the timeout shorter than the interval");
        let path = group.at("HealthCheckPath");
        let holds = path.text().is_none_or(|text| text.starts_with('/'));
        report.require(holds, &path, || "is no path".into(), "begin with a slash, such as /health");
        let enabled = group.at("HealthCheckEnabled");
        let hint = "check the health of targets: blue/green has no other proof that a version works";
        report.require(enabled.truth() != Some(false), &enabled, || "nobody asks the targets".into(), hint);
        let port = group.at("HealthCheckPort");
        let elsewhere = port.number().is_some() && port.number() != group.at("Port").number();
        report.require(!elsewhere, &port, || "asks another port than the one that serves".into(), "use traffic-port");
    }
}

fn listener_port(report: &mut Report<'_>) {
    let listeners = listeners(report);
    for (index, listener) in listeners.iter().enumerate() {
        let port = listener.at("Port");
        let twice = listeners[..index]
            .iter()
            .any(|other| same_balancer(listener, other) && port.exists() && other.at("Port").number() == port.number());
        report.require(!twice, &port, || "another listener has this port".into(), "give each listener its own port");
    }
}

fn same_balancer(one: &Field<'_>, other: &Field<'_>) -> bool {
    let (one, other) = (one.at("LoadBalancerArn").target(), other.at("LoadBalancerArn").target());
    one.zip(other).is_some_and(|(one, other)| one.same_resource(&other))
}

fn is_secure(listener: &Field<'_>) -> bool {
    matches!(listener.at("Protocol").text(), Some("HTTPS" | "TLS"))
}

fn listener_tls(report: &mut Report<'_>) {
    for listener in listeners(report).iter().filter(|listener| is_secure(listener)) {
        let certificates = listener.at("Certificates");
        let some = !certificates.items().is_empty();
        report.require(some, &certificates, || "HTTPS without a certificate".into(), "name a certificate of ACM");
        let policy = listener.at("SslPolicy");
        let modern = policy.function().is_some() || policy.text().is_some_and(is_modern);
        let hint = "use a policy with TLS 1.2 and 1.3 only, such as ELBSecurityPolicy-TLS13-1-2-2021-06";
        let problem = || format!("`{}` takes old versions of TLS", policy.text().unwrap_or("the default policy"));
        report.require(modern, &policy, problem, hint);
    }
}

fn is_modern(policy: &str) -> bool {
    ["TLS13-1-2-", "TLS13-1-3-", "-TLS-1-2-", "FS-1-2-"].iter().any(|part| policy.contains(part))
}

fn plain_http(report: &mut Report<'_>) {
    let listeners = listeners(report);
    for listener in listeners.iter().filter(|listener| !is_secure(listener)) {
        let beside = listeners.iter().any(|other| is_secure(other) && same_balancer(listener, other));
        let actions = listener.at("DefaultActions");
        let redirects = actions.items().iter().all(|action| action.at("Type").text() == Some("redirect"));
        let hint = "redirect to the HTTPS listener";
        report.require(!beside || redirects, &actions, || "serves plain HTTP beside HTTPS".into(), hint);
    }
}

fn forward_weights(report: &mut Report<'_>) {
    let rules = report.resources("AWS::ElasticLoadBalancingV2::ListenerRule").map(|rule| rule.at("Actions"));
    let all: Vec<_> = listeners(report).iter().map(|listener| listener.at("DefaultActions")).chain(rules).collect();
    for action in all.iter().flat_map(Field::items) {
        let groups = action.at("ForwardConfig").at("TargetGroups");
        let entries = groups.items();
        for (index, entry) in entries.iter().enumerate() {
            let group = entry.at("TargetGroupArn");
            let twice = entries[..index].iter().any(|other| other.at("TargetGroupArn").json() == group.json());
            report.require(!twice, &group, || "is forwarded to twice".into(), "name each target group once");
        }
        let weights: Vec<_> = entries.iter().map(|entry| entry.at("Weight").number().unwrap_or(1.0)).collect();
        let silent = !weights.is_empty() && weights.iter().all(|weight| *weight == 0.0);
        report.require(!silent, &groups, || "no target group gets any traffic".into(), "give one of them a weight");
    }
}

fn rule_priority(report: &mut Report<'_>) {
    let rules: Vec<_> = report.resources("AWS::ElasticLoadBalancingV2::ListenerRule").collect();
    for (index, rule) in rules.iter().enumerate() {
        let priority = rule.at("Priority");
        let listener = |rule: &Field<'_>| (rule.place().0.to_owned(), rule.at("ListenerArn").json().clone());
        let twice = rules[..index]
            .iter()
            .any(|other| listener(other) == listener(rule) && other.at("Priority").number() == priority.number());
        report.require(!twice, &priority, || "another rule of the listener has it".into(), "number the rules apart");
    }
}
