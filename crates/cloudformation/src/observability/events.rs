//! What ECS and CodeDeploy tell about the environment, kept in a log group and counted there.

use serde_json::{Value as Json, json};

use super::{Watch, count};
use crate::logs;
use crate::policy::{Principal, Statement, document};
use crate::resources::events::Rule;
use crate::resources::events::rule::Target;
use crate::resources::logs::{LogGroup, ResourcePolicy};
use crate::template::{Handle, Template};
use crate::value::{Intrinsic, arn};

/// Containers that ended by themselves: killed for memory, crashed, or left.
const CONTAINERS_ENDED: &str = "{ $.detail.stopCode = \"EssentialContainerExited\" }";
/// In the words of ECS and of CodeDeploy.
const DEPLOYMENTS_FAILED: &str =
    "{ ($.detail.eventName = \"SERVICE_DEPLOYMENT_FAILED\") || ($.detail.state = \"FAILURE\") }";

pub(super) fn add(template: &mut Template, watch: Watch<'_>, key: Option<Intrinsic>) {
    let Watch { environment, names, .. } = watch;
    let name = names.environment_wide();
    // AWS takes log groups of this beginning only as targets of a rule.
    let group = logs::group(format!("/aws/events/{name}"), environment.log_retention(), key);
    let group = template.add("Events", group);
    // CloudWatch Logs takes the policy as text.
    let streams = Intrinsic::Text("${Events.Arn}".to_owned());
    let write = Statement::allow("WriteEvents", ["logs:CreateLogStream", "logs:PutLogEvents"], [streams])
        .by(Principal::service("events.amazonaws.com"));
    let policy = Intrinsic::explain(document(&[write]).to_string(), []);
    let policy = ResourcePolicy::new(crate::template::to_json(&policy), format!("{name}-events"));
    template.add("EventsPolicy", policy);

    let cluster = arn("ecs", format!("cluster/{name}"));
    let service = arn("ecs", format!("service/{name}/{}", names.service()));
    let rules = [
        (
            "TasksRule",
            "tasks",
            "Tasks that stopped",
            json!({
                "source": ["aws.ecs"],
                "detail-type": ["ECS Task State Change"],
                "detail": {"clusterArn": [cluster], "lastStatus": ["STOPPED"]},
            }),
        ),
        (
            "ServiceRule",
            "service",
            "Deployments and troubles of the service",
            json!({
                "source": ["aws.ecs"],
                "detail-type": ["ECS Deployment State Change", "ECS Hook State Change", "ECS Service Action"],
                "resources": [service],
            }),
        ),
        (
            "CodeDeployRule",
            "codedeploy",
            "Deployments by CodeDeploy",
            json!({
                "source": ["aws.codedeploy"],
                "detail-type": ["CodeDeploy Deployment State-change Notification"],
                "detail": {"application": [name]},
            }),
        ),
    ];
    for (id, what, description, pattern) in rules {
        template.add(id, rule(names.alarm(what), description, pattern, &group));
    }
    count(template, "ContainersEnded", group.reference().into(), CONTAINERS_ENDED, names);
    count(template, "DeploymentsFailed", group.reference().into(), DEPLOYMENTS_FAILED, names);
}

fn rule(name: String, description: &str, pattern: Json, group: &Handle<LogGroup>) -> Rule {
    Rule {
        name: Some(name.into()),
        description: Some(description.into()),
        event_pattern: Some(pattern.into()),
        targets: Some(vec![Target::new(group.arn(), "log")]),
        ..Rule::default()
    }
}
