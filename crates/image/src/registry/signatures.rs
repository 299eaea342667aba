//! Signing an image that is in a registry and where it comes from, and checking who signed that. Cosign keeps both alike: a
//! manifest under a tag that follows from the digest, one layer for each signature.

use super::Registry;
use super::client::protocol;
use crate::assemble::Blob;
use crate::attestation;
use crate::digest::Digest;
use crate::error::Error;
use crate::key::VerificationKey;
use crate::oci::{Descriptor, Manifest};
use crate::provenance::Claim;
use crate::signature::{self, SignatureError};
use crate::signer::Signer;

/// What is kept under a tag.
struct Signatures {
    tag: fn(&Digest) -> String,
    /// No layer is larger; what claims to be is not downloaded.
    largest: u64,
}

const SIGNATURES: Signatures = Signatures { tag: signature::tag, largest: 64 << 10 };
/// A statement names every package.
const ATTESTATIONS: Signatures = Signatures { tag: attestation::tag, largest: 8 << 20 };

/// What a look for a good signature gave.
enum Found<T> {
    Good(T),
    /// There is no such tag.
    Nothing(String),
    Wrong {
        keys: String,
        reason: String,
    },
}

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
    /// The image is not there, the key cannot be used, or the registry refuses; a repository in which no tag moves refuses a
    /// second signature, because it would move the signatures' tag.
    pub async fn sign(&self, digest: &Digest, signer: &Signer) -> Result<Signed, Error> {
        // Only what is there can be signed.
        self.get_manifest(digest).await?;
        let payload = signature::payload(&self.repository.to_string(), digest)?;
        let signature = signer.sign(&payload).await?;
        let key = signer.public().await?;
        let same = |existing: &Blob| signature::check(existing, digest, &key).is_ok();
        self.add(&SIGNATURES, digest, signature::layer(payload, &signature), same).await
    }

    /// Signs a statement about where an image comes from, and keeps it beside those that are there.
    ///
    /// # Errors
    /// As for [`Registry::sign`].
    pub async fn attest(&self, digest: &Digest, statement: &[u8], signer: &Signer) -> Result<Signed, Error> {
        let claim = Claim::read(statement, digest)
            .map_err(|reason| Error::Unreadable { digest: digest.clone(), reason: reason.to_owned() })?;
        let key = signer.public().await?;
        let same = |existing: &Blob| attestation::check(existing, digest, &key).as_ref() == Ok(&claim);
        self.add(&ATTESTATIONS, digest, attestation::seal(statement, signer).await?, same).await
    }

    /// Makes sure that an image is signed with one of the keys: several are good while one takes the place of another.
    ///
    /// # Errors
    /// It is not, or the registry refuses, lies or cannot be reached.
    pub async fn verify(&self, digest: &Digest, keys: &[VerificationKey]) -> Result<(), Error> {
        let check = |layer: &Blob, key: &VerificationKey| signature::check(layer, digest, key);
        match self.find(&SIGNATURES, digest, keys, check).await? {
            Found::Good(()) => Ok(()),
            Found::Nothing(tag) => Err(SignatureError::Missing { digest: digest.clone(), tag }.into()),
            Found::Wrong { keys, reason } => Err(SignatureError::Wrong { digest: digest.clone(), keys, reason }.into()),
        }
    }

    /// Where an image comes from, in the words of one who has one of the keys; nothing if nobody says it.
    ///
    /// # Errors
    /// Somebody without one of the keys says it, or the registry refuses, lies or cannot be reached.
    pub async fn provenance(&self, digest: &Digest, keys: &[VerificationKey]) -> Result<Option<Claim>, Error> {
        let check = |layer: &Blob, key: &VerificationKey| attestation::check(layer, digest, key);
        match self.find(&ATTESTATIONS, digest, keys, check).await? {
            Found::Good(claim) => Ok(Some(claim)),
            Found::Nothing(_) => Ok(None),
            Found::Wrong { keys, reason } => {
                Err(SignatureError::WrongProvenance { digest: digest.clone(), keys, reason }.into())
            }
        }
    }

    /// Adds a layer to those of its kind, unless the same is there.
    async fn add(
        &self,
        kind: &Signatures,
        digest: &Digest,
        layer: Blob,
        same: impl Fn(&Blob) -> bool,
    ) -> Result<Signed, Error> {
        let tag = (kind.tag)(digest);
        let mut layers = self.signed(&tag).await?.map(|manifest| manifest.layers).unwrap_or_default();
        for existing in layers.iter().filter(|existing| existing.size <= kind.largest) {
            if same(&self.signed_layer(existing).await?) {
                return Ok(Signed::Before);
            }
        }
        layers.push(layer.descriptor.clone());
        let (manifest, config) = signature::manifest(layers)?;
        self.put_blob(&layer).await?;
        self.put_blob(&config).await?;
        self.put_manifest(&tag, &manifest).await?;
        Ok(Signed::Now)
    }

    /// The first layer of its kind that is good by one of the keys.
    async fn find<T>(
        &self,
        kind: &Signatures,
        digest: &Digest,
        keys: &[VerificationKey],
        check: impl Fn(&Blob, &VerificationKey) -> Result<T, &'static str>,
    ) -> Result<Found<T>, Error> {
        let tag = (kind.tag)(digest);
        let Some(manifest) = self.signed(&tag).await? else { return Ok(Found::Nothing(tag)) };
        let mut reasons = Vec::new();
        for layer in &manifest.layers {
            if layer.size > kind.largest {
                reasons.push("it is too large");
                continue;
            }
            let layer = self.signed_layer(layer).await?;
            for key in keys {
                match check(&layer, key) {
                    Ok(good) => return Ok(Found::Good(good)),
                    Err(reason) => reasons.push(reason),
                }
            }
        }
        if reasons.is_empty() {
            reasons.push("the list under its tag is empty");
        }
        reasons.sort_unstable();
        reasons.dedup();
        let ids = keys.iter().map(|key| key.id().map(|id| id.to_string())).collect::<Result<Vec<_>, _>>()?;
        Ok(Found::Wrong { keys: ids.join(" or "), reason: reasons.join("; ") })
    }

    /// A layer with what its descriptor says, which for a signature is the signature.
    async fn signed_layer(&self, layer: &Descriptor) -> Result<Blob, Error> {
        Ok(Blob { bytes: self.get_blob(layer).await?.bytes, descriptor: layer.clone() })
    }

    async fn signed(&self, tag: &str) -> Result<Option<Manifest>, Error> {
        let Some(found) = self.find_manifest(tag).await? else { return Ok(None) };
        let manifest = self.get_manifest(&found).await?;
        let parsed =
            Manifest::parse(&manifest.bytes).map_err(|reason| protocol(&format!("the look-up of `{tag}`"), reason))?;
        Ok(Some(parsed))
    }
}
