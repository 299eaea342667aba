//! Alarms: their records and API. [`evaluate`] is what the reconciler does to each of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::metrics::{MetricStat, series};
use super::points::{Dimension, Metric};
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::paging::page;
use crate::store::Record;

/// How many changes an alarm remembers.
const HISTORY: usize = 50;

/// An alarm; its key is its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Alarm {
    pub(super) name: String,
    /// What `PutMetricAlarm` was given, but the tags.
    pub(super) definition: Map<String, Value>,
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) reason_data: Option<String>,
    pub(super) configured_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) history: Vec<Change>,
}

impl Record for Alarm {
    const TABLE: &'static str = "cloudwatch/alarm";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum State {
    Ok,
    Alarm,
    InsufficientData,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        })
    }
}

/// An entry of an alarm's history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Change {
    at: Timestamp,
    kind: String,
    summary: String,
}

/// The part of an alarm's definition that its evaluation needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    metric_name: String,
    namespace: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    statistic: Option<String>,
    extended_statistic: Option<String>,
    unit: Option<String>,
    /// Seconds.
    period: i64,
    evaluation_periods: usize,
    datapoints_to_alarm: Option<usize>,
    threshold: f64,
    comparison_operator: String,
    #[serde(default)]
    treat_missing_data: Gaps,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Gaps {
    #[default]
    Missing,
    Breaching,
    NotBreaching,
    Ignore,
}

impl Rule {
    fn read(definition: &Map<String, Value>) -> Result<Self, ApiError> {
        for unsupported in ["Metrics", "ThresholdMetricId", "EvaluationCriteria"] {
            if definition.contains_key(unsupported) {
                return Err(ApiError::unsupported(format_args!("an alarm with {unsupported}")));
            }
        }
        let rule: Self = serde_json::from_value(Value::Object(definition.clone()))
            .map_err(|error| ApiError::new("MissingRequiredParameterException", error.to_string()))?;
        if rule.statistic.is_some() == rule.extended_statistic.is_some() {
            return Err(ApiError::new(
                "InvalidParameterCombinationException",
                "Exactly one of Statistic and ExtendedStatistic must be given.",
            ));
        }
        rule.breaches(0.0)?;
        if rule.datapoints_to_alarm.is_some_and(|needed| needed > rule.evaluation_periods) {
            return Err(ApiError::new(
                "InvalidParameterCombinationException",
                "DatapointsToAlarm must not be greater than EvaluationPeriods.",
            ));
        }
        Ok(rule)
    }

    fn breaches(&self, value: f64) -> Result<bool, ApiError> {
        Ok(match self.comparison_operator.as_str() {
            "GreaterThanThreshold" => value > self.threshold,
            "GreaterThanOrEqualToThreshold" => value >= self.threshold,
            "LessThanThreshold" => value < self.threshold,
            "LessThanOrEqualToThreshold" => value <= self.threshold,
            other => return Err(ApiError::unsupported(format_args!("the comparison {other}"))),
        })
    }

    /// The state that the newest periods (none where no data is) give; `None` keeps the present one.
    fn judge(&self, values: &[Option<f64>]) -> Option<State> {
        if values.iter().all(Option::is_none) && self.treat_missing_data == Gaps::Missing {
            return Some(State::InsufficientData);
        }
        if values.iter().all(Option::is_none) && self.treat_missing_data == Gaps::Ignore {
            return None;
        }
        let breaching = |value: &Option<f64>| match value {
            Some(value) => self.breaches(*value).unwrap_or(false),
            None => self.treat_missing_data == Gaps::Breaching,
        };
        let needed = self.datapoints_to_alarm.unwrap_or(self.evaluation_periods);
        let count = values.iter().filter(|value| breaching(value)).count();
        Some(if count >= needed { State::Alarm } else { State::Ok })
    }
}

impl Alarm {
    fn change(&mut self, state: State, reason: String, at: Timestamp) {
        if self.state != state {
            let summary = format!("Alarm updated from {} to {state}", self.state);
            self.remember(at, "StateUpdate", summary);
            self.updated_at = at;
        }
        self.state = state;
        self.reason = reason;
    }

    fn remember(&mut self, at: Timestamp, kind: &str, summary: String) {
        self.history.push(Change { at, kind: kind.to_owned(), summary });
        let excess = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..excess);
    }

    fn view(&self, cloud: &Cloud) -> Value {
        let mut view = self.definition.clone();
        view.entry("ActionsEnabled").or_insert(json!(true));
        for list in ["OKActions", "AlarmActions", "InsufficientDataActions", "Dimensions"] {
            view.entry(list).or_insert(json!([]));
        }
        let own = json!({
            "AlarmName": self.name,
            "AlarmArn": cloud.arn("cloudwatch", format_args!("alarm:{}", self.name)),
            "AlarmConfigurationUpdatedTimestamp": self.configured_at,
            "StateValue": self.state,
            "StateReason": self.reason,
            "StateReasonData": self.reason_data,
            "StateUpdatedTimestamp": self.updated_at,
            "StateTransitionedTimestamp": self.updated_at,
        });
        view.extend(own.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(view)
    }
}

