//! An image's address: what is accepted reads back as itself, and is never `latest`.
#![no_main]

use image::registry::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else { return };
    let shown = reference.to_string();
    assert!(!shown.ends_with(":latest"));
    assert_eq!(shown.parse::<Reference>().expect("our own text"), reference);
});
