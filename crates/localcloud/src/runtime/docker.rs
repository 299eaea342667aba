//! A task as a container of a Docker engine, published on 127.0.0.1.
//!
//! The container is the shim's: it creates it, follows its output and its health, stops it, records its end, then removes it.
//! <https://docs.docker.com/reference/api/engine/>

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerState, HealthConfig, HealthStatusEnum, HostConfig, HostConfigLogConfig, Mount,
    MountType, PortBinding, ResourcesUlimits,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions, StartContainerOptions,
    WaitContainerOptions,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::health::{HealthCheck, Verdict};
use super::{Exit, ProcessId, Spec, TaskFolder, at, write_whole};

/// How long an engine may take to say that it is there.
const PING: Duration = Duration::from_secs(2);
/// How often the shim looks at the container's health, at most and at least.
const LOOK: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(1);

/// A container to run: what a task definition says of it, and where its port is published.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Container {
    /// The engine's address: `unix:///var/run/docker.sock`.
    pub engine: String,
    /// The image by digest; the engine has it already.
    pub image: String,
    /// Instead of the image's own entry point, when given.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of the image's own command, when given.
    pub command: Option<Vec<String>>,
    /// Instead of the image's own user, when given.
    pub user: Option<String>,
    /// Whether the root file system cannot be written.
    pub read_only_root: bool,
    /// Capabilities that the container does without.
    pub drop_capabilities: Vec<String>,
    /// Limits on the container's resources.
    pub ulimits: Vec<Ulimit>,
    /// The port that the container serves on.
    pub port: u16,
    /// The port of 127.0.0.1 that leads to it.
    pub published: u16,
    /// What is mounted.
    pub volumes: Vec<Volume>,
}

/// A limit as `ulimit` sets it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ulimit {
    /// `nofile` and the like.
    pub name: String,
    /// What the container starts with.
    pub soft_limit: i64,
    /// What it may raise it to.
    pub hard_limit: i64,
}

/// A named volume in a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    /// The engine's name for it.
    pub name: String,
    /// Where the container sees it.
    pub path: String,
}

/// True when an engine answers at the address.
pub async fn answers(engine: &str) -> bool {
    let ping = async { Docker::connect_with_host(engine)?.ping().await };
    matches!(tokio::time::timeout(PING, ping).await, Ok(Ok(_)))
}

/// Makes sure that the engine has an image, by digest.
pub async fn pull(engine: &str, image: &str, user: &str, password: &str) -> Result<(), Error> {
    let docker = Docker::connect_with_host(engine)?;
    if docker.inspect_image(image).await.is_ok() {
        return Ok(());
    }
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    let credentials = DockerCredentials {
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        ..DockerCredentials::default()
    };
    docker.create_image(Some(options), None, Some(credentials)).try_for_each(|_| std::future::ready(Ok(()))).await
}

/// Where an endpoint notes the engine's volumes that it uses: a file each, named like the volume, holding the engine's address.
pub fn noted_volumes(data_dir: &Path) -> PathBuf {
    data_dir.join("docker-volumes")
}

/// Removes the volumes that an endpoint has noted; one that is gone already is removed.
pub async fn remove_volumes(data_dir: &Path) -> Result<(), RemoveError> {
    for note in std::fs::read_dir(noted_volumes(data_dir)).into_iter().flatten() {
        let note = note?;
        let name = note.file_name().to_string_lossy().into_owned();
        let docker = Docker::connect_with_host(&std::fs::read_to_string(note.path())?)?;
        match docker.remove_volume(&name, None::<RemoveVolumeOptions>).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                std::fs::remove_file(note.path())?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Why the engine's volumes could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The notes cannot be read or removed.
    #[error("the notes of Docker's volumes: {0}")]
    Io(#[from] std::io::Error),
    /// The engine refuses or is away.
    #[error("the Docker engine: {0}")]
    Docker(#[from] Error),
}

/// Removes a task's container, running or not. An engine that does not answer runs none.
pub(super) async fn remove(container: &Container, name: &str) {
    if let Ok(docker) = Docker::connect_with_host(&container.engine) {
        let _ = docker.remove_container(name, Some(RemoveContainerOptionsBuilder::new().force(true).build())).await;
    }
}

/// Runs the container to its end.
pub(super) async fn supervise(folder: &TaskFolder, spec: &Spec, container: &Container) -> std::io::Result<Exit> {
    let mut terminate = signal(SignalKind::terminate())?;
    let docker = &Docker::connect_with_host(&container.engine).map_err(refused)?;
    let name = spec.name.as_str();
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    docker.create_container(Some(options), body(spec, container)).await.map_err(refused)?;
    docker.start_container(name, None::<StartContainerOptions>).await.map_err(refused)?;
    let pid = state(docker, name).await.map_err(refused)?.pid.and_then(|pid| u32::try_from(pid).ok());
    if let Some(pid) = pid.filter(|pid| *pid != 0) {
        // Where the engine runs in a virtual machine, its processes cannot be seen from here.
        let process = ProcessId::of(pid).unwrap_or(ProcessId { pid, started: 0 });
        write_whole(&folder.path().join("process.json"), &process)?;
    }
    let output = tokio::spawn(follow(docker.clone(), name.to_owned(), folder.clone()));

    let send = |signal: &'static str| async move {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let _ = docker.kill_container(name, Some(options)).await;
    };
    let mut ended = docker.wait_container(name, None::<WaitContainerOptions>);
    let mut presence = tokio::time::interval(Duration::from_secs(1));
    let mut health = std::pin::pin!(watch(docker, folder, spec));
    let mut deadline: Option<tokio::time::Instant> = None;
    loop {
        tokio::select! {
            // Whatever it says, a container's end or an engine's, the state below tells it.
            _ = ended.next() => break,
            _ = terminate.recv() => {
                send("SIGTERM").await;
                deadline.get_or_insert(tokio::time::Instant::now() + Duration::from_secs(spec.stop_timeout_seconds));
            }
            () = at(deadline) => {
                send("SIGKILL").await;
                deadline = None;
            }
            never = &mut health => match never {},
            // Looked at in the branch, not before it: nothing else may ever wake this loop.
            _ = presence.tick() => {
                // Somebody deleted the endpoint's state: nobody will ever come to stop the task.
                if !folder.path().exists() {
                    send("SIGKILL").await;
                }
            }
        }
    }
    // The end of the output follows the end of the container at once; an engine that hangs must not hold up the record.
    let _ = tokio::time::timeout(Duration::from_secs(5), output).await;
    let state = state(docker, name).await.map_err(refused)?;
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(137);
    Ok(Exit { code, out_of_memory: state.oom_killed == Some(true) && code == 137, start_error: None })
}

fn refused(error: Error) -> std::io::Error {
    std::io::Error::other(format!("CannotStartContainerError: {error}"))
}

async fn state(docker: &Docker, name: &str) -> Result<ContainerState, Error> {
    let container = docker.inspect_container(name, None::<InspectContainerOptions>).await?;
    Ok(container.state.unwrap_or_default())
}

/// Writes the container's output to the task's file until it ends.
async fn follow(docker: Docker, name: String, folder: TaskFolder) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.output())?;
    let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
    let mut lines = docker.logs(&name, Some(options));
    while let Some(Ok(piece)) = lines.next().await {
        file.write_all(piece.as_ref())?;
    }
    Ok(())
}

