//! An index from a registry or a layout: read or refused, never a panic.
#![no_main]

use image::oci::Index;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = Index::parse(bytes) else { return };
    assert!(index.manifests.iter().all(|entry| entry.digest.as_str().starts_with("sha256:")));
});
