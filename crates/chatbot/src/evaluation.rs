//! How good the answers are, measured on sets of questions whose answers are known.
//!
//! Used by `cargo xtask eval` and by the tests that hold the floors; the service does not need it.

mod sets;

use std::time::{Duration, Instant};

use serde::Serialize;

pub use sets::{FaqPart, FaqQuestions, SetError, banking, faq, jsts, squad};

use crate::engine::{Engine, Outcome, Thresholds};
use crate::lexicon::Lexicon;
use crate::retrieval::{Field, Index};

/// How many hits are looked at.
const DEPTH: usize = 5;

/// Documents, and questions that should find one of them.
#[derive(Debug, Clone, Default)]
pub struct Set {
    /// The texts of each document.
    pub documents: Vec<Vec<String>>,
    /// Which subject each document belongs to; questions about another subject are unknown to it.
    pub subjects: Vec<usize>,
    /// What the texts are.
    pub field: Option<Field>,
    /// The questions, each with its document.
    pub questions: Vec<(String, usize)>,
}

/// What came of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Number of documents.
    pub documents: usize,
    /// Number of questions with an answer.
    pub questions: usize,
    /// Share of them whose document is the first hit.
    pub hit_at_1: f64,
    /// Share of them whose document is among the first five.
    pub hit_at_5: f64,
    /// Mean reciprocal rank, 0 beyond the fifth.
    pub mrr: f64,
    /// Median time of a search, in microseconds.
    pub p50_us: f64,
    /// 99th percentile of it.
    pub p99_us: f64,
    /// How well known and unknown are told apart, where the set has both.
    pub abstention: Option<Abstention>,
}

/// How well the engine tells what it knows from what it does not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Abstention {
    /// Number of questions without an answer.
    pub unknown: usize,
    /// Chance that a known question is covered better than an unknown one.
    pub auroc: f64,
    /// Coverage from which on a hit is given as the answer.
    pub answer: f32,
    /// Share of the known questions that are answered.
    pub answered: f64,
    /// Share of these answers that are the right one.
    pub precision: f64,
    /// Share of the unknown questions that are answered all the same.
    pub answered_wrongly: f64,
    /// Coverage from which on hits are suggested.
    pub suggest: f32,
    /// Share of the known questions whose entry is answered or among the suggestions.
    pub helped: f64,
}

/// One question asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Whether anything answers it.
    known: bool,
    /// The place of the right hit, from 0.
    rank: Option<usize>,
    /// Coverage of the first hit.
    coverage: f32,
    took: Duration,
}

impl Set {
    /// Asks every question of an index of all documents, and measures abstention with half of the
    /// subjects at a time, where there is more than one.
    pub fn measure(&self, thresholds: Thresholds) -> Measured {
        let all = self.ask(|_| true);
        let abstention = self.subjects.iter().max().filter(|&&last| last > 0).map(|&last| {
            let halves = [0, 1].map(|half| self.ask(|subject| usize::from(subject * 2 > last) == half));
            Abstention::of(&halves.concat(), thresholds)
        });
        Measured { abstention, ..Measured::of(self.documents.len(), &all) }
    }

    /// Asks every question of the documents whose subject is held.
    fn ask(&self, held: impl Fn(usize) -> bool) -> Vec<Asked> {
        let field = self.field.unwrap_or(Field::Answer);
        let kept: Vec<usize> = (0..self.documents.len()).filter(|&document| held(self.subjects[document])).collect();
        let documents = kept.iter().map(|&document| self.documents[document].iter().map(|text| (field, text.as_str())));
        let index = Index::build(documents, Lexicon::default());
        let ask = |(question, document): &(String, usize)| {
            let started = Instant::now();
            let hits = index.search(question, DEPTH);
            Asked {
                took: started.elapsed(),
                known: held(self.subjects[*document]),
                rank: hits.iter().position(|hit| kept[hit.document] == *document),
                coverage: hits.first().map_or(0.0, |hit| hit.coverage),
            }
        };
        self.questions.iter().map(ask).collect()
    }
}

/// Asks questions of a whole engine. A question without an entry is one that nothing answers.
pub fn measure_engine(engine: &Engine, questions: &[(String, Option<String>)], thresholds: Thresholds) -> Measured {
    let ask = |(question, entry): &(String, Option<String>)| {
        let started = Instant::now();
        let reply = engine.reply(question, None, None);
        let took = started.elapsed();
        let found: Vec<String> = match reply.outcome {
            Outcome::Answer => reply.citations.into_iter().map(|citation| citation.id.to_string()).collect(),
            _ => engine.nearest(question, DEPTH).into_iter().map(|passage| passage.citation.id.to_string()).collect(),
        };
        let rank = entry.as_ref().and_then(|entry| found.iter().position(|id| id == entry));
        Asked { known: entry.is_some(), rank, coverage: reply.confidence, took }
    };
    let asked: Vec<Asked> = questions.iter().map(ask).collect();
    let abstention = asked.iter().any(|asked| !asked.known).then(|| Abstention::of(&asked, thresholds));
    let known: Vec<Asked> = asked.into_iter().filter(|asked| asked.known).collect();
    Measured { abstention, ..Measured::of(engine.entries(), &known) }
}

