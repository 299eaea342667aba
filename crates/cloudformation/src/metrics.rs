//! Metrics and the alarms on them.

use crate::resources::cloudwatch::Alarm;
use crate::resources::cloudwatch::alarm::{
    AlarmComparisonOperator, AlarmStatistic, AlarmTreatMissingData, Dimension, Metric as AlarmMetric, MetricDataQuery,
    MetricStat,
};
use crate::value::Intrinsic;

/// Seconds between two points of the metrics that AWS emits.
pub(crate) const MINUTE: i64 = 60;

/// How the values of a period become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statistic {
    Average,
    Maximum,
    P99,
    Sum,
}

impl Statistic {
    /// As dashboards and metric queries write it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Statistic::Average => "Average",
            Statistic::Maximum => "Maximum",
            Statistic::P99 => "p99",
            Statistic::Sum => "Sum",
        }
    }
}

/// A metric that AWS, or a metric filter of ours, emits.
#[derive(Debug, Clone)]
pub(crate) struct Metric {
    pub(crate) namespace: String,
    pub(crate) name: &'static str,
    pub(crate) dimensions: Vec<(&'static str, Intrinsic)>,
    pub(crate) statistic: Statistic,
}

/// What an alarm watches.
pub(crate) enum Watched {
    /// One metric.
    Metric(Metric),
    /// An expression over metrics that it names.
    Expression(&'static str, Vec<(&'static str, Metric)>),
}

/// An alarm at a threshold.
pub(crate) struct Threshold {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) watched: Watched,
    pub(crate) above: f64,
    /// Seconds of a point.
    pub(crate) period: i64,
    /// Of the last `periods` points so many have to be above.
    pub(crate) points: i64,
    pub(crate) periods: i64,
}

impl Threshold {
    /// The alarm, told to these topics when it fires and when it is over. No data is no alarm.
    pub(crate) fn alarm(self, topics: &[Intrinsic]) -> Alarm {
        let actions: Vec<_> = topics.iter().map(|topic| topic.clone().into()).collect();
        let alarm = Alarm {
            alarm_name: Some(self.name.into()),
            alarm_description: Some(self.description.into()),
            actions_enabled: Some(true.into()),
            alarm_actions: Some(actions.clone()),
            ok_actions: Some(actions),
            comparison_operator: Some(AlarmComparisonOperator::GreaterThanThreshold.into()),
            threshold: Some(self.above.into()),
            evaluation_periods: Some(self.periods.into()),
            datapoints_to_alarm: Some(self.points.into()),
            treat_missing_data: Some(AlarmTreatMissingData::NotBreaching.into()),
            ..Alarm::default()
        };
        match self.watched {
            Watched::Metric(metric) => one(alarm, metric, self.period),
            Watched::Expression(expression, metrics) => {
                Alarm { metrics: Some(queries(expression, metrics, self.period)), ..alarm }
            }
        }
    }
}

fn one(alarm: Alarm, metric: Metric, period: i64) -> Alarm {
    // A percentile has a property of its own.
    let (plain, extended) = match metric.statistic {
        Statistic::Average => (Some(AlarmStatistic::Average), None),
        Statistic::Maximum => (Some(AlarmStatistic::Maximum), None),
        Statistic::Sum => (Some(AlarmStatistic::Sum), None),
        Statistic::P99 => (None, Some(metric.statistic.as_str())),
    };
    Alarm {
        namespace: Some(metric.namespace.into()),
        metric_name: Some(metric.name.into()),
        statistic: plain.map(Into::into),
        extended_statistic: extended.map(Into::into),
        dimensions: Some(dimensions(metric.dimensions)),
        period: Some(period.into()),
        ..alarm
    }
}

fn queries(expression: &'static str, metrics: Vec<(&'static str, Metric)>, period: i64) -> Vec<MetricDataQuery> {
    let result = MetricDataQuery {
        expression: Some(expression.into()),
        return_data: Some(true.into()),
        ..MetricDataQuery::new("result")
    };
    let of = |(id, metric): (&'static str, Metric)| {
        let named = AlarmMetric {
            namespace: Some(metric.namespace.into()),
            metric_name: Some(metric.name.into()),
            dimensions: Some(dimensions(metric.dimensions)),
        };
        MetricDataQuery {
            metric_stat: Some(MetricStat::new(named, period, metric.statistic.as_str())),
            return_data: Some(false.into()),
            ..MetricDataQuery::new(id)
        }
    };
    std::iter::once(result).chain(metrics.into_iter().map(of)).collect()
}

fn dimensions(named: Vec<(&'static str, Intrinsic)>) -> Vec<Dimension> {
    named.into_iter().map(|(name, value)| Dimension::new(name, value)).collect()
}

/// A metric of a load balancer as a whole.
pub(crate) fn load_balancer(name: &'static str, load_balancer: Intrinsic, statistic: Statistic) -> Metric {
    let dimensions = vec![("LoadBalancer", load_balancer)];
    Metric { namespace: "AWS/ApplicationELB".to_owned(), name, dimensions, statistic }
}

/// A metric of one target group behind a load balancer.
pub(crate) fn target_group(
    name: &'static str,
    load_balancer: Intrinsic,
    target_group: Intrinsic,
    statistic: Statistic,
) -> Metric {
    let dimensions = vec![("LoadBalancer", load_balancer), ("TargetGroup", target_group)];
    Metric { namespace: "AWS/ApplicationELB".to_owned(), name, dimensions, statistic }
}

/// A metric of an ECS service.
pub(crate) fn service(name: &'static str, cluster: String, service: &str, statistic: Statistic) -> Metric {
    let text = |text: String| Intrinsic::Text(text);
    let dimensions = vec![("ClusterName", text(cluster)), ("ServiceName", text(service.to_owned()))];
    Metric { namespace: "AWS/ECS".to_owned(), name, dimensions, statistic }
}
