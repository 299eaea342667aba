//! The reconciler of alarms.

use std::time::Duration;

use super::alarms::{Alarm, evaluate};
use crate::cloud::Cloud;

/// How often alarms look at their metrics, in model time; no more often than every half second of real time.
const INTERVAL: Duration = Duration::from_secs(10);
const AT_LEAST: Duration = Duration::from_millis(500);

/// Evaluates every alarm, for ever.
pub(crate) async fn run(cloud: Cloud) {
    loop {
        for (name, alarm) in cloud.store().all::<Alarm>() {
            if let Err(error) = evaluate(&cloud, &alarm).await {
                tracing::warn!(alarm = name, %error, "an alarm cannot be evaluated");
            }
        }
        let pause = AT_LEAST.mul_f64(cloud.clock().scale()).max(INTERVAL);
        cloud.clock().sleep(pause).await;
    }
}
