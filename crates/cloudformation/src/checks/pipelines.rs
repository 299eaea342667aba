//! Pipelines: what starts them and in which order things happen.

use super::document::Field;
use super::{Report, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "pipeline-v2", finds: "settings that only pipelines of type V2 have", check: v2 },
    Rule { name: "source-stage", finds: "sources elsewhere than in the first stage", check: source_stage },
    Rule { name: "trigger-source", finds: "triggers of no source action", check: trigger_source },
    Rule { name: "production-approval", finds: "production stages that nobody approved", check: approval },
    Rule { name: "superseded-approval", finds: "approvals that the next execution takes over", check: superseded },
    Rule { name: "pipeline-names", finds: "stages or actions with the same name", check: names },
];

pub(super) fn pipelines<'a>(report: &Report<'a>) -> impl Iterator<Item = Field<'a>> + use<'a> {
    report.resources("AWS::CodePipeline::Pipeline")
}

/// Category of an action: `Source`, `Build`, `Approval`.
pub(super) fn category<'a>(action: &Field<'a>) -> &'a str {
    action.at("ActionTypeId").at("Category").text().unwrap_or_default()
}

fn v2(report: &mut Report<'_>) {
    for pipeline in pipelines(report) {
        if pipeline.at("PipelineType").text() == Some("V2") {
            continue;
        }
        let modern = ["QUEUED", "PARALLEL"];
        let mode = pipeline.at("ExecutionMode");
        let conditions = pipeline
            .at("Stages")
            .items()
            .into_iter()
            .flat_map(|stage| ["BeforeEntry", "OnSuccess", "OnFailure"].map(|name| stage.at(name)));
        let named = ["Triggers", "Variables"].map(|name| pipeline.at(name));
        let mode = Some(mode).filter(|mode| mode.text().is_some_and(|text| modern.contains(&text)));
        for field in named.into_iter().chain(mode).chain(conditions).filter(Field::exists).collect::<Vec<_>>() {
            report.add(&field, "has no effect in a pipeline of type V1", "set PipelineType to V2");
        }
    }
}

fn source_stage(report: &mut Report<'_>) {
    for pipeline in pipelines(report) {
        for (index, stage) in pipeline.at("Stages").items().iter().enumerate() {
            for action in stage.at("Actions").items() {
                let fits = (category(&action) == "Source") == (index == 0);
                let problem = || if index == 0 { "the first stage takes sources only" } else { "sources come first" };
                report.require(
                    fits,
                    &action,
                    || problem().into(),
                    "put all sources, and nothing else, into the first stage",
                );
            }
        }
    }
}

fn trigger_source(report: &mut Report<'_>) {
    for pipeline in pipelines(report) {
        let stages = pipeline.at("Stages").items();
        let sources = stages.first().map(|stage| stage.at("Actions").items()).unwrap_or_default();
        for trigger in pipeline.at("Triggers").items() {
            let name = trigger.at("GitConfiguration").at("SourceActionName");
            let source = sources.iter().find(|action| action.at("Name").text() == name.text());
            let hint = "name the source action that the trigger belongs to";
            let problem = || format!("no source action is called `{}`", name.text().unwrap_or_default());
            report.require(source.is_some() || name.text().is_none(), &name, problem, hint);
            let provider = source.map(|action| action.at("ActionTypeId").at("Provider"));
            let fits = provider.is_none_or(|provider| provider.text() == Some("CodeStarSourceConnection"));
            let hint = "use an EventBridge rule for sources that are no connections";
            report.require(fits, &name, || "only connections have git triggers".into(), hint);
        }
    }
}

/// Whether a stage puts something into production.
fn is_production(stage: &Field<'_>) -> bool {
    let name = stage.at("Name").text().unwrap_or_default().to_ascii_lowercase();
    name.contains("prod") && stage.at("Actions").items().iter().any(|action| category(action) != "Approval")
}

fn approvals<'a>(stage: &Field<'a>) -> Vec<Field<'a>> {
    stage.at("Actions").items().into_iter().filter(|action| category(action) == "Approval").collect()
}

fn approval(report: &mut Report<'_>) {
    for pipeline in pipelines(report) {
        let stages = pipeline.at("Stages").items();
        for (index, stage) in stages.iter().enumerate().filter(|(_, stage)| is_production(stage)) {
            // What an approval in an earlier stage lets through must be what staging showed before it.
            let staged = stages[..index].iter().rposition(|stage| {
                stage.at("Actions").items().iter().any(|action| category(action) == "Deploy") && !is_production(stage)
            });
            let approved = stages[..index].iter().rposition(|stage| !approvals(stage).is_empty());
            let order = |stage: &Field<'_>| {
                let actions = stage.at("Actions").items();
                let run = |action: &Field<'_>| action.at("RunOrder").number().unwrap_or(1.0);
                let first =
                    actions.iter().filter(|action| category(action) != "Approval").map(run).fold(f64::MAX, f64::min);
                actions.iter().any(|action| category(action) == "Approval" && run(action) < first)
            };
            let holds = order(stage) || approved.is_some_and(|at| staged.is_none_or(|staged| at > staged));
            let hint = "put a manual approval between staging and production";
            report.require(holds, stage, || "reaches production without an approval before it".into(), hint);
        }
    }
}

fn superseded(report: &mut Report<'_>) {
    for pipeline in pipelines(report) {
        let waits = pipeline.at("Stages").items().iter().any(|stage| !approvals(stage).is_empty());
        let mode = pipeline.at("ExecutionMode");
        let replaced = matches!(mode.text(), None | Some("SUPERSEDED"));
        let hint = "set ExecutionMode to QUEUED";
        report.require(
            !(waits && replaced),
            &mode,
            || "a newer execution takes the place of one that waits".into(),
            hint,
        );
    }
}

fn names(report: &mut Report<'_>) {
    for pipeline in pipelines(report) {
        let stages = pipeline.at("Stages").items();
        let actions = stages.iter().map(|stage| stage.at("Actions").items());
        for list in actions.chain([stages.clone()]).collect::<Vec<_>>() {
            for (index, entry) in list.iter().enumerate() {
                let name = entry.at("Name");
                let twice = list[..index].iter().any(|other| other.at("Name").json() == name.json());
                report.require(!twice, &name, || format!("{} is there twice", name.json()), "give each its own name");
            }
        }
    }
}
