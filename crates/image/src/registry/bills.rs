//! The bill of materials of an image that is in a registry.

use bytes::Bytes;
use serde::Deserialize;

use super::Registry;
use crate::auditable;
use crate::digest::Digest;
use crate::error::Error;
use crate::progress::Step;
use crate::sbom::{self, Format, Subject};

impl Registry<'_> {
    /// The bill of materials that is attached to an image; one made from the list in its binary if there is none.
    ///
    /// # Errors
    /// There is neither, or the registry refuses, lies or cannot be reached.
    pub async fn bill_of_materials(&self, digest: &Digest, format: Format) -> Result<Bytes, Error> {
        if let Some(document) = self.document(digest, format.media_type()).await? {
            return Ok(document.bytes);
        }
        #[derive(Deserialize)]
        struct Configuration {
            created: String,
        }
        let image = self.pull(digest).await?;
        let dependencies = auditable::of_image(&image)?.ok_or_else(|| Error::NoBill(digest.clone()))?;
        (self.progress)(Step::BillFromBinary);
        let config = image.blobs.last().map(|blob| blob.bytes.as_ref()).unwrap_or_default();
        let Configuration { created } = serde_json::from_slice(config)
            .map_err(|error| Error::Unreadable { digest: digest.clone(), reason: error.to_string() })?;
        let name = dependencies.root().map_or(self.repository.name(), |root| &root.name);
        let subject = Subject { name, digest, created: &created };
        Ok(sbom::write(format, &dependencies, &subject)?.into())
    }
}
