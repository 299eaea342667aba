//! MonitorCanary.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Chat, OTHER, World};

const MONITOR: &str = "bootstrap.monitor";

fn with(metric: &'static str, points: Vec<f64>) -> BTreeMap<&'static str, Vec<f64>> {
    let mut metrics = World::well(4.0);
    metrics.insert(metric, points);
    metrics
}

async fn fails(world: World) -> String {
    let ended = world.call_by_codedeploy(MONITOR).await;
    assert_eq!(ended.codedeploy_status(), "Failed", "{ended:?}");
    ended.reason()
}

#[tokio::test]
async fn a_version_that_does_well_passes() {
    let ended = World { metrics: World::well(4.0), ..World::default() }.call_by_codedeploy(MONITOR).await;
    assert_eq!(ended.codedeploy_status(), "Succeeded", "{ended:?}");
    assert_eq!(ended.reason(), "4 requests, 0.0 % failed, 99 of 100 within 0.40 s");
}

#[tokio::test]
async fn no_data_is_not_passed() {
    for metrics in [BTreeMap::new(), World::well(3.0), with("latency1", vec![]), with("unhealthy1", vec![])] {
        let reason = fails(World { metrics, ..World::default() }).await;
        assert!(reason.ends_with("no data is not passed"), "{reason}");
    }
}

#[tokio::test]
async fn errors_latency_and_unhealthy_tasks_fail() {
    let cases = [
        (with("errors1", vec![2.0]), "50.0 % of 4 requests failed, 5 % may"),
        (with("balancer", vec![1.0]), "25.0 % of 4 requests failed, 5 % may"),
        (with("latency1", vec![0.1, 2.5]), "the 99th percentile of the time to answer is 2.50 s, 2 s is allowed"),
        (with("unhealthy1", vec![1.0, 0.0]), "1 tasks of the new version are unhealthy"),
    ];
    for (metrics, expected) in cases {
        assert_eq!(fails(World { metrics, ..World::default() }).await, expected);
    }
}

#[tokio::test]
async fn a_firing_alarm_fails_and_a_missing_one_too() {
    let with = |alarm| World { metrics: World::well(4.0), alarm, ..World::default() };
    assert_eq!(fails(with(Some("ALARM"))).await, "alarms fire: errors");
    assert_eq!(fails(with(None)).await, "there is no alarm `errors`");
}

#[tokio::test]
async fn production_must_be_the_new_version_and_answer() {
    let reason = fails(World { serving: OTHER, metrics: World::well(4.0), ..World::default() }).await;
    assert!(reason.contains(OTHER), "{reason}");
    let reason = fails(World { chat: Chat::Error, metrics: World::well(4.0), ..World::default() }).await;
    assert!(reason.contains("with 502"), "{reason}");
}

/// Between two looks ECS keeps what is watched, and the function costs nothing.
#[tokio::test]
async fn ecs_calls_again_until_there_is_data() {
    let minute = Duration::from_secs(60);
    let first = World { time: minute, ..World::default() }.call_by_ecs(MONITOR, Value::Null).await;
    assert_eq!(first.body["hookStatus"], "IN_PROGRESS", "{first:?}");
    assert_eq!(first.body["callBackDelay"], 15);
    assert_eq!(first.body["hookDetails"]["watch"]["requests"], 4);

    let details = first.body["hookDetails"].clone();
    // Conversations are over: a second call only looks.
    let silent = World { chat: Chat::Error, time: minute, ..World::default() };
    let second = silent.clone().call_by_ecs(MONITOR, details.clone()).await;
    assert_eq!(second.body, first.body, "nothing is known yet");

    let known = World { metrics: World::well(4.0), ..silent.clone() };
    let third = known.call_by_ecs(MONITOR, details.clone()).await;
    assert_eq!(third.body, json!({"hookStatus": "SUCCEEDED"}), "{third:?}");

    let mut over = details;
    over["watch"]["until"] = json!(1);
    let last = silent.call_by_ecs(MONITOR, over).await;
    assert_eq!(last.body, json!({"hookStatus": "FAILED"}));
    assert!(last.reason().ends_with("no data is not passed"), "{last:?}");
}
