//! Keys and signatures, with openssl as the foreign verifier.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::assemble::Blob;
use image::key::{KeyError, PrivateKey, VerificationKey};
use image::signature::{ANNOTATION, check, layer, payload};
use image::{Digest, Error};

use crate::fixture::{installed, run};

fn signed(key: &PrivateKey, digest: &Digest) -> Blob {
    let payload = payload("registry.example.com/team/app", digest).expect("a payload");
    let signature = key.sign(&payload);
    layer(payload, &signature)
}

#[test]
fn the_payload_is_what_verifiers_of_the_ecosystem_read() {
    let digest = Digest::of(b"image");
    let text = String::from_utf8(payload("registry.example.com/team/app", &digest).expect("a payload")).expect("text");
    let expected = format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"registry.example.com/team/app"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    );
    assert_eq!(text, expected);
}

#[test]
fn a_signature_is_for_one_image_by_one_key() {
    let (key, other) = (PrivateKey::generate().expect("a key"), PrivateKey::generate().expect("a key"));
    let (digest, another) = (Digest::of(b"image"), Digest::of(b"another"));
    let blob = signed(&key, &digest);
    assert_eq!(blob.descriptor, signed(&key, &digest).descriptor, "signing again gives the same signature");
    assert_eq!(check(&blob, &digest, &key.public()), Ok(()));
    assert_eq!(check(&blob, &digest, &other.public()), Err("it is by another key, or altered"));
    assert_eq!(check(&blob, &another, &key.public()), Err("it signs another image"));

    let mut altered = blob.clone();
    altered.bytes = String::from_utf8_lossy(&blob.bytes).replace(digest.hex(), another.hex()).into_bytes().into();
    assert_eq!(check(&altered, &another, &key.public()), Err("it is by another key, or altered"));
    let mut altered = blob.clone();
    let mut signature = STANDARD.decode(&blob.descriptor.annotations[ANNOTATION]).expect("base64");
    *signature.last_mut().expect("bytes") ^= 1;
    altered.descriptor.annotations.insert(ANNOTATION.to_owned(), STANDARD.encode(signature));
    assert_eq!(check(&altered, &digest, &key.public()), Err("it is by another key, or altered"));
    altered.descriptor.annotations.clear();
    assert_eq!(check(&altered, &digest, &key.public()), Err("its annotation is missing"));
}

#[test]
fn a_key_pair_is_written_once_and_the_private_half_for_its_owner_alone() {
    let scratch = tempfile::tempdir().expect("a folder");
    let path = scratch.path().join("release.key");
    let key = PrivateKey::generate().expect("a key");
    let public = key.write_pair(&path).expect("written");
    assert_eq!(fs::metadata(&path).expect("the key").permissions().mode() & 0o777, 0o600);
    assert_eq!(PrivateKey::read(&path).expect("read").public(), key.public());
    assert_eq!(VerificationKey::read(&public).expect("read"), key.public());
    assert!(matches!(key.write_pair(&path), Err(Error::Key(KeyError::Exists(_)))));
    assert!(matches!(VerificationKey::read(&path), Err(Error::Key(KeyError::Unusable { .. }))));
}

#[test]
fn openssl_verifies_our_signatures_and_makes_keys_for_us() {
    if !installed("openssl") {
        return;
    }
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    let openssl = || {
        let mut command = Command::new("openssl");
        command.current_dir(scratch.path());
        command
    };
    // Both forms that openssl writes, one of them with the curve in a block before the key.
    run(openssl().args(["ecparam", "-name", "prime256v1", "-genkey", "-out", "sec1.pem"]));
    run(openssl().args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "pkcs8.pem"]));
    run(openssl().args(["ecparam", "-name", "secp384r1", "-genkey", "-out", "other.pem"]));
    assert!(PrivateKey::read(&at("other.pem")).is_err(), "another curve");
    PrivateKey::generate().expect("a key").write_pair(&at("ours.pem")).expect("written");
    for name in ["sec1.pem", "pkcs8.pem", "ours.pem"] {
        let key = PrivateKey::read(&at(name)).expect("a key of openssl's");
        run(openssl().args(["pkey", "-in", name, "-pubout", "-out", "public.pem"]));
        assert_eq!(VerificationKey::read(&at("public.pem")).expect("a key"), key.public());
        let blob = signed(&key, &Digest::of(b"image"));
        let signature = STANDARD.decode(&blob.descriptor.annotations[ANNOTATION]).expect("base64");
        fs::write(at("payload.json"), &blob.bytes).expect("written");
        fs::write(at("signature.der"), signature).expect("written");
        let verify = ["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature.der", "payload.json"];
        assert_eq!(run(openssl().args(verify)).trim(), "Verified OK", "{name}");
        fs::write(at("payload.json"), "{}").expect("written");
        assert!(!openssl().args(verify).output().expect("openssl").status.success(), "{name}: another payload");
    }
}
