//! Pulling: every byte is checked against the digest it was asked for by.

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};

use super::client::protocol;
use super::reference::Version;
use super::{Registry, RegistryError};
use crate::assemble::{Blob, Image};
use crate::digest::Digest;
use crate::oci::{self, Descriptor, Manifest};

/// No manifest is larger, by the distribution specification's own advice.
const LARGEST_MANIFEST: u64 = 4 << 20;

impl Registry<'_> {
    /// The digest that a tag or a digest names.
    ///
    /// # Errors
    /// There is no such image, or the registry refuses or cannot be reached.
    pub async fn resolve(&self, version: &Version) -> Result<Digest, RegistryError> {
        match version {
            Version::Digest(digest) => Ok(digest.clone()),
            Version::Tag(tag) => self.find_manifest(tag.as_str()).await?.ok_or_else(|| RegistryError::UnknownTag {
                repository: self.repository.to_string(),
                tag: tag.to_string(),
            }),
        }
    }

    /// A manifest by its digest, checked byte for byte.
    ///
    /// # Errors
    /// It is not there, or the registry sends other bytes, refuses or cannot be reached.
    pub async fn get_manifest(&self, digest: &Digest) -> Result<Blob, RegistryError> {
        let action = format!("the download of {digest}");
        let mut request = self.manifest_request(Method::GET, digest.as_str())?;
        request.largest_answer = LARGEST_MANIFEST;
        let answer = self.call(request, &action).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                let repository = self.repository.to_string();
                return Err(RegistryError::UnknownManifest { repository, digest: digest.clone() });
            }
            _ => return Err(self.refused(action, &answer)),
        }
        let media_type =
            answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or(oci::MANIFEST);
        checked(Blob::new(media_type, answer.body), digest, action)
    }

    /// A blob by its descriptor, checked byte for byte. One that is larger than it should be is not read to its end.
    ///
    /// # Errors
    /// It is not there, or the registry sends other bytes, refuses or cannot be reached.
    pub async fn get_blob(&self, descriptor: &Descriptor) -> Result<Blob, RegistryError> {
        let action = format!("the download of blob {}", descriptor.digest.short());
        let mut request = self.request(Method::GET, &format!("blobs/{}", descriptor.digest))?;
        request.largest_answer = descriptor.size;
        let answer = self.call(request, &action).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(action, &answer));
        }
        checked(Blob::new(&descriptor.media_type, answer.body), &descriptor.digest, action)
    }

    /// A whole image by its digest.
    ///
    /// # Errors
    /// As for its parts; or what the digest names is no image.
    pub async fn pull(&self, digest: &Digest) -> Result<Image, RegistryError> {
        let manifest = self.get_manifest(digest).await?;
        let parsed = Manifest::parse(&manifest.bytes)
            .map_err(|reason| protocol(&format!("the download of {digest}"), reason))?;
        let mut blobs = Vec::new();
        for descriptor in parsed.layers.iter().chain([&parsed.config]) {
            blobs.push(self.get_blob(descriptor).await?);
        }
        Ok(Image { manifest, blobs, artifacts: Vec::new() })
    }
}

fn checked(blob: Blob, expected: &Digest, action: String) -> Result<Blob, RegistryError> {
    if blob.digest() == expected {
        return Ok(blob);
    }
    Err(RegistryError::Corrupted { action, expected: expected.clone(), received: blob.digest().clone() })
}
