//! Images: manifests and their tags, as both the ECR API and the registry HTTP API put and find them.

use serde_json::{Value, json};
use tokio::fs;

use super::layers::{digest_of, io_error};
use super::records::{Image, Layer, Repository, key, no_repository, repository};
use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::ids;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The largest manifest ECR and registries accept.
pub(crate) const MAX_MANIFEST: usize = 4 << 20;

/// A manifest to be put.
pub(crate) struct NewImage<'a> {
    pub(crate) repository: &'a str,
    pub(crate) manifest: &'a [u8],
    pub(crate) media_type: Option<&'a str>,
    pub(crate) tag: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
}

/// What putting a manifest has changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// The image or its tag is new.
    Changed(String),
    /// The repository had exactly this already.
    Same(String),
}

/// Puts a manifest; everything it refers to must be there.
pub(crate) async fn put(cloud: &Cloud, new: NewImage<'_>) -> Result<Put, ApiError> {
    repository(cloud, new.repository)?;
    let digest = digest_of(new.manifest);
    if let Some(announced) = new.digest.filter(|announced| *announced != digest) {
        return Err(ApiError::new(
            "ImageDigestDoesNotMatchException",
            format!("The manifest has the digest '{digest}', where '{announced}' was announced"),
        ));
    }
    let image = read_manifest(cloud, &new, &digest)?;
    write_blob(cloud, &digest, new.manifest).await?;
    cloud.store().write(|tx| {
        let repository = tx.get::<Repository>(new.repository).ok_or_else(|| no_repository(new.repository))?;
        let image_key = key(new.repository, &digest);
        let existing = tx.get::<Image>(&image_key);
        let exists = existing.is_some();
        let mut image = existing.unwrap_or(image);
        let Some(tag) = new.tag else {
            if exists {
                return Ok(Put::Same(digest));
            }
            tx.put(&image_key, &image);
            return Ok(Put::Changed(digest));
        };
        if image.tags.iter().any(|existing| existing == tag) {
            return Ok(Put::Same(digest));
        }
        let holder = tx
            .all::<Image>()
            .into_iter()
            .find(|(_, other)| other.repository == new.repository && other.tags.iter().any(|existing| existing == tag));
        if let Some((holder_key, mut holder)) = holder {
            if !repository.may_move(tag) {
                return Err(ApiError::new(
                    "ImageTagAlreadyExistsException",
                    format!(
                        "The image tag '{tag}' already exists in the '{}' repository (on {}, not on {digest}) and cannot be overwritten because the tag is immutable.",
                        new.repository, holder.digest
                    ),
                ));
            }
            holder.tags.retain(|existing| existing != tag);
            tx.put(&holder_key, &holder);
        }
        image.tags.push(tag.to_owned());
        image.tags.sort();
        tx.put(&image_key, &image);
        Ok(Put::Changed(digest))
    })
}

/// The image with a tag or digest.
pub(crate) fn find(cloud: &Cloud, repository_name: &str, reference: &str) -> Option<Image> {
    if reference.contains(':') {
        return cloud.store().get(&key(repository_name, reference));
    }
    let tagged = |image: &Image| image.repository == repository_name && image.tags.iter().any(|tag| tag == reference);
    cloud.store().find(tagged).into_iter().next()
}

/// The bytes of an image's manifest.
pub(crate) async fn manifest(cloud: &Cloud, image: &Image) -> Result<Vec<u8>, ApiError> {
    let path = cloud.blobs().path(&image.digest).ok_or_else(|| ApiError::internal("a stored digest is malformed"))?;
    fs::read(&path).await.map_err(|error| io_error(&path, &error))
}

/// What is attached to an image, as descriptors. None of an image that is not there.
pub(crate) async fn referrers(cloud: &Cloud, repository_name: &str, subject: &str) -> Result<Vec<Value>, ApiError> {
    let mut descriptors = vec![];
    for image in in_repository(cloud, repository_name) {
        if image.subject.as_deref() != Some(subject) {
            continue;
        }
        let bytes = manifest(cloud, &image).await?;
        let mut descriptor = json!({"mediaType": image.media_type, "digest": image.digest, "size": bytes.len()});
        if let Some(artifact_type) = &image.artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        let manifest: Value = serde_json::from_slice(&bytes).map_err(ApiError::internal)?;
        if manifest["annotations"].is_object() {
            descriptor["annotations"] = manifest["annotations"].clone();
        }
        descriptors.push(descriptor);
    }
    Ok(descriptors)
}

