//! A layer from a registry: whatever it holds, reading it ends, within its limits, and lists only paths inside the root.
#![no_main]

use image::contents::{self, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { bytes: 1 << 20, entries: 1000 };
    let Ok(found) = contents::read(bytes, limits) else { return };
    for path in found.keys() {
        assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
    }
});
