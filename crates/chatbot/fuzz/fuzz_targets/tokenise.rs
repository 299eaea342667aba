//! No text makes the tokeniser or a search panic, and terms lie within the text's units.
#![no_main]

use std::sync::LazyLock;

use chatbot::lexicon::Lexicon;
use chatbot::retrieval::{Field, Index};
use chatbot::text::{Tokeniser, normalise};
use libfuzzer_sys::fuzz_target;

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let documents = ["How do I reset my password?", "請求書はどこですか", "2段階認証"];
    Index::build(documents.map(|text| [(Field::Asked, text)]), Lexicon::default())
});

fuzz_target!(|text: &str| {
    let folded = normalise(text);
    assert_eq!(normalise(&folded), folded);
    let analysis = Tokeniser::default().analyse(text);
    for term in &analysis.terms {
        assert!(term.units.start < term.units.end && term.units.end as usize <= analysis.units.len());
    }
    for hit in INDEX.search(text, 3) {
        assert!(hit.score.is_finite() && (0.0..=1.0).contains(&hit.coverage));
    }
});
