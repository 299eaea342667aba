//! Putting, listing and reading metrics.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::points::{self, Dimension, Metric, Point};
use super::statistics::{Statistic, periods};
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::paging::page;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Put {
    namespace: String,
    #[serde(default)]
    metric_data: Vec<Datum>,
    entity_metric_data: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Datum {
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    timestamp: Option<Timestamp>,
    value: Option<f64>,
    statistic_values: Option<StatisticSet>,
    #[serde(default)]
    values: Vec<f64>,
    #[serde(default)]
    counts: Vec<f64>,
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticSet {
    sample_count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

impl Datum {
    fn points(&self, now: Timestamp) -> Result<Vec<Point>, ApiError> {
        let at = self.timestamp.unwrap_or(now).millis() as i64;
        let point =
            |count: f64, sum: f64, min: f64, max: f64| Point { at, count, sum, min, max, unit: self.unit.clone() };
        let combination = |why: &str| ApiError::new("InvalidParameterCombinationException", why);
        match (self.value, &self.statistic_values, self.values.is_empty()) {
            (Some(value), None, true) => Ok(vec![point(1.0, value, value, value)]),
            (None, Some(set), true) => Ok(vec![point(set.sample_count, set.sum, set.minimum, set.maximum)]),
            (None, None, false) => {
                if !self.counts.is_empty() && self.counts.len() != self.values.len() {
                    return Err(combination("Counts must have as many members as Values."));
                }
                let count = |index: usize| self.counts.get(index).copied().unwrap_or(1.0);
                let indexed = self.values.iter().enumerate();
                Ok(indexed.map(|(index, value)| point(count(index), value * count(index), *value, *value)).collect())
            }
            _ => Err(combination("Exactly one of Value, StatisticValues and Values must be given.")),
        }
    }
}

pub(super) async fn put_metric_data(cloud: &Cloud, input: Put) -> Result<Value, ApiError> {
    if input.entity_metric_data.is_some() {
        return Err(ApiError::unsupported("PutMetricData with EntityMetricData"));
    }
    let now = cloud.clock().now();
    let mut prepared = vec![];
    for datum in input.metric_data {
        let points = datum.points(now)?;
        if points.iter().any(|point| !(point.sum.is_finite() && point.count.is_finite())) {
            return Err(ApiError::new("InvalidParameterValueException", "A metric's values must be finite numbers."));
        }
        let metric =
            Metric { namespace: input.namespace.clone(), metric_name: datum.metric_name, dimensions: datum.dimensions };
        prepared.push((metric, points));
    }
    for (metric, points) in prepared {
        points::append(cloud, &metric, points).await?;
    }
    Ok(Value::Null)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List {
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<DimensionFilter>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DimensionFilter {
    name: String,
    value: Option<String>,
}

pub(super) fn list_metrics(cloud: &Cloud, input: List) -> Result<Value, ApiError> {
    let has = |metric: &Metric, filter: &DimensionFilter| {
        let matches = |value: &str| filter.value.as_deref().is_none_or(|wanted| wanted == value);
        metric.dimensions.iter().any(|dimension| dimension.name == filter.name && matches(&dimension.value))
    };
    let metrics = cloud.store().find(|metric: &Metric| {
        input.namespace.as_ref().is_none_or(|namespace| *namespace == metric.namespace)
            && input.metric_name.as_ref().is_none_or(|name| *name == metric.metric_name)
            && input.dimensions.iter().all(|filter| has(metric, filter))
    });
    let (metrics, next) = page(metrics, 500, input.next_token.as_deref(), "InvalidNextToken")?;
    Ok(json!({"Metrics": metrics, "NextToken": next}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetStatistics {
    #[serde(flatten)]
    metric: Metric,
    start_time: Timestamp,
    end_time: Timestamp,
    period: i64,
    #[serde(default)]
    statistics: Vec<String>,
    #[serde(default)]
    extended_statistics: Vec<String>,
    unit: Option<String>,
}

pub(super) async fn get_metric_statistics(cloud: &Cloud, input: GetStatistics) -> Result<Value, ApiError> {
    if input.statistics.is_empty() && input.extended_statistics.is_empty() {
        return Err(ApiError::new(
            "InvalidParameterCombinationException",
            "Statistics or ExtendedStatistics must be given.",
        ));
    }
    let span = (input.start_time.millis() as i64, input.end_time.millis() as i64);
    if span.0 >= span.1 {
        return Err(ApiError::new(
            "InvalidParameterValueException",
            "The parameter StartTime must be less than the parameter EndTime.",
        ));
    }
    let points = points_of(cloud, &input.metric, input.unit.as_deref(), span).await?;
    let mut datapoints = vec![];
    for (begin, members) in periods(&points, input.period.max(1) * 1000) {
        let mut datapoint = json!({"Timestamp": begin as f64 / 1000.0});
        datapoint["Unit"] = json!(members.first().and_then(|point| point.unit.as_deref()).unwrap_or("None"));
        for name in &input.statistics {
            datapoint[name] = json!(Statistic::parse(name)?.of(&members));
        }
        let mut extended = Map::new();
        for name in &input.extended_statistics {
            extended.insert(name.clone(), json!(Statistic::parse(name)?.of(&members)));
        }
        if !extended.is_empty() {
            datapoint["ExtendedStatistics"] = Value::Object(extended);
        }
        datapoints.push(datapoint);
    }
    Ok(json!({"Label": input.metric.metric_name, "Datapoints": datapoints}))
}

async fn points_of(
    cloud: &Cloud,
    metric: &Metric,
    unit: Option<&str>,
    (since, until): (i64, i64),
) -> Result<Vec<Point>, ApiError> {
    let mut points = points::read(cloud, metric, since, until).await?;
    if let Some(unit) = unit {
        points.retain(|point| point.unit.as_deref().unwrap_or("None") == unit);
    }
    Ok(points)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetData {
    metric_data_queries: Vec<Query>,
    start_time: Timestamp,
    end_time: Timestamp,
    #[serde(default)]
    scan_by: ScanBy,
}

#[derive(Deserialize, Default, PartialEq, Eq, Clone, Copy)]
enum ScanBy {
    #[default]
    TimestampDescending,
    TimestampAscending,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Query {
    id: String,
    metric_stat: Option<MetricStat>,
    expression: Option<String>,
    label: Option<String>,
    return_data: Option<bool>,
}

/// A metric, a period and a statistic.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MetricStat {
    pub(super) metric: Metric,
    /// Seconds.
    pub(super) period: i64,
    pub(super) stat: String,
    pub(super) unit: Option<String>,
}

/// One value per period, by the period's beginning in milliseconds.
pub(super) async fn series(
    cloud: &Cloud,
    stat: &MetricStat,
    span: (i64, i64),
    period: i64,
) -> Result<Vec<(i64, f64)>, ApiError> {
    let statistic = Statistic::parse(&stat.stat)?;
    let points = points_of(cloud, &stat.metric, stat.unit.as_deref(), span).await?;
    Ok(periods(&points, period).into_iter().map(|(begin, members)| (begin, statistic.of(&members))).collect())
}

pub(super) async fn get_metric_data(cloud: &Cloud, input: GetData) -> Result<Value, ApiError> {
    let span = (input.start_time.millis() as i64, input.end_time.millis() as i64);
    let mut results = vec![];
    for query in input.metric_data_queries {
        let Some(stat) = query.metric_stat else {
            let expression = query.expression.unwrap_or_default();
            return Err(ApiError::unsupported(format_args!("the metric math expression '{expression}'")));
        };
        if query.return_data == Some(false) {
            continue;
        }
        let mut values = series(cloud, &stat, span, stat.period.max(1) * 1000).await?;
        if input.scan_by == ScanBy::TimestampDescending {
            values.reverse();
        }
        results.push(json!({
            "Id": query.id,
            "Label": query.label.unwrap_or(stat.metric.metric_name),
            "Timestamps": values.iter().map(|(at, _)| *at as f64 / 1000.0).collect::<Vec<_>>(),
            "Values": values.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            "StatusCode": "Complete",
        }));
    }
    Ok(json!({"MetricDataResults": results, "Messages": []}))
}
