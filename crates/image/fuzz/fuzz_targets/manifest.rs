//! A manifest from a registry: read or refused, never a panic, and its digests are digests.
#![no_main]

use image::oci::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    let all = manifest.layers.iter().chain([&manifest.config]).chain(&manifest.subject);
    for descriptor in all {
        assert_eq!(descriptor.digest.hex().len(), 64);
    }
});
