//! Alarms and scaling on metrics: something must emit them.

use std::collections::BTreeSet;

use super::document::Field;
use super::{Report, Rule, Scope};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "unknown-metric", finds: "alarms and scaling on metrics that nothing emits", check: unknown },
    Rule { name: "metric-dimension", finds: "metrics with dimensions that AWS does not give them", check: dimensions },
    Rule { name: "metric-math", finds: "expressions over metrics that are not there", check: math },
    Rule { name: "metric-filter", finds: "log patterns that CloudWatch refuses", check: filters },
];

struct Namespace {
    name: &'static str,
    metrics: &'static [&'static str],
    dimensions: &'static [&'static str],
}

/// What AWS emits by itself where a service on ECS is watched. Names in other namespaces of AWS are taken as they are: a list
/// that is not whole would call good alarms wrong.
#[rustfmt::skip]
const NAMESPACES: &[Namespace] = &[
    Namespace {
        name: "AWS/ApplicationELB",
        metrics: &[
            "ActiveConnectionCount", "AnomalousHostCount", "BYoIPUtilPercentage", "ClientTLSNegotiationErrorCount",
            "ConsumedLCUs", "DesyncMitigationMode_NonCompliant_Request_Count", "DroppedInvalidHeaderRequestCount",
            "ELBAuthError", "ELBAuthFailure", "ELBAuthLatency", "ELBAuthRefreshTokenSuccess", "ELBAuthSuccess",
            "ELBAuthUserClaimsSizeExceeded", "ForwardedInvalidHeaderRequestCount", "GrpcRequestCount",
            "HTTPCode_ELB_3XX_Count", "HTTPCode_ELB_4XX_Count", "HTTPCode_ELB_500_Count", "HTTPCode_ELB_502_Count",
            "HTTPCode_ELB_503_Count", "HTTPCode_ELB_504_Count", "HTTPCode_ELB_5XX_Count", "HTTPCode_Target_2XX_Count",
            "HTTPCode_Target_3XX_Count", "HTTPCode_Target_4XX_Count", "HTTPCode_Target_5XX_Count",
            "HTTP_Fixed_Response_Count", "HTTP_Redirect_Count", "HTTP_Redirect_Url_Limit_Exceeded_Count",
            "HealthyHostCount", "HealthyStateDNS", "HealthyStateRouting", "IPv6ProcessedBytes", "IPv6RequestCount",
            "LambdaInternalError", "LambdaTargetProcessedBytes", "LambdaUserError", "LowReputationPacketsDropped",
            "LowReputationRequestsDenied", "MitigatedHostCount", "NewConnectionCount", "NonStickyRequestCount", "PeakLCUs",
            "ProcessedBytes", "RejectedConnectionCount", "RequestCount", "RequestCountPerTarget", "ReservedLCUs",
            "RuleEvaluations", "TargetConnectionErrorCount", "TargetResponseTime", "TargetTLSNegotiationErrorCount",
            "UnHealthyHostCount", "UnhealthyRoutingRequestCount", "UnhealthyStateDNS", "UnhealthyStateRouting",
            "ZonalShiftedHostCount",
        ],
        dimensions: &["LoadBalancer", "TargetGroup", "AvailabilityZone"],
    },
    Namespace {
        name: "AWS/ECS",
        metrics: &[
            "ActiveConnectionCount", "CPUReservation", "CPUUtilization", "ClientTLSNegotiationErrorCount",
            "EBSFilesystemUtilization", "GPUReservation", "GrpcRequestCount", "HTTPCode_Target_2XX_Count",
            "HTTPCode_Target_3XX_Count", "HTTPCode_Target_4XX_Count", "HTTPCode_Target_5XX_Count", "MemoryReservation",
            "MemoryUtilization", "NewConnectionCount", "ProcessedBytes", "RequestCount", "RequestCountPerTarget",
            "TargetProcessedBytes", "TargetResponseTime", "TargetTLSNegotiationErrorCount",
        ],
        dimensions: &["ClusterName", "ServiceName", "DiscoveryName", "TargetDiscoveryName"],
    },
    Namespace {
        name: "ECS/ContainerInsights",
        metrics: &[
            "ContainerCpuReserved", "ContainerCpuUtilization", "ContainerCpuUtilized", "ContainerInstanceCount",
            "ContainerMemoryReserved", "ContainerMemoryUtilization", "ContainerMemoryUtilized", "ContainerNetworkRxBytes",
            "ContainerNetworkTxBytes", "ContainerStorageReadBytes", "ContainerStorageWriteBytes", "CpuReserved",
            "CpuUtilized", "DeploymentCount", "DesiredTaskCount", "EBSFilesystemSize", "EBSFilesystemUtilized",
            "EphemeralStorageReserved", "EphemeralStorageUtilized", "MemoryReserved", "MemoryUtilized", "NetworkRxBytes",
            "NetworkTxBytes", "PendingTaskCount", "RestartCount", "RunningTaskCount", "ServiceCount", "StorageReadBytes",
            "StorageWriteBytes", "TaskCount", "TaskCpuUtilization", "TaskEBSFilesystemUtilization",
            "TaskEphemeralStorageUtilization", "TaskMemoryUtilization", "TaskSetCount", "UnHealthyContainerHealthStatus",
            "instance_cpu_limit", "instance_cpu_reserved_capacity", "instance_cpu_usage_total", "instance_cpu_utilization",
            "instance_filesystem_utilization", "instance_memory_limit", "instance_memory_reserved_capacity",
            "instance_memory_utilization", "instance_memory_working_set", "instance_network_total_bytes",
            "instance_number_of_running_tasks",
        ],
        dimensions: &["ClusterName", "ServiceName", "TaskDefinitionFamily", "TaskId", "ContainerName", "ContainerInstanceId", "EC2InstanceId", "InstanceId", "TaskSetId"],
    },
    Namespace {
        name: "AWS/NATGateway",
        metrics: &[
            "ActiveConnectionCount", "BytesInFromDestination", "BytesInFromSource", "BytesOutToDestination",
            "BytesOutToSource", "ConnectionAttemptCount", "ConnectionEstablishedCount", "ErrorPortAllocation",
            "IdleTimeoutCount", "PacketsDropCount", "PacketsInFromDestination", "PacketsInFromSource",
            "PacketsOutToDestination", "PacketsOutToSource", "PeakBytesPerSecond", "PeakPacketsPerSecond",
        ],
        dimensions: &["NatGatewayId"],
    },
];

