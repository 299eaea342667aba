//! Attestations in the format of cosign: a statement about an image in a signed envelope (DSSE), kept in the registry under a tag
//! that follows from the image's digest. <https://github.com/sigstore/cosign/blob/main/specs/ATTESTATION_SPEC.md>,
//! <https://github.com/secure-systems-lab/dsse>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::assemble::Blob;
use crate::digest::Digest;
use crate::error::Error;
use crate::key::VerificationKey;
use crate::provenance::{self, Claim};
use crate::signature::ANNOTATION;
use crate::signer::Signer;

/// Media type of a signed envelope.
pub const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The annotation by which cosign tells what a statement says.
const PREDICATE_TYPE: &str = "predicateType";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
struct EnvelopeSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// The tag under which an image's attestations are.
#[must_use]
pub fn tag(digest: &Digest) -> String {
    format!("sha256-{}.att", digest.hex())
}

/// A provenance statement in a signed envelope, as a layer of the attestations' manifest.
///
/// # Errors
/// The key cannot be used, or JSON cannot be written.
pub async fn seal(statement: &[u8], signer: &Signer) -> Result<Blob, Error> {
    let signature = signer.sign(&signed_text(provenance::MEDIA_TYPE, statement)).await?;
    let envelope = Envelope {
        payload_type: provenance::MEDIA_TYPE.to_owned(),
        payload: STANDARD.encode(statement),
        signatures: vec![EnvelopeSignature { keyid: String::new(), sig: STANDARD.encode(signature) }],
    };
    let mut blob = Blob::new(ENVELOPE, serde_json::to_vec(&envelope).map_err(Error::Serialize)?);
    // The signature is in the envelope; cosign wants the annotation nevertheless.
    let annotations = [(ANNOTATION, ""), (PREDICATE_TYPE, provenance::PREDICATE)];
    blob.descriptor.annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Ok(blob)
}

/// Checks one attestation of an image, and tells what it claims.
///
/// # Errors
/// What is wrong with it.
pub fn check(layer: &Blob, digest: &Digest, key: &VerificationKey) -> Result<Claim, &'static str> {
    if layer.descriptor.media_type != ENVELOPE {
        return Err("it is of another kind");
    }
    let envelope: Envelope = serde_json::from_slice(&layer.bytes).map_err(|_| "its envelope is not understood")?;
    let statement = STANDARD.decode(&envelope.payload).map_err(|_| "its statement is not base64")?;
    // Nothing of the statement is believed before a signature is.
    let text = signed_text(&envelope.payload_type, &statement);
    let mut signatures = envelope.signatures.iter().filter_map(|signature| STANDARD.decode(&signature.sig).ok());
    if !signatures.any(|signature| key.verifies(&text, &signature)) {
        return Err("it is by another key, or altered");
    }
    if envelope.payload_type != provenance::MEDIA_TYPE {
        return Err("it states something else than a provenance");
    }
    Claim::read(&statement, digest)
}

/// What an envelope's signature is over (DSSE's pre-authentication encoding): the type, too, so that nobody can give the same
/// bytes another meaning.
fn signed_text(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut text = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    text.extend_from_slice(payload);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_is_that_of_the_protocol() {
        // The example of DSSE's own specification.
        let text = signed_text("http://example.com/HelloWorld", b"hello world");
        assert_eq!(text, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
