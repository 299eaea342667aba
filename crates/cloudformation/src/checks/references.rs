//! References that lead nowhere.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::document::{function, references};
use super::{Report, Rule, Scope};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "dangling-reference", finds: "references to what the template does not have", check: dangling },
    Rule { name: "dangling-import", finds: "imports of what no stack exports", check: imports },
];

fn dangling(report: &mut Report<'_>) {
    for (_, properties) in report.all() {
        let template = properties.document().json();
        let mut wanted = Vec::new();
        references(properties.whole_resource(), &mut wanted);
        let depends = &properties.whole_resource()["DependsOn"];
        let depends = depends.as_array().map_or_else(|| vec![depends], |list| list.iter().collect());
        wanted.extend(depends.into_iter().filter_map(Json::as_str));
        for name in wanted {
            let known = name.starts_with("AWS::")
                || ["Resources", "Parameters"].iter().any(|section| !template[section][name].is_null());
            let hint = "name a resource or parameter of this template, or import it from another stack";
            report.require(known, &properties, || format!("refers to `{name}`, which does not exist"), hint);
        }
    }
}

fn imports(report: &mut Report<'_>) {
    if report.scope == Scope::Part {
        return;
    }
    let templates = report.templates;
    let exported: BTreeSet<String> =
        templates.iter().flat_map(|document| document.exports(templates)).map(|(name, _)| name).collect();
    for (_, properties) in report.all() {
        let mut wanted = Vec::new();
        imported(properties.json(), &mut wanted);
        for name in wanted.into_iter().filter(|name| !exported.contains(*name)) {
            report.add(&properties, format!("imports `{name}`, which no stack exports"), "export it where it is made");
        }
    }
}

fn imported<'a>(json: &'a Json, found: &mut Vec<&'a str>) {
    match (function(json), json) {
        (Some(("Fn::ImportValue", Json::String(name))), _) => found.push(name),
        (_, Json::Object(fields)) => fields.values().for_each(|value| imported(value, found)),
        (_, Json::Array(items)) => items.iter().for_each(|item| imported(item, found)),
        _ => {}
    }
}
