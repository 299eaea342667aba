//! What is attached to an image: artifacts whose `subject` it is (OCI 1.1 referrers).
//!
//! A registry that knows referrers says so in its answer and lists them itself. For one that does not, the specification's
//! fallback is an index under the tag `sha256-<hex>`, which whoever attaches something keeps up to date.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#unavailable-referrers-api>

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::HeaderName;
use http::{Method, StatusCode};

use super::client::{check_digest, protocol};
use super::{Registry, RegistryError};
use crate::assemble::Blob;
use crate::digest::Digest;
use crate::error::Error;
use crate::oci::{Descriptor, EMPTY, INDEX, Index, MANIFEST, Manifest};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// Something about an image, ready to be attached to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its manifest; `subject` is the image.
    pub manifest: Blob,
    /// What the manifest points at.
    pub blobs: Vec<Blob>,
    /// How a list of referrers names it.
    pub descriptor: Descriptor,
}

impl Artifact {
    /// An artifact of one document about the image `subject`.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn new(
        artifact_type: &str,
        subject: &Descriptor,
        content: Blob,
        annotations: BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let config = Blob::new(EMPTY, Bytes::from_static(b"{}"));
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: Some(artifact_type.to_owned()),
            config: config.descriptor.clone(),
            layers: vec![content.descriptor.clone()],
            subject: Some(Descriptor { annotations: BTreeMap::new(), ..subject.clone() }),
            annotations: annotations.clone(),
        };
        let manifest = Blob::new(MANIFEST, serde_json::to_vec(&manifest).map_err(Error::Serialize)?);
        let artifact_type = Some(artifact_type.to_owned());
        let descriptor = Descriptor { artifact_type, annotations, ..manifest.descriptor.clone() };
        Ok(Self { manifest, blobs: vec![content, config], descriptor })
    }
}

/// The tag under which a registry without referrers lists what is attached to an image.
#[must_use]
pub fn fallback_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

impl Registry<'_> {
    /// Attaches artifacts to an image. Those of one image are best attached by one call: where the fallback tag is needed,
    /// it is then written once, which also an immutable repository allows.
    ///
    /// # Errors
    /// The registry refuses, lies or cannot be reached.
    pub async fn attach(&self, subject: &Digest, artifacts: &[Artifact]) -> Result<(), RegistryError> {
        let mut unlisted = Vec::new();
        for artifact in artifacts {
            for blob in &artifact.blobs {
                self.put_blob(blob).await?;
            }
            let digest = artifact.manifest.digest();
            let action = format!("the upload of {digest}");
            let answer = self.send_manifest(digest.as_str(), &artifact.manifest).await?;
            if answer.status != StatusCode::CREATED {
                return Err(self.refused(action, &answer));
            }
            check_digest(&answer, digest, action)?;
            if !answer.headers.contains_key(SUBJECT) {
                unlisted.push(artifact.descriptor.clone());
            }
        }
        if unlisted.is_empty() { Ok(()) } else { self.list_in_tag(subject, unlisted).await }
    }

    /// What is attached to an image, by its digest; nothing if the image itself is not there.
    ///
    /// # Errors
    /// The registry refuses or cannot be reached, or sends something else than an index.
    pub async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        let action = format!("the list of what is attached to {subject}");
        let answer = self.call(self.request(Method::GET, &format!("referrers/{subject}"))?, &action).await?;
        match answer.status {
            StatusCode::OK => {
                Index::parse(&answer.body).map(|index| index.manifests).map_err(|reason| protocol(&action, reason))
            }
            // 404 is "no such API" here: a registry that has it answers with an empty list. Some say 405 or 501.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Ok(self.listed_in_tag(subject).await?.map(|index| index.manifests).unwrap_or_default())
            }
            _ => Err(self.refused(action, &answer)),
        }
    }

    /// The content of the first artifact of this type that is attached to an image.
    ///
    /// # Errors
    /// As for [`Registry::referrers`], and for its parts.
    pub async fn document(&self, subject: &Digest, artifact_type: &str) -> Result<Option<Blob>, RegistryError> {
        let attached = self.referrers(subject).await?;
        let found = attached.iter().find(|artifact| artifact.artifact_type.as_deref() == Some(artifact_type));
        let Some(artifact) = found else { return Ok(None) };
        let manifest = self.get_manifest(&artifact.digest).await?;
        let action = format!("the download of {}", artifact.digest);
        let manifest = Manifest::parse(&manifest.bytes).map_err(|reason| protocol(&action, reason))?;
        match manifest.layers.first() {
            Some(content) => self.get_blob(content).await.map(Some),
            None => Ok(None),
        }
    }

    async fn listed_in_tag(&self, subject: &Digest) -> Result<Option<Index>, RegistryError> {
        let tag = fallback_tag(subject);
        let action = format!("the download of `{tag}`");
        let answer = self.call(self.manifest_request(Method::GET, &tag)?, &action).await?;
        match answer.status {
            StatusCode::OK => Index::parse(&answer.body).map(Some).map_err(|reason| protocol(&action, reason)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refused(action, &answer)),
        }
    }

    async fn list_in_tag(&self, subject: &Digest, added: Vec<Descriptor>) -> Result<(), RegistryError> {
        let mut manifests = self.listed_in_tag(subject).await?.map(|index| index.manifests).unwrap_or_default();
        let before = manifests.len();
        for descriptor in added {
            if manifests.iter().all(|listed| listed.digest != descriptor.digest) {
                manifests.push(descriptor);
            }
        }
        if manifests.len() == before {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&Index::new(manifests)).map_err(|error| protocol("an index", error))?;
        self.put_manifest(&fallback_tag(subject), &Blob::new(INDEX, bytes)).await
    }
}
