//! Who hears of failed pipelines and waiting approvals.

use serde_json::json;

use super::Delivery;
use crate::resources::events::Rule;
use crate::resources::events::rule::{InputTransformer, Target};
use crate::resources::sns::Topic;
use crate::template::{Handle, Template};
use crate::topics;

/// The topic, in an account or where somebody is to be told.
pub(super) fn topic(template: &mut Template, delivery: Delivery<'_>) -> Option<Handle<Topic>> {
    let wanted = delivery.environment.in_account() || !delivery.project.notify.is_empty();
    wanted
        .then(|| topics::add(template, "Notices", format!("{}-delivery", delivery.project.name), delivery.key.cloned()))
}

pub(super) fn add(template: &mut Template, delivery: Delivery<'_>, topic: &Handle<Topic>) {
    let project = delivery.project;
    topics::tell(template, &project.notify, format!("{}-delivery", project.name), &topic.reference());
    topics::page(template, &project.notify, &topic.reference());
    let said = InputTransformer {
        input_paths_map: Some(
            [("state", "$.detail.state"), ("execution", "$.detail.execution-id"), ("pipeline", "$.detail.pipeline")]
                .map(|(name, path)| (name.to_owned(), path.into()))
                .into(),
        ),
        ..InputTransformer::new("\"Pipeline <pipeline>: execution <execution> is <state>\"")
    };
    let pattern = json!({
        "source": ["aws.codepipeline"],
        "detail-type": ["CodePipeline Pipeline Execution State Change"],
        "detail": {"pipeline": [project.pipeline_name()], "state": ["FAILED", "STOPPED", "SUCCEEDED"]},
    });
    let target = Target { input_transformer: Some(said), ..Target::new(topic.reference(), "topic") };
    let rule = Rule {
        name: Some(format!("{}-pipeline", project.name).into()),
        description: Some("How executions of the pipeline end".into()),
        event_pattern: Some(pattern.into()),
        targets: Some(vec![target]),
        ..Rule::default()
    };
    template.add("PipelineRule", rule);
}
