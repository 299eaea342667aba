//! Input from a registry that means harm: the readers of manifests, indexes and layers. The same properties as the fuzz targets
//! in `fuzz/`, on every run of the tests.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::contents::{self, Kind, LayerError, Limits};
use image::oci::{DocumentError, Index, Manifest};
use image::registry::Reference;
use proptest::prelude::*;
use serde_json::{Value, json};
use tar::{EntryType, Header};

use crate::fixture::image;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 100 };

/// An archive of raw headers: the tar crate's own checks would refuse to write these.
fn archive(entries: &[(&str, EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link, content) in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).expect("in memory");
    }
    builder.into_inner().expect("in memory")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

const FILE: EntryType = EntryType::Regular;

#[test]
fn our_own_layers_are_read() {
    let image = image(b"content");
    let found: Vec<_> =
        image.layers().iter().map(|layer| contents::read(&layer.bytes, Limits::default()).expect("a layer")).collect();
    assert_eq!(found[0]["tmp"].mode, 0o1777);
    assert_eq!((found[0]["data"].uid, &found[0]["data"].kind), (10001, &Kind::Directory));
    assert!(matches!(found[1]["smartbot"].kind, Kind::File { size: 71, .. }));
}

#[test]
fn paths_and_links_out_of_the_root_are_refused() {
    let attacks: &[(&str, EntryType, &str)] = &[
        ("../x", FILE, ""),
        ("a/../../x", FILE, ""),
        ("link", EntryType::Symlink, "../x"),
        ("a/link", EntryType::Symlink, "b/../../../x"),
        ("hard", EntryType::Link, "../x"),
        ("a/hard", EntryType::Link, "../x"),
    ];
    for (name, kind, link) in attacks {
        let error = contents::read(&archive(&[(name, *kind, link, b"")]), LIMITS).expect_err(name);
        assert!(matches!(error, LayerError::Outside(_)), "{name}: {error}");
    }
    for kind in [EntryType::Fifo, EntryType::Char, EntryType::Block] {
        let error = contents::read(&archive(&[("x", kind, "", b"")]), LIMITS).expect_err("special");
        assert!(matches!(error, LayerError::Special(_)), "{error}");
    }
    let inside: &[(&str, EntryType, &str, &[u8])] = &[
        ("/a/./b", FILE, "", b"x"),
        ("a/up", EntryType::Symlink, "../c", b""),
        ("top", EntryType::Symlink, "/a/b", b""),
    ];
    let found = contents::read(&archive(inside), LIMITS).expect("harmless");
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a/b", "a/up", "top"]);
}

#[test]
fn bombs_and_lying_sizes_are_refused() {
    let zeros = vec![0; 8 << 20];
    let bomb = gzip(&archive(&[("bomb", FILE, "", &zeros)]));
    assert!(bomb.len() < 100_000, "it is small");
    assert!(matches!(contents::read(&bomb, LIMITS), Err(LayerError::TooLarge(_))));
    let many: Vec<_> = (0..200).map(|_| ("same", FILE, "", b"".as_slice())).collect();
    assert!(matches!(contents::read(&archive(&many), LIMITS), Err(LayerError::TooLarge(_))));
    // A long name is read into memory before anything else is known of it.
    let name = gzip(&archive(&[("name", EntryType::GNULongName, "", &zeros), ("x", FILE, "", b"")]));
    let error = contents::read(&name, Limits { bytes: 1 << 30, entries: 100 }).expect_err("refused");
    assert!(matches!(&error, LayerError::Archive(cause) if cause.to_string().contains("headers")), "{error}");

    let mut short = archive(&[("short", FILE, "", &[7; 2000])]);
    short.truncate(512 + 1000);
    assert!(contents::read(&short, LIMITS).is_err());
    let whole = gzip(&archive(&[("a", FILE, "", &[7; 2000])]));
    assert!(contents::read(&whole[..whole.len() / 2], LIMITS).is_err());
}

#[test]
fn other_documents_are_no_manifest() {
    let image = image(b"content");
    let good: Value = serde_json::from_slice(&image.manifest.bytes).expect("JSON");
    let parse = |change: &dyn Fn(&mut Value)| {
        let mut document = good.clone();
        change(&mut document);
        Manifest::parse(document.to_string().as_bytes())
    };
    assert!(parse(&|_| {}).is_ok());
    assert!(parse(&|document| document["annotations"] = json!({ "new": "field" })).is_ok());
    assert!(matches!(parse(&|document| document["schemaVersion"] = json!(1)), Err(DocumentError::Version(1))));
    let index = "application/vnd.oci.image.index.v1+json";
    assert!(matches!(parse(&|document| document["mediaType"] = json!(index)), Err(DocumentError::Type(_))));
    for digest in ["sha256:0", "sha512:00", "../../etc/passwd", &format!("sha256:{}", "A".repeat(64))] {
        let result = parse(&|document| document["config"]["digest"] = json!(digest));
        assert!(matches!(result, Err(DocumentError::Json(_))), "{digest}");
    }
    assert!(parse(&|document| document["layers"][0]["size"] = json!(-1)).is_err());
    let layer = good["layers"][0].clone();
    let result = parse(&|document| document["layers"] = json!(vec![layer.clone(); 5000]));
    assert!(matches!(result, Err(DocumentError::TooMany(5000))));
    assert!(Index::parse(&image.manifest.bytes).is_err(), "a manifest is no index");
    assert!(Manifest::parse(&b"[".repeat(100_000)).is_err(), "deep nesting ends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_whatever_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = Manifest::parse(&bytes);
        let _ = Index::parse(&bytes);
        let _ = contents::read(&bytes, LIMITS);
        let _ = contents::read(&gzip(&bytes), LIMITS);
    }

    #[test]
    fn a_manifest_with_one_changed_byte_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = image(b"content").manifest.bytes.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert!(manifest.layers.iter().all(|layer| layer.digest.hex().len() == 64));
        }
    }

    #[test]
    fn a_layer_with_some_changed_bytes_lists_only_paths_inside(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)
    ) {
        let mut bytes = archive(&[("a/b", FILE, "", b"x"), ("c", EntryType::Symlink, "a/b", b""), ("d", FILE, "", &[1; 700])]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for path in contents::read(&bytes, LIMITS).into_iter().flatten().map(|(path, _)| path) {
            prop_assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{}", path);
        }
    }

    #[test]
    fn a_reference_that_is_accepted_reads_back_as_itself(text in "[a-z0-9.:/@_-]{1,60}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>().expect("our own text"), reference);
        }
    }
}
