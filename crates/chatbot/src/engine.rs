//! From a message to a reply: find, judge, answer or decline.
//!
//! The engine never answers without a source. What it finds is judged by coverage: enough of it
//! and the entry's answer is given; some of it and the closest questions are offered; less and the
//! person is handed over.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::knowledge::{Entry, Knowledge, Wording};
use crate::lexicon::Lexicon;
use crate::retrieval::{Field, Hit, Index, Search};
use crate::text::{Language, is_cjk, normalise};

/// The most suggestions offered.
const SUGGESTIONS: usize = 3;
/// A suggestion needs at least this share of the best hit's score.
const SUGGESTION_SCORE: f32 = 0.3;
/// How much of a follow-up must itself be in the entry.
const SHARED: f32 = 0.2;
/// A message up to this long may be a follow-up: CJK characters, or words of other scripts.
const FOLLOW_UP_CJK: usize = 10;
const FOLLOW_UP_WORDS: usize = 4;

/// When an entry is an answer and when only a suggestion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// From this coverage on, the best hit is the answer.
    pub answer: f32,
    /// From this coverage on, the best hits are offered as suggestions.
    pub suggest: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { answer: 0.55, suggest: 0.33 }
    }
}

/// Answers messages from one knowledge file.
#[derive(Debug)]
pub struct Engine {
    knowledge: Knowledge,
    thresholds: Thresholds,
    shelves: Vec<Shelf>,
}

/// The entries that exist in one language, indexed.
#[derive(Debug)]
struct Shelf {
    language: Language,
    index: Index,
    /// Positions in `knowledge.entries`, by document.
    entries: Vec<usize>,
}

/// What the engine says to a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What kind of reply this is.
    pub outcome: Outcome,
    /// The language it is written in.
    pub language: Language,
    /// The text for the person.
    pub text: String,
    /// What the text is based on; empty only for a handover.
    pub citations: Vec<Citation>,
    /// Coverage of the best hit, 0 to 1.
    pub confidence: f32,
    /// True when the previous message was needed to understand this one.
    pub follow_up: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An entry answers it.
    Answer,
    /// Entries that may be meant are offered.
    DidYouMean,
    /// Nothing known; a person should take over.
    Handover,
}

impl Outcome {
    /// Every outcome, in a fixed order.
    pub const ALL: [Outcome; 3] = [Outcome::Answer, Outcome::DidYouMean, Outcome::Handover];

    /// The name used in JSON, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Answer => "answer",
            Outcome::DidYouMean => "did_you_mean",
            Outcome::Handover => "handover",
        }
    }
}

/// A knowledge entry that a reply rests on. Its texts are the entry's own: a reply that is kept keeps no copy of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Citation {
    /// The entry's id.
    #[schema(value_type = String)]
    pub id: Arc<str>,
    /// Its question, in the reply's language.
    #[schema(value_type = String)]
    pub title: Arc<str>,
    /// Page with more about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub url: Option<Arc<str>>,
    /// Share of the question found in it, 0 to 1, three digits.
    pub coverage: f64,
}

/// An entry near a question, whether it answers it or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// Which entry.
    pub citation: Citation,
    /// What it answers.
    pub answer: String,
}

impl Engine {
    /// Indexes a knowledge file.
    pub fn new(knowledge: Knowledge) -> Self {
        Self::with_thresholds(knowledge, Thresholds::default())
    }

    /// Indexes a knowledge file whose owner has an own opinion of what is an answer.
    pub fn with_thresholds(knowledge: Knowledge, thresholds: Thresholds) -> Self {
        let shelves = Language::ALL.iter().map(|&language| Shelf::build(&knowledge, language)).collect();
        Self { knowledge, thresholds, shelves }
    }

    /// What is known.
    pub fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// Number of entries known.
    pub fn entries(&self) -> usize {
        self.knowledge.entries.len()
    }

