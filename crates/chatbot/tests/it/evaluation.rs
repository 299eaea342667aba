//! Floors under the quality of the answers. `cargo xtask eval` prints the figures themselves.

use std::path::{Path, PathBuf};

use chatbot::engine::{Engine, Thresholds};
use chatbot::evaluation::{self, FaqPart, Measured};

fn own(name: &str, part: FaqPart) -> Measured {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("evaluation").join(name);
    let (knowledge, questions) = evaluation::faq(&path, part).expect("the project's own set is valid");
    assert!(knowledge.entries.len() >= 60 && questions.len() >= 120, "{name} is complete");
    let engine = Engine::new(knowledge);
    evaluation::measure_engine(&engine, &questions, Thresholds::default())
}

/// A set that is not part of the project: where it is, `EVALUATION_DATA` names its directory.
fn public(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("EVALUATION_DATA").map(|directory| Path::new(&directory).join(name));
    let path = path.filter(|path| path.is_file());
    if path.is_none() {
        eprintln!("passed over: EVALUATION_DATA names no directory with {name}");
    }
    path
}

#[test]
fn paraphrases_of_our_own_sets_find_their_entry() {
    for name in ["aozora-market.yaml", "kintai-cloud.yaml"] {
        for part in [FaqPart::Dev, FaqPart::HeldOut] {
            let measured = own(name, part);
            let abstention = measured.abstention.as_ref().expect("the set has questions that nothing answers");
            assert!(measured.hit_at_1 >= 0.59, "{name} {part:?}: {measured:?}");
            assert!(measured.hit_at_5 >= 0.83, "{name} {part:?}: {measured:?}");
            assert!(abstention.auroc >= 0.9, "{name} {part:?}: {measured:?}");
            assert!(abstention.precision >= 0.91, "{name} {part:?}: {measured:?}");
            assert!(abstention.answered_wrongly <= 0.05, "{name} {part:?}: {measured:?}");
        }
    }
}

#[test]
fn japanese_questions_find_their_paragraph() {
    let Some(path) = public("jsquad-valid.json") else { return };
    let measured = evaluation::squad(&path).expect("SQuAD format").measure(Thresholds::default());
    assert!(measured.hit_at_1 >= 0.92 && measured.hit_at_5 >= 0.97, "{measured:?}");
    let abstention = measured.abstention.expect("many articles");
    assert!(abstention.auroc >= 0.93 && abstention.precision >= 0.96, "{abstention:?}");
}

#[test]
fn japanese_paraphrases_find_each_other() {
    let Some(path) = public("jsts-valid.json") else { return };
    let measured = evaluation::jsts(&path).expect("JSTS").measure(Thresholds::default());
    assert!(measured.hit_at_1 >= 0.557, "{measured:?}");
}

#[test]
fn english_questions_find_their_intent() {
    let Some(path) = public("b77-train.csv") else { return };
    let measured = evaluation::banking(&path, 10).expect("Banking77").measure(Thresholds::default());
    assert!(measured.hit_at_1 >= 0.717, "{measured:?}");
}

#[test]
fn sets_in_another_format_are_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("set.json");
    std::fs::write(&path, "{\"data\": 1}").expect("written");
    for error in [evaluation::squad(&path).unwrap_err(), evaluation::jsts(&path).unwrap_err()] {
        assert!(error.to_string().contains("set.json is not as expected"), "{error}");
    }
    assert!(evaluation::banking(&directory.path().join("none.csv"), 10).unwrap_err().to_string().contains("none.csv"));
}