/// All tags of a repository, sorted.
pub(crate) fn tags(cloud: &Cloud, repository_name: &str) -> Vec<String> {
    let mut tags: Vec<String> =
        in_repository(cloud, repository_name).into_iter().flat_map(|image| image.tags).collect();
    tags.sort();
    tags
}

pub(super) fn in_repository(cloud: &Cloud, repository_name: &str) -> Vec<Image> {
    cloud.store().find(|image: &Image| image.repository == repository_name)
}

fn read_manifest(cloud: &Cloud, new: &NewImage<'_>, digest: &str) -> Result<Image, ApiError> {
    let invalid = |reason: &str| {
        ApiError::new(
            "InvalidParameterException",
            format!("Invalid parameter at 'ImageManifest' failed to satisfy constraint: '{reason}'"),
        )
    };
    let manifest: Value = serde_json::from_slice(new.manifest).map_err(|_| invalid("must be JSON"))?;
    let stated = manifest["mediaType"].as_str();
    let guessed = if manifest.get("manifests").is_some() { OCI_INDEX } else { OCI_MANIFEST };
    let media_type = new.media_type.or(stated).unwrap_or(guessed);
    if stated.is_some_and(|stated| stated != media_type) {
        return Err(invalid("must have the media type it is put with"));
    }
    let digests_of = |descriptors: &Value| -> Option<Vec<String>> {
        descriptors.as_array()?.iter().map(|item| item["digest"].as_str().map(str::to_owned)).collect()
    };
    let (mut size, mut members) = (0, vec![]);
    match media_type {
        OCI_MANIFEST | DOCKER_MANIFEST => {
            let config = manifest["config"]["digest"].as_str().ok_or_else(|| invalid("must name a configuration"))?;
            let mut digests = digests_of(&manifest["layers"]).ok_or_else(|| invalid("must list its layers"))?;
            digests.push(config.to_owned());
            let mut missing = vec![];
            for blob in digests {
                match cloud.store().get::<Layer>(&key(new.repository, &blob)) {
                    Some(layer) => size += layer.size,
                    None => missing.push(blob),
                }
            }
            if !missing.is_empty() {
                return Err(ApiError::new(
                    "LayersNotFoundException",
                    format!(
                        "Layers with digests '[{}]' required for pushing image into repository with name '{}' in the registry with id '{ACCOUNT}' do not exist",
                        missing.join(", "),
                        new.repository
                    ),
                ));
            }
        }
        OCI_INDEX | DOCKER_LIST => {
            members = digests_of(&manifest["manifests"]).ok_or_else(|| invalid("must list its manifests"))?;
            let missing: Vec<&str> = members
                .iter()
                .filter(|member| cloud.store().get::<Image>(&key(new.repository, member)).is_none())
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                return Err(ApiError::new(
                    "ReferencedImagesNotFoundException",
                    format!("Images with digests '[{}]' required for pushing image do not exist", missing.join(", ")),
                ));
            }
        }
        _ => return Err(invalid("must have a media type of an image manifest or index")),
    }
    let artifact_type = manifest["artifactType"].as_str().or(manifest["config"]["mediaType"].as_str());
    Ok(Image {
        repository: new.repository.to_owned(),
        digest: digest.to_owned(),
        media_type: media_type.to_owned(),
        artifact_type: artifact_type.map(str::to_owned),
        subject: manifest["subject"]["digest"].as_str().map(str::to_owned),
        tags: vec![],
        pushed_at: cloud.clock().now(),
        size,
        members,
    })
}

async fn write_blob(cloud: &Cloud, digest: &str, bytes: &[u8]) -> Result<(), ApiError> {
    let path = cloud.blobs().path(digest).ok_or_else(|| ApiError::internal("a computed digest is malformed"))?;
    let folder = cloud.blobs().folder();
    fs::create_dir_all(folder).await.map_err(|error| io_error(folder, &error))?;
    let temporary = folder.join(format!("{}.new", ids::uuid()));
    fs::write(&temporary, bytes).await.map_err(|error| io_error(&temporary, &error))?;
    fs::rename(&temporary, &path).await.map_err(|error| io_error(&path, &error))
}
