//! From a task definition to a running process: image, address, environment, shim.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::records::{ServiceRecord, Task, TaskState};
use super::task_definitions::{Container, Definition, HealthCheck};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::runtime::unpack::{ImageConfig, unpack};
use crate::runtime::{self, Spec, TaskFolder};
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

/// Starts a task's process. The error's code says in AWS's terms what failed.
pub(super) async fn launch(
    cloud: &Cloud,
    service: &ServiceRecord,
    definition: &Definition,
    task: &Task,
) -> Result<Launched, ApiError> {
    let container = definition.container();
    let image = pull(cloud, &container.image).await?;
    let port = container.port_mappings.first().map_or(0, |mapping| mapping.container_port);
    let address = match &task.address {
        // A launch repeated after a kill keeps its address.
        Some(address) => address.clone(),
        None => allocate(cloud, port)?,
    };
    cloud.store().update::<Task>(&task.id, |task| task.address = Some(address.clone()));
    let environment = environment(cloud, service, container, task, &image, &address).await?;
    let spec = Spec {
        command: command(container, &image)?,
        environment,
        memory_bytes: definition.memory_bytes(),
        cpu_units: definition.cpu_units(),
        stop_timeout_seconds: container.stop_timeout.unwrap_or(30),
        cgroup: task.id.clone(),
        health_check: container.health_check.as_ref().and_then(|check| health_check(cloud, check, &image.root)),
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

struct Image {
    digest: String,
    root: PathBuf,
    config: ImageConfig,
}

/// Fetches an image of the endpoint's own registry by tag or digest and unpacks it once.
async fn pull(cloud: &Cloud, reference: &str) -> Result<Image, ApiError> {
    let failed = |reason: String| ApiError::new("CannotPullContainerError", format!("{reference}: {reason}"));
    let (registry, rest) = reference.split_once('/').ok_or_else(|| failed("it names no registry".to_owned()))?;
    if registry != cloud.settings().listen.to_string() {
        return Err(failed(format!(
            "the embedded endpoint runs images of its own registry only, {}",
            cloud.settings().listen
        )));
    }
    let (repository, id) = match (rest.split_once('@'), rest.rsplit_once(':')) {
        (Some((repository, digest)), _) => (repository, json!({ "imageDigest": digest })),
        (None, Some((repository, tag))) => (repository, json!({ "imageTag": tag })),
        (None, None) => return Err(failed("it has neither a tag nor a digest".to_owned())),
    };
    let found = cloud
        .call(Service::Ecr, "BatchGetImage", json!({ "repositoryName": repository, "imageIds": [id] }))
        .await
        .map_err(|error| failed(error.message))?;
    let image = &found["images"][0];
    let Some(manifest) = image["imageManifest"].as_str() else {
        let reason = found["failures"][0]["failureReason"].as_str().unwrap_or("image not found");
        return Err(failed(reason.to_owned()));
    };
    let digest = image["imageId"]["imageDigest"].as_str().unwrap_or_default().to_owned();
    let manifest: Value = serde_json::from_str(manifest).map_err(|error| failed(error.to_string()))?;
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        cloud.blobs().path(digest).ok_or_else(|| failed(format!("malformed digest {digest:?}")))
    };
    let config =
        std::fs::read(blob(&manifest["config"])?).map_err(|error| failed(format!("configuration: {error}")))?;
    let config: ImageConfig = serde_json::from_slice(&config).map_err(|error| failed(error.to_string()))?;
    let layers = manifest["layers"].as_array().into_iter().flatten().map(blob).collect::<Result<Vec<_>, _>>()?;
    let root = cloud.data_dir().join("rootfs").join(digest.trim_start_matches("sha256:"));
    let target = root.clone();
    tokio::task::spawn_blocking(move || unpack(&layers, &target))
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(Image { digest, root, config })
}

/// Entry point and command: the task definition's, else the image's. The program is looked up in the image.
fn command(container: &Container, image: &Image) -> Result<Vec<String>, ApiError> {
    let from_image = |part: &Option<Vec<String>>| part.clone().unwrap_or_default();
    let mut command = if container.entry_point.is_empty() {
        from_image(&image.config.config.entrypoint)
    } else {
        container.entry_point.clone()
    };
    if container.command.is_empty() {
        if container.entry_point.is_empty() {
            command.extend(from_image(&image.config.config.cmd));
        }
    } else {
        command.extend(container.command.iter().cloned());
    }
    let Some(program) = command.first_mut() else {
        return Err(ApiError::new(
            "CannotStartContainerError",
            "neither the image nor the task definition names a command",
        ));
    };
    *program = in_image(&image.root, program);
    Ok(command)
}

/// A container's health check as the shim runs it; nothing for the form `NONE`.
fn health_check(cloud: &Cloud, check: &HealthCheck, root: &Path) -> Option<runtime::health::HealthCheck> {
    let (form, words) = check.command.split_first()?;
    let command = match form.as_str() {
        "CMD" => {
            let (program, arguments) = words.split_first()?;
            [&[in_image(root, program)], arguments].concat()
        }
        "CMD-SHELL" => vec![in_image(root, "/bin/sh"), "-c".to_owned(), words.first()?.clone()],
        _ => return None,
    };
    let model = |seconds: u64| Duration::from_secs(seconds).div_f64(cloud.clock().scale());
    Some(runtime::health::HealthCheck {
        command,
        interval: model(check.interval),
        timeout: Duration::from_secs(check.timeout),
        retries: check.retries,
        start_period: model(check.start_period),
    })
}

/// An absolute path of the image as a path of this machine.
fn in_image(root: &Path, path: &str) -> String {
    match path.strip_prefix('/') {
        Some(relative) => root.join(relative).to_string_lossy().into_owned(),
        None => path.to_owned(),
    }
}

async fn environment(
    cloud: &Cloud,
    service: &ServiceRecord,
    container: &Container,
    task: &Task,
    image: &Image,
    (address, port): &(String, u16),
) -> Result<Vec<(String, String)>, ApiError> {
    let mut variables: Vec<(String, String)> = vec![];
    let mut set = |name: &str, value: String| {
        variables.retain(|(existing, _)| existing != name);
        variables.push((name.to_owned(), value));
    };
    for pair in image.config.config.env.iter().flatten() {
        if let Some((name, value)) = pair.split_once('=') {
            set(name, value.to_owned());
        }
    }
    for variable in &container.environment {
        set(&variable.name, in_volume(cloud, service, container, &variable.value)?);
    }
    for secret in &container.secrets {
        set(&secret.name, resolve_secret(cloud, &secret.value_from).await?);
    }
    set("LISTEN", format!("{address}:{port}"));
    set("HOSTNAME", task.id.clone());
    set("IMAGE_DIGEST", image.digest.clone());
    set("AWS_REGION", cloud.region().to_owned());
    set("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE".to_owned());
    Ok(variables)
}

/// Translates a path below a mount point to the volume's folder, which every task of the service shares.
fn in_volume(cloud: &Cloud, service: &ServiceRecord, container: &Container, value: &str) -> Result<String, ApiError> {
    for mount in &container.mount_points {
        let Some(rest) =
            value.strip_prefix(&mount.container_path).filter(|rest| rest.is_empty() || rest.starts_with('/'))
        else {
            continue;
        };
        let volume =
            cloud.data_dir().join("volumes").join(&service.cluster).join(&service.name).join(&mount.source_volume);
        std::fs::create_dir_all(&volume).map_err(|error| {
            ApiError::new("ResourceInitializationError", format!("volume {}: {error}", mount.source_volume))
        })?;
        return Ok(format!("{}{rest}", volume.display()));
    }
    Ok(value.to_owned())
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

/// Gives a task an address of its own on the container's port.
///
/// On Linux every address of 127.0.0.0/8 is this machine's; each endpoint uses a /24 of its own, told by its data directory, so
/// that several endpoints run side by side. Elsewhere tasks share 127.0.0.1 and get a free port each.
fn allocate(cloud: &Cloud, port: u16) -> Result<(String, u16), ApiError> {
    if !cfg!(target_os = "linux") {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = listener.map_err(|error| ApiError::new("ResourceInitializationError", error.to_string()))?;
        return Ok((address.ip().to_string(), address.port()));
    }
    let hash = Sha256::digest(cloud.data_dir().as_os_str().as_encoded_bytes());
    let taken: Vec<String> = cloud
        .store()
        .find::<Task>(|task| task.state != TaskState::Stopped)
        .into_iter()
        .filter_map(|task| Some(task.address?.0))
        .collect();
    for last in 11..=254 {
        let address = Ipv4Addr::new(127, 64 + hash[0] % 128, hash[1], last);
        let free = || TcpListener::bind((address, port)).is_ok();
        if !taken.contains(&address.to_string()) && free() {
            return Ok((address.to_string(), port));
        }
    }
    Err(ApiError::new("ResourceInitializationError", "no loopback address is left for another task"))
}