    /// The language of the entries, if all are in one.
    pub fn only_language(&self) -> Option<Language> {
        let mut filled = self.shelves.iter().filter(|shelf| !shelf.index.is_empty());
        filled.next().map(|shelf| shelf.language).filter(|_| filled.next().is_none())
    }

    /// Replies to a message. `previous` is what the same person wrote before it, if anything. The reply is in the `wished`
    /// language where it exists in it, otherwise in the message's.
    pub fn reply(&self, message: &str, previous: Option<&str>, wished: Option<Language>) -> Reply {
        let language = Language::of(message).or_else(|| previous.and_then(Language::of)).or(wished);
        let language = language.unwrap_or(Language::Ja);
        let Some(shelf) = self.shelf(language) else {
            return self.handover(wished.unwrap_or(language), 0.0);
        };
        let search = shelf.index.ask(message);
        let best = search.best(1).first().copied();
        let answer = best.filter(|hit| hit.coverage >= self.thresholds.answer);
        // Whoever writes kanji among Latin names reads Japanese, whichever of the two prevails.
        if let Some(hit) = answer.filter(|_| shelf.language == Language::Ja) {
            return self.answer(shelf, &hit, wished, false);
        }
        if let Some((other, hit)) = self.other_language(shelf, message) {
            return self.answer(other, &hit, wished, false);
        }
        if let Some(hit) = answer {
            return self.answer(shelf, &hit, wished, false);
        }
        if let Some(hit) =
            previous.and_then(|previous| follow_up(shelf, &search, message, previous, self.thresholds.answer))
        {
            return self.answer(shelf, &hit, wished, true);
        }
        let coverage = best.map_or(0.0, |hit| hit.coverage);
        if coverage >= self.thresholds.suggest {
            return self.suggest(shelf, &search.best(SUGGESTIONS), wished, coverage);
        }
        self.handover(wished.unwrap_or(language), coverage)
    }

    /// The entries nearest to a message, best first.
    pub fn nearest(&self, message: &str, limit: usize) -> Vec<Passage> {
        let Some(shelf) = self.shelf(Language::of(message).unwrap_or(Language::Ja)) else { return Vec::new() };
        let hits = shelf.index.search(message, limit);
        let passage = |hit: &Hit| {
            let (entry, wording, _) = self.entry(shelf, hit, None)?;
            Some(Passage { citation: cite(entry, wording, hit), answer: wording.answer.clone() })
        };
        hits.iter().filter_map(passage).collect()
    }

    /// The shelf of a language, or of another one when nothing is written in it.
    fn shelf(&self, language: Language) -> Option<&Shelf> {
        let filled = || self.shelves.iter().filter(|shelf| !shelf.index.is_empty());
        filled().find(|shelf| shelf.language == language).or_else(|| filled().next())
    }

    /// The answer in the other language, when the message mixes both scripts ("Slack連携"): names in
    /// Latin letters can outweigh the language a person really writes.
    fn other_language(&self, asked: &Shelf, message: &str) -> Option<(&Shelf, Hit)> {
        let mixed =
            !message.is_ascii() && message.bytes().any(|b| b.is_ascii_alphabetic()) && message.chars().any(is_cjk);
        if !mixed {
            return None;
        }
        self.shelves
            .iter()
            .filter(|shelf| shelf.language != asked.language)
            .find_map(|shelf| shelf.index.search(message, 1).first().map(|&hit| (shelf, hit)))
            .filter(|(_, hit)| hit.coverage >= self.thresholds.answer)
    }

    fn answer(&self, shelf: &Shelf, hit: &Hit, wished: Option<Language>, follow_up: bool) -> Reply {
        let Some((entry, wording, language)) = self.entry(shelf, hit, wished) else {
            return self.handover(wished.unwrap_or(shelf.language), hit.coverage);
        };
        Reply {
            outcome: Outcome::Answer,
            language,
            text: wording.answer.clone(),
            citations: vec![cite(entry, wording, hit)],
            confidence: hit.coverage,
            follow_up,
        }
    }

