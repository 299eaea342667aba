//! Pushing: blobs that are missing, then the manifest under each tag.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;

use super::client::{check_digest, protocol};
use super::error::message;
use super::{Registry, RegistryError, Sent};
use crate::assemble::{Blob, Image};
use crate::digest::Digest;
use crate::oci::{Labelled, Manifest};
use crate::progress::Step;
use crate::tag::Tag;

/// What a push did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Blobs that were sent.
    pub uploaded: usize,
    /// Blobs that the registry took from another repository.
    pub mounted: usize,
    /// Tags that were set; the others named the image already.
    pub tagged: usize,
}

impl Registry<'_> {
    /// Pushes an image under these tags. The manifest is the last thing sent, so that nothing is half there.
    ///
    /// # Errors
    /// The registry refuses, lies or cannot be reached, or a tag names another image and may not move.
    pub async fn push(&self, image: &Image, tags: &[Tag]) -> Result<Pushed, RegistryError> {
        let ours = image.digest();
        let mut pushed = Pushed::default();
        let mut missing = Vec::new();
        for tag in tags {
            match self.find_manifest(tag.as_str()).await? {
                Some(existing) if existing == *ours => (self.progress)(Step::TagPresent { tag }),
                other => missing.push((tag, other)),
            }
        }
        // A tag that names the image is proof that all of its blobs are there.
        if missing.len() == tags.len() {
            self.put_blobs(image, &mut pushed).await?;
            // Attached before any tag names the image, so that a tag is proof of this too; a registry may want to know the
            // image first.
            if !image.artifacts.is_empty() {
                self.put_manifest(ours.as_str(), &image.manifest).await?;
                self.attach(ours, &image.artifacts).await?;
            }
        }
        for (tag, existing) in missing {
            let mut attempt = 1;
            while let Err(error) = self.set_tag(tag, &image.manifest, existing.as_ref()).await {
                // A registry that somebody else pushes the same blobs to at this moment may lose sight of them for a while
                // (seen with docker-registry 2.8, which writes its links in place).
                let RegistryError::BlobUnknown { action, message } = error else { return Err(error) };
                self.pause_or_give_up(attempt, &action, message, None).await?;
                self.put_blobs(image, &mut pushed).await?;
                attempt += 1;
            }
            pushed.tagged += 1;
        }
        Ok(pushed)
    }

    async fn put_blobs(&self, image: &Image, pushed: &mut Pushed) -> Result<(), RegistryError> {
        let uploads: Vec<_> = image.blobs.iter().map(|blob| self.put_blob(blob)).collect();
        let mut uploads = stream::iter(uploads).buffer_unordered(self.options.parallel);
        while let Some(sent) = uploads.try_next().await? {
            match sent {
                Sent::Present => {}
                Sent::Mounted => pushed.mounted += 1,
                Sent::Uploaded => pushed.uploaded += 1,
            }
        }
        Ok(())
    }

    /// Gives an image that is in the repository one more tag; nothing is uploaded but its manifest.
    ///
    /// # Errors
    /// The image is not there, or the tag names another one and may not move.
    pub async fn add_tag(&self, digest: &Digest, tag: &Tag) -> Result<(), RegistryError> {
        let existing = self.find_manifest(tag.as_str()).await?;
        if existing.as_ref() == Some(digest) {
            (self.progress)(Step::TagPresent { tag });
            return Ok(());
        }
        let manifest = self.get_manifest(digest).await?;
        if tag.is_release() && self.is_dirty(&manifest).await? {
            return Err(RegistryError::Dirty { tag: tag.clone(), digest: digest.clone() });
        }
        self.set_tag(tag, &manifest, existing.as_ref()).await
    }

    /// Whether an image was built of uncommitted changes, which its configuration says.
    async fn is_dirty(&self, manifest: &Blob) -> Result<bool, RegistryError> {
        let action = "the look at the image's revision";
        let manifest = Manifest::parse(&manifest.bytes).map_err(|error| protocol(action, error))?;
        let configuration = self.get_blob(&manifest.config).await?;
        let labelled: Labelled =
            serde_json::from_slice(&configuration.bytes).map_err(|error| protocol(action, error))?;
        Ok(labelled.revision().is_some_and(|revision| revision.contains("-dirty-")))
    }

    async fn set_tag(&self, tag: &Tag, manifest: &Blob, existing: Option<&Digest>) -> Result<(), RegistryError> {
        let ours = manifest.digest();
        let answer = self.send_manifest(tag.as_str(), manifest).await?;
        if answer.status == StatusCode::CREATED {
            check_digest(&answer, ours, format!("the tag `{tag}`"))?;
            (self.progress)(Step::Tagged { tag, moved_from: existing });
            return Ok(());
        }
        let words = message(&answer.body);
        if words.contains("MANIFEST_BLOB_UNKNOWN") {
            return Err(RegistryError::BlobUnknown { action: format!("the tag `{tag}`"), message: words });
        }
        // An immutable repository refuses every PUT on an existing tag; the same image under it is what was wanted
        // (somebody else pushed the same commit a moment ago).
        if answer.status.is_client_error() && answer.status != StatusCode::NOT_FOUND {
            match self.find_manifest(tag.as_str()).await? {
                Some(current) if current == *ours => {
                    (self.progress)(Step::TagPresent { tag });
                    return Ok(());
                }
                Some(current) => {
                    return Err(RegistryError::TagConflict {
                        tag: tag.clone(),
                        existing: current,
                        ours: ours.clone(),
                        message: words,
                    });
                }
                None => {}
            }
        }
        Err(self.refused(format!("the tag `{tag}`"), &answer))
    }
}
