//! Images: manifests, their tags, and what may become of them.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::fs;

use super::layers::{digest_of, io_error};
use super::records::{Image, Layer, Repository, key, no_repository, repository};
use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::ids;
use crate::services::paging::page;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
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

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageId {
    image_digest: Option<String>,
    image_tag: Option<String>,
}

impl ImageId {
    pub(super) fn value(&self) -> Value {
        let mut value = json!({});
        if let Some(digest) = &self.image_digest {
            value["imageDigest"] = json!(digest);
        }
        if let Some(tag) = &self.image_tag {
            value["imageTag"] = json!(tag);
        }
        value
    }

    /// The image, or the code and reason of the failure that batch operations report.
    fn resolve(&self, cloud: &Cloud, repository_name: &str) -> Result<Image, (&'static str, &'static str)> {
        let reference = match (&self.image_digest, &self.image_tag) {
            (Some(digest), _) if cloud.blobs().path(digest).is_none() => {
                return Err((
                    "InvalidImageDigest",
                    "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
                ));
            }
            (Some(digest), _) => digest,
            (None, Some(tag)) => tag,
            (None, None) => {
                return Err(("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"));
            }
        };
        let image = find(cloud, repository_name, reference).ok_or(("ImageNotFound", "Requested image not found"))?;
        match &self.image_tag {
            Some(tag) if !image.tags.contains(tag) => {
                Err(("ImageTagDoesNotMatchDigest", "Requested image digest does not match its tag"))
            }
            _ => Ok(image),
        }
    }

    pub(super) fn required(&self, cloud: &Cloud, repository_name: &str) -> Result<Image, ApiError> {
        self.resolve(cloud, repository_name).map_err(|_| {
            let show = |part: &Option<String>| part.clone().unwrap_or_else(|| "null".to_owned());
            ApiError::new(
                "ImageNotFoundException",
                format!(
                    "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist within the repository with name '{repository_name}' in the registry with id '{ACCOUNT}'",
                    show(&self.image_digest),
                    show(&self.image_tag)
                ),
            )
        })
    }

