//! Alarms, events and notifications.

use serde_json::Value as Json;

use super::document::{Field, mentions};
use super::{Report, Rule, Scope};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "alarm-timing", finds: "alarms over periods that CloudWatch does not take", check: timing },
    Rule { name: "silent-alarm", finds: "alarms that tell nobody and stop nothing", check: silent },
    Rule { name: "composite-alarm", finds: "composite alarms over alarms that do not exist", check: composite },
    Rule { name: "subscription", finds: "subscriptions that cannot deliver", check: subscription },
    Rule { name: "event-rule", finds: "rules without pattern, schedule or target", check: event_rule },
    Rule { name: "topic-policy", finds: "topics that those who notify may not publish to", check: topic_policy },
];

fn alarms<'a>(report: &Report<'a>) -> impl Iterator<Item = Field<'a>> + use<'a> {
    report.resources("AWS::CloudWatch::Alarm")
}

fn timing(report: &mut Report<'_>) {
    for alarm in alarms(report) {
        let queries = alarm.at("Metrics").items().into_iter().map(|query| query.at("MetricStat").at("Period"));
        for period in queries.chain([alarm.at("Period")]) {
            let Some(seconds) = period.number() else { continue };
            let holds = [10.0, 20.0, 30.0].contains(&seconds) || (seconds > 0.0 && seconds % 60.0 == 0.0);
            report.require(holds, &period, || format!("{seconds}s are no period"), "10, 20, 30 or a multiple of 60");
            let times = alarm.at("EvaluationPeriods").number().unwrap_or(1.0);
            let day = seconds * times <= 86_400.0 || seconds >= 3600.0;
            report.require(day, &period, || "is evaluated over more than a day".into(), "fewer or shorter periods");
        }
        let points = alarm.at("DatapointsToAlarm");
        let all = alarm.at("EvaluationPeriods").number();
        let fits = points.number().zip(all).is_none_or(|(points, all)| (1.0..=all).contains(&points));
        let hint = "make DatapointsToAlarm at most EvaluationPeriods";
        report.require(fits, &points, || "more points than periods: it never fires".into(), hint);
        let percentile = alarm.at("ExtendedStatistic");
        let both = percentile.exists() && alarm.at("Statistic").exists();
        report.require(!both, &percentile, || "two statistics".into(), "keep Statistic or ExtendedStatistic");
    }
}

/// An alarm counts as heard when it has an action, or something else in the template refers to it.
fn silent(report: &mut Report<'_>) {
    let all: Vec<_> = report.all().collect();
    for alarm in alarms(report) {
        let (stack, id) = alarm.place();
        let actions = alarm.at("AlarmActions");
        let name = alarm.at("AlarmName").rendered();
        let used = all.iter().any(|(kind, other)| {
            // A dashboard shows; it tells nobody.
            let listens = *kind != "AWS::CloudWatch::Dashboard" && !other.same_resource(&alarm);
            let by_reference = other.place().0 == stack && mentions(other.json(), id);
            let by_name = name.as_ref().is_some_and(|name| says(other.json(), name));
            listens && (by_reference || by_name)
        });
        let hint = "add AlarmActions, or let a composite alarm or a deployment watch it";
        report.require(!actions.items().is_empty() || used, &actions, || "nobody hears it".into(), hint);
        let enabled = alarm.at("ActionsEnabled");
        report.require(enabled.truth() != Some(false), &enabled, || "its actions are switched off".into(), hint);
    }
}

fn says(json: &Json, word: &str) -> bool {
    match json {
        Json::String(text) => text.contains(word),
        Json::Array(items) => items.iter().any(|item| says(item, word)),
        Json::Object(fields) => fields.values().any(|value| says(value, word)),
        _ => false,
    }
}

fn composite(report: &mut Report<'_>) {
    let names: Vec<_> = alarms(report)
        .chain(report.resources("AWS::CloudWatch::CompositeAlarm"))
        .filter_map(|alarm| alarm.at("AlarmName").rendered())
        .collect();
    for alarm in report.resources("AWS::CloudWatch::CompositeAlarm") {
        let field = alarm.at("AlarmRule");
        let Some(rule) = field.rendered() else { continue };
        let balanced = rule.matches('(').count() == rule.matches(')').count() && rule.matches('"').count() % 2 == 0;
        report.require(
            balanced,
            &field,
            || "its brackets or quotes are not closed".into(),
            "ALARM(\"name\") OR ALARM(\"other\")",
        );
        if report.scope == Scope::Part {
            continue;
        }
        for named in rule.split('"').skip(1).step_by(2).filter(|name| *name != "0") {
            let known = names.iter().any(|name| name == named);
            report.require(known, &field, || format!("no alarm is called `{named}`"), "name alarms of these templates");
        }
    }
}

fn subscription(report: &mut Report<'_>) {
    let nested = report.resources("AWS::SNS::Topic").flat_map(|topic| topic.at("Subscription").items());
    for entry in nested.chain(report.resources("AWS::SNS::Subscription")).collect::<Vec<_>>() {
        let endpoint = entry.at("Endpoint");
        let Some(text) = endpoint.text() else { continue };
        // What a secret holds is known when the stack is created.
        if text.starts_with("{{resolve:") {
            continue;
        }
        let fits = match entry.at("Protocol").text() {
            Some("https") => text.starts_with("https://"),
            Some("http") => text.starts_with("http://"),
            Some("email" | "email-json") => {
                text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
            }
            Some("lambda" | "sqs" | "firehose") => text.starts_with("arn:"),
            _ => true,
        };
        report.require(fits, &endpoint, || format!("`{text}` does not fit the protocol"), "correct the endpoint");
    }
}

fn event_rule(report: &mut Report<'_>) {
    for rule in report.resources("AWS::Events::Rule") {
        let starts = rule.at("EventPattern").exists() || rule.at("ScheduleExpression").exists();
        report.require(starts, &rule, || "nothing sets it off".into(), "add EventPattern or ScheduleExpression");
        let pattern = rule.at("EventPattern");
        let typed = !pattern.exists() || pattern.at("source").exists();
        report.require(typed, &pattern, || "takes events of every source".into(), "name the source");
        for (name, value) in pattern.members() {
            let list = value.json().is_array() || value.json().is_object();
            report.require(list, &value, || format!("`{name}` is no list"), "patterns are lists of values");
        }
        let targets = rule.at("Targets");
        report.require(!targets.items().is_empty(), &targets, || "its events go nowhere".into(), "add a target");
    }
}

/// EventBridge needs a topic's own permission; CloudWatch's alarms have it only while the topic has no policy.
fn topic_policy(report: &mut Report<'_>) {
    for topic in report.resources("AWS::SNS::Topic") {
        let used = report.resources("AWS::Events::Rule").any(|rule| {
            rule.at("Targets")
                .items()
                .iter()
                .any(|target| target.at("Arn").target().is_some_and(|of| of.same_resource(&topic)))
        });
        let policies = report.resources("AWS::SNS::TopicPolicy").filter(|policy| {
            policy.at("Topics").items().iter().any(|of| of.target().is_some_and(|of| of.same_resource(&topic)))
        });
        let mut statements = policies.flat_map(|policy| policy.at("PolicyDocument").at("Statement").items());
        let lets = statements
            .any(|statement| statement.at("Principal").at("Service").texts().contains(&"events.amazonaws.com"));
        let hint = "add a topic policy that lets events.amazonaws.com publish";
        report.require(!used || lets, &topic, || "EventBridge may not publish to it".into(), hint);
    }
}
