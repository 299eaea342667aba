//! CloudWatch Logs as a shipper and a reader use them.

use serde_json::{Value, json};

use crate::server::Endpoint;

const LOGS: &str = "Logs_20140328";

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    i64::try_from(since.as_millis()).expect("fits")
}

fn messages(answer: &Value) -> Vec<String> {
    answer["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["message"].as_str().expect("text").to_owned())
        .collect()
}

fn with_stream(endpoint: &Endpoint, stream: &str) {
    let group = json!({"logGroupName": "/ecs/app"});
    let _ = endpoint.call(LOGS, "CreateLogGroup", &group);
    endpoint
        .call(LOGS, "CreateLogStream", &json!({"logGroupName": "/ecs/app", "logStreamName": stream}))
        .expect("created");
}

fn put(endpoint: &Endpoint, stream: &str, events: &[(i64, &str)]) -> Value {
    let events: Vec<Value> = events.iter().map(|(at, message)| json!({"timestamp": at, "message": message})).collect();
    let input = json!({"logGroupName": "/ecs/app", "logStreamName": stream, "logEvents": events});
    endpoint.call(LOGS, "PutLogEvents", &input).expect("put")
}

#[test]
fn a_stream_is_read_forward_backward_and_followed() {
    let endpoint = Endpoint::start(&[]);
    with_stream(&endpoint, "app/1");
    let at = now();
    put(&endpoint, "app/1", &[(at, "one"), (at + 1, "two"), (at + 2, "three")]);
    let get = |extra: Value| {
        let mut input = json!({"logGroupName": "/ecs/app", "logStreamName": "app/1"});
        input.as_object_mut().expect("object").extend(extra.as_object().expect("object").clone());
        endpoint.call(LOGS, "GetLogEvents", &input).expect("got")
    };
    let head = get(json!({"startFromHead": true, "limit": 2}));
    assert_eq!(messages(&head), ["one", "two"]);
    let rest = get(json!({"nextToken": head["nextForwardToken"]}));
    assert_eq!(messages(&rest), ["three"]);
    let end = get(json!({"nextToken": rest["nextForwardToken"]}));
    assert_eq!((messages(&end).len(), &end["nextForwardToken"]), (0, &rest["nextForwardToken"]), "the end says so");
    put(&endpoint, "app/1", &[(at + 3, "four")]);
    assert_eq!(messages(&get(json!({"nextToken": end["nextForwardToken"]}))), ["four"]);
    let tail = get(json!({"limit": 2}));
    assert_eq!(messages(&tail), ["three", "four"]);
    assert_eq!(messages(&get(json!({"limit": 2, "nextToken": tail["nextBackwardToken"]}))), ["one", "two"]);

    let described = endpoint.call(LOGS, "DescribeLogStreams", &json!({"logGroupName": "/ecs/app"})).expect("described");
    assert_eq!(described["logStreams"][0]["lastEventTimestamp"], at + 3);
}

#[test]
fn filtering_merges_streams_and_pages() {
    let endpoint = Endpoint::start(&[]);
    let at = now();
    for stream in ["a", "b"] {
        with_stream(&endpoint, stream);
    }
    put(&endpoint, "a", &[(at, r#"{"level":"info"}"#), (at + 2, r#"{"level":"error","n":1}"#)]);
    put(&endpoint, "b", &[(at + 1, r#"{"level":"error","n":2}"#), (at + 3, "plain error")]);
    let mut input = json!({"logGroupName": "/ecs/app", "filterPattern": r#"{ $.level = "error" }"#, "limit": 1});
    let first = endpoint.call(LOGS, "FilterLogEvents", &input).expect("filtered");
    assert_eq!(messages(&first), [r#"{"level":"error","n":2}"#]);
    input["nextToken"] = first["nextToken"].clone();
    let second = endpoint.call(LOGS, "FilterLogEvents", &input).expect("filtered");
    assert_eq!(messages(&second), [r#"{"level":"error","n":1}"#]);
    assert_eq!(second.get("nextToken"), None);
    let all = endpoint
        .call(
            LOGS,
            "FilterLogEvents",
            &json!({"logGroupName": "/ecs/app", "filterPattern": "error", "startTime": at + 2}),
        )
        .expect("filtered");
    assert_eq!(messages(&all).len(), 2);
}

#[test]
fn what_aws_refuses_is_refused() {
    let endpoint = Endpoint::start(&[]);
    with_stream(&endpoint, "s");
    let at = now();
    let answer =
        put(&endpoint, "s", &[(at - 20 * 24 * 3600 * 1000, "old"), (at, "now"), (at + 3 * 3600 * 1000, "future")]);
    assert_eq!(answer["rejectedLogEventsInfo"], json!({"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}));
    let disordered = json!({"logGroupName": "/ecs/app", "logStreamName": "s", "logEvents": [
        {"timestamp": at, "message": "b"}, {"timestamp": at - 1, "message": "a"},
    ]});
    assert_eq!(endpoint.call(LOGS, "PutLogEvents", &disordered).expect_err("order").code, "InvalidParameterException");
    let unknown = json!({"logGroupName": "/none", "logStreamName": "s"});
    assert_eq!(endpoint.call(LOGS, "GetLogEvents", &unknown).expect_err("unknown").code, "ResourceNotFoundException");
    let retention = json!({"logGroupName": "/ecs/app", "retentionInDays": 2});
    assert_eq!(
        endpoint.call(LOGS, "PutRetentionPolicy", &retention).expect_err("odd").code,
        "InvalidParameterException"
    );
}

#[test]
fn events_survive_a_kill_and_a_reader_goes_on_with_its_token() {
    let mut endpoint = Endpoint::start(&[]);
    with_stream(&endpoint, "s");
    let at = now();
    put(&endpoint, "s", &[(at, "before")]);
    let get = json!({"logGroupName": "/ecs/app", "logStreamName": "s", "startFromHead": true});
    let read = endpoint.call(LOGS, "GetLogEvents", &get).expect("got");
    assert_eq!(messages(&read), ["before"]);
    endpoint.kill_and_restart();
    put(&endpoint, "s", &[(at + 1, "after")]);
    let rest = json!({"logGroupName": "/ecs/app", "logStreamName": "s", "nextToken": read["nextForwardToken"]});
    assert_eq!(messages(&endpoint.call(LOGS, "GetLogEvents", &rest).expect("got")), ["after"]);
}
