//! Metrics as CloudWatch's Embedded Metric Format: a log line that CloudWatch turns into metrics.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::App;
use crate::clock::now_ms;
use crate::metrics::Totals;

const NAMESPACE: &str = "SmartBot";

/// Writes a line every `interval`, with what happened since the last one.
pub async fn write_for_ever(app: Arc<App>, interval: Duration) {
    let mut before = app.metrics.totals();
    loop {
        tokio::time::sleep(interval).await;
        let now = app.metrics.totals();
        let environment = app.release.environment.as_deref().unwrap_or("unknown");
        let line = line(environment, now_ms(), &now.since(&before), app.metrics.connections());
        // Not through the log's own format: CloudWatch wants `_aws` at the root. Nobody can be told of a failure.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
        before = now;
    }
}

fn line(environment: &str, at_ms: u64, since: &Totals, connections: usize) -> Value {
    let metric = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
    let mut metrics = vec![
        metric("Requests", "Count"),
        metric("ClientErrors", "Count"),
        metric("ServerErrors", "Count"),
        metric("StoreFailures", "Count"),
        metric("Connections", "Count"),
    ];
    let mut line = json!({
        "Environment": environment,
        "Requests": since.requests,
        "ClientErrors": since.client_errors,
        "ServerErrors": since.server_errors,
        "StoreFailures": since.store_failures,
        "Connections": connections,
    });
    // Without requests there is no latency, and 0 would be a good one.
    for (name, share) in [("LatencyP50", 0.5), ("LatencyP99", 0.99)] {
        if let Some(seconds) = since.latency(share) {
            metrics.push(metric(name, "Milliseconds"));
            line[name] = json!(seconds * 1000.0);
        }
    }
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": [["Environment"]], "Metrics": metrics});
    line["_aws"] = json!({"Timestamp": at_ms, "CloudWatchMetrics": [directive]});
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_line_holds_every_metric_it_names_and_only_what_is_new() {
        let metrics = Metrics::default();
        metrics.request("/v1/chat", "POST", 200, Duration::from_secs(9));
        let before = metrics.totals();
        for status in [200, 200, 404, 500] {
            metrics.request("/v1/chat", "POST", status, Duration::from_millis(2));
        }
        let line = line("test", 7, &metrics.totals().since(&before), 3);
        assert_eq!(
            (&line["Requests"], &line["ClientErrors"], &line["ServerErrors"]),
            (&json!(4), &json!(1), &json!(1))
        );
        assert_eq!(line["LatencyP99"], 2.5);
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        for named in directive["Metrics"].as_array().unwrap() {
            assert!(line[named["Name"].as_str().unwrap()].is_number(), "{named}");
        }
        assert_eq!(line[directive["Dimensions"][0][0].as_str().unwrap()], "test");
        let quiet = super::line("test", 7, &metrics.totals().since(&metrics.totals()), 0);
        assert!(quiet.get("LatencyP99").is_none());
    }
}