/// Carries Docker's verdict on the container's health to `health.json`, as long as it is polled.
async fn watch(docker: &Docker, folder: &TaskFolder, spec: &Spec) -> std::convert::Infallible {
    let Some(check) = &spec.health_check else { return std::future::pending().await };
    let mut verdict = None;
    loop {
        tokio::time::sleep(check.interval.clamp(*LOOK.start(), *LOOK.end())).await;
        let health = state(docker, &spec.name).await.ok().and_then(|state| state.health);
        let now = match health.and_then(|health| health.status) {
            Some(HealthStatusEnum::HEALTHY) => Some(Verdict::Healthy),
            Some(HealthStatusEnum::UNHEALTHY) => Some(Verdict::Unhealthy),
            Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE | HealthStatusEnum::STARTING) | None => verdict,
        };
        if now != verdict {
            verdict = now;
            let _ = write_whole(&folder.path().join("health.json"), &verdict);
        }
    }
}

fn body(spec: &Spec, container: &Container) -> ContainerCreateBody {
    let port = format!("{}/tcp", container.port);
    let binding = PortBinding {
        host_ip: Some(Ipv4Addr::LOCALHOST.to_string()),
        host_port: Some(container.published.to_string()),
    };
    let mounts = container.volumes.iter().map(|volume| Mount {
        target: Some(volume.path.clone()),
        source: Some(volume.name.clone()),
        typ: Some(MountType::VOLUME),
        ..Mount::default()
    });
    let ulimits = container.ulimits.iter().map(|limit| ResourcesUlimits {
        name: Some(limit.name.clone()),
        soft: Some(limit.soft_limit),
        hard: Some(limit.hard_limit),
    });
    let memory = i64::try_from(spec.memory_bytes).unwrap_or(i64::MAX);
    let host = HostConfig {
        memory: Some(memory),
        // As much with swap as without: none, as on Fargate.
        memory_swap: Some(memory),
        nano_cpus: i64::try_from(spec.cpu_units * 1_000_000_000 / 1024).ok(),
        port_bindings: Some(HashMap::from([(port.clone(), Some(vec![binding]))])),
        mounts: Some(mounts.collect()),
        readonly_rootfs: Some(container.read_only_root),
        cap_drop: Some(container.drop_capabilities.clone()),
        ulimits: Some(ulimits.collect()),
        // The shim reads the output through the engine, whatever the engine's own default is.
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: None }),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(container.image.clone()),
        entrypoint: container.entrypoint.clone(),
        cmd: container.command.clone(),
        user: container.user.clone(),
        env: Some(spec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        exposed_ports: Some(vec![port]),
        // The image's own check does not count on ECS.
        healthcheck: Some(spec.health_check.as_ref().map_or_else(no_check, check)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn no_check() -> HealthConfig {
    HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }
}

fn check(check: &HealthCheck) -> HealthConfig {
    // Docker takes nanoseconds, and no waits below a millisecond.
    let nanoseconds = |wait: Duration| i64::try_from(wait.max(Duration::from_millis(1)).as_nanos()).unwrap_or(i64::MAX);
    HealthConfig {
        test: Some(check.command.clone()),
        interval: Some(nanoseconds(check.interval)),
        timeout: Some(nanoseconds(check.timeout)),
        retries: Some(i64::from(check.retries.max(1))),
        start_period: Some(nanoseconds(check.start_period)),
        start_interval: None,
    }
}
