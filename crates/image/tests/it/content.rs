//! What an image holds, and that it depends on nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::process::Command;

use flate2::read::GzDecoder;
use image::elf::{self, ElfError};
use image::target::Architecture;
use image::{Error, Tag, layout};

use crate::fixture::{COMMIT, binary, image, installed, run};

fn tags() -> Vec<Tag> {
    vec!["0123456".parse().expect("a tag"), "v1.2.3".parse().expect("a tag")]
}

#[test]
fn the_same_input_gives_the_same_digest_and_another_input_another() {
    assert_eq!(image(b"one").digest(), image(b"one").digest());
    assert_ne!(image(b"one").digest(), image(b"two").digest());
}

fn unpacked(layer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(layer).read_to_end(&mut bytes).expect("gzip");
    bytes
}

#[test]
fn another_binary_changes_its_own_layer_and_the_configuration_alone() {
    let (one, two) = (image(b"one"), image(b"two"));
    let same: Vec<bool> = one.blobs.iter().zip(&two.blobs).map(|(a, b)| a.digest() == b.digest()).collect();
    assert_eq!(same, [true, false, false]);
}

#[test]
fn the_layers_hold_the_binary_the_user_the_certificates_and_two_directories() {
    let image = image(b"content");
    let mut paths = Vec::new();
    let mut files = BTreeMap::new();
    let layers: Vec<Vec<u8>> = image.layers().iter().map(|layer| unpacked(&layer.bytes)).collect();
    assert_eq!(layers.len(), 2, "what rarely changes, and the binary");
    let mut archives: Vec<_> = layers.iter().map(|layer| tar::Archive::new(layer.as_slice())).collect();
    for entry in archives.iter_mut().flat_map(|archive| archive.entries().expect("a tar archive")) {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let header = entry.header().clone();
        assert_eq!(header.mtime().expect("a time"), 0, "{path}");
        assert_eq!(header.uid().expect("an owner"), header.gid().expect("a group"), "{path}");
        assert!(header.as_ustar().is_some(), "{path}");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("content");
        paths.push((path.clone(), header.mode().expect("a mode"), header.uid().expect("an owner")));
        files.insert(path, content);
    }
    let expected = [
        ("data/", 0o750, 10001),
        ("etc/", 0o755, 0),
        ("etc/group", 0o644, 0),
        ("etc/passwd", 0o644, 0),
        ("etc/ssl/", 0o755, 0),
        ("etc/ssl/certs/", 0o755, 0),
        ("etc/ssl/certs/ca-certificates.crt", 0o644, 0),
        ("tmp/", 0o1777, 0),
        ("smartbot", 0o755, 0),
    ];
    let expected: Vec<_> = expected.iter().map(|(path, mode, owner)| ((*path).to_owned(), *mode, *owner)).collect();
    assert_eq!(paths, expected);
    assert_eq!(files["smartbot"], binary(b"content"));
    assert!(String::from_utf8_lossy(&files["etc/passwd"]).contains("smartbot:x:10001:10001:"));
    let bundle = String::from_utf8_lossy(&files["etc/ssl/certs/ca-certificates.crt"]).into_owned();
    assert!(bundle.matches("-----BEGIN CERTIFICATE-----").count() > 50);
}

