//! Whether an image is signed as an environment demands. The signature is where and how cosign keeps it: under the tag
//! `sha256-<hex>.sig`, a payload that names the digest, signed with ECDSA on P-256. `image sign` makes it.

use std::path::Path;

use aws_sdk_ecr::types::ImageIdentifier;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use environment::{Environment, SignatureSettings};
use p256::PublicKey;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{DerSignature, VerifyingKey};
use p256::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::call::failed;
use crate::context::Context;
use crate::download;
use crate::error::{Error, Message};
use crate::image;

const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const KIND: &str = "cosign container image signature";
/// No payload is larger.
const LARGEST_PAYLOAD: u64 = 64 * 1024;

/// A key that may have signed.
struct Key {
    /// Its file and its id, for people.
    name: String,
    key: VerifyingKey,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Signed,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// What is wrong with an image's signature; nothing if the environment demands none. `digest` is none where it is not known
/// which image would run.
pub(crate) async fn check(
    context: &Context,
    environment: &Environment,
    digest: Option<&str>,
) -> Result<Option<Message>, Error> {
    let Some(settings) = &environment.image.signature else { return Ok(None) };
    let keys = keys(&context.directory().join(environment.name.as_str()), settings)?;
    let wanted = keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(" or ");
    let demands = format!("{} demands a signature with {wanted}", environment.name);
    let Some(digest) = digest else {
        let what = "it is not known which image would be deployed";
        return Ok(Some(Message::new(what, demands, "`cargo xtask status` shows what waits")));
    };
    let repository = &context.project.image_repository;
    let hint =
        format!("if you know where it comes from: `cargo xtask image sign REGISTRY/{repository}@{digest} --key KEY`");
    let Some(manifest) = manifest(context, digest).await? else {
        return Ok(Some(Message::new(format!("{digest} is not signed"), demands, hint)));
    };
    let mut reasons = Vec::new();
    for layer in &manifest.layers {
        match verify(context, layer, digest, &keys).await? {
            None => return Ok(None),
            Some(reason) => reasons.push(reason),
        }
    }
    reasons.sort_unstable();
    reasons.dedup();
    let why = format!("{demands}; of what is there: {}", reasons.join("; "));
    Ok(Some(Message::new(format!("{digest} is signed, but not as {} demands", environment.name), why, hint)))
}

fn keys(directory: &Path, settings: &SignatureSettings) -> Result<Vec<Key>, Error> {
    let read = |file: &std::path::PathBuf| {
        let path = directory.join(file);
        let unusable = |reason: &dyn std::fmt::Display| {
            Error::Configuration(format!(
                "{} is no public key for signatures: {reason}\nhint: `cargo xtask image keygen` makes a pair; the half that \
                 ends in .pub belongs there",
                path.display()
            ))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| unusable(&error))?;
        let key = PublicKey::from_public_key_pem(&text).map_err(|error| unusable(&error))?;
        let der = key.to_public_key_der().map_err(|error| unusable(&error))?;
        let name = format!("{} (sha256:{:x})", file.display(), Sha256::digest(der.as_bytes()));
        Ok(Key { name, key: key.into() })
    };
    settings.keys.iter().map(read).collect()
}

/// The list of an image's signatures, if there is one.
async fn manifest(context: &Context, digest: &str) -> Result<Option<Manifest>, Error> {
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let id = ImageIdentifier::builder().image_tag(&tag).build();
    let Some(list) = image::find(context, id).await? else { return Ok(None) };
    serde_json::from_str(list.image_manifest().unwrap_or_default()).map(Some).map_err(|error| {
        Error::unexpected(format!("the tag {tag} lists no signatures"), error.to_string(), "sign the image again")
    })
}

/// Why a signature does not count; nothing if it does.
async fn verify(context: &Context, layer: &Layer, digest: &str, keys: &[Key]) -> Result<Option<&'static str>, Error> {
    let Some(text) = layer.annotations.get(ANNOTATION) else { return Ok(Some("one without its annotation")) };
    let signature = STANDARD.decode(text).ok().and_then(|der| DerSignature::from_bytes(&der).ok());
    let Some(signature) = signature else { return Ok(Some("one that is damaged")) };
    if layer.size > LARGEST_PAYLOAD {
        return Ok(Some("one that is too large"));
    }
    let output = context
        .clients
        .ecr
        .get_download_url_for_layer()
        .repository_name(&context.project.image_repository)
        .layer_digest(&layer.digest)
        .send()
        .await
        .map_err(failed("download the image's signatures"))?;
    let payload = download::get(output.download_url().unwrap_or_default(), LARGEST_PAYLOAD).await?;
    if format!("sha256:{:x}", Sha256::digest(&payload)) != layer.digest {
        return Ok(Some("one whose payload was altered"));
    }
    if !keys.iter().any(|key| key.key.verify(&payload, &signature).is_ok()) {
        return Ok(Some("one by another key"));
    }
    Ok(match serde_json::from_slice::<Payload>(&payload) {
        Ok(Payload { critical }) if critical.kind != KIND => Some("one of something else than an image"),
        Ok(Payload { critical }) if critical.image.digest != digest => Some("one of another image"),
        Ok(_) => None,
        Err(_) => Some("one that is not understood"),
    })
}
