//! What actions of a pipeline hand to one another.

use serde_json::Value as Json;

use super::document::Field;
use super::pipelines::{category, pipelines};
use super::{Report, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "artifact-producer", finds: "artifacts that nobody makes, or that two make", check: producer },
    Rule { name: "artifact-input", finds: "settings that name an artifact the action does not take", check: input },
    Rule { name: "pipeline-variable", finds: "variables of a namespace that no action before has", check: variable },
];

/// All actions in the order in which they run.
fn actions<'a>(pipeline: &Field<'a>) -> Vec<Field<'a>> {
    let mut all = Vec::new();
    for stage in pipeline.at("Stages").items() {
        let mut actions = stage.at("Actions").items();
        actions.sort_by(|a, b| {
            let order = |action: &Field<'_>| action.at("RunOrder").number().unwrap_or(1.0);
            order(a).total_cmp(&order(b))
        });
        all.extend(actions);
    }
    all
}

fn producer(report: &mut Report<'_>) {
    for pipeline in pipelines(report) {
        let mut made: Vec<&str> = Vec::new();
        for action in actions(&pipeline) {
            for name in action.at("InputArtifacts").items().iter().map(|artifact| artifact.at("Name")) {
                let known = name.text().is_none_or(|text| made.contains(&text));
                let problem = || format!("no action before makes `{}`", name.text().unwrap_or_default());
                report.require(known, &name, problem, "name an output of an earlier action");
            }
            for name in action.at("OutputArtifacts").items().iter().map(|artifact| artifact.at("Name")) {
                let Some(text) = name.text() else { continue };
                let new = !made.contains(&text);
                report.require(
                    new,
                    &name,
                    || format!("another action makes `{text}`"),
                    "give each artifact its own name",
                );
                made.push(text);
            }
        }
    }
}

/// Fields of an action's configuration whose value is an input artifact.
const ARTIFACT_FIELDS: [&str; 5] = [
    "TaskDefinitionTemplateArtifact",
    "AppSpecTemplateArtifact",
    "Image1ArtifactName",
    "Image2ArtifactName",
    "PrimarySource",
];

fn input(report: &mut Report<'_>) {
    for action in pipelines(report).flat_map(|pipeline| actions(&pipeline)).collect::<Vec<_>>() {
        let inputs = action.at("InputArtifacts").items();
        let configuration = action.at("Configuration");
        for field in ARTIFACT_FIELDS.map(|name| configuration.at(name)) {
            let Some(name) = field.text() else { continue };
            let taken = inputs.iter().any(|artifact| artifact.at("Name").text() == Some(name));
            report.require(taken, &field, || format!("the action does not take `{name}`"), "add it to InputArtifacts");
        }
        let template = configuration.at("TemplatePath");
        if let Some((artifact, _)) = template.text().and_then(|path| path.split_once("::")) {
            let taken = inputs.iter().any(|input| input.at("Name").text() == Some(artifact));
            report.require(
                taken,
                &template,
                || format!("the action does not take `{artifact}`"),
                "add it to InputArtifacts",
            );
        }
        let needs = matches!(category(&action), "Build" | "Test" | "Deploy");
        let hint = "give the action an input artifact";
        report.require(!needs || !inputs.is_empty(), &action, || "has nothing to work on".into(), hint);
    }
}

fn variable(report: &mut Report<'_>) {
    for pipeline in pipelines(report) {
        let mut namespaces = vec!["codepipeline", "variables"];
        for action in actions(&pipeline) {
            let mut used = Vec::new();
            namespaces_in(action.at("Configuration").json(), &mut used);
            for name in used {
                let known = namespaces.contains(&name.as_str());
                let problem = || format!("no action before has the namespace `{name}`");
                report.require(
                    known,
                    &action.at("Configuration"),
                    problem,
                    "set Namespace on the action that has the variable",
                );
            }
            namespaces.extend(action.at("Namespace").text());
        }
    }
}

/// The namespaces of `#{namespace.variable}` in all texts of a value.
fn namespaces_in(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::String(text) => {
            let parts = text.split("#{").skip(1).filter_map(|part| part.split_once('}')?.0.split_once('.'));
            found.extend(parts.map(|(namespace, _)| namespace.to_owned()));
        }
        Json::Object(fields) => fields.values().for_each(|value| namespaces_in(value, found)),
        Json::Array(items) => items.iter().for_each(|item| namespaces_in(item, found)),
        _ => {}
    }
}
