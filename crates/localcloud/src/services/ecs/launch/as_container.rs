//! A task as a container of the Docker engine, which pulls the image from the endpoint's registry as ECS would.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Resource, getrlimit};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Launch, Prepared, Variables};
use crate::error::ApiError;
use crate::runtime::Program;
use crate::runtime::docker::{self, Ulimit, Volume};
use crate::services::Service;

pub(super) async fn prepare(launch: &Launch<'_>, engine: &str, port: u16) -> Result<Prepared, ApiError> {
    let Launch { cloud, container, address: (_, published), .. } = launch;
    let image = pull(launch, engine).await?;
    let mut environment = Variables::default();
    for variable in &container.environment {
        environment.set(&variable.name, variable.value.clone());
    }
    environment.set("LISTEN", format!("0.0.0.0:{port}"));
    let own = |words: &Vec<String>| (!words.is_empty()).then(|| words.clone());
    let program = Program::Docker(docker::Container {
        engine: engine.to_owned(),
        image,
        entrypoint: own(&container.entry_point),
        command: own(&container.command),
        user: container.user.clone(),
        read_only_root: container.readonly_root_filesystem,
        drop_capabilities: container.linux_parameters.capabilities.drop.clone(),
        ulimits: container.ulimits.iter().map(possible).collect(),
        port,
        published: *published,
        volumes: volumes(launch, engine)?,
    });
    let health_check =
        container.health_check.as_ref().map(|check| super::health_check(cloud, check, check.command.clone()));
    Ok(Prepared { program, environment, health_check })
}

/// A limit that this machine can give: on Fargate 65,536 open files are always to be had, an engine refuses to start a container
/// that asks for more than it has itself.
fn possible(limit: &Ulimit) -> Ulimit {
    let most = match limit.name.as_str() {
        "nofile" => getrlimit(Resource::Nofile).maximum,
        _ => None,
    };
    let most = most.and_then(|most| i64::try_from(most).ok()).unwrap_or(i64::MAX);
    Ulimit { soft_limit: limit.soft_limit.min(most), hard_limit: limit.hard_limit.min(most), ..limit.clone() }
}

/// Lets the engine pull the image by digest, with the registry's own credentials. Gives the image's name in the engine.
async fn pull(launch: &Launch<'_>, engine: &str) -> Result<String, ApiError> {
    let image = launch.image;
    let token = launch.cloud.call(Service::Ecr, "GetAuthorizationToken", json!({})).await?;
    let token = token["authorizationData"][0]["authorizationToken"].as_str().unwrap_or_default();
    let token = STANDARD.decode(token).ok().and_then(|token| String::from_utf8(token).ok());
    let token = token.ok_or_else(|| image.unusable("the registry gives no credentials"))?;
    let (user, password) = token.split_once(':').unwrap_or_default();
    let name = format!("{}@{}", image.repository, image.digest);
    docker::pull(engine, &name, user, password).await.map_err(|error| image.unusable(&error.to_string()))?;
    Ok(name)
}

/// The engine's volumes for the mount points: every task of the service shares them. Each is noted below the data directory,
/// so that it can be removed with the endpoint's state.
fn volumes(launch: &Launch<'_>, engine: &str) -> Result<Vec<Volume>, ApiError> {
    let Launch { cloud, service, container, .. } = launch;
    let owner = Sha256::digest(cloud.data_dir().as_os_str().as_encoded_bytes());
    let noted = docker::noted_volumes(cloud.data_dir());
    let volume = |mount: &super::super::task_definitions::MountPoint| {
        let owner = u32::from_be_bytes([owner[0], owner[1], owner[2], owner[3]]);
        let name = format!("localcloud-{owner:08x}-{}-{}-{}", service.cluster, service.name, mount.source_volume);
        std::fs::create_dir_all(&noted)?;
        std::fs::write(noted.join(&name), engine)?;
        Ok(Volume { name, path: mount.container_path.clone() })
    };
    let volumes: std::io::Result<Vec<Volume>> = container.mount_points.iter().map(volume).collect();
    volumes.map_err(|error| ApiError::new("ResourceInitializationError", format!("volumes: {error}")))
}
