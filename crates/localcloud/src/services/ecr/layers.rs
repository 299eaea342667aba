//! Blobs on their way in and out: what both the ECR API and the registry HTTP API do with them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::records::{Layer, Upload, key, repository};
use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::ids;

/// How long to wait for another request's hold on an upload.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(30);
/// Uploads that nobody finished are forgotten after a day.
const UPLOAD_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Begins an upload and returns its id.
pub(crate) async fn start(cloud: &Cloud, repository_name: &str) -> Result<String, ApiError> {
    repository(cloud, repository_name)?;
    forget_abandoned(cloud).await;
    let id = ids::uuid();
    let path = upload_path(cloud, &id);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).await.map_err(|error| io_error(folder, &error))?;
    }
    File::create(&path).await.map_err(|error| io_error(&path, &error))?;
    cloud.store().put(&id, &Upload { repository: repository_name.to_owned(), started_at: cloud.clock().now() });
    Ok(id)
}

/// Opens an upload for the next bytes, and says how many it has. The file is this caller's alone until it is closed: the last
/// write of a request whose connection broke may still be under way, and the length counts only behind it.
pub(crate) async fn resume(cloud: &Cloud, repository_name: &str, id: &str) -> Result<(File, u64), ApiError> {
    let known = cloud.store().get::<Upload>(id).is_some_and(|upload| upload.repository == repository_name);
    if !known {
        return Err(no_upload(repository_name, id));
    }
    let path = upload_path(cloud, id);
    let file = OpenOptions::new().append(true).open(&path).await.map_err(|error| io_error(&path, &error))?;
    let file = file.into_std().await;
    let begin = Instant::now();
    while let Err(error) = file.try_lock() {
        if begin.elapsed() > UPLOAD_PATIENCE {
            return Err(ApiError::new(
                "ServerException",
                format!("the upload {id} is in use by another request: {error}"),
            ));
        }
        sleep(Duration::from_millis(10)).await;
    }
    let length = file.metadata().map_err(|error| io_error(&path, &error))?.len();
    Ok((File::from_std(file), length))
}

/// Makes a complete upload a blob of the repository, if it has the digest it should have.
pub(crate) async fn finish(cloud: &Cloud, repository_name: &str, id: &str, digest: &str) -> Result<u64, ApiError> {
    let (file, size) = resume(cloud, repository_name, id).await?;
    drop(file);
    let Some(target) = cloud.blobs().path(digest) else {
        return Err(ApiError::new("InvalidParameterException", format!("'{digest}' is not a sha256 digest")));
    };
    let path = upload_path(cloud, id);
    let hashed = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || digest_of_file(&path)).await
    };
    let actual = hashed.map_err(ApiError::internal)?.map_err(|error| io_error(&path, &error))?;
    if actual != digest {
        cancel(cloud, repository_name, id).await?;
        return Err(ApiError::new(
            "InvalidLayerException",
            format!("Layer with digest '{actual}' was received, where '{digest}' was announced; the upload is dropped"),
        ));
    }
    fs::create_dir_all(cloud.blobs().folder()).await.map_err(|error| io_error(cloud.blobs().folder(), &error))?;
    fs::rename(&path, &target).await.map_err(|error| io_error(&target, &error))?;
    let _: Result<(), std::convert::Infallible> = cloud.store().write(|tx| {
        tx.put(&key(repository_name, digest), &Layer { size });
        tx.delete::<Upload>(id);
        Ok(())
    });
    Ok(size)
}

/// Drops an upload.
pub(crate) async fn cancel(cloud: &Cloud, repository_name: &str, id: &str) -> Result<(), ApiError> {
    resume(cloud, repository_name, id).await?;
    cloud.store().delete::<Upload>(id);
    let path = upload_path(cloud, id);
    fs::remove_file(&path).await.map_err(|error| io_error(&path, &error))
}

/// Gives a repository a blob that another one has; false when it has not.
pub(crate) fn mount(cloud: &Cloud, from: &str, to: &str, digest: &str) -> bool {
    let found = cloud.store().get::<Layer>(&key(from, digest));
    if let Some(layer) = &found {
        cloud.store().put(&key(to, digest), layer);
    }
    found.is_some()
}

/// The file and size of a repository's blob.
pub(crate) fn find(cloud: &Cloud, repository_name: &str, digest: &str) -> Option<(PathBuf, u64)> {
    let layer = cloud.store().get::<Layer>(&key(repository_name, digest))?;
    Some((cloud.blobs().path(digest)?, layer.size))
}

/// `sha256:…` of some bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn digest_of_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(format!("sha256:{}", hex(&hasher.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn upload_path(cloud: &Cloud, id: &str) -> PathBuf {
    // Ids come from our own records only, so they name no other file.
    cloud.data_dir().join("uploads").join(id)
}

async fn forget_abandoned(cloud: &Cloud) {
    for (id, upload) in cloud.store().all::<Upload>() {
        if cloud.clock().real_elapsed(upload.started_at) > UPLOAD_LIFETIME {
            let _ = cancel(cloud, &upload.repository, &id).await;
        }
    }
}

