//! The image operations of the ECR API.

use serde::Deserialize;
use serde_json::{Value, json};

use super::images::{NewImage, Put, find, in_repository, manifest, put};
use super::records::{Image, key, repository};
use super::scans::Scan;
use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::services::paging::page;

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

    /// The image's id in answers about it: always with its digest.
    pub(super) fn value_of(&self, image: &Image) -> Value {
        let mut value = self.value();
        value["imageDigest"] = json!(image.digest);
        value
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
        cloud.store().delete::<Scan>(&image_key);
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
