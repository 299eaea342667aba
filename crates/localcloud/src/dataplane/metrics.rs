//! What listeners and targets did, reported to CloudWatch as `AWS/ApplicationELB`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::services::Service;
use crate::services::elbv2::records::{Health, Target};

/// What a load balancer counts by itself.
#[derive(Default)]
pub(super) struct BalancerCounters {
    pub(super) requests: AtomicU64,
    elb_4xx: AtomicU64,
    elb_502: AtomicU64,
    elb_503: AtomicU64,
    elb_504: AtomicU64,
}

impl BalancerCounters {
    pub(super) fn failed(&self, status: StatusCode) {
        let counter = match status.as_u16() {
            502 => &self.elb_502,
            503 => &self.elb_503,
            504 => &self.elb_504,
            _ => &self.elb_4xx,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the targets of one group answered.
#[derive(Default)]
pub(super) struct GroupCounters(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    /// By hundreds of the status code.
    codes: [u64; 6],
    count: u64,
    sum: f64,
    least: f64,
    most: f64,
}

impl GroupCounters {
    pub(super) fn answered(&self, status: StatusCode, after: Duration) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = after.as_secs_f64();
        if let Some(code) = answers.codes.get_mut(usize::from(status.as_u16() / 100)) {
            *code += 1;
        }
        answers.least = if answers.count == 0 { seconds } else { answers.least.min(seconds) };
        answers.most = answers.most.max(seconds);
        answers.sum += seconds;
        answers.count += 1;
    }

    fn take(&self) -> Answers {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends what was counted to CloudWatch once in a model minute, or every ten seconds if that is sooner.
pub(crate) async fn report(cloud: Cloud) {
    let every =
        Duration::from_secs(60).div_f64(cloud.clock().scale()).clamp(Duration::from_secs(1), Duration::from_secs(10));
    loop {
        tokio::time::sleep(every).await;
        for data in collect(&cloud).chunks(500) {
            let input = json!({"Namespace": "AWS/ApplicationELB", "MetricData": data});
            if let Err(error) = cloud.call(Service::CloudWatch, "PutMetricData", input).await {
                tracing::debug!(%error, "load balancer metrics could not be recorded");
            }
        }
    }
}

fn collect(cloud: &Cloud) -> Vec<Value> {
    let (balancers, groups) = {
        let plane = cloud.data_plane().lock();
        (plane.balancers.clone(), plane.groups.clone())
    };
    let now = cloud.clock().now();
    let mut data = vec![];
    let mut put = |name: &str, unit: &str, dimensions: &Value, value: Value| {
        let mut datum = json!({"MetricName": name, "Dimensions": dimensions, "Timestamp": now, "Unit": unit});
        if value.is_object() {
            datum["StatisticValues"] = value;
        } else {
            datum["Value"] = value;
        }
        data.push(datum);
    };
    for (arn, counters) in &balancers {
        let dimensions = json!([dimension("LoadBalancer", arn)]);
        for (name, counter) in [
            ("RequestCount", &counters.requests),
            ("HTTPCode_ELB_4XX_Count", &counters.elb_4xx),
            ("HTTPCode_ELB_502_Count", &counters.elb_502),
            ("HTTPCode_ELB_503_Count", &counters.elb_503),
            ("HTTPCode_ELB_504_Count", &counters.elb_504),
        ] {
            let count = counter.swap(0, Ordering::Relaxed);
            if count > 0 {
                put(name, "Count", &dimensions, json!(count as f64));
            }
        }
    }
    for ((balancer, group), counters) in &groups {
        let dimensions = json!([dimension("LoadBalancer", balancer), dimension("TargetGroup", group)]);
        let targets =
            cloud.store().find::<Target>(|target| target.target_group_arn == *group && target.draining_since.is_none());
        let healthy = targets.iter().filter(|target| target.health == Health::Healthy).count();
        put("HealthyHostCount", "Count", &dimensions, json!(healthy as f64));
        put("UnHealthyHostCount", "Count", &dimensions, json!((targets.len() - healthy) as f64));
        let answers = counters.take();
        if answers.count == 0 {
            continue;
        }
        put("RequestCount", "Count", &dimensions, json!(answers.count as f64));
        if !targets.is_empty() {
            put("RequestCountPerTarget", "Count", &dimensions, json!(answers.count as f64 / targets.len() as f64));
        }
        for hundreds in 2..=5 {
            if answers.codes[hundreds] > 0 {
                put(
                    &format!("HTTPCode_Target_{hundreds}XX_Count"),
                    "Count",
                    &dimensions,
                    json!(answers.codes[hundreds] as f64),
                );
            }
        }
        put(
            "TargetResponseTime",
            "Seconds",
            &dimensions,
            json!({"SampleCount": answers.count as f64, "Sum": answers.sum, "Minimum": answers.least, "Maximum": answers.most}),
        );
    }
    data
}

/// AWS names both by the end of their ARN: `app/name/id`, `targetgroup/name/id`.
fn dimension(name: &str, arn: &str) -> Value {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or(arn);
    json!({"Name": name, "Value": resource.strip_prefix("loadbalancer/").unwrap_or(resource)})
}