/// Everything with a metric's name, namespace and dimensions: alarms, their queries, the queries of scaling policies.
fn metrics<'a>(report: &Report<'a>) -> Vec<Field<'a>> {
    let alarms = report.resources("AWS::CloudWatch::Alarm").flat_map(|alarm| {
        let queries = alarm.at("Metrics").items().into_iter().map(|query| query.at("MetricStat").at("Metric"));
        queries.chain([alarm]).collect::<Vec<_>>()
    });
    let policies = report.resources("AWS::ApplicationAutoScaling::ScalingPolicy").flat_map(|policy| {
        let custom = policy.at("TargetTrackingScalingPolicyConfiguration").at("CustomizedMetricSpecification");
        let queries = custom.at("Metrics").items().into_iter().map(|query| query.at("MetricStat").at("Metric"));
        queries.chain([custom]).collect::<Vec<_>>()
    });
    alarms.chain(policies).filter(|metric| metric.at("MetricName").exists()).collect()
}

/// Namespaces and names of the metrics that the templates make themselves: by filters of logs, and by workflows.
fn made(report: &Report<'_>) -> BTreeSet<(String, String)> {
    let filters = report
        .resources("AWS::Logs::MetricFilter")
        .flat_map(|filter| filter.at("MetricTransformations").items())
        .filter_map(|metric| Some((metric.at("MetricNamespace").rendered()?, metric.at("MetricName").rendered()?)));
    let states = report
        .resources("AWS::StepFunctions::StateMachine")
        .flat_map(|machine| machine.at("Definition").at("States").members())
        .map(|(_, state)| state)
        .filter(|state| state.at("Resource").text().is_some_and(|call| call.ends_with(":cloudwatch:putMetricData")));
    let counted = states.flat_map(|state| {
        let arguments = state.at("Arguments");
        let namespace = arguments.at("Namespace").rendered();
        let metrics = arguments.at("MetricData").items();
        let named = metrics
            .into_iter()
            .filter_map(move |metric| Some((namespace.clone()?, metric.at("MetricName").rendered()?)));
        named.collect::<Vec<_>>()
    });
    filters.chain(counted).collect()
}

