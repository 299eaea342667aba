//! A task as a process: the image unpacked once, its entry point as a program of this machine.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Container, Image, Launch, Prepared, Variables};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::runtime::Program;
use crate::runtime::unpack::{ImageConfig, unpack};

pub(super) async fn prepare(launch: &Launch<'_>) -> Result<Prepared, ApiError> {
    let Launch { cloud, container, image, address: (host, port), .. } = launch;
    let (root, config) = unpacked(cloud, image).await?;
    let mut environment = Variables::default();
    for pair in config.config.env.iter().flatten() {
        if let Some((name, value)) = pair.split_once('=') {
            environment.set(name, value.to_owned());
        }
    }
    for variable in &container.environment {
        environment.set(&variable.name, in_volume(launch, &variable.value)?);
    }
    environment.set("LISTEN", format!("{host}:{port}"));
    let health_check = container.health_check.as_ref().and_then(|check| {
        let command = health_command(&check.command, &root)?;
        Some(super::health_check(cloud, check, command))
    });
    Ok(Prepared { program: Program::Process(command(container, &config, &root)?), environment, health_check })
}

/// The image's files, unpacked once for all tasks that run it, and its configuration.
async fn unpacked(cloud: &Cloud, image: &Image) -> Result<(PathBuf, ImageConfig), ApiError> {
    let failed = |reason: String| image.unusable(&reason);
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        cloud.blobs().path(digest).ok_or_else(|| failed(format!("malformed digest {digest:?}")))
    };
    let config = std::fs::read(blob(&image.manifest["config"])?);
    let config = config.map_err(|error| failed(format!("configuration: {error}")))?;
    let config: ImageConfig = serde_json::from_slice(&config).map_err(|error| failed(error.to_string()))?;
    let layers = image.manifest["layers"].as_array().into_iter().flatten().map(blob).collect::<Result<Vec<_>, _>>()?;
    let root = cloud.data_dir().join("rootfs").join(image.digest.trim_start_matches("sha256:"));
    let target = root.clone();
    tokio::task::spawn_blocking(move || unpack(&layers, &target))
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok((root, config))
}

/// Entry point and command: the task definition's, else the image's. The program is looked up in the image.
fn command(container: &Container, image: &ImageConfig, root: &Path) -> Result<Vec<String>, ApiError> {
    let from_image = |part: &Option<Vec<String>>| part.clone().unwrap_or_default();
    let mut command = if container.entry_point.is_empty() {
        from_image(&image.config.entrypoint)
    } else {
        container.entry_point.clone()
    };
    if container.command.is_empty() {
        if container.entry_point.is_empty() {
            command.extend(from_image(&image.config.cmd));
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
    *program = in_image(root, program);
    Ok(command)
}

/// A health check's command as the shim runs it; nothing for the form `NONE`.
fn health_command(check: &[String], root: &Path) -> Option<Vec<String>> {
    let (form, words) = check.split_first()?;
    match form.as_str() {
        "CMD" => {
            let (program, arguments) = words.split_first()?;
            Some([&[in_image(root, program)], arguments].concat())
        }
        "CMD-SHELL" => Some(vec![in_image(root, "/bin/sh"), "-c".to_owned(), words.first()?.clone()]),
        _ => None,
    }
}

/// An absolute path of the image as a path of this machine.
fn in_image(root: &Path, path: &str) -> String {
    match path.strip_prefix('/') {
        Some(relative) => root.join(relative).to_string_lossy().into_owned(),
        None => path.to_owned(),
    }
}

/// Translates a path below a mount point to the volume's folder, which every task of the service shares.
fn in_volume(launch: &Launch<'_>, value: &str) -> Result<String, ApiError> {
    for mount in &launch.container.mount_points {
        let Some(rest) =
            value.strip_prefix(&mount.container_path).filter(|rest| rest.is_empty() || rest.starts_with('/'))
        else {
            continue;
        };
        let service = launch.service;
        let volumes = launch.cloud.data_dir().join("volumes").join(&service.cluster).join(&service.name);
        let volume = volumes.join(&mount.source_volume);
        std::fs::create_dir_all(&volume).map_err(|error| {
            ApiError::new("ResourceInitializationError", format!("volume {}: {error}", mount.source_volume))
        })?;
        return Ok(format!("{}{rest}", volume.display()));
    }
    Ok(value.to_owned())
}