fn no_upload(repository_name: &str, id: &str) -> ApiError {
    ApiError::new(
        "UploadNotFoundException",
        format!(
            "The upload '{id}' could not be found in the repository with name '{repository_name}' in registry with id '{ACCOUNT}'"
        ),
    )
}

pub(super) fn io_error(path: &Path, error: &io::Error) -> ApiError {
    ApiError::internal(format_args!("cannot use {}: {error}", path.display()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Initiate {
    repository_name: String,
}

pub(super) async fn initiate_layer_upload(cloud: &Cloud, input: Initiate) -> Result<Value, ApiError> {
    let id = start(cloud, &input.repository_name).await?;
    Ok(json!({"uploadId": id, "partSize": 10 << 20}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadPart {
    repository_name: String,
    upload_id: String,
    part_first_byte: u64,
    part_last_byte: u64,
    layer_part_blob: String,
}

pub(super) async fn upload_layer_part(cloud: &Cloud, input: UploadPart) -> Result<Value, ApiError> {
    let (mut file, length) = resume(cloud, &input.repository_name, &input.upload_id).await?;
    let bytes = BASE64
        .decode(&input.layer_part_blob)
        .map_err(|error| ApiError::new("InvalidParameterException", format!("layerPartBlob is not base64: {error}")))?;
    let consistent = input.part_first_byte == length && input.part_last_byte + 1 == length + bytes.len() as u64;
    if !consistent {
        return Err(ApiError::new(
            "InvalidLayerPartException",
            format!(
                "The layer part for bytes {} to {} with {} bytes does not follow the {length} bytes received so far",
                input.part_first_byte,
                input.part_last_byte,
                bytes.len()
            ),
        ));
    }
    let path = upload_path(cloud, &input.upload_id);
    file.write_all(&bytes).await.map_err(|error| io_error(&path, &error))?;
    file.flush().await.map_err(|error| io_error(&path, &error))?;
    Ok(json!({
        "registryId": ACCOUNT,
        "repositoryName": input.repository_name,
        "uploadId": input.upload_id,
        "lastByteReceived": input.part_last_byte,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Complete {
    repository_name: String,
    upload_id: String,
    layer_digests: Vec<String>,
}

pub(super) async fn complete_layer_upload(cloud: &Cloud, input: Complete) -> Result<Value, ApiError> {
    let Some(digest) = input.layer_digests.first() else {
        return Err(ApiError::new("InvalidParameterException", "layerDigests is empty"));
    };
    let (_, length) = resume(cloud, &input.repository_name, &input.upload_id).await?;
    if length == 0 {
        return Err(ApiError::new("EmptyUploadException", "The upload has no bytes"));
    }
    if find(cloud, &input.repository_name, digest).is_some() {
        cancel(cloud, &input.repository_name, &input.upload_id).await?;
        return Err(ApiError::new(
            "LayerAlreadyExistsException",
            format!("Layer with digest '{digest}' already exists in the repository '{}'", input.repository_name),
        ));
    }
    finish(cloud, &input.repository_name, &input.upload_id, digest).await?;
    Ok(json!({
        "registryId": ACCOUNT,
        "repositoryName": input.repository_name,
        "uploadId": input.upload_id,
        "layerDigest": digest,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    repository_name: String,
    layer_digests: Vec<String>,
}

pub(super) fn batch_check_layer_availability(cloud: &Cloud, input: Check) -> Result<Value, ApiError> {
    repository(cloud, &input.repository_name)?;
    let (mut layers, mut failures) = (vec![], vec![]);
    for digest in &input.layer_digests {
        if cloud.blobs().path(digest).is_none() {
            failures.push(json!({
                "layerDigest": digest, "failureCode": "InvalidLayerDigest", "failureReason": "Invalid layer digest",
            }));
            continue;
        }
        layers.push(match find(cloud, &input.repository_name, digest) {
            Some((_, size)) => json!({"layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": size}),
            None => json!({"layerDigest": digest, "layerAvailability": "UNAVAILABLE"}),
        });
    }
    Ok(json!({"layers": layers, "failures": failures}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Download {
    repository_name: String,
    layer_digest: String,
}

pub(super) fn get_download_url_for_layer(cloud: &Cloud, input: Download) -> Result<Value, ApiError> {
    let Download { repository_name, layer_digest } = input;
    repository(cloud, &repository_name)?;
    if find(cloud, &repository_name, &layer_digest).is_none() {
        return Err(ApiError::new(
            "LayersNotFoundException",
            format!("Layers with digests '[{layer_digest}]' do not exist in the repository '{repository_name}'"),
        ));
    }
    let password = super::password(cloud);
    let url = format!("{}/v2/{repository_name}/blobs/{layer_digest}?password={password}", cloud.endpoint());
    Ok(json!({"downloadUrl": url, "layerDigest": layer_digest}))
}