    fn suggest(&self, shelf: &Shelf, hits: &[Hit], wished: Option<Language>, confidence: f32) -> Reply {
        let language = wished.unwrap_or(shelf.language);
        let floor = hits.first().map_or(0.0, |hit| hit.score * SUGGESTION_SCORE);
        let citations: Vec<Citation> = hits
            .iter()
            .filter(|hit| hit.score >= floor)
            .filter_map(|hit| self.entry(shelf, hit, wished).map(|(entry, wording, _)| cite(entry, wording, hit)))
            .collect();
        let mut text =
            self.knowledge.replies.get(&language).map(|replies| replies.did_you_mean.clone()).unwrap_or_default();
        for citation in &citations {
            text.push_str("\n- ");
            text.push_str(&citation.title);
        }
        Reply { outcome: Outcome::DidYouMean, language, text, citations, confidence, follow_up: false }
    }

    fn handover(&self, language: Language, confidence: f32) -> Reply {
        let text = self.knowledge.replies.get(&language).map(|replies| replies.handover.clone());
        Reply {
            outcome: Outcome::Handover,
            language,
            text: text.unwrap_or_default(),
            citations: Vec::new(),
            confidence,
            follow_up: false,
        }
    }

    /// The entry that was found, in the wished language if it is written in it.
    fn entry(&self, shelf: &Shelf, hit: &Hit, wished: Option<Language>) -> Option<(&Entry, &Wording, Language)> {
        let entry = &self.knowledge.entries[*shelf.entries.get(hit.document)?];
        let languages = wished.into_iter().chain([shelf.language]);
        let mut written = languages.filter_map(|language| Some((entry, entry.wording(language)?, language)));
        written.next()
    }
}

impl Shelf {
    fn build(knowledge: &Knowledge, language: Language) -> Self {
        let written = knowledge.entries.iter().enumerate();
        let written = written.filter_map(|(position, entry)| Some((position, entry, entry.wording(language)?)));
        let documents = written.clone().map(|(_, entry, wording)| {
            let others = wording.phrasings.iter().chain(&entry.tags).map(String::as_str);
            let asked = std::iter::once(&*wording.question).chain(others).map(|text| (Field::Asked, text));
            asked.chain(std::iter::once((Field::Answer, wording.answer.as_str())))
        });
        let synonyms = Lexicon::new("tenant", knowledge.synonyms.iter().map(|group| group.iter().map(String::as_str)));
        let index = Index::build(documents, synonyms);
        Self { language, index, entries: written.map(|(position, ..)| position).collect() }
    }
}

/// The entry that a short message means together with the one before it.
///
/// The message itself must have something in common with the entry, otherwise anything short
/// would repeat the previous answer.
fn follow_up(shelf: &Shelf, alone: &Search<'_>, message: &str, previous: &str, answer: f32) -> Option<Hit> {
    if !is_short(message) {
        return None;
    }
    let together = shelf.index.search(&format!("{previous}\n{message}"), 1).into_iter().next()?;
    (together.coverage >= answer && alone.coverage(together.document) >= SHARED).then_some(together)
}

fn is_short(message: &str) -> bool {
    match Language::of(message) {
        Some(Language::Ja) => {
            normalise(message).chars().filter(|&c| is_cjk(c) || c.is_alphanumeric()).count() <= FOLLOW_UP_CJK
        }
        _ => message.split_whitespace().count() <= FOLLOW_UP_WORDS,
    }
}

fn cite(entry: &Entry, wording: &Wording, hit: &Hit) -> Citation {
    Citation {
        id: entry.id.clone(),
        title: wording.question.clone(),
        url: entry.url.clone(),
        coverage: (f64::from(hit.coverage) * 1000.0).round() / 1000.0,
    }
}

#[cfg(test)]
mod tests;
