//! Who hears of an approval that waits too long.
//!
//! CodePipeline tells when an approval is asked for and when it is given, but has no metric of the time between. So
//! asking starts a workflow, which waits and then looks: while the same execution still waits, it counts that in a metric
//! of the project's own namespace, on which the alarm stands.

use serde_json::{Map, json};

use super::Delivery;
use super::pipeline::APPROVAL_STAGE;
use crate::documents::workflow::{Branch, Retry, State, Workflow};
use crate::logs;
use crate::metrics::{Metric, Statistic, Threshold, Watched};
use crate::policy::{Statement, role};
use crate::resources::codepipeline::Pipeline;
use crate::resources::events::Rule;
use crate::resources::events::rule::Target;
use crate::resources::iam::Role;
use crate::resources::logs::LogGroup;
use crate::resources::sns::Topic;
use crate::resources::stepfunctions::StateMachine;
use crate::resources::stepfunctions::state_machine::{
    CloudWatchLogsLogGroup, LogDestination, LoggingConfiguration, LoggingConfigurationLevel, TracingConfiguration,
};
use crate::template::{Handle, Resource, Template, to_json};
use crate::value::arn;

const METRIC: &str = "ApprovalsOverdue";
/// Seconds of a point of the metric; the workflow looks twice as often, so that no point is empty.
const HOUR: i64 = 3600;
const LOOK_AGAIN: u64 = 1800;

pub(super) fn add(template: &mut Template, delivery: Delivery<'_>, pipeline: &Handle<Pipeline>, topic: &Handle<Topic>) {
    let settings = &delivery.project.pipeline;
    // Where the time-out comes first, its failure is told by itself.
    if settings.approval_overdue >= settings.approval_timeout {
        return;
    }
    let name = format!("{}-approvals", delivery.project.name);
    let group = format!("/aws/vendedlogs/states/{name}");
    let logs = logs::group(group, delivery.environment.log_retention(), delivery.key.cloned());
    let logs = template.add("ApprovalsLogs", logs);
    let watcher = template.add("ApprovalsRole", watcher(&name, delivery, pipeline));
    let machine = template.add("Approvals", machine(&name, delivery, &watcher, &logs));
    let start = Statement::allow("Start", ["states:StartExecution"], [machine.reference()]);
    let starter = format!("{name}-start");
    let starter = role(starter, "How a request for approval starts the watch", "events.amazonaws.com", vec![start]);
    let starter = template.add("ApprovalsStartRole", starter);
    let pattern = json!({
        "source": ["aws.codepipeline"],
        "detail-type": ["CodePipeline Action Execution State Change"],
        "detail": {
            "pipeline": [delivery.project.pipeline_name()],
            "state": ["STARTED"],
            "type": {"category": ["Approval"]},
        },
    });
    let rule = Rule {
        name: Some(name.as_str().into()),
        description: Some("An approval is asked for".into()),
        event_pattern: Some(pattern.into()),
        targets: Some(vec![Target {
            role_arn: Some(starter.arn().into()),
            ..Target::new(machine.reference(), "watch")
        }]),
        ..Rule::default()
    };
    template.add("ApprovalsRule", rule);
    let overdue = Threshold {
        name,
        description: format!("An approval has waited for more than {}", settings.approval_overdue),
        watched: Watched::Metric(Metric {
            namespace: delivery.project.name.clone(),
            name: METRIC,
            dimensions: Vec::new(),
            statistic: Statistic::Sum,
        }),
        above: 0.0,
        period: HOUR,
        points: 1,
        periods: 1,
    };
    template.add("ApprovalsAlarm", overdue.alarm(&[topic.reference()]));
}

fn machine(name: &str, delivery: Delivery<'_>, role: &Handle<Role>, logs: &Handle<LogGroup>) -> Resource<StateMachine> {
    let destination = LogDestination {
        cloud_watch_logs_log_group: Some(CloudWatchLogsLogGroup { log_group_arn: Some(logs.arn().into()) }),
    };
    Resource::new(StateMachine {
        state_machine_name: Some(name.into()),
        definition: Some(to_json(&workflow(delivery)).into()),
        logging_configuration: Some(LoggingConfiguration {
            destinations: Some(vec![destination]),
            include_execution_data: Some(true.into()),
            level: Some(LoggingConfigurationLevel::Error.into()),
        }),
        tracing_configuration: Some(TracingConfiguration { enabled: Some(true.into()) }),
        ..StateMachine::new(role.arn())
    })
}

fn workflow(delivery: Delivery<'_>) -> Workflow {
    let project = delivery.project;
    let execution = json!("{% $states.input.detail.`execution-id` %}");
    let waits = format!(
        "{{% $exists($states.input.StageStates[StageName = '{APPROVAL_STAGE}' and LatestExecution.Status = 'InProgress' \
         and LatestExecution.PipelineExecutionId = $execution]) %}}"
    );
    let count = json!({
        "Namespace": project.name,
        "MetricData": [{"MetricName": METRIC, "Value": 1, "Unit": "Count"}],
    });
    let states = [
        (
            "Wait",
            State::Wait {
                seconds: project.pipeline.approval_overdue.as_seconds(),
                assign: Map::from_iter([("execution".to_owned(), execution)]),
                next: "Look",
            },
        ),
        (
            "Look",
            State::Task {
                resource: "arn:aws:states:::aws-sdk:codepipeline:getPipelineState",
                arguments: json!({"Name": project.pipeline_name()}),
                retry: [Retry::PATIENT],
                next: "StillWaits",
            },
        ),
        ("StillWaits", State::Choice { choices: [Branch { condition: waits, next: "Count" }], default: "Answered" }),
        (
            "Count",
            State::Task {
                resource: "arn:aws:states:::aws-sdk:cloudwatch:putMetricData",
                arguments: count,
                retry: [Retry::PATIENT],
                next: "WaitAgain",
            },
        ),
        ("WaitAgain", State::Wait { seconds: LOOK_AGAIN, assign: Map::new(), next: "Look" }),
        ("Answered", State::Succeed {}),
    ];
    Workflow::new("Counts an approval that waits too long, until it is answered", states)
}

fn watcher(name: &str, delivery: Delivery<'_>, pipeline: &Handle<Pipeline>) -> Resource<Role> {
    let deliver_logs = [
        "logs:CreateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:DescribeLogGroups",
        "logs:DescribeResourcePolicies",
        "logs:GetLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:UpdateLogDelivery",
    ];
    let statements = vec![
        Statement::allow("Look", ["codepipeline:GetPipelineState"], [arn("codepipeline", pipeline.reference())]),
        Statement::allow_unscoped("Count", ["cloudwatch:PutMetricData"], "CloudWatch takes metrics by namespace only")
            .when("StringEquals", "cloudwatch:namespace", delivery.project.name.as_str()),
        Statement::allow_unscoped("DeliverLogs", deliver_logs, "A delivery of logs has no resource of its own"),
        Statement::allow_unscoped(
            "Trace",
            ["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
            "X-Ray has no resource for what is sent to it",
        ),
    ];
    role(name.to_owned(), "How the watch over approvals looks and counts", "states.amazonaws.com", statements)
}
