//! Images of the endpoint's own registry.

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::Service;

/// An image that the registry has.
pub(super) struct Image {
    /// `<registry>/<repository>`.
    pub(super) repository: String,
    pub(super) digest: String,
    pub(super) manifest: Value,
    /// What the task definition calls it, for messages.
    pub(super) reference: String,
}

impl Image {
    /// Why a task cannot have this image, as ECS says it.
    pub(super) fn unusable(&self, reason: &str) -> ApiError {
        cannot_pull(&self.reference, reason)
    }
}

fn cannot_pull(reference: &str, reason: &str) -> ApiError {
    ApiError::new("CannotPullContainerError", format!("{reference}: {reason}"))
}

/// Looks an image up by tag or digest.
pub(super) async fn find(cloud: &Cloud, reference: &str) -> Result<Image, ApiError> {
    let failed = |reason: &str| cannot_pull(reference, reason);
    let (registry, rest) = reference.split_once('/').ok_or_else(|| failed("it names no registry"))?;
    let own = cloud.settings().listen.to_string();
    if registry != own {
        return Err(failed(&format!("the embedded endpoint runs images of its own registry only, {own}")));
    }
    let (repository, id) = match (rest.split_once('@'), rest.rsplit_once(':')) {
        (Some((repository, digest)), _) => (repository, json!({ "imageDigest": digest })),
        (None, Some((repository, tag))) => (repository, json!({ "imageTag": tag })),
        (None, None) => return Err(failed("it has neither a tag nor a digest")),
    };
    let found = cloud
        .call(Service::Ecr, "BatchGetImage", json!({ "repositoryName": repository, "imageIds": [id] }))
        .await
        .map_err(|error| failed(&error.message))?;
    let image = &found["images"][0];
    let Some(manifest) = image["imageManifest"].as_str() else {
        return Err(failed(found["failures"][0]["failureReason"].as_str().unwrap_or("image not found")));
    };
    Ok(Image {
        repository: format!("{registry}/{repository}"),
        digest: image["imageId"]["imageDigest"].as_str().unwrap_or_default().to_owned(),
        manifest: serde_json::from_str(manifest).map_err(|error| failed(&error.to_string()))?,
        reference: reference.to_owned(),
    })
}
