//! Where an image comes from, signed: the envelope, what is refused, and openssl as the foreign verifier.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::assemble::Blob;
use image::attachments::statement;
use image::attestation::{ENVELOPE, check, seal, tag};
use image::key::PrivateKey;
use image::oci::Manifest;
use image::provenance::MEDIA_TYPE;
use image::registry::Signed;
use image::signature::{ANNOTATION, SignatureError};
use image::signer::Signer;
use image::{Digest, Error};
use serde_json::Value;

use crate::fixture::{COMMIT, installed, run};
use crate::server::{Server, client};
use crate::trust::{image, program, tags};

fn signer() -> Signer {
    Signer::File(PrivateKey::generate().expect("a key"))
}

/// The envelope with one of its fields changed.
fn altered(envelope: &Blob, pointer: &str, value: &str) -> Blob {
    let mut json: Value = serde_json::from_slice(&envelope.bytes).expect("JSON");
    *json.pointer_mut(pointer).expect("a field") = value.into();
    Blob { bytes: json.to_string().into(), descriptor: envelope.descriptor.clone() }
}

#[tokio::test]
async fn an_envelope_holds_one_statement_about_one_image_by_one_key() {
    let (image, signer) = (image(), signer());
    let (digest, key) = (image.digest(), signer.public().await.expect("a key"));
    let statement = statement(&image).expect("a statement");
    let envelope = seal(statement, &signer).await.expect("sealed");
    assert_eq!(envelope.descriptor.media_type, ENVELOPE);
    assert_eq!(envelope.descriptor.annotations[ANNOTATION], "", "cosign wants the annotation, and it empty");
    let claim = check(&envelope, digest, &key).expect("good");
    assert_eq!(claim.revision, COMMIT);
    assert!(claim.builder.ends_with(":project/smartassist"), "{claim:?}");

    let other = self::signer().public().await.expect("a key");
    assert_eq!(check(&envelope, digest, &other), Err("it is by another key, or altered"));
    assert_eq!(check(&envelope, &Digest::of(b"other"), &key), Err("it is about another image"));
    let lie = String::from_utf8_lossy(statement).replace(COMMIT, &"f".repeat(40));
    let forged = altered(&envelope, "/payload", &STANDARD.encode(lie));
    assert_eq!(check(&forged, digest, &key), Err("it is by another key, or altered"));
    let retyped = altered(&envelope, "/payloadType", "application/json");
    assert_eq!(check(&retyped, digest, &key), Err("it is by another key, or altered"), "the type is signed, too");
    let elsewhere = seal(br#"{"subject": [], "predicateType": "x", "predicate": {}}"#, &signer).await.expect("sealed");
    assert_eq!(check(&elsewhere, digest, &key), Err("it states something else than a provenance"));
}

#[tokio::test]
async fn openssl_verifies_the_envelope() {
    if !installed("openssl") {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let (image, signer) = (image(), signer());
    let envelope = seal(statement(&image).expect("a statement"), &signer).await.expect("sealed");
    let envelope: Value = serde_json::from_slice(&envelope.bytes).expect("JSON");
    let bytes = |pointer: &str| {
        STANDARD.decode(envelope.pointer(pointer).and_then(Value::as_str).expect("text")).expect("base64")
    };
    let payload = bytes("/payload");
    let mut signed = format!("DSSEv1 {} {MEDIA_TYPE} {} ", MEDIA_TYPE.len(), payload.len()).into_bytes();
    signed.extend(payload);
    let path = |name: &str| scratch.path().join(name);
    fs::write(path("text"), signed).expect("written");
    fs::write(path("signature"), bytes("/signatures/0/sig")).expect("written");
    let key = signer.public().await.expect("a key");
    fs::write(path("key.pub"), key.to_pem().expect("PEM")).expect("written");
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "text"]);
    assert_eq!(run(openssl.current_dir(scratch.path())), "Verified OK\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_keeps_attestations_of_several_keys_and_verify_tells_them_apart() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let registry = client(&server.repository(), "secret");
    let image = image();
    let (digest, statement) = (image.digest(), statement(&image).expect("a statement"));
    registry.push(&image, &tags()).await.expect("pushed");
    let [one, two, three] = std::array::from_fn(|_| signer());
    let reference = format!("{}@{digest}", server.repository());
    let verify = async |signer: &Signer, more: &[&str]| {
        let key = signer.public().await.expect("a key").to_pem().expect("PEM");
        fs::write(scratch.path().join("key.pub"), key).expect("written");
        let output = program(scratch.path(), &[&["verify", reference.as_str(), "--key", "key.pub"], more].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };

    registry.sign(digest, &one).await.expect("signed");
    let (code, said) = verify(&one, &[]).await;
    assert!(code == Some(0) && said.contains("no signed provenance"), "{said}");
    let (code, said) = verify(&one, &["--provenance"]).await;
    assert!(code == Some(65) && said.contains("hint: "), "{said}");

    assert_eq!(registry.attest(digest, statement, &one).await.expect("attested"), Signed::Now);
    assert_eq!(registry.attest(digest, statement, &one).await.expect("attested"), Signed::Before);
    let (code, said) = verify(&one, &["--provenance"]).await;
    assert!(code == Some(0) && said.contains(COMMIT) && said.contains("project/smartassist"), "{said}");
    assert_eq!(registry.attest(digest, statement, &two).await.expect("attested"), Signed::Now);
    let claim = registry.provenance(digest, &[two.public().await.expect("a key")]).await.expect("asked");
    assert_eq!(claim.expect("a claim").revision, COMMIT);

    // Signed by three, but where it comes from only others say: nobody knows whether they are right.
    registry.sign(digest, &three).await.expect("signed");
    let (code, said) = verify(&three, &[]).await;
    assert!(code == Some(65) && said.contains("provenance") && said.contains("another key"), "{said}");

    let list = registry.find_manifest(&tag(digest)).await.expect("asked").expect("there");
    let list = Manifest::parse(&registry.get_manifest(&list).await.expect("downloaded").bytes).expect("a manifest");
    assert_eq!(list.layers.len(), 2);
    fs::write(server.blob_file(&list.layers[0].digest), b"tampered").expect("tampered");
    let error = registry.provenance(digest, &[one.public().await.expect("a key")]).await.expect_err("other bytes");
    assert!(
        matches!(error, Error::Registry(_)) && !matches!(error, Error::Signature(SignatureError::Wrong { .. })),
        "{error}"
    );
}
