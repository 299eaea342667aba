//! Starts the reconcilers: loops that move recorded state towards what was asked.
//!
//! A reconciler keeps nothing that matters outside the store, so it may be stopped anywhere and started again.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cloud::Cloud;
use crate::services::{cloudformation, cloudwatch, codebuild, codedeploy, codepipeline, ecs, elbv2};

/// Starts every reconciler. They run until the handles are aborted or the process ends.
pub fn start(cloud: &Cloud) -> Vec<JoinHandle<()>> {
    let mut reconcilers = vec![
        supervise("cloudformation", cloud, cloudformation::engine::run),
        supervise("cloudwatch", cloud, cloudwatch::engine::run),
        supervise("codebuild", cloud, codebuild::engine::run),
        supervise("codedeploy", cloud, codedeploy::engine::run),
        supervise("codepipeline", cloud, codepipeline::engine::run),
        supervise("ecs", cloud, ecs::scheduler::run),
    ];
    reconcilers.extend(elbv2::start(cloud));
    reconcilers
}

/// Runs a reconciler, and runs it again should it ever panic: one bad record must not stop a whole service.
pub(crate) fn supervise<F, Fut>(name: &'static str, cloud: &Cloud, run: F) -> JoinHandle<()>
where
    F: Fn(Cloud) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let cloud = cloud.clone();
    tokio::spawn(async move {
        loop {
            match tokio::spawn(run(cloud.clone())).await {
                Ok(()) => break,
                Err(error) if error.is_cancelled() => break,
                Err(error) => tracing::error!(reconciler = name, %error, "a reconciler failed and is started again"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}

/// Waits until the store changes, or for `at_most` of real time: the pause between two steps of a reconciler.
pub(crate) async fn pause(changes: &mut tokio::sync::watch::Receiver<u64>, at_most: Duration) {
    let _ = tokio::time::timeout(at_most, changes.changed()).await;
    // Several changes often come together; and a reconciler's own writes must not make it spin.
    tokio::time::sleep(Duration::from_millis(20)).await;
}
