//! Container health checks: run by the shim, so that they go on while the endpoint is away.

use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::process::in_task;
use super::{Spec, TaskFolder, write_whole};

/// A container's health check. The waits between checks are model time and already divided by the time scale;
/// the timeout of one check concerns a real process and is real time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The program on this machine and its arguments; for a container, in Docker's form (`CMD`, `/smartbot`, …).
    pub command: Vec<String>,
    /// Between two checks.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Failures in a row that make the container unhealthy.
    pub retries: u32,
    /// From the start of the container: failures do not count until it is over or a check has succeeded.
    pub start_period: Duration,
}

/// What the checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The last check succeeded.
    Healthy,
    /// As many checks in a row failed as the definition allows.
    Unhealthy,
}

/// Checks for as long as it is polled, and writes every change of the verdict to `health.json`.
pub(super) async fn watch(folder: &TaskFolder, spec: &Spec, limits: &Limits) -> std::convert::Infallible {
    let Some(check) = &spec.health_check else { return std::future::pending().await };
    let began = tokio::time::Instant::now();
    let (mut verdict, mut failures) = (None, 0);
    loop {
        tokio::time::sleep(check.interval).await;
        let now = if succeeds(folder, spec, check, limits).await {
            failures = 0;
            Some(Verdict::Healthy)
        } else if verdict.is_none() && began.elapsed() < check.start_period {
            None
        } else {
            failures += 1;
            if failures >= check.retries.max(1) { Some(Verdict::Unhealthy) } else { verdict }
        };
        if now != verdict {
            verdict = now;
            let _ = write_whole(&folder.path().join("health.json"), &verdict);
        }
    }
}

/// The command may be missing or hang: both are failures of the check.
async fn succeeds(folder: &TaskFolder, spec: &Spec, check: &HealthCheck, limits: &Limits) -> bool {
    let Some((program, arguments)) = check.command.split_first() else { return false };
    let mut command = in_task(folder, spec, program, arguments);
    let started = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
    let Ok(mut child) = started else { return false };
    limits.admit(child.id().unwrap_or_default());
    matches!(tokio::time::timeout(check.timeout, child.wait()).await, Ok(Ok(status)) if status.success())
}
