//! Signatures in the format of cosign: a payload that names the digest, signed, and kept in the registry under a tag that
//! follows from the digest. <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::assemble::Blob;
use crate::digest::Digest;
use crate::error::Error;
use crate::key::VerificationKey;
use crate::oci::{CONFIG, Descriptor, MANIFEST, Manifest};

/// Media type of the signed payload.
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation that holds the signature, base64 of DER.
pub const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const TYPE: &str = "cosign container image signature";

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    critical: Critical,
    // Whatever the signer wants to add; written as null, and not judged.
    optional: Option<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: SignedImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SignedImage {
    docker_manifest_digest: Digest,
}

/// Why an image is not taken for signed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Nobody signed it.
    #[error("{digest} is not signed: there is no tag `{tag}` beside it")]
    Missing {
        /// The image.
        digest: Digest,
        /// Where its signatures would be.
        tag: String,
    },
    /// Somebody signed it, or pretends to have, but not with one of these keys.
    #[error("{digest} is not signed with the key {keys}: {reason}")]
    Wrong {
        /// The image.
        digest: Digest,
        /// The keys.
        keys: String,
        /// What is wrong with each signature.
        reason: String,
    },
    /// Nobody vouches for where it comes from, although that was asked for.
    #[error("no signed provenance of {digest}: there is no tag `{tag}` beside it")]
    NoProvenance {
        /// The image.
        digest: Digest,
        /// Where it would be.
        tag: String,
    },
    /// Somebody says where it comes from, but with none of these keys.
    #[error("the provenance of {digest} is not signed with the key {keys}: {reason}")]
    WrongProvenance {
        /// The image.
        digest: Digest,
        /// The keys.
        keys: String,
        /// What is wrong with each of them.
        reason: String,
    },
}

impl SignatureError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "sign it with `image sign`, if you know where it comes from",
            Self::NoProvenance { .. } => {
                "`image build --push --sign KEY` signs it; what was signed later with `image sign` has none"
            }
            Self::Wrong { .. } | Self::WrongProvenance { .. } => {
                "do not run it before you know who signed it; `image verify` takes another --key"
            }
        }
    }
}

/// The tag under which an image's signatures are.
#[must_use]
pub fn tag(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// The payload for an image of this repository.
///
/// # Errors
/// JSON cannot be written.
pub fn payload(repository: &str, digest: &Digest) -> Result<Vec<u8>, Error> {
    let payload = Payload {
        critical: Critical {
            identity: Identity { docker_reference: repository.to_owned() },
            image: SignedImage { docker_manifest_digest: digest.clone() },
            kind: TYPE.to_owned(),
        },
        optional: None,
    };
    serde_json::to_vec(&payload).map_err(Error::Serialize)
}

/// A payload with its signature, as a layer of the signatures' manifest.
#[must_use]
pub fn layer(payload: Vec<u8>, signature: &[u8]) -> Blob {
    let mut blob = Blob::new(PAYLOAD, payload);
    blob.descriptor.annotations.insert(ANNOTATION.to_owned(), STANDARD.encode(signature));
    blob
}

/// The manifest of all signatures of an image, and its configuration.
///
/// # Errors
/// JSON cannot be written.
pub fn manifest(layers: Vec<Descriptor>) -> Result<(Blob, Blob), Error> {
    #[derive(Serialize)]
    struct Configuration<'a> {
        architecture: &'a str,
        os: &'a str,
        rootfs: RootFs<'a>,
    }
    #[derive(Serialize)]
    struct RootFs<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        diff_ids: Vec<&'a Digest>,
    }
    let diff_ids = layers.iter().map(|layer| &layer.digest).collect();
    let configuration = Configuration { architecture: "", os: "", rootfs: RootFs { kind: "layers", diff_ids } };
    let config = Blob::new(CONFIG, serde_json::to_vec(&configuration).map_err(Error::Serialize)?);
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type: None,
        config: config.descriptor.clone(),
        layers,
        subject: None,
        annotations: BTreeMap::new(),
    };
    let manifest = Blob::new(MANIFEST, serde_json::to_vec(&manifest).map_err(Error::Serialize)?);
    Ok((manifest, config))
}

/// Checks one signature of an image.
///
/// # Errors
/// What is wrong with it.
pub fn check(layer: &Blob, digest: &Digest, key: &VerificationKey) -> Result<(), &'static str> {
    if layer.descriptor.media_type != PAYLOAD {
        return Err("it is of another kind");
    }
    let text = layer.descriptor.annotations.get(ANNOTATION).ok_or("its annotation is missing")?;
    let signature = STANDARD.decode(text).map_err(|_| "it is not base64")?;
    // Nothing of the payload is believed before the signature is.
    if !key.verifies(&layer.bytes, &signature) {
        return Err("it is by another key, or altered");
    }
    let payload: Payload = serde_json::from_slice(&layer.bytes).map_err(|_| "its payload is not understood")?;
    if payload.critical.kind != TYPE {
        return Err("it signs something else than an image");
    }
    if payload.critical.image.docker_manifest_digest != *digest {
        return Err("it signs another image");
    }
    Ok(())
}
