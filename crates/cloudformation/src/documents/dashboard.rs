//! The body of a CloudWatch dashboard.

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::metrics::Metric;
use crate::template::to_json;
use crate::value::Intrinsic;

/// Columns of a dashboard.
const COLUMNS: usize = 24;
/// Two widgets stand beside each other.
const WIDTH: usize = COLUMNS / 2;
const HEIGHT: usize = 6;

/// A dashboard under construction: widgets from left to right, row by row.
#[derive(Debug, Default)]
pub(crate) struct Dashboard {
    widgets: Vec<Widget>,
}

#[derive(Debug, Serialize)]
struct Widget {
    r#type: Kind,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    properties: Json,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Alarm,
    Log,
    Metric,
}

impl Dashboard {
    /// Lines of metrics over time, each with its label.
    ///
    /// # Panics
    /// When a dimension is no text: what the text of a dashboard cannot say stands in it as `${Name}`.
    pub(crate) fn metrics<'a>(self, title: &str, lines: impl IntoIterator<Item = (&'a str, Metric)>) -> Self {
        let line = |(label, metric): (&str, Metric)| -> Json {
            let mut items: Vec<Json> = vec![metric.namespace.into(), metric.name.into()];
            for (name, value) in metric.dimensions {
                let Intrinsic::Text(value) = value else { panic!("{name} of a dashboard is no text") };
                items.extend([name.into(), value.into()]);
            }
            items.push(json!({"label": label, "stat": metric.statistic.as_str()}));
            items.into()
        };
        let metrics: Vec<Json> = lines.into_iter().map(line).collect();
        let properties = json!({
            "title": title, "region": "${AWS::Region}", "view": "timeSeries", "stacked": false, "period": 60,
            "metrics": metrics,
        });
        self.widget(Kind::Metric, properties)
    }

    /// The states of alarms.
    pub(crate) fn alarms<'a>(self, title: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let arn =
            |name| format!("arn:${{AWS::Partition}}:cloudwatch:${{AWS::Region}}:${{AWS::AccountId}}:alarm:{name}");
        let arns: Vec<_> = names.into_iter().map(arn).collect();
        self.widget(Kind::Alarm, json!({"title": title, "alarms": arns}))
    }

    /// Lines of a log group that a query finds.
    pub(crate) fn logs(self, title: &str, group: &str, query: &str) -> Self {
        let query = format!("SOURCE '{group}' | {query}");
        self.widget(Kind::Log, json!({"title": title, "region": "${AWS::Region}", "view": "table", "query": query}))
    }

    fn widget(mut self, kind: Kind, properties: Json) -> Self {
        let count = self.widgets.len();
        let (x, y) = (count % 2 * WIDTH, count / 2 * HEIGHT);
        self.widgets.push(Widget { r#type: kind, x, y, width: WIDTH, height: HEIGHT, properties });
        self
    }

    /// As CloudWatch takes it, for `Fn::Sub`.
    pub(crate) fn text(&self) -> String {
        json!({"widgets": to_json(&self.widgets)}).to_string()
    }
}
