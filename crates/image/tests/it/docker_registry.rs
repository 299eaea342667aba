//! Against registries that exist: Debian's docker-registry and the embedded endpoint, with skopeo and umoci as witnesses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use image::Tag;
use image::assemble::Image;
use image::layout;
use image::registry::{Artifact, Options, Pushed, Registry, RegistryError, Repository, fallback_tag};

use crate::fixture::{image, impatient, installed, quiet, run};
use crate::proxy::{Mischief, Proxy};
use crate::server::{Endpoint, Server, client, client_with, repository};

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| name.parse().expect("a tag")).collect()
}

/// An image whose binary does not compress: its upload is as long as its content.
fn large_image(bytes: usize) -> Image {
    let mut generator = fastrand::Rng::with_seed(7);
    let content: Vec<u8> = std::iter::repeat_with(|| generator.u8(..)).take(bytes).collect();
    image(&content)
}

#[tokio::test]
async fn docker_registry_takes_the_image_and_skopeo_and_umoci_read_it() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let repository = server.repository();
    let image = image(&vec![7; 300_000]);
    let names = tags(&["0123456", "staging-0123456"]);

    let error = client(&repository, "wrong").push(&image, &names).await.expect_err("a wrong password");
    assert!(matches!(error, RegistryError::WrongCredentials { .. }), "{error}");
    let pushed = client(&repository, "secret").push(&image, &names).await.expect("pushed");
    assert_eq!(pushed, Pushed { uploaded: 3, mounted: 0, tagged: 2 });
    let again = client(&repository, "secret").push(&image, &names).await.expect("pushed again");
    assert_eq!(again, Pushed { uploaded: 0, mounted: 0, tagged: 0 });
    let prod: Tag = "prod-0123456".parse().expect("a tag");
    client(&repository, "secret").add_tag(image.digest(), &prod).await.expect("tagged");
    let pulled = client(&repository, "secret").pull(image.digest()).await.expect("pulled");
    assert_eq!(pulled.blobs.len(), 3);

    if !installed("skopeo") {
        return;
    }
    let reference = format!("docker://{repository}:{prod}");
    let text =
        run(Command::new("skopeo").args(["inspect", "--tls-verify=false", "--creds", "user:secret", &reference]));
    let inspected: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(inspected["Digest"], image.digest().as_str());
    let copy = scratch.path().join("copy");
    run(Command::new("skopeo")
        .args(["copy", "--quiet", "--src-tls-verify=false", "--src-creds", "user:secret", &reference])
        .arg(format!("oci:{}:copied", copy.display())));
    let (copied, _) = layout::read(&copy).expect("skopeo's layout");
    assert_eq!(copied.digest(), image.digest(), "copied byte for byte");
    unpack_with_umoci(&copy, scratch.path());
}

fn unpack_with_umoci(layout: &Path, scratch: &Path) {
    if !installed("umoci") {
        return;
    }
    let bundle = scratch.join("bundle");
    run(Command::new("umoci")
        .args(["unpack", "--rootless", "--image"])
        .arg(format!("{}:copied", layout.display()))
        .arg(&bundle));
    let root = bundle.join("rootfs");
    let mode = |path: &str| fs::metadata(root.join(path)).expect(path).permissions().mode() & 0o7777;
    assert_eq!((mode("smartbot"), mode("data"), mode("tmp")), (0o755, 0o750, 0o1777));
    assert!(root.join("etc/ssl/certs/ca-certificates.crt").is_file());
    let config = fs::read_to_string(bundle.join("config.json")).expect("a runtime configuration");
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["process"]["args"], serde_json::json!(["/smartbot"]));
    assert_eq!(config["process"]["user"]["uid"], 10001);
}

const UPLOAD: u64 = 4_000_000;
/// What one request of an upload carries at most.
const CHUNK: u64 = 200_000;

