//! CloudWatch: metrics, statistics and an alarm that changes its state by itself.

use serde_json::{Value, json};

use crate::client::eventually;
use crate::server::Endpoint;

const CLOUDWATCH: &str = "GraniteServiceVersion20100801";

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs_f64()
}

fn metric() -> Value {
    json!({"Namespace": "App", "MetricName": "Cpu", "Dimensions": [{"Name": "Task", "Value": "1"}]})
}

fn put(endpoint: &Endpoint, values: &[f64]) {
    let datum = json!({
        "MetricName": "Cpu", "Dimensions": [{"Name": "Task", "Value": "1"}], "Values": values, "Unit": "Percent",
    });
    endpoint.call(CLOUDWATCH, "PutMetricData", &json!({"Namespace": "App", "MetricData": [datum]})).expect("put");
}

#[test]
fn what_is_put_is_listed_and_summed_up() {
    let endpoint = Endpoint::start(&[]);
    put(&endpoint, &[10.0, 20.0, 60.0]);
    let listed = endpoint.call(CLOUDWATCH, "ListMetrics", &json!({"Namespace": "App"})).expect("listed");
    assert_eq!(listed["Metrics"], json!([metric()]));

    let mut input = metric();
    let span = json!({"StartTime": now() - 3600.0, "EndTime": now() + 60.0, "Period": 7200, "Statistics": ["Average", "SampleCount"], "ExtendedStatistics": ["p50"]});
    input.as_object_mut().expect("object").extend(span.as_object().expect("object").clone());
    let statistics = endpoint.call(CLOUDWATCH, "GetMetricStatistics", &input).expect("computed");
    let datapoint = &statistics["Datapoints"][0];
    assert_eq!(
        (&datapoint["Average"], &datapoint["SampleCount"], &datapoint["Unit"]),
        (&json!(30.0), &json!(3.0), &json!("Percent"))
    );
    assert_eq!(datapoint["ExtendedStatistics"]["p50"], 20.0);

    let query = json!({"Id": "cpu", "MetricStat": {"Metric": metric(), "Period": 7200, "Stat": "Maximum"}});
    let data = json!({"MetricDataQueries": [query], "StartTime": now() - 3600.0, "EndTime": now() + 60.0});
    let data = endpoint.call(CLOUDWATCH, "GetMetricData", &data).expect("data");
    assert_eq!(data["MetricDataResults"][0]["Values"], json!([60.0]));
}

#[test]
fn an_alarm_follows_its_metric() {
    let endpoint = Endpoint::start(&["--time-scale", "20"]);
    let mut alarm = metric();
    let rule = json!({
        "AlarmName": "hot", "Statistic": "Maximum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 80.0,
        "ComparisonOperator": "GreaterThanThreshold",
    });
    alarm.as_object_mut().expect("object").extend(rule.as_object().expect("object").clone());
    endpoint.call(CLOUDWATCH, "PutMetricAlarm", &alarm).expect("put");
    let state = || {
        let described =
            endpoint.call(CLOUDWATCH, "DescribeAlarms", &json!({"AlarmNames": ["hot"]})).expect("described");
        described["MetricAlarms"][0]["StateValue"].as_str().expect("a state").to_owned()
    };
    assert_eq!(state(), "INSUFFICIENT_DATA");
    eventually("the alarm goes off", || {
        put(&endpoint, &[99.0]);
        (state() == "ALARM").then_some(())
    });
    eventually("the alarm calms down", || {
        put(&endpoint, &[1.0]);
        (state() == "OK").then_some(())
    });
    let history = endpoint
        .call(CLOUDWATCH, "DescribeAlarmHistory", &json!({"AlarmName": "hot", "HistoryItemType": "StateUpdate"}))
        .expect("history");
    assert!(history["AlarmHistoryItems"].as_array().expect("items").len() >= 2);
    let unknown = json!({"AlarmName": "none", "StateValue": "OK", "StateReason": "r"});
    assert_eq!(endpoint.call(CLOUDWATCH, "SetAlarmState", &unknown).expect_err("unknown").code, "ResourceNotFound");
}