#[test]
fn the_configuration_says_who_runs_what_and_from_which_commit() {
    let image = image(b"content");
    let configuration: serde_json::Value = serde_json::from_slice(&image.blobs[2].bytes).expect("JSON");
    let config = &configuration["config"];
    assert_eq!(configuration["architecture"], "amd64");
    assert_eq!(configuration["os"], "linux");
    assert_eq!(configuration["created"], "2023-11-14T22:13:20Z");
    assert_eq!(config["User"], "10001:10001");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/smartbot"]));
    assert_eq!(config["ExposedPorts"], serde_json::json!({ "8080/tcp": {} }));
    assert_eq!(config["Volumes"], serde_json::json!({ "/data": {} }));
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Healthcheck"]["Test"], serde_json::json!(["CMD", "/smartbot", "--healthcheck"]));
    let env = [
        "LISTEN=0.0.0.0:8080".to_owned(),
        format!("SMARTBOT_COMMIT={COMMIT}"),
        "SMARTBOT_COMMIT_TIME=2023-11-14T22:13:20Z".to_owned(),
    ];
    assert_eq!(config["Env"], serde_json::json!(env));
    let labels = &config["Labels"];
    assert_eq!(labels["org.opencontainers.image.revision"], COMMIT);
    assert_eq!(labels["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
    assert_eq!(labels["org.opencontainers.image.title"], "smartbot");
    assert_eq!(labels["org.opencontainers.image.version"], "1.2.3");
    assert_eq!(labels["org.opencontainers.image.source"], "https://example.com/repository");
    assert_eq!(labels["org.opencontainers.image.licenses"], "MIT OR Apache-2.0");
}

#[test]
fn a_layout_is_read_back_as_it_was_written_and_replaced_as_a_whole() {
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = scratch.path().join("layout");
    layout::write(&directory, &image(b"old"), &tags()).expect("written");
    let image = image(b"new");
    layout::write(&directory, &image, &tags()).expect("written again");
    let (read, names) = layout::read(&directory).expect("read");
    assert_eq!(read.digest(), image.digest());
    assert_eq!(names, tags());
    let blobs = fs::read_dir(directory.join("blobs/sha256")).expect("blobs").count();
    assert_eq!(blobs, 4, "nothing of the old image is left");
    assert_eq!(fs::read_dir(scratch.path()).expect("entries").count(), 1, "no temporary directory is left");
}

#[test]
fn a_damaged_blob_is_found_and_a_foreign_directory_left_alone() {
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = scratch.path().join("layout");
    let image = image(b"content");
    layout::write(&directory, &image, &tags()).expect("written");
    let layer = directory.join("blobs/sha256").join(image.blobs[0].digest().hex());
    let mut bytes = fs::read(&layer).expect("the layer");
    bytes[20] ^= 1;
    fs::write(&layer, bytes).expect("damaged");
    assert!(matches!(layout::read(&directory), Err(Error::Damaged { .. })));

    let home = scratch.path().join("home");
    fs::create_dir(&home).expect("a directory");
    fs::write(home.join("thesis.txt"), "years of work").expect("a file");
    assert!(matches!(layout::write(&home, &image, &tags()), Err(Error::NotALayout(_))));
    assert!(home.join("thesis.txt").exists());
}

#[test]
fn skopeo_reads_the_layout_with_the_same_digest() {
    if !installed("skopeo") {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = scratch.path().join("layout");
    let image = image(b"content");
    layout::write(&directory, &image, &tags()).expect("written");
    let reference = format!("oci:{}:v1.2.3", directory.display());
    let text = run(Command::new("skopeo").args(["inspect", &reference]));
    let inspected: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(inspected["Digest"], image.digest().as_str());
    assert_eq!(inspected["Architecture"], "amd64");
}

#[test]
fn only_static_linux_binaries_are_packaged() {
    assert_eq!(elf::inspect(&binary(b"")), Ok(Architecture::Amd64));
    assert_eq!(elf::inspect(b"#!/bin/sh\n"), Err(ElfError::NotElf));
    assert_eq!(elf::inspect(b"\x7fELF\x02\x01"), Err(ElfError::Truncated));
    let mut other = binary(b"");
    other[18] = 3;
    assert_eq!(elf::inspect(&other), Err(ElfError::Machine(3)));
    let mut lying = binary(b"");
    lying[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    lying[54] = 56;
    lying[56] = 3;
    assert_eq!(elf::inspect(&lying), Err(ElfError::Truncated));
    let mut dynamic = binary(b"");
    dynamic[32] = 64;
    dynamic[54] = 56;
    dynamic[56] = 1;
    dynamic.extend_from_slice(&3_u32.to_le_bytes());
    assert_eq!(elf::inspect(&dynamic), Err(ElfError::Dynamic));
}