impl Measured {
    fn of(documents: usize, asked: &[Asked]) -> Self {
        let mut times: Vec<f64> = asked.iter().map(|asked| asked.took.as_secs_f64() * 1e6).collect();
        times.sort_unstable_by(f64::total_cmp);
        let percentile = |share: f64| {
            times.get((times.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or_default()
        };
        let reciprocal: f64 = asked.iter().filter_map(|asked| asked.rank).map(|rank| 1.0 / (rank as f64 + 1.0)).sum();
        Self {
            documents,
            questions: asked.len(),
            hit_at_1: share(asked, |asked| asked.rank == Some(0)),
            hit_at_5: share(asked, |asked| asked.rank.is_some()),
            mrr: reciprocal / asked.len().max(1) as f64,
            p50_us: percentile(0.5),
            p99_us: percentile(0.99),
            abstention: None,
        }
    }
}

impl Abstention {
    fn of(asked: &[Asked], thresholds: Thresholds) -> Self {
        let (known, unknown): (Vec<Asked>, Vec<Asked>) = asked.iter().partition(|asked| asked.known);
        let answered: Vec<Asked> = known.iter().copied().filter(|asked| asked.coverage >= thresholds.answer).collect();
        let helped = |asked: &Asked| {
            let within = if asked.coverage >= thresholds.answer { 1 } else { 3 };
            asked.coverage >= thresholds.suggest && asked.rank.is_some_and(|rank| rank < within)
        };
        Self {
            unknown: unknown.len(),
            auroc: auroc(&known, &unknown),
            answer: thresholds.answer,
            answered: answered.len() as f64 / known.len().max(1) as f64,
            precision: share(&answered, |asked| asked.rank == Some(0)),
            answered_wrongly: share(&unknown, |asked| asked.coverage >= thresholds.answer),
            suggest: thresholds.suggest,
            helped: share(&known, helped),
        }
    }
}

fn share(asked: &[Asked], holds: impl Fn(&Asked) -> bool) -> f64 {
    asked.iter().filter(|asked| holds(asked)).count() as f64 / asked.len().max(1) as f64
}

/// The chance that one of the first is covered better than one of the second; a tie is half.
fn auroc(known: &[Asked], unknown: &[Asked]) -> f64 {
    let mut below: Vec<f32> = unknown.iter().map(|asked| asked.coverage).collect();
    below.sort_unstable_by(f32::total_cmp);
    let wins = |asked: &Asked| {
        let less = below.partition_point(|&other| other < asked.coverage);
        let no_more = below.partition_point(|&other| other <= asked.coverage);
        (less + no_more) as f64 / 2.0
    };
    let pairs = known.len() * unknown.len();
    known.iter().map(wins).sum::<f64>() / pairs.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(known: bool, rank: Option<usize>, coverage: f32) -> Asked {
        Asked { known, rank, coverage, took: Duration::from_micros(10) }
    }

    #[test]
    fn shares_are_of_what_they_say() {
        let all = [
            asked(true, Some(0), 0.9),
            asked(true, Some(1), 0.7),
            asked(true, Some(2), 0.5),
            asked(true, None, 0.4),
            asked(false, None, 0.8),
            asked(false, None, 0.1),
        ];
        let measured = Measured::of(3, &all[..4]);
        assert_eq!((measured.hit_at_1, measured.hit_at_5), (0.25, 0.75));
        assert!((measured.mrr - (1.0 + 0.5 + 1.0 / 3.0) / 4.0).abs() < 1e-9);
        let abstention = Abstention::of(&all, Thresholds::default());
        assert_eq!((abstention.answered, abstention.precision), (0.5, 0.5));
        assert_eq!((abstention.answered_wrongly, abstention.helped), (0.5, 0.5));
        assert_eq!(abstention.auroc, 5.0 / 8.0, "the four beat 0.1, one beats 0.8");
    }

    #[test]
    fn ties_are_half() {
        assert_eq!(auroc(&[asked(true, None, 0.5)], &[asked(false, None, 0.5)]), 0.5);
    }
}
