//! Bills of materials, provenance, signatures and the scan gate at registries that exist.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::assemble::{Blob, Image, assemble};
use image::attachments;
use image::auditable::embed;
use image::key::PrivateKey;
use image::oci::Manifest;
use image::provenance::Build;
use image::registry::{Pushed, Registry, RegistryError, Signed};
use image::sbom::{Format, Subject};
use image::scan::{self, Judge, Policy, advisories::Advisories};
use image::signature::{self, ANNOTATION, SignatureError};
use image::signer::Signer;
use image::target::Architecture;
use image::{Error, Tag, layer, layout};
use serde_json::Value;
use time::macros::date;

use crate::fixture::{COMMIT, installed, run, source};
use crate::sbom::dependencies;
use crate::server::{Endpoint, Server, client};

const CREATED: &str = "2023-11-14T22:13:20Z";

/// An image whose binary lists what it is made of, with all that is attached to it.
pub(crate) fn image() -> Image {
    let binary = embed(&crate::sbom::elf(), &dependencies()).expect("embedded");
    let layers = layer::of_binary(binary, None).expect("layers");
    let mut image = assemble(layers, Architecture::Amd64, &source(), &Default::default()).expect("an image");
    let subject = Subject { name: "smartbot", digest: &image.digest().clone(), created: CREATED };
    let mut artifacts = attachments::bills(&image, &dependencies(), &subject).expect("bills");
    let build = Build {
        name: "smartbot",
        digest: image.digest(),
        repository: Some("https://example.com/repository"),
        commit: COMMIT,
        revision: COMMIT,
        package: "chatbot",
        binary: "smartbot",
        target: "x86_64-unknown-linux-gnu",
        compiler: "rustc 1.95.0",
        engine: None,
        codebuild: Some("arn:aws:codebuild:ap-northeast-1:123456789012:build/smartassist:0a1b"),
        dependencies: &dependencies(),
    };
    artifacts.push(attachments::provenance(&image, &build).expect("provenance"));
    image.artifacts = artifacts;
    image
}

pub(crate) fn tags() -> Vec<Tag> {
    vec!["0123456".parse().expect("a tag")]
}

async fn documents_are_attached_once_and_read_back(registry: &Registry<'_>, image: &Image) {
    registry.push(image, &tags()).await.expect("pushed");
    let again = registry.push(image, &tags()).await.expect("pushed again");
    assert_eq!(again, Pushed::default());
    for format in Format::ALL {
        let bill = registry.bill_of_materials(image.digest(), format).await.expect("a bill");
        assert_eq!(bill, image.artifacts[format as usize].blobs[0].bytes, "{format:?}");
    }
    let statement = registry.document(image.digest(), "application/vnd.in-toto+json").await.expect("asked");
    let statement: Value = serde_json::from_slice(&statement.expect("a statement").bytes).expect("JSON");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], image.digest().hex());
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["resolvedDependencies"][0]["digest"]["gitCommit"], COMMIT);
    assert_eq!(definition["resolvedDependencies"][1]["uri"], "pkg:cargo/serde@1.0.200");
    let run = &statement["predicate"]["runDetails"];
    assert_eq!(run["builder"]["id"], "arn:aws:codebuild:ap-northeast-1:123456789012:project/smartassist");
    assert!(run["metadata"]["invocationId"].as_str().expect("an id").ends_with("build/smartassist:0a1b"));
    assert_eq!(registry.referrers(image.digest()).await.expect("listed").len(), 3);
}

