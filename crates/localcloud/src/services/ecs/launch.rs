//! From a task definition to a running task: image, address, environment, program, shim.

mod as_container;
mod as_process;
mod image;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use self::image::Image;
use super::records::{ServiceRecord, Task, TaskState};
use super::task_definitions::{Container, Definition, HealthCheck};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::runtime::{self, Program, Runtime, Spec, TaskFolder};
use crate::services::Service;

/// Where a task's shim, output and records are.
pub(super) fn folder(cloud: &Cloud, task: &str) -> TaskFolder {
    TaskFolder::new(cloud.data_dir().join("tasks").join(task))
}

/// What a launch found out.
pub(super) struct Launched {
    pub(super) address: (String, u16),
    pub(super) image_digest: String,
}

/// What a runtime makes of a task definition.
struct Prepared {
    program: Program,
    environment: Variables,
    health_check: Option<runtime::health::HealthCheck>,
}

/// A launch under way.
struct Launch<'a> {
    cloud: &'a Cloud,
    service: &'a ServiceRecord,
    container: &'a Container,
    image: &'a Image,
    /// The address that the load balancer sends requests to.
    address: &'a (String, u16),
}

/// Starts a task. The error's code says in AWS's terms what failed.
pub(super) async fn launch(
    cloud: &Cloud,
    service: &ServiceRecord,
    definition: &Definition,
    task: &Task,
) -> Result<Launched, ApiError> {
    let container = definition.container();
    let image = image::find(cloud, &container.image).await?;
    let port = container.port_mappings.first().map_or(0, |mapping| mapping.container_port);
    let address = allocate(cloud, &task.id, port)?;
    let launch = Launch { cloud, service, container, image: &image, address: &address };
    let Prepared { program, mut environment, health_check } = match &cloud.settings().runtime {
        Runtime::Process => as_process::prepare(&launch).await?,
        Runtime::Docker(engine) => as_container::prepare(&launch, engine, port).await?,
    };
    for secret in &container.secrets {
        environment.set(&secret.name, resolve_secret(cloud, &secret.value_from).await?);
    }
    environment.set("IMAGE_DIGEST", image.digest.clone());
    environment.set("AWS_REGION", cloud.region().to_owned());
    environment.set("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE".to_owned());
    let spec = Spec {
        program,
        environment: environment.0,
        memory_bytes: definition.memory_bytes(),
        cpu_units: definition.cpu_units(),
        stop_timeout_seconds: container.stop_timeout.unwrap_or(30),
        name: format!("localcloud-{}", task.id),
        health_check,
    };
    let shim = cloud
        .settings()
        .shim
        .as_deref()
        .ok_or_else(|| ApiError::internal("the endpoint was started without a shim"))?;
    folder(cloud, &task.id).start(shim, &spec).map_err(|error| {
        ApiError::new("ResourceInitializationError", format!("the task's shim cannot be started: {error}"))
    })?;
    Ok(Launched { address, image_digest: image.digest })
}

/// Environment variables, each name once.
#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    /// Sets a variable, over an earlier value.
    fn set(&mut self, name: &str, value: String) {
        self.0.retain(|(existing, _)| existing != name);
        self.0.push((name.to_owned(), value));
    }
}

/// A health check's times as the runtime takes them, with the command that it takes.
fn health_check(cloud: &Cloud, check: &HealthCheck, command: Vec<String>) -> runtime::health::HealthCheck {
    let model = |seconds: u64| Duration::from_secs(seconds).div_f64(cloud.clock().scale());
    runtime::health::HealthCheck {
        command,
        interval: model(check.interval),
        timeout: Duration::from_secs(check.timeout),
        retries: check.retries,
        start_period: model(check.start_period),
    }
}

/// Reads a secret or parameter at the start of a task; the value goes nowhere but into the task's environment.
async fn resolve_secret(cloud: &Cloud, reference: &str) -> Result<String, ApiError> {
    let failed = |error: ApiError| {
        let message = format!("unable to pull secrets or registry auth: {reference}: {error}");
        ApiError::new("ResourceInitializationError", message)
    };
    if reference.starts_with("arn:") && reference.contains(":secretsmanager:") {
        let secret = cloud
            .call(Service::SecretsManager, "GetSecretValue", json!({ "SecretId": reference }))
            .await
            .map_err(failed)?;
        return Ok(secret["SecretString"].as_str().unwrap_or_default().to_owned());
    }
    let name = reference.split_once(":parameter").map_or(reference, |(_, name)| name);
    let parameter = cloud
        .call(Service::Ssm, "GetParameter", json!({ "Name": name, "WithDecryption": true }))
        .await
        .map_err(failed)?;
    Ok(parameter["Parameter"]["Value"].as_str().unwrap_or_default().to_owned())
}

/// Gives a task an address of its own, in one transaction: tasks are launched side by side. A launch repeated after a kill keeps
/// its address.
fn allocate(cloud: &Cloud, task: &str, port: u16) -> Result<(String, u16), ApiError> {
    cloud.store().write(|tx| {
        let mut record = tx.get::<Task>(task).ok_or_else(|| ApiError::internal("the task is gone"))?;
        if let Some(address) = record.address {
            return Ok(address);
        }
        let tasks = tx.all::<Task>().into_iter().filter(|(_, task)| task.state != TaskState::Stopped);
        let taken: Vec<_> = tasks.filter_map(|(_, task)| task.address).collect();
        let address = free_address(cloud, port, &taken)?;
        record.address = Some(address.clone());
        tx.put(task, &record);
        Ok(address)
    })
}

/// An address that no task has.
///
/// On Linux every address of 127.0.0.0/8 is this machine's, so a process serves the container's own port on one of them; each
/// endpoint uses a /24 of its own, told by its data directory, so that several endpoints run side by side. Containers, and
/// processes elsewhere, get a free port of 127.0.0.1.
fn free_address(cloud: &Cloud, port: u16, taken: &[(String, u16)]) -> Result<(String, u16), ApiError> {
    let failed = |message: String| ApiError::new("ResourceInitializationError", message);
    if cloud.settings().runtime != Runtime::Process || !cfg!(target_os = "linux") {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        loop {
            let address = free().map_err(|error| failed(error.to_string()))?;
            let address = (address.ip().to_string(), address.port());
            // Given to a task that does not listen on it yet.
            if !taken.contains(&address) {
                return Ok(address);
            }
        }
    }
    let hash = Sha256::digest(cloud.data_dir().as_os_str().as_encoded_bytes());
    for last in 11..=254 {
        let address = Ipv4Addr::new(127, 64 + hash[0] % 128, hash[1], last);
        let free = || TcpListener::bind((address, port)).is_ok();
        if !taken.iter().any(|(host, _)| *host == address.to_string()) && free() {
            return Ok((address.to_string(), port));
        }
    }
    Err(failed("no loopback address is left for another task".to_owned()))
}
