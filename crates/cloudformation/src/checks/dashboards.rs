//! Dashboards: JSON inside a text, which CloudFormation does not look into.

use serde_json::Value as Json;

use super::{Report, Rule};

pub(super) const RULES: &[Rule] =
    &[Rule { name: "dashboard", finds: "dashboard bodies that CloudWatch refuses", check: dashboards }];

/// Columns of a dashboard.
const WIDTH: u64 = 24;

fn dashboards(report: &mut Report<'_>) {
    for dashboard in report.resources("AWS::CloudWatch::Dashboard") {
        let body = dashboard.at("DashboardBody");
        let Some(text) = body.rendered() else { continue };
        for problem in problems(&text) {
            report.add(&body, problem, "see CloudWatch's dashboard body structure");
        }
    }
}

fn problems(text: &str) -> Vec<String> {
    let body: Json = match serde_json::from_str(text) {
        Ok(body) => body,
        Err(error) => return vec![format!("is no JSON: {error}")],
    };
    let Some(widgets) = body["widgets"].as_array().filter(|widgets| !widgets.is_empty()) else {
        return vec!["has no widgets".to_owned()];
    };
    let of = |(index, widget)| widget_problem(widget).map(|problem| format!("widget {index}: {problem}"));
    let mut found: Vec<_> = widgets.iter().enumerate().filter_map(of).collect();
    for (index, widget) in widgets.iter().enumerate() {
        if let Some(other) = widgets[..index].iter().position(|other| overlap(widget, other)) {
            found.push(format!("widget {index} covers widget {other}"));
        }
    }
    found
}

fn widget_problem(widget: &Json) -> Option<String> {
    let properties = &widget["properties"];
    match widget["type"].as_str() {
        Some("text") if !properties["markdown"].is_string() => return Some("a text without markdown".to_owned()),
        Some("alarm") if !properties["alarms"].is_array() => return Some("no alarms".to_owned()),
        Some("log") if !properties["query"].is_string() => return Some("no query".to_owned()),
        Some("metric") => {
            let shown = properties["metrics"].as_array().is_some_and(|metrics| !metrics.is_empty());
            let annotated = properties["annotations"]["alarms"].is_array();
            if !shown && !annotated {
                return Some("no metrics".to_owned());
            }
            if !properties["region"].is_string() {
                return Some("no region".to_owned());
            }
            let listed = properties["metrics"].as_array().into_iter().flatten().all(Json::is_array);
            if !listed {
                return Some("a metric that is no list".to_owned());
            }
        }
        Some("text" | "alarm" | "log" | "explorer" | "custom") => {}
        other => return Some(format!("the type is {}", other.unwrap_or("missing"))),
    }
    let size = |name: &str| widget[name].as_u64();
    let (width, height) = (size("width").unwrap_or(6), size("height").unwrap_or(6));
    let beyond = size("x").unwrap_or(0) + width > WIDTH || width == 0 || height == 0;
    beyond.then(|| format!("it does not fit into {WIDTH} columns"))
}

/// Whether two placed widgets share a place.
fn overlap(one: &Json, other: &Json) -> bool {
    let span = |widget: &Json, from: &str, length: &str| {
        Some((widget[from].as_u64()?, widget[from].as_u64()? + widget[length].as_u64()?))
    };
    let shared = |from, length| {
        span(one, from, length).zip(span(other, from, length)).is_some_and(|(a, b)| a.0 < b.1 && b.0 < a.1)
    };
    shared("x", "width") && shared("y", "height")
}
