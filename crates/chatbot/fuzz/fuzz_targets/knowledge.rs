//! No file makes an importer panic, and what is taken can be written as JSON and read again.
#![no_main]

use chatbot::knowledge::{Format, Knowledge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for format in [Format::Yaml, Format::Json, Format::Csv, Format::Markdown] {
        if let Ok(knowledge) = Knowledge::import(format, bytes, "fuzz", None) {
            let json = serde_json::to_vec(&knowledge).expect("knowledge is JSON");
            let again = Knowledge::import(Format::Json, &json, "fuzz", None).expect("what was taken is valid");
            assert_eq!(knowledge, again);
            assert!(knowledge.diff(&again).is_empty());
        }
    }
});
