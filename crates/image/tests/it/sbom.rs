//! What a binary is made of: inside of it, and as documents.

use std::fs;
use std::process::Command;

use image::Digest;
use image::auditable::{embed, extract};
use image::dependencies::{Dependencies, Origin, Package, Role};
use image::elf::{ElfError, with_section};
use image::sbom::{Format, Subject, write};
use serde_json::Value;

use crate::fixture::{installed, run};

fn package(name: &str, version: &str, origin: Origin, role: Role, dependencies: &[usize]) -> Package {
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        origin,
        role,
        features: Vec::new(),
        checksum: None,
        license: None,
        dependencies: dependencies.to_vec(),
        root: false,
    }
}

pub(crate) fn dependencies() -> Dependencies {
    let mut serde = package("serde", "1.0.200", Origin::CratesIo, Role::Runtime, &[2]);
    serde.features = vec!["derive".to_owned(), "std".to_owned()];
    serde.checksum = Some("ab".repeat(32));
    serde.license = Some("MIT OR Apache-2.0".to_owned());
    let mut root = package("chatbot", "0.1.0", Origin::Local, Role::Runtime, &[1]);
    root.root = true;
    Dependencies { packages: vec![root, serde, package("syn", "2.0.0", Origin::CratesIo, Role::Build, &[])] }
}

/// A small program of any Linux.
const ECHO: &str = "/bin/echo";

pub(crate) fn elf() -> Vec<u8> {
    fs::read(ECHO).expect("a binary")
}

#[test]
fn the_list_in_the_binary_is_read_back_and_the_binary_runs_as_before() {
    let binary = elf();
    assert_eq!(extract(&binary).expect("readable"), None);
    let listed = embed(&binary, &dependencies()).expect("embedded");
    assert_eq!(listed, embed(&binary, &dependencies()).expect("embedded"), "the same bytes each time");
    let found = extract(&listed).expect("readable").expect("a list");
    let names = |list: &Dependencies| -> Vec<_> {
        list.packages
            .iter()
            .map(|p| (p.name.clone(), p.version.clone(), p.role, p.dependencies.clone(), p.root))
            .collect()
    };
    assert_eq!(names(&found), names(&dependencies()));

    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("listed");
    fs::copy(ECHO, &path).expect("a copy, for its mode");
    fs::write(&path, &listed).expect("written");
    assert_eq!(run(Command::new(&path).arg("still runs")), "still runs\n");
    if installed("objcopy") {
        let section = scratch.path().join("section");
        let arguments = ["-O", "binary", "--only-section=.dep-v0", "--set-section-flags", ".dep-v0=alloc"];
        run(Command::new("objcopy").args(arguments).arg(&path).arg(&section));
        let mut json = String::new();
        let section = fs::read(section).expect("the section");
        std::io::Read::read_to_string(&mut flate2::read::ZlibDecoder::new(&section[..]), &mut json).expect("zlib");
        let list: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(list["packages"][1]["name"], "serde");
        assert_eq!(list["packages"][2]["kind"], "build");
    }
}

#[test]
fn damaged_headers_are_refused_and_never_followed() {
    let binary = elf();
    assert!(matches!(with_section(b"#!/bin/sh", ".x", b""), Err(ElfError::NotElf)));
    assert!(matches!(with_section(&binary[..40], ".x", b""), Err(ElfError::Truncated)));
    for (at, length) in [(40, 8), (58, 2), (60, 2), (62, 2)] {
        let mut damaged = binary.clone();
        damaged[at..at + length].fill(0xff);
        assert!(with_section(&damaged, ".x", b"").is_err(), "the field at {at}");
    }
}

#[test]
fn both_documents_name_every_package_with_its_checksum_and_licence() {
    let digest = Digest::of(b"image");
    let subject = Subject { name: "smartbot", digest: &digest, created: "2026-11-25T00:00:00Z" };
    let document = |format| {
        let bytes = write(format, &dependencies(), &subject).expect("written");
        assert_eq!(bytes, write(format, &dependencies(), &subject).expect("written"), "the same bytes each time");
        serde_json::from_slice::<Value>(&bytes).expect("JSON")
    };

    let cyclonedx = document(Format::Cyclonedx);
    assert_eq!(cyclonedx["metadata"]["component"]["version"], digest.as_str());
    let serde = &cyclonedx["components"][1];
    assert_eq!(serde["purl"], "pkg:cargo/serde@1.0.200");
    assert_eq!(serde["hashes"][0]["content"], "ab".repeat(32));
    assert_eq!(serde["licenses"][0]["expression"], "MIT OR Apache-2.0");
    assert_eq!(serde["properties"][0]["value"], "derive,std");
    assert_eq!((&serde["scope"], &cyclonedx["components"][2]["scope"]), (&"required".into(), &"excluded".into()));
    let edges = cyclonedx["dependencies"].as_array().expect("edges");
    let known: Vec<&Value> =
        cyclonedx["components"].as_array().expect("components").iter().map(|c| &c["bom-ref"]).collect();
    for needed in edges.iter().flat_map(|edge| edge["dependsOn"].as_array().expect("a list")) {
        assert!(known.contains(&needed), "{needed} is described");
    }

    let spdx = document(Format::Spdx);
    assert_eq!(spdx["packages"][2]["checksums"][0]["checksumValue"], "ab".repeat(32));
    assert_eq!(spdx["packages"][2]["licenseDeclared"], "MIT OR Apache-2.0");
    let relationships = spdx["relationships"].to_string();
    for kind in ["DESCRIBES", "CONTAINS", "DEPENDS_ON", "BUILD_DEPENDENCY_OF"] {
        assert!(relationships.contains(kind), "{kind}");
    }
}

#[test]
fn a_local_package_is_not_taken_for_one_of_crates_io() {
    let purl = |origin| package("chatbot", "0.1.0", origin, Role::Runtime, &[]).purl();
    assert_eq!(purl(Origin::CratesIo), "pkg:cargo/chatbot@0.1.0");
    assert_ne!(purl(Origin::Local), purl(Origin::CratesIo));
    let git = purl(Origin::Git(Some("https://example.com/a.git".to_owned())));
    assert_eq!(git, "pkg:cargo/chatbot@0.1.0?vcs_url=git%2Bhttps%3A%2F%2Fexample.com%2Fa.git");
}

#[test]
fn validators_of_others_accept_both_documents() {
    let Some(python) = std::env::var_os("SBOM_PYTHON") else {
        eprintln!("skipped: SBOM_PYTHON names no python with the validators; .ci/image installs them");
        return;
    };
    let scratch = tempfile::tempdir().expect("a directory");
    let digest = Digest::of(b"image");
    let subject = Subject { name: "smartbot", digest: &digest, created: "2026-11-25T00:00:00Z" };
    for (format, kind) in [(Format::Cyclonedx, "cyclonedx"), (Format::Spdx, "spdx")] {
        let path = scratch.path().join("document.spdx.json");
        fs::write(&path, write(format, &dependencies(), &subject).expect("written")).expect("a file");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/validate_sbom.py");
        run(Command::new(&python).arg(script).arg(kind).arg(&path));
    }
}