/// Looks at an alarm's metric and records the state it gives. A period is a model wait: it passes as fast as the clock says.
pub(super) async fn evaluate(cloud: &Cloud, alarm: &Alarm) -> Result<(), ApiError> {
    let rule = Rule::read(&alarm.definition)?;
    let period = ((rule.period.max(1) * 1000) as f64 / cloud.clock().scale()).max(1.0) as i64;
    let now = cloud.clock().now().millis() as i64;
    let current = now - now.rem_euclid(period);
    let periods = rule.evaluation_periods.max(1) as i64;
    let stat = MetricStat {
        metric: Metric {
            namespace: rule.namespace.clone(),
            metric_name: rule.metric_name.clone(),
            dimensions: rule.dimensions.clone(),
        },
        period: rule.period,
        stat: rule.statistic.clone().or(rule.extended_statistic.clone()).unwrap_or_default(),
        unit: rule.unit.clone(),
    };
    // The period that is still running counts once it has data, so that a fault is seen early; otherwise the last whole ones.
    let span = (current - periods * period, now + 1);
    let found = series(cloud, &stat, span, period).await?;
    let value_at = |begin: i64| found.iter().find(|(at, _)| *at == begin).map(|(_, value)| *value);
    let newest = if value_at(current).is_some() { current } else { current - period };
    let values: Vec<Option<f64>> = (0..periods).rev().map(|back| value_at(newest - back * period)).collect();
    let Some(state) = rule.judge(&values) else { return Ok(()) };
    if state == alarm.state {
        return Ok(());
    }
    let shown: Vec<String> = values.iter().flatten().map(f64::to_string).collect();
    let reason = match state {
        State::InsufficientData => "Insufficient Data: no datapoints were received".to_owned(),
        _ => format!(
            "Threshold Crossed: of {periods} datapoints [{}], the comparison {} with the threshold {} gives {state}",
            shown.join(", "),
            rule.comparison_operator,
            rule.threshold
        ),
    };
    let at = cloud.clock().now();
    cloud.store().update::<Alarm>(&alarm.name, |alarm| alarm.change(state, reason, at));
    tracing::info!(alarm = alarm.name, %state, "an alarm changed its state");
    Ok(())
}

