//! CloudWatch: metrics in bounded files, alarms that watch them, dashboards.

mod alarms;
mod dashboards;
pub(crate) mod engine;
mod metrics;
mod points;
mod statistics;

use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::{Service, parse, unsupported_operation};

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "PutMetricData" => metrics::put_metric_data(cloud, parse(input)?).await,
        "GetMetricData" => metrics::get_metric_data(cloud, parse(input)?).await,
        "GetMetricStatistics" => metrics::get_metric_statistics(cloud, parse(input)?).await,
        "ListMetrics" => metrics::list_metrics(cloud, parse(input)?),
        "PutMetricAlarm" => alarms::put_metric_alarm(cloud, input),
        "DescribeAlarms" => alarms::describe_alarms(cloud, parse(input)?),
        "DescribeAlarmsForMetric" => alarms::describe_alarms_for_metric(cloud, parse(input)?),
        "DescribeAlarmHistory" => alarms::describe_alarm_history(cloud, parse(input)?),
        "DeleteAlarms" => alarms::delete_alarms(cloud, parse(input)?),
        "SetAlarmState" => alarms::set_alarm_state(cloud, parse(input)?),
        "EnableAlarmActions" => alarms::set_actions_enabled(cloud, parse(input)?, true),
        "DisableAlarmActions" => alarms::set_actions_enabled(cloud, parse(input)?, false),
        "PutDashboard" => dashboards::put_dashboard(cloud, parse(input)?),
        "GetDashboard" => dashboards::get_dashboard(cloud, parse(input)?),
        "ListDashboards" => dashboards::list_dashboards(cloud, parse(input)?),
        "DeleteDashboards" => dashboards::delete_dashboards(cloud, parse(input)?),
        _ => Err(unsupported_operation(Service::CloudWatch, operation)),
    }
}