#[tokio::test]
async fn what_an_image_is_made_of_is_attached_to_it() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let registry = client(&server.repository(), "secret");
    let image = image();
    documents_are_attached_once_and_read_back(&registry, &image).await;

    // Without anything attached, the binary itself knows.
    let mut bare = image.clone();
    bare.artifacts.clear();
    let other = format!("{}/other/bare", server.address).parse().expect("a repository");
    let other = client(&other, "secret");
    other.push(&bare, &tags()).await.expect("pushed");
    let bill = other.bill_of_materials(bare.digest(), Format::Cyclonedx).await.expect("a bill");
    let bill: Value = serde_json::from_slice(&bill).expect("JSON");
    assert_eq!(bill["components"][1]["purl"], "pkg:cargo/serde@1.0.200");

    let unlisted = crate::fixture::image(b"x");
    other.push(&unlisted, &["1234567".parse().expect("a tag")]).await.expect("pushed");
    let error = other.bill_of_materials(unlisted.digest(), Format::Spdx).await.expect_err("nothing says it");
    assert!(matches!(error, Error::NoBill(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_endpoint_takes_what_is_attached_into_an_immutable_repository() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(endpoint) = Endpoint::start(scratch.path()) else { return };
    let credentials = endpoint.credentials();
    let repository = crate::server::repository(&endpoint.address);
    let options = crate::fixture::impatient();
    let registry = Registry::new(repository, Some(credentials), options, &crate::fixture::quiet).expect("a client");
    let image = image();
    documents_are_attached_once_and_read_back(&registry, &image).await;
    let signer = Signer::File(PrivateKey::generate().expect("a key"));
    assert_eq!(registry.sign(image.digest(), &signer).await.expect("signed"), Signed::Now);
    let key = signer.public().await.expect("a key");
    registry.verify(image.digest(), &[key]).await.expect("verified");
}

#[test]
fn a_layout_carries_what_is_attached() {
    let scratch = tempfile::tempdir().expect("a directory");
    let image = image();
    let directory = scratch.path().join("layout");
    layout::write(&directory, &image, &tags()).expect("written");
    let (read, names) = layout::read(&directory).expect("read");
    assert_eq!((read.digest(), names), (image.digest(), tags()));
    assert_eq!(read.artifacts, image.artifacts);
    if installed("skopeo") {
        let text = run(Command::new("skopeo").args(["inspect", &format!("oci:{}:0123456", directory.display())]));
        let inspected: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(inspected["Digest"], image.digest().as_str());
    }
}

#[tokio::test]
async fn signatures_of_several_keys_stand_side_by_side_and_none_is_taken_for_another() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let registry = client(&server.repository(), "secret");
    let image = image();
    let digest = image.digest();
    registry.push(&image, &tags()).await.expect("pushed");
    let [one, two, three] = std::array::from_fn(|_| Signer::File(PrivateKey::generate().expect("a key")));
    let verify = async |signer: &Signer| registry.verify(digest, &[signer.public().await.expect("a key")]).await;

    let error = verify(&one).await.expect_err("not signed yet");
    assert!(matches!(error, Error::Signature(SignatureError::Missing { .. })), "{error}");
    assert_eq!(registry.sign(digest, &one).await.expect("signed"), Signed::Now);
    assert_eq!(registry.sign(digest, &one).await.expect("signed"), Signed::Before);
    assert_eq!(registry.sign(digest, &two).await.expect("signed"), Signed::Now);
    verify(&one).await.expect("signed by one");
    verify(&two).await.expect("signed by two");
    let error = verify(&three).await.expect_err("not by three");
    let text = error.to_string();
    assert!(matches!(error, Error::Signature(SignatureError::Wrong { .. })), "{text}");
    let key = three.public().await.expect("a key").id().expect("an id");
    assert!(text.contains(digest.as_str()) && text.contains(key.as_str()), "digest and key are named: {text}");
    let unknown = image::Digest::of(b"nothing");
    let error = registry.sign(&unknown, &one).await.expect_err("only what is there is signed");
    assert!(matches!(error, Error::Registry(RegistryError::UnknownManifest { .. })), "{error}");
}

#[tokio::test]
async fn a_tampered_signature_payload_or_blob_is_refused() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let registry = client(&server.repository(), "secret");
    let image = image();
    let digest = image.digest();
    registry.push(&image, &tags()).await.expect("pushed");
    let signer = Signer::File(PrivateKey::generate().expect("a key"));
    let key = signer.public().await.expect("a key");
    registry.sign(digest, &signer).await.expect("signed");

    // Whoever may push can move the signature's tag to anything.
    let tag = signature::tag(digest);
    let good = registry.find_manifest(&tag).await.expect("asked").expect("there");
    let good = registry.get_manifest(&good).await.expect("downloaded");
    let mut forged = Manifest::parse(&good.bytes).expect("a manifest");
    let text = forged.layers[0].annotations.get_mut(ANNOTATION).expect("a signature");
    let mut bytes = STANDARD.decode(&text).expect("base64");
    bytes[20] ^= 1;
    *text = STANDARD.encode(bytes);
    let forged = Blob::new(&good.descriptor.media_type, serde_json::to_vec(&forged).expect("JSON"));
    registry.put_manifest(&tag, &forged).await.expect("moved");
    let error = registry.verify(digest, std::slice::from_ref(&key)).await.expect_err("altered");
    assert!(matches!(error, Error::Signature(SignatureError::Wrong { .. })), "{error}");
    registry.put_manifest(&tag, &good).await.expect("moved back");
    registry.verify(digest, std::slice::from_ref(&key)).await.expect("as it was");

    // A registry whose disk was written to.
    let payload = &Manifest::parse(&good.bytes).expect("a manifest").layers[0];
    let file = server.blob_file(&payload.digest);
    let content = fs::read(&file).expect("the payload");
    fs::write(&file, content.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>()).expect("tampered");
    let error = registry.verify(digest, std::slice::from_ref(&key)).await.expect_err("other bytes");
    assert!(matches!(error, Error::Registry(RegistryError::Corrupted { .. })), "{error}");
    fs::write(&file, content).expect("repaired");
    let file = server.blob_file(image.blobs[0].digest());
    let mut content = fs::read(&file).expect("a layer");
    content[1000] ^= 1;
    fs::write(&file, content).expect("tampered");
    let error = registry.pull(digest).await.expect_err("other bytes");
    assert!(matches!(error, RegistryError::Corrupted { .. }), "{error}");
}

