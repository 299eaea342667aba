//! What CloudWatch says: alarms, and the load balancer's metrics of the version that serves.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    AlarmType, Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, StateValue,
};

use crate::aws::{Aws, failed};
use crate::settings::Settings;

/// Seconds of a point.
const PERIOD: u64 = 60;
const NAMESPACE: &str = "AWS/ApplicationELB";
/// Metric, statistic and, with a digit for the target group, the beginning of a query's id.
const OF_A_GROUP: [(&str, &str, &str); 4] = [
    ("RequestCount", "Sum", "requests"),
    ("HTTPCode_Target_5XX_Count", "Sum", "errors"),
    ("TargetResponseTime", "p99", "latency"),
    ("UnHealthyHostCount", "Maximum", "unhealthy"),
];
/// The load balancer's own errors belong to no target group.
const BALANCER_ERRORS: &str = "balancer";

/// What the metrics say of the version that serves, over the time that was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Readings {
    pub(crate) requests: f64,
    pub(crate) errors: f64,
    /// The worst minute's 99th percentile, seconds; none without data.
    pub(crate) latency: Option<f64>,
    /// Unhealthy tasks in the last minute that is known; none without data.
    pub(crate) unhealthy: Option<f64>,
}

impl Aws {
    /// Names of those alarms that fire. An alarm that does not exist is an error.
    pub(crate) async fn firing(&self, alarms: &[String]) -> Result<Vec<String>, String> {
        if alarms.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.cloudwatch.describe_alarms().set_alarm_names(Some(alarms.to_vec()));
        let answer = call
            .alarm_types(AlarmType::MetricAlarm)
            .alarm_types(AlarmType::CompositeAlarm)
            .send()
            .await
            .map_err(|error| failed("cloudwatch:DescribeAlarms", error))?;
        let metric = answer.metric_alarms().iter().map(|alarm| (alarm.alarm_name(), alarm.state_value()));
        let composite = answer.composite_alarms().iter().map(|alarm| (alarm.alarm_name(), alarm.state_value()));
        let states: Vec<_> = metric.chain(composite).filter_map(|(name, state)| Some((name?, state?))).collect();
        if let Some(unknown) = alarms.iter().find(|alarm| states.iter().all(|(name, _)| name != alarm)) {
            return Err(format!("there is no alarm `{unknown}`"));
        }
        let firing = states.into_iter().filter(|(_, state)| **state == StateValue::Alarm);
        Ok(firing.map(|(name, _)| name.to_owned()).collect())
    }

    /// The metrics from a time to another, in whole minutes.
    pub(crate) async fn readings(&self, settings: &Settings, since: u64, now: u64) -> Result<Readings, String> {
        let mut queries: Vec<_> = (0..settings.target_groups.len())
            .flat_map(|group| {
                OF_A_GROUP.map(|(metric, statistic, id)| (metric, statistic, format!("{id}{group}"), Some(group)))
            })
            .collect();
        queries.push(("HTTPCode_ELB_5XX_Count", "Sum", BALANCER_ERRORS.to_owned(), None));
        let queries = queries.into_iter().map(|(metric, statistic, id, group)| {
            query(
                id,
                metric,
                statistic,
                &settings.load_balancer,
                group.map(|group| settings.target_groups[group].as_str()),
            )
        });
        let answer = self
            .cloudwatch
            .get_metric_data()
            .set_metric_data_queries(Some(queries.collect()))
            .start_time(time(since / PERIOD * PERIOD))
            .end_time(time(now.div_ceil(PERIOD) * PERIOD))
            .send()
            .await
            .map_err(|error| failed("cloudwatch:GetMetricData", error))?;
        // The newest point comes first.
        let points = |id: &str| -> &[f64] {
            let found = answer.metric_data_results().iter().find(|result| result.id() == Some(id));
            found.map(MetricDataResult::values).unwrap_or_default()
        };
        let sum = |id: &str| points(id).iter().fold(0.0, |sum, point| sum + point);
        let of = |group: usize| {
            let worst = points(&format!("latency{group}")).iter().copied().reduce(f64::max);
            Readings {
                requests: sum(&format!("requests{group}")),
                errors: sum(&format!("errors{group}")) + sum(BALANCER_ERRORS),
                latency: worst,
                unhealthy: points(&format!("unhealthy{group}")).first().copied(),
            }
        };
        // All traffic is with the new version, so its target group is the one that has it.
        let (one, other) = (of(0), of(1));
        Ok(if one.requests >= other.requests { one } else { other })
    }
}

fn time(seconds: u64) -> DateTime {
    DateTime::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn query(id: String, metric: &str, statistic: &str, load_balancer: &str, group: Option<&str>) -> MetricDataQuery {
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let metric = Metric::builder()
        .namespace(NAMESPACE)
        .metric_name(metric)
        .dimensions(dimension("LoadBalancer", load_balancer))
        .set_dimensions(
            group.map(|group| vec![dimension("LoadBalancer", load_balancer), dimension("TargetGroup", group)]),
        )
        .build();
    let period = i32::try_from(PERIOD).unwrap_or(i32::MAX);
    let statistic = MetricStat::builder().metric(metric).period(period).stat(statistic).build();
    MetricDataQuery::builder().id(id).metric_stat(statistic).build()
}