    fn failure(&self, (code, reason): (&str, &str)) -> Value {
        json!({"imageId": self.value(), "failureCode": code, "failureReason": reason})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutImage {
    repository_name: String,
    image_manifest: String,
    image_manifest_media_type: Option<String>,
    image_tag: Option<String>,
    image_digest: Option<String>,
}

pub(super) async fn put_image(cloud: &Cloud, input: PutImage) -> Result<Value, ApiError> {
    let new = NewImage {
        repository: &input.repository_name,
        manifest: input.image_manifest.as_bytes(),
        media_type: input.image_manifest_media_type.as_deref(),
        tag: input.image_tag.as_deref(),
        digest: input.image_digest.as_deref(),
    };
    let digest = match put(cloud, new).await? {
        Put::Changed(digest) => digest,
        Put::Same(digest) => {
            let tag = input.image_tag.as_ref().map(|tag| format!(" and tag '{tag}'")).unwrap_or_default();
            return Err(ApiError::new(
                "ImageAlreadyExistsException",
                format!(
                    "Image with digest '{digest}'{tag} already exists in the repository with name '{}' in registry with id '{ACCOUNT}'",
                    input.repository_name
                ),
            ));
        }
    };
    let image = find(cloud, &input.repository_name, &digest)
        .ok_or_else(|| ApiError::internal("the image was deleted while it was put"))?;
    let id = ImageId { image_digest: Some(digest), image_tag: input.image_tag };
    Ok(json!({"image": view(&image, &id, input.image_manifest)}))
}

fn view(image: &Image, id: &ImageId, manifest: String) -> Value {
    let mut id = id.value();
    id["imageDigest"] = json!(image.digest);
    json!({
        "registryId": ACCOUNT,
        "repositoryName": image.repository,
        "imageId": id,
        "imageManifest": manifest,
        "imageManifestMediaType": image.media_type,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageIds {
    repository_name: String,
    image_ids: Vec<ImageId>,
}

pub(super) async fn batch_get_image(cloud: &Cloud, input: ImageIds) -> Result<Value, ApiError> {
    repository(cloud, &input.repository_name)?;
    let (mut images, mut failures) = (vec![], vec![]);
    for id in &input.image_ids {
        match id.resolve(cloud, &input.repository_name) {
            Ok(image) => {
                let bytes = manifest(cloud, &image).await?;
                images.push(view(&image, id, String::from_utf8_lossy(&bytes).into_owned()));
            }
            Err(failure) => failures.push(id.failure(failure)),
        }
    }
    Ok(json!({"images": images, "failures": failures}))
}

pub(super) fn batch_delete_image(cloud: &Cloud, input: ImageIds) -> Result<Value, ApiError> {
    repository(cloud, &input.repository_name)?;
    let (mut deleted, mut failures) = (vec![], vec![]);
    for id in &input.image_ids {
        let image = match id.resolve(cloud, &input.repository_name) {
            Ok(image) => image,
            Err(failure) => {
                failures.push(id.failure(failure));
                continue;
            }
        };
        let image_key = key(&image.repository, &image.digest);
        // A tag alone removes the tag; the image goes with its last one.
        let by_tag = if id.image_digest.is_none() { id.image_tag.clone() } else { None };
        if let Some(tag) = by_tag.as_ref().filter(|_| image.tags.len() > 1) {
            cloud.store().update::<Image>(&image_key, |image| image.tags.retain(|existing| existing != tag));
            deleted.push(json!({"imageDigest": image.digest, "imageTag": tag}));
            continue;
        }
        let holder = in_repository(cloud, &input.repository_name)
            .into_iter()
            .find(|other| other.members.contains(&image.digest));
        if holder.is_some() {
            failures.push(
                id.failure(("ImageReferencedByManifestList", "Requested image is referenced by a manifest list")),
            );
            continue;
        }
        cloud.store().delete::<Image>(&image_key);
        if image.tags.is_empty() {
            deleted.push(json!({"imageDigest": image.digest}));
        }
        for tag in &image.tags {
            deleted.push(json!({"imageDigest": image.digest, "imageTag": tag}));
        }
    }
    Ok(json!({"imageIds": deleted, "failures": failures}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    repository_name: String,
    image_ids: Option<Vec<ImageId>>,
    next_token: Option<String>,
    max_results: Option<usize>,
    filter: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    tag_status: Option<TagStatus>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum TagStatus {
    Tagged,
    Untagged,
    Any,
}

impl List {
    fn selected(&self, cloud: &Cloud) -> Result<Vec<Image>, ApiError> {
        let mut images = in_repository(cloud, &self.repository_name);
        if let Some(ids) = &self.image_ids {
            images = ids.iter().map(|id| id.required(cloud, &self.repository_name)).collect::<Result<_, _>>()?;
        }
        match self.filter.as_ref().and_then(|filter| filter.tag_status).unwrap_or(TagStatus::Any) {
            TagStatus::Tagged => images.retain(|image| !image.tags.is_empty()),
            TagStatus::Untagged => images.retain(|image| image.tags.is_empty()),
            TagStatus::Any => {}
        }
        Ok(images)
    }

    fn page(&self, items: Vec<Value>, member: &str) -> Result<Value, ApiError> {
        let limit = self.max_results.unwrap_or(100);
        let (items, next) = page(items, limit, self.next_token.as_deref(), "InvalidParameterException")?;
        let mut output = json!({member: items});
        if let Some(next) = next {
            output["nextToken"] = json!(next);
        }
        Ok(output)
    }
}

pub(super) fn list_images(cloud: &Cloud, input: List) -> Result<Value, ApiError> {
    repository(cloud, &input.repository_name)?;
    let mut ids = vec![];
    for image in input.selected(cloud)? {
        if image.tags.is_empty() {
            ids.push(json!({"imageDigest": image.digest}));
        }
        for tag in &image.tags {
            ids.push(json!({"imageDigest": image.digest, "imageTag": tag}));
        }
    }
    input.page(ids, "imageIds")
}

pub(super) fn describe_images(cloud: &Cloud, input: List) -> Result<Value, ApiError> {
    repository(cloud, &input.repository_name)?;
    let detail = |image: Image| {
        let mut detail = json!({
            "registryId": ACCOUNT,
            "repositoryName": image.repository,
            "imageDigest": image.digest,
            "imageSizeInBytes": image.size,
            "imagePushedAt": image.pushed_at,
            "imageManifestMediaType": image.media_type,
        });
        if !image.tags.is_empty() {
            detail["imageTags"] = json!(image.tags);
        }
        if let Some(artifact_type) = &image.artifact_type {
            detail["artifactMediaType"] = json!(artifact_type);
        }
        if let Some(subject) = &image.subject {
            detail["subjectManifestDigest"] = json!(subject);
        }
        detail
    };
    let details = input.selected(cloud)?.into_iter().map(detail).collect();
    input.page(details, "imageDetails")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Scan {
    repository_name: String,
    image_id: ImageId,
}

/// There is no scanner here, and an answer must not look as if there were one.
pub(super) fn start_image_scan(cloud: &Cloud, input: Scan) -> Result<Value, ApiError> {
    repository(cloud, &input.repository_name)?;
    input.image_id.required(cloud, &input.repository_name)?;
    Err(ApiError::unsupported("scanning images (ecr StartImageScan)"))
}

pub(super) fn describe_image_scan_findings(cloud: &Cloud, input: Scan) -> Result<Value, ApiError> {
    repository(cloud, &input.repository_name)?;
    let image = input.image_id.required(cloud, &input.repository_name)?;
    Err(ApiError::new(
        "ScanNotFoundException",
        format!(
            "Image scan does not exist for the image with digest '{}' in the repository with name '{}': the embedded endpoint has no scanner",
            image.digest, input.repository_name
        ),
    ))
}