fn every_tenth() -> Mischief {
    Mischief::CutAt((1..10).map(|part| part * UPLOAD / 10).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_a_cut_at_every_tenth_of_the_way() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    // This registry knows an upload no more of which part of a request arrived: what was sent before is sent again.
    let (cuts, _) = push_through(&server.address, "user", "secret", every_tenth()).await;
    assert_eq!(cuts, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_at_the_byte_that_was_acknowledged() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let (cuts, sent) = push_through(&server.address, "user", "secret", Mischief::DropPatches(0)).await;
    assert!(cuts >= 5, "{cuts}");
    // A dropped request's first bytes, and nothing that was acknowledged before.
    assert!(sent < UPLOAD + cuts * 16_000 + 300_000, "{sent} bytes for {UPLOAD}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_endpoint_keeps_what_arrived_before_a_cut() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(endpoint) = Endpoint::start(scratch.path()) else { return };
    let login = endpoint.credentials();
    let (cuts, sent) = push_through(&endpoint.address, &login.username, &login.password, every_tenth()).await;
    assert_eq!(cuts, 9);
    assert!(sent < UPLOAD + (cuts + 1) * CHUNK, "a cut costs its chunk at most: {sent} bytes for {UPLOAD}");
}

/// Pushes an image through a proxy: how many connections that cost, and how many bytes went up.
async fn push_through(address: &str, username: &str, password: &str, mischief: Mischief) -> (u64, u64) {
    let image = large_image(usize::try_from(UPLOAD).expect("it fits"));
    let proxy = Proxy::start(address, mischief);
    let login = image::credentials::Credentials { username: username.to_owned(), password: password.to_owned() };
    let options = Options { chunk: CHUNK, parallel: 1, ..impatient() };
    let registry = Registry::new(repository(&proxy.address), Some(login.clone()), options, &quiet).expect("a client");
    registry.push(&image, &tags(&["0123456"])).await.expect("pushed in spite of everything");
    let direct = Registry::new(repository(address), Some(login), impatient(), &quiet).expect("a client");
    direct.pull(image.digest()).await.expect("whole");
    (proxy.cuts(), proxy.sent())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stands_still_is_given_up_and_nothing_is_tagged() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let image = large_image(3_000_000);
    let proxy = Proxy::start(&server.address, Mischief::StallAfter(1_000_000));
    let options = Options { patience: std::time::Duration::from_millis(300), ..impatient() };
    let registry = client_with(&repository(&proxy.address), "secret", options);
    let error = registry.push(&image, &tags(&["0123456"])).await.expect_err("given up");
    assert!(error.to_string().contains("nothing moved"), "{error}");
    let there = client(&server.repository(), "secret").find_manifest("0123456").await.expect("asked");
    assert_eq!(there, None, "nothing is half tagged");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_image_is_pushed_by_many_at_once() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let image = Arc::new(large_image(500_000));
    let pushes: Vec<_> = (0..6)
        .map(|number| {
            let (image, repository) = (Arc::clone(&image), server.repository());
            let names = tags(&["0123456", &format!("staging-{number}")]);
            tokio::spawn(async move { client(&repository, "secret").push(&image, &names).await })
        })
        .collect();
    for push in pushes {
        push.await.expect("it ran").expect("pushed");
    }
    let registry = client(&server.repository(), "secret");
    for tag in ["0123456", "staging-0", "staging-5"] {
        assert_eq!(registry.find_manifest(tag).await.expect("asked").as_ref(), Some(image.digest()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_was_tampered_with_is_refused() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let image = image(&vec![7; 300_000]);
    let registry = client(&server.repository(), "secret");
    registry.push(&image, &tags(&["0123456"])).await.expect("pushed");
    let layer = &image.layers()[1];
    let file = server.blob_file(layer.digest());
    let mut bytes = fs::read(&file).expect("the blob");
    bytes[100] ^= 1;
    fs::write(&file, &bytes).expect("tampered");
    let error = registry.pull(image.digest()).await.expect_err("refused");
    assert!(matches!(&error, RegistryError::Corrupted { expected, .. } if expected == layer.digest()), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("do not use")));
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let image = image(&vec![7; 300_000]);
    client(&server.repository(), "secret").push(&image, &tags(&["a"])).await.expect("pushed");
    let other: Repository = format!("{}/another/place", server.address).parse().expect("a repository");
    let options = Options { mount_from: Some("smartassist/chatbot".to_owned()), ..impatient() };
    let registry = client_with(&other, "secret", options);
    let pushed = registry.push(&image, &tags(&["a"])).await.expect("pushed");
    assert_eq!(pushed, Pushed { uploaded: 0, mounted: 3, tagged: 1 });
    registry.pull(image.digest()).await.expect("it is whole there");
}

#[tokio::test]
async fn what_is_attached_is_listed_by_a_tag_where_the_registry_cannot() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let image = image(b"content");
    let registry = client(&server.repository(), "secret");
    registry.push(&image, &tags(&["a"])).await.expect("pushed");
    assert!(registry.referrers(image.digest()).await.expect("asked").is_empty());
    let artifact = |kind: &str, text: &'static str| {
        let content = image::assemble::Blob::new("application/json", text.as_bytes());
        Artifact::new(kind, &image.manifest.descriptor, content, Default::default()).expect("an artifact")
    };
    let (one, two) = (artifact("example/one", "{\"a\":1}"), artifact("example/two", "{\"b\":2}"));
    registry.attach(image.digest(), std::slice::from_ref(&one)).await.expect("attached");
    registry.attach(image.digest(), &[one.clone(), two.clone()]).await.expect("attached");
    let listed = registry.referrers(image.digest()).await.expect("listed");
    assert_eq!(listed, [one.descriptor, two.descriptor.clone()]);
    let manifest = registry.get_manifest(&listed[1].digest).await.expect("there");
    let manifest = image::oci::Manifest::parse(&manifest.bytes).expect("a manifest");
    assert_eq!(manifest.subject.map(|subject| subject.digest).as_ref(), Some(image.digest()));
    assert_eq!(&registry.get_blob(&manifest.layers[0]).await.expect("there").bytes[..], b"{\"b\":2}");
    assert!(registry.find_manifest(&fallback_tag(image.digest())).await.expect("asked").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_clear_error_and_nothing_is_tagged() {
    let scratch = tempfile::tempdir().expect("a directory");
    let small = scratch.path().join("small");
    fs::create_dir(&small).expect("a directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&small).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: only root may mount a small file system");
        return;
    }
    let _unmount = Unmount(&small);
    let Some(server) = Server::start(&small) else { return };
    let registry = client(&server.repository(), "secret");
    let error = registry.push(&large_image(3_000_000), &tags(&["0123456"])).await.expect_err("no room");
    assert!(matches!(error, RegistryError::Unexpected { .. } | RegistryError::Unreachable { .. }), "{error}");
    assert_eq!(registry.find_manifest("0123456").await.expect("asked"), None, "nothing is half tagged");
    drop(server);

    // On our own side: what cannot be written is named, and nothing that looks whole is left.
    let file = small.join("image.tar");
    let error = image::archive::write(&file, &large_image(3_000_000), "smartbot", &tags(&["a"])).expect_err("no room");
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(error.to_string().contains("image.tar") && cause.contains("No space"), "{error}: {cause}");
    assert!(!file.exists());
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
