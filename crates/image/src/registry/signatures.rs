//! Signing an image that is in a registry, and checking who signed it.

use super::Registry;
use super::client::protocol;
use crate::assemble::Blob;
use crate::digest::Digest;
use crate::error::Error;
use crate::key::VerificationKey;
use crate::oci::{Descriptor, Manifest};
use crate::signature::{self, SignatureError};
use crate::signer::Signer;

/// No payload is larger; what claims to be is not downloaded.
const LARGEST_PAYLOAD: u64 = 64 << 10;

/// What signing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// The signature is new.
    Now,
    /// The same signature was there.
    Before,
}

impl Registry<'_> {
    /// Signs an image, beside the signatures it has already.
    ///
    /// # Errors
    /// The image is not there, the key cannot be used, or the registry refuses; an immutable repository refuses a second
    /// signature, because it would move the signatures' tag.
    pub async fn sign(&self, digest: &Digest, signer: &Signer) -> Result<Signed, Error> {
        // Only what is there can be signed.
        self.get_manifest(digest).await?;
        let payload = signature::payload(&self.repository.to_string(), digest)?;
        let signature = signer.sign(&payload).await?;
        let layer = signature::layer(payload, &signature);
        let mut layers = self.signatures(digest).await?.map(|manifest| manifest.layers).unwrap_or_default();
        let key = signer.public().await?;
        for existing in &layers {
            if signature::check(&self.signature(existing).await?, digest, &key).is_ok() {
                return Ok(Signed::Before);
            }
        }
        layers.push(layer.descriptor.clone());
        let (manifest, config) = signature::manifest(layers)?;
        self.put_blob(&layer).await?;
        self.put_blob(&config).await?;
        self.put_manifest(&signature::tag(digest), &manifest).await?;
        Ok(Signed::Now)
    }

    /// Makes sure that an image is signed with one of the keys: several are good while one takes the place of another.
    ///
    /// # Errors
    /// It is not, or the registry refuses, lies or cannot be reached.
    pub async fn verify(&self, digest: &Digest, keys: &[VerificationKey]) -> Result<(), Error> {
        let Some(manifest) = self.signatures(digest).await? else {
            return Err(SignatureError::Missing { digest: digest.clone(), tag: signature::tag(digest) }.into());
        };
        let mut reasons = Vec::new();
        for layer in &manifest.layers {
            if layer.size > LARGEST_PAYLOAD {
                reasons.push("it is too large");
                continue;
            }
            let layer = self.signature(layer).await?;
            for key in keys {
                match signature::check(&layer, digest, key) {
                    Ok(()) => return Ok(()),
                    Err(reason) => reasons.push(reason),
                }
            }
        }
        if reasons.is_empty() {
            reasons.push("the list of its signatures is empty");
        }
        reasons.sort_unstable();
        reasons.dedup();
        let ids = keys.iter().map(|key| key.id().map(|id| id.to_string())).collect::<Result<Vec<_>, _>>()?;
        let (digest, keys, reason) = (digest.clone(), ids.join(" or "), reasons.join("; "));
        Err(SignatureError::Wrong { digest, keys, reason }.into())
    }

    /// A payload with its signature, which stands in the manifest.
    async fn signature(&self, layer: &Descriptor) -> Result<Blob, Error> {
        Ok(Blob { bytes: self.get_blob(layer).await?.bytes, descriptor: layer.clone() })
    }

    async fn signatures(&self, digest: &Digest) -> Result<Option<Manifest>, Error> {
        let tag = signature::tag(digest);
        let Some(found) = self.find_manifest(&tag).await? else { return Ok(None) };
        let manifest = self.get_manifest(&found).await?;
        let parsed =
            Manifest::parse(&manifest.bytes).map_err(|reason| protocol(&format!("the look-up of `{tag}`"), reason))?;
        Ok(Some(parsed))
    }
}