fn unknown(report: &mut Report<'_>) {
    let made = made(report);
    let insights = report.resources("AWS::ECS::Cluster").flat_map(|cluster| cluster.at("ClusterSettings").items()).any(
        |setting| {
            let on = matches!(setting.at("Value").text(), Some("enabled" | "enhanced"));
            on && setting.at("Name").text() == Some("containerInsights")
        },
    );
    for metric in metrics(report) {
        let field = metric.at("MetricName");
        let (Some(name), Some(namespace)) = (field.rendered(), metric.at("Namespace").rendered()) else { continue };
        let by_aws = NAMESPACES.iter().find(|known| known.name == namespace);
        let emitted = match by_aws {
            Some(known) => known.metrics.contains(&name.as_str()),
            None if namespace.starts_with("AWS/") => true,
            None => {
                let own = made.contains(&(namespace.clone(), name.clone()));
                let elsewhere = report.scope == Scope::Part && !made.iter().any(|(of, _)| *of == namespace);
                own || elsewhere
            }
        };
        let hint = "correct its name, or add the metric filter or workflow that makes it";
        report.require(emitted, &field, || format!("nothing emits `{name}` in {namespace}"), hint);
        let off = namespace == "ECS/ContainerInsights" && !insights && report.scope == Scope::Whole;
        let hint = "switch containerInsights on in the cluster's settings";
        report.require(!off, &field, || "no cluster has Container Insights".into(), hint);
    }
}

fn dimensions(report: &mut Report<'_>) {
    for metric in metrics(report) {
        let Some(namespace) = metric.at("Namespace").text() else { continue };
        let Some(known) = NAMESPACES.iter().find(|known| known.name == namespace) else { continue };
        let field = metric.at("Dimensions");
        let names: Vec<_> = field.items().iter().filter_map(|dimension| dimension.at("Name").text()).collect();
        let foreign = names.iter().find(|name| !known.dimensions.contains(name));
        let problem = || format!("{namespace} has no dimension `{}`", foreign.unwrap_or(&""));
        report.require(foreign.is_none(), &field, problem, "use the dimensions that AWS documents for the namespace");
        // A target group's metrics exist only together with their load balancer's.
        let alone = names.contains(&"TargetGroup") && !names.contains(&"LoadBalancer");
        report.require(!alone, &field, || "TargetGroup alone matches nothing".into(), "add the LoadBalancer");
        let service = names.contains(&"ServiceName") && !names.contains(&"ClusterName");
        report.require(!service, &field, || "ServiceName alone matches nothing".into(), "add the ClusterName");
    }
}

fn math(report: &mut Report<'_>) {
    let alarms = report.resources("AWS::CloudWatch::Alarm").map(|alarm| alarm.at("Metrics"));
    let policies = report.resources("AWS::ApplicationAutoScaling::ScalingPolicy").map(|policy| {
        policy.at("TargetTrackingScalingPolicyConfiguration").at("CustomizedMetricSpecification").at("Metrics")
    });
    for queries in alarms.chain(policies).filter(Field::exists).collect::<Vec<_>>() {
        let entries = queries.items();
        let ids: Vec<_> = entries.iter().filter_map(|query| query.at("Id").text()).collect();
        for expression in entries.iter().map(|query| query.at("Expression")) {
            let Some(text) = expression.text() else { continue };
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let unknown = words
                .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
                .find(|word| !ids.contains(word));
            let problem = || format!("`{}` is no metric here", unknown.unwrap_or_default());
            report.require(unknown.is_none(), &expression, problem, "use the Ids of the other metrics");
        }
        let returned = entries.iter().filter(|query| query.at("ReturnData").truth() != Some(false)).count();
        report.require(returned == 1, &queries, || format!("{returned} metrics are returned"), "return exactly one");
    }
}

fn filters(report: &mut Report<'_>) {
    for filter in report.resources("AWS::Logs::MetricFilter") {
        let pattern = filter.at("FilterPattern");
        let Some(text) = pattern.text().map(str::trim) else { continue };
        let json = text.starts_with('{');
        let closed = json == text.ends_with('}') && text.matches('(').count() == text.matches(')').count();
        let quoted = text.matches('"').count() % 2 == 0;
        report.require(
            closed && quoted,
            &pattern,
            || "its brackets or quotes are not closed".into(),
            "{ $.field = \"value\" }",
        );
        let selector = !json || text.contains("$.");
        report.require(selector, &pattern, || "looks at no field".into(), "{ $.field = \"value\" }");
    }
}