/// The program, as a person calls it.
pub(crate) fn program(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_image"))
        .args(arguments)
        .current_dir(folder)
        .envs([("REGISTRY_USERNAME", "user"), ("REGISTRY_PASSWORD", "secret")])
        .env_remove("IMAGE_SIGNING_KEY")
        .env_remove("ADVISORY_DB")
        .output()
        .expect("image starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_sign_verify_print_and_scan() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let image = image();
    client(&server.repository(), "secret").push(&image, &tags()).await.expect("pushed");
    let reference = format!("{}:0123456", server.repository());
    let call = |arguments: &[&str]| {
        let output = program(scratch.path(), arguments);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
    };

    assert_eq!(call(&["keygen", "k"]).0, 0);
    let (code, _, stderr) = call(&["keygen", "k"]);
    assert!(code == 64 && stderr.contains("hint: "), "{code} {stderr}");
    let (code, _, stderr) = call(&["verify", &reference, "--key", "k.pub"]);
    assert!(code == 65 && stderr.contains("is not signed") && stderr.contains("hint: "), "{code} {stderr}");
    let (code, _, stderr) = call(&["verify", &reference, "--key", "k"]);
    assert!(code == 64 && stderr.contains("hint: give the other half"), "{code} {stderr}");
    let (code, stdout, stderr) = call(&["sign", &reference, "--key", "k"]);
    assert_eq!((code, stdout), (0, format!("{}@{}\n", server.repository(), image.digest())), "{stderr}");
    assert!(stderr.contains("Signed"), "{stderr}");
    let (code, _, stderr) = call(&["verify", &reference, "--key", "k.pub", "--content"]);
    assert_eq!(code, 0, "{stderr}");
    call(&["keygen", "other"]);
    assert_eq!(call(&["verify", &reference, "--key", "other.pub"]).0, 65);
    assert_eq!(call(&["verify", &reference, "--key", "other.pub", "--key", "k.pub"]).0, 0, "one of several is enough");
    let detail = format!(r#"{{"ImageURI": "{}@{}"}}"#, server.repository(), image.digest());
    fs::write(scratch.path().join("imageDetail.json"), detail).expect("written");
    assert_eq!(call(&["verify", "--image-detail", "imageDetail.json", "--key", "k.pub"]).0, 0);
    assert_eq!(call(&["verify", "--image-detail", "k.pub", "--key", "k.pub"]).0, 64);
    if cfg!(not(feature = "kms")) {
        let (code, _, stderr) = call(&["sign", &reference, "--key", "awskms:///alias/release"]);
        assert!(code == 64 && stderr.contains("--features kms"), "{code} {stderr}");
    }

    let (code, stdout, _) = call(&["sbom", &reference, "--format", "spdx"]);
    let bill: Value = serde_json::from_str(&stdout).expect("JSON alone on stdout");
    assert_eq!((code, &bill["spdxVersion"]), (0, &"SPDX-2.3".into()));

    let (code, stdout, stderr) = call(&["scan", &reference]);
    assert!(code == 65 && stdout.contains("not scanned") && !stdout.contains("nothing was found"), "{code} {stdout}");
    assert!(stderr.contains("nobody has scanned") && stderr.contains("hint: give a copy"), "{stderr}");
    let (code, _, stderr) = call(&["tag", &server.repository().to_string(), image.digest().as_str(), "latest"]);
    assert!(code == 2 && stderr.contains("`latest` is refused") && stderr.contains("hint: "), "{code} {stderr}");
    let (code, _, stderr) = call(&["push", ".", &server.repository().to_string()]);
    assert!(code == 64 && stderr.contains("is no image layout") && stderr.contains("hint: "), "{code} {stderr}");
    crate::scan::database(scratch.path());
    let (code, stdout, stderr) = call(&["scan", &reference, "--advisories", ".", "--json"]);
    let verdict: Value = serde_json::from_str(&stdout).expect("JSON alone on stdout");
    assert_eq!(
        (code, &verdict["passed"], &verdict["judge"]["by"]),
        (65, &false.into(), &"advisories".into()),
        "{stderr}"
    );
    assert_eq!(verdict["findings"][0]["id"], "RUSTSEC-2026-0003", "what nobody judged is shown first");
    let policy = r#"{"threshold": "high", "exceptions": [
        {"advisory": "RUSTSEC-2026-0001", "reason": "not reachable", "expires": "9999-12-31"},
        {"advisory": "CVE-2026-0003", "reason": "not reachable", "expires": "9999-12-31"}]}"#;
    fs::write(scratch.path().join("policy.json"), policy).expect("written");
    let (code, stdout, stderr) = call(&["scan", &reference, "--advisories", ".", "--policy", "policy.json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("below the threshold") && stdout.contains("excepted until 9999-12-31"), "{stdout}");
    fs::write(scratch.path().join("policy.json"), r#"{"threshold": "high", "ignored": []}"#).expect("written");
    assert_eq!(call(&["scan", &reference, "--policy", "policy.json"]).0, 64);
}

#[tokio::test]
async fn an_image_whose_binary_lists_nothing_is_not_scanned() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let registry = client(&server.repository(), "secret");
    let image = crate::fixture::image(b"x");
    registry.push(&image, &tags()).await.expect("pushed");
    crate::scan::database(scratch.path());
    let advisories = Advisories::open(scratch.path()).expect("a database");
    let request = scan::Request {
        scanner: None,
        patience: scan::ecr::Patience::default(),
        advisories: Some(&advisories),
        policy: &Policy::default(),
        today: date!(2026 - 11 - 25),
    };
    let verdict = scan::run(&registry, image.digest().clone(), &request).await.expect("judged");
    assert!(matches!(verdict.judge, Judge::Nobody { .. }) && !verdict.passed, "{verdict:?}");
}