pub(super) fn put_metric_alarm(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let Value::Object(mut definition) = input else { return Err(ApiError::internal("the input is no structure")) };
    definition.remove("Tags");
    let Some(Value::String(name)) = definition.remove("AlarmName") else {
        return Err(ApiError::new("MissingRequiredParameterException", "AlarmName is missing."));
    };
    Rule::read(&definition)?;
    let at = cloud.clock().now();
    let _: Result<(), std::convert::Infallible> = cloud.store().write(|tx| {
        let mut alarm = tx.get::<Alarm>(&name).unwrap_or_else(|| Alarm {
            name: name.clone(),
            definition: Map::new(),
            state: State::InsufficientData,
            reason: "Unchecked: Initial alarm creation".to_owned(),
            reason_data: None,
            configured_at: at,
            updated_at: at,
            history: vec![],
        });
        let verb = if alarm.definition.is_empty() { "created" } else { "updated" };
        alarm.definition = definition;
        alarm.configured_at = at;
        alarm.remember(at, "ConfigurationUpdate", format!("Alarm \"{name}\" {verb}"));
        tx.put(&name, &alarm);
        Ok(())
    });
    Ok(Value::Null)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Describe {
    alarm_names: Option<Vec<String>>,
    alarm_name_prefix: Option<String>,
    alarm_types: Option<Vec<String>>,
    state_value: Option<State>,
    max_records: Option<usize>,
    next_token: Option<String>,
}

pub(super) fn describe_alarms(cloud: &Cloud, input: Describe) -> Result<Value, ApiError> {
    let metric_alarms_wanted =
        input.alarm_types.as_ref().is_none_or(|types| types.iter().any(|alarm_type| alarm_type == "MetricAlarm"));
    let alarms = cloud.store().find(|alarm: &Alarm| {
        metric_alarms_wanted
            && input.alarm_names.as_ref().is_none_or(|names| names.contains(&alarm.name))
            && input.alarm_name_prefix.as_ref().is_none_or(|prefix| alarm.name.starts_with(prefix))
            && input.state_value.is_none_or(|state| state == alarm.state)
    });
    let (alarms, next) =
        page(alarms, input.max_records.unwrap_or(50), input.next_token.as_deref(), "InvalidNextToken")?;
    let views: Vec<Value> = alarms.iter().map(|alarm| alarm.view(cloud)).collect();
    Ok(json!({"MetricAlarms": views, "CompositeAlarms": [], "NextToken": next}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ForMetric {
    metric_name: String,
    namespace: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
}

pub(super) fn describe_alarms_for_metric(cloud: &Cloud, mut input: ForMetric) -> Result<Value, ApiError> {
    input.dimensions.sort();
    let alarms = cloud.store().find(|alarm: &Alarm| {
        Rule::read(&alarm.definition).is_ok_and(|mut rule| {
            rule.dimensions.sort();
            rule.metric_name == input.metric_name
                && rule.namespace == input.namespace
                && rule.dimensions == input.dimensions
        })
    });
    Ok(json!({"MetricAlarms": alarms.iter().map(|alarm| alarm.view(cloud)).collect::<Vec<_>>()}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Names {
    alarm_names: Vec<String>,
}

pub(super) fn delete_alarms(cloud: &Cloud, input: Names) -> Result<Value, ApiError> {
    if let Some(missing) = input.alarm_names.iter().find(|name| cloud.store().get::<Alarm>(name).is_none()) {
        return Err(ApiError::new("ResourceNotFound", format!("The alarm {missing} does not exist.")));
    }
    for name in &input.alarm_names {
        cloud.store().delete::<Alarm>(name);
    }
    Ok(Value::Null)
}

/// Actions are recorded; nothing is notified here.
pub(super) fn set_actions_enabled(cloud: &Cloud, input: Names, enabled: bool) -> Result<Value, ApiError> {
    for name in &input.alarm_names {
        cloud.store().update::<Alarm>(name, |alarm| {
            alarm.definition.insert("ActionsEnabled".to_owned(), json!(enabled));
        });
    }
    Ok(Value::Null)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetState {
    alarm_name: String,
    state_value: State,
    state_reason: String,
    state_reason_data: Option<String>,
}

/// Sets the state until the next evaluation, as on AWS.
pub(super) fn set_alarm_state(cloud: &Cloud, input: SetState) -> Result<Value, ApiError> {
    let at = cloud.clock().now();
    let changed = cloud.store().update::<Alarm>(&input.alarm_name, |alarm| {
        alarm.change(input.state_value, input.state_reason, at);
        alarm.reason_data = input.state_reason_data;
    });
    match changed {
        Some(_) => Ok(Value::Null),
        None => Err(ApiError::new("ResourceNotFound", format!("The alarm {} does not exist.", input.alarm_name))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeHistory {
    alarm_name: Option<String>,
    history_item_type: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    max_records: Option<usize>,
    next_token: Option<String>,
    scan_by: Option<String>,
}

pub(super) fn describe_alarm_history(cloud: &Cloud, input: DescribeHistory) -> Result<Value, ApiError> {
    let alarms = cloud.store().find(|alarm: &Alarm| input.alarm_name.as_ref().is_none_or(|name| *name == alarm.name));
    let mut items: Vec<(Timestamp, Value)> = vec![];
    for alarm in &alarms {
        for change in &alarm.history {
            let wanted = input.history_item_type.as_ref().is_none_or(|kind| *kind == change.kind)
                && input.start_date.is_none_or(|start| change.at >= start)
                && input.end_date.is_none_or(|end| change.at <= end);
            if wanted {
                let item = json!({
                    "AlarmName": alarm.name, "AlarmType": "MetricAlarm", "Timestamp": change.at,
                    "HistoryItemType": change.kind, "HistorySummary": change.summary,
                });
                items.push((change.at, item));
            }
        }
    }
    items.sort_by_key(|(at, _)| *at);
    if input.scan_by.as_deref() != Some("TimestampAscending") {
        items.reverse();
    }
    let items = items.into_iter().map(|(_, item)| item).collect();
    let (items, next) = page(items, input.max_records.unwrap_or(100), input.next_token.as_deref(), "InvalidNextToken")?;
    Ok(json!({"AlarmHistoryItems": items, "NextToken": next}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(extra: Value) -> Rule {
        let mut definition = json!({
            "MetricName": "m", "Namespace": "n", "Statistic": "Average", "Period": 60, "EvaluationPeriods": 3,
            "Threshold": 10, "ComparisonOperator": "GreaterThanThreshold",
        });
        definition.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Rule::read(definition.as_object().unwrap()).unwrap()
    }

    #[test]
    fn alarms_are_judged_as_documented() {
        let high = Some(11.0);
        let low = Some(1.0);
        let plain = rule(json!({}));
        assert_eq!(plain.judge(&[high, high, high]), Some(State::Alarm));
        assert_eq!(plain.judge(&[high, low, high]), Some(State::Ok));
        assert_eq!(plain.judge(&[None, None, None]), Some(State::InsufficientData));
        assert_eq!(rule(json!({"DatapointsToAlarm": 2})).judge(&[high, low, high]), Some(State::Alarm));
        assert_eq!(rule(json!({"TreatMissingData": "breaching"})).judge(&[None, None, None]), Some(State::Alarm));
        assert_eq!(rule(json!({"TreatMissingData": "notBreaching"})).judge(&[None, None, None]), Some(State::Ok));
        assert_eq!(rule(json!({"TreatMissingData": "ignore"})).judge(&[None, None, None]), None);
    }
}
