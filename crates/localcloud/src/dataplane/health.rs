//! Health checks: one task per target, as a load balancer node would check it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::cloud::Cloud;
use crate::services::elbv2::code_ranges;
use crate::services::elbv2::records::{Failure, Health, HealthCheck, Target, TargetGroup};

/// The check of one target; ends when dropped.
pub(super) struct Checker(JoinHandle<()>);

impl Checker {
    pub(super) fn start(cloud: &Cloud, target: &Target) -> Self {
        Self(tokio::spawn(check(cloud.clone(), target.clone())))
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn check(cloud: Cloud, target: Target) {
    let key = target.key();
    let mut streak = Streak::default();
    loop {
        // Settings may change between two checks, so they are read every time.
        let Some(group) = cloud.store().get::<TargetGroup>(&target.target_group_arn) else { return };
        let settings = group.health_check;
        let result = probe(target.address(), &settings).await;
        let Some(record) = cloud.store().get::<Target>(&key) else { return };
        let health = streak.judge(&record.health, result, &settings);
        if health != record.health {
            tracing::debug!(target = %target.address(), group = group.target_group_name, ?health, "target health changed");
            cloud.store().update::<Target>(&key, |record| record.health = health);
            cloud.data_plane().apply(&cloud);
        }
        cloud.clock().sleep(Duration::from_secs(settings.interval_seconds)).await;
        // However fast model time passes, a target is not flooded with checks.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Equal results in a row.
#[derive(Default)]
struct Streak {
    passed: u32,
    failed: u32,
}

impl Streak {
    /// The health after one more result.
    fn judge(&mut self, now: &Health, result: Result<(), Failure>, settings: &HealthCheck) -> Health {
        match result {
            Ok(()) => {
                self.failed = 0;
                self.passed += 1;
                match now {
                    Health::Healthy => Health::Healthy,
                    _ if self.passed >= settings.healthy_threshold => Health::Healthy,
                    Health::Unhealthy(failure) => Health::Unhealthy(failure.clone()),
                    Health::Registering | Health::Checking => Health::Checking,
                }
            }
            Err(failure) => {
                self.passed = 0;
                self.failed += 1;
                match now {
                    Health::Unhealthy(_) => Health::Unhealthy(failure),
                    _ if self.failed >= settings.unhealthy_threshold => Health::Unhealthy(failure),
                    Health::Healthy => Health::Healthy,
                    Health::Registering | Health::Checking => Health::Checking,
                }
            }
        }
    }
}

/// One check on a connection of its own. Its timeout is real time, for a real process answers.
async fn probe(target: SocketAddr, settings: &HealthCheck) -> Result<(), Failure> {
    let port = settings.port.parse().unwrap_or(target.port());
    let address = SocketAddr::new(target.ip(), port);
    let status = tokio::time::timeout(Duration::from_secs(settings.timeout_seconds), request(address, &settings.path))
        .await
        .map_err(|_| Failure::Timeout)?
        .ok_or(Failure::NoAnswer)?;
    let expected = code_ranges(&settings.matcher).unwrap_or_default();
    if expected.iter().any(|(low, high)| (*low..=*high).contains(&status)) {
        Ok(())
    } else {
        Err(Failure::Status(status))
    }
}

/// The status that a target answers with.
async fn request(address: SocketAddr, path: &str) -> Option<u16> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, "ELB-HealthChecker/2.0")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    let response = tokio::select! {
        response = &mut answer => response,
        // The connection may end together with its answer, in either order.
        _ = &mut connection => answer.await,
    };
    Some(response.ok()?.status().as_u16())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings() -> HealthCheck {
        HealthCheck {
            port: "traffic-port".to_owned(),
            path: "/".to_owned(),
            interval_seconds: 5,
            timeout_seconds: 2,
            healthy_threshold: 3,
            unhealthy_threshold: 2,
            matcher: "200".to_owned(),
        }
    }

    proptest! {
        #[test]
        fn health_follows_the_thresholds(results in proptest::collection::vec(any::<bool>(), 1..60)) {
            let (mut streak, settings) = (Streak::default(), settings());
            let mut health = Health::Registering;
            for (index, passed) in results.iter().enumerate() {
                let result = if *passed { Ok(()) } else { Err(Failure::Status(500)) };
                health = streak.judge(&health, result, &settings);
                let tail = |count: usize, value: bool| {
                    index + 1 >= count && results[index + 1 - count..=index].iter().all(|result| *result == value)
                };
                if tail(3, true) {
                    prop_assert_eq!(&health, &Health::Healthy);
                }
                if tail(2, false) {
                    prop_assert_eq!(&health, &Health::Unhealthy(Failure::Status(500)));
                }
                prop_assert!(health != Health::Registering);
            }
        }
    }
}
