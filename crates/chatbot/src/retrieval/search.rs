//! A question, looked up in an index.

use std::collections::hash_map::Entry;

use super::{AT_ONCE, FILLER, Index, Postings, Read, score_weight, tells};
use crate::lexicon::Mention;
use crate::text::Hashed;

/// A question and what each document has of it.
#[derive(Debug)]
pub struct Search<'a> {
    index: &'a Index,
    sought: Vec<Sought<'a>>,
    /// The concepts it mentions that some document has.
    concepts: Vec<&'a Postings>,
    /// BM25 of each document, and of none: see [`Index::stride`].
    scores: Vec<f32>,
    /// The document that it stands in word for word.
    verbatim: Option<u32>,
    /// The weight of the whole question.
    total: f32,
}

/// A document found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its position among the documents the index was built from.
    pub document: usize,
    /// BM25 score; comparable within one search only.
    pub score: f32,
    /// Share of the question's weight found in the document, 0 to 1.
    pub coverage: f32,
}

/// A term of a question, looked up.
#[derive(Debug)]
struct Sought<'a> {
    own: Option<&'a Postings>,
    /// See [`tells`].
    weight: f32,
    /// What a match is worth.
    worth: f32,
    /// The position of the concept that its words express.
    concept: Option<u32>,
}

impl<'a> Search<'a> {
    pub(super) fn new(index: &'a Index, read: &Read) -> Self {
        let known = |mention: &Mention| Some((mention.concept, index.terms.get(&mention.concept)?));
        let mut concepts: Vec<_> = read.mentions.iter().filter_map(known).collect();
        concepts.sort_unstable_by_key(|&(concept, _)| concept);
        concepts.dedup_by_key(|&mut (concept, _)| concept);
        let sought = once(index, read, &concepts);
        let total = sought.iter().map(|sought| sought.weight).sum();
        let concepts = concepts.into_iter().map(|(_, postings)| postings).collect();
        let verbatim = index.verbatim.get(&read.whole()).copied();
        let mut search = Self { index, sought, concepts, scores: vec![0.0; index.stride()], verbatim, total };
        search.score();
        // What somebody wrote down as a phrasing of an entry means that entry, whatever else is like it, and even if all of it
        // is in every entry.
        if let Some(document) = verbatim {
            search.scores[document as usize] += largest(&search.scores).max(1.0);
        }
        search
    }

    /// The best documents, best first, at most `limit`. Equal scores keep the documents' order, so
    /// the same question always gets the same answer.
    pub fn best(&self, limit: usize) -> Vec<Hit> {
        let mut best: Vec<Hit> = Vec::with_capacity(limit.min(self.index.documents) + 1);
        let mut least = 0.0;
        for (number, scores) in self.scores.as_chunks::<AT_ONCE>().0.iter().enumerate() {
            // Most documents are far from the best: they are passed over together.
            if largest(scores) <= least {
                continue;
            }
            for (document, &score) in (number * AT_ONCE..).zip(scores) {
                if score > least {
                    let at = best.partition_point(|other| other.score >= score);
                    best.insert(at, Hit { document, score, coverage: 0.0 });
                    best.truncate(limit);
                    if best.len() == limit {
                        least = best.last().map_or(f32::INFINITY, |last| last.score);
                    }
                }
            }
        }
        for hit in &mut best {
            hit.coverage = self.coverage(hit.document);
        }
        best
    }

    /// Share of the question's weight that a document has, 0 to 1. What only wraps a question counts little
    /// where they share nothing else: "please tell me how" is no question, but "thanks" may well be an entry.
    pub fn coverage(&self, document: usize) -> f32 {
        if self.verbatim == Some(document as u32) {
            return 1.0;
        }
        let holds = |postings: &Postings| self.index.holds(postings, document);
        let covered = |sought: &&Sought<'_>| {
            sought.own.is_some_and(holds)
                || sought.concept.is_some_and(|concept| holds(self.concepts[concept as usize]))
        };
        let (mut weight, mut wraps) = (0.0, true);
        for sought in self.sought.iter().filter(covered) {
            weight += sought.weight;
            wraps &= sought.concept.is_none() && sought.own.is_some_and(|own| own.wraps);
        }
        let share = if weight > 0.0 { (weight / self.total).min(1.0) } else { 0.0 };
        if wraps && !self.index.greetings[document] { share * FILLER.0 } else { share }
    }

    fn score(&mut self) {
        let Self { index, sought, concepts, scores, .. } = self;
        let add = |score: &mut f32, weight: f32| *score += weight;
        for own in sought.iter().filter(|word| word.concept.is_none()).filter_map(|word| word.own) {
            index.update(own, scores, add);
        }
        let mut expressed = Vec::new();
        for (concept, postings) in (0..).zip(concepts) {
            expressed.clear();
            expressed.resize(scores.len(), 0.0);
            let mut worth = 0.0;
            for word in sought.iter().filter(|word| word.concept == Some(concept)) {
                worth += word.worth;
                if let Some(own) = word.own {
                    index.update(own, &mut expressed, add);
                }
            }
            // Said in other words, it is worth what the words of the question are worth.
            index.update(postings, &mut expressed, |score, weight| *score = (*score + weight).max(worth * weight));
            scores.iter_mut().zip(&expressed).for_each(|(score, expressed)| *score += expressed);
        }
    }
}

/// The largest of these scores; none is below 0. Unlike `f32::max` this need not care for what is no number, and so takes an
/// instruction a score.
fn largest(scores: &[f32]) -> f32 {
    scores.iter().fold(0.0, |largest, &score| if score > largest { score } else { largest })
}

/// The terms of a question. Said twice counts once, as part of a concept if it ever is.
fn once<'a>(index: &'a Index, read: &Read, concepts: &[(u64, &Postings)]) -> Vec<Sought<'a>> {
    let terms = &read.analysis.terms;
    let mut places = Hashed::with_capacity_and_hasher(terms.len(), Default::default());
    let mut once: Vec<Sought<'a>> = Vec::with_capacity(terms.len());
    for term in terms {
        let own = index.terms.get(&term.hash);
        if own.is_some_and(Postings::is_idle) {
            continue;
        }
        let concept = read.concept(term);
        let concept = concept.and_then(|concept| concepts.iter().position(|&(known, _)| known == concept));
        let concept = concept.map(|position| position as u32);
        match places.entry(term.hash) {
            Entry::Vacant(place) => {
                place.insert(once.len());
                let tells = own.map_or_else(|| tells(term.hash, term.class, index.rarest), |own| own.tells);
                let (weight, worth) = (tells * term.share, score_weight(term.class));
                once.push(Sought { own, weight, worth, concept });
            }
            Entry::Occupied(place) => {
                let before = &mut once[*place.get()];
                before.concept = before.concept.or(concept);
            }
        }
    }
    once
}
