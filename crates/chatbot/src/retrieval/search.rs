//! A question, looked up in an index.

use std::collections::hash_map::Entry;

use super::{Index, Postings, Read, Said, score_weight};
use crate::text::{Class, Hashed};

/// A question and what each document has of it.
#[derive(Debug)]
pub struct Search<'a> {
    index: &'a Index,
    sought: Vec<Sought<'a>>,
    /// BM25 of each document.
    scores: Vec<f32>,
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
    said: Said,
    weight: f32,
    own: Option<&'a Postings>,
    concept: Option<&'a Postings>,
}

impl<'a> Search<'a> {
    pub(super) fn new(index: &'a Index, Read { said, whole }: Read) -> Self {
        let sought: Vec<Sought<'a>> = once(said).into_iter().map(|said| Sought::of(index, said)).collect();
        let total = sought.iter().map(|sought| sought.weight).sum();
        let mut search = Self { index, sought, scores: vec![0.0; index.documents], total };
        search.score();
        // What somebody wrote down as a phrasing of an entry means that entry, whatever else is like it.
        if let Some(&document) = index.verbatim.get(&whole) {
            search.scores[document as usize] += search.scores.iter().copied().fold(0.0, f32::max);
        }
        search
    }

    /// The best documents, best first, at most `limit`. Equal scores keep the documents' order, so
    /// the same question always gets the same answer.
    pub fn best(&self, limit: usize) -> Vec<Hit> {
        let mut best: Vec<(usize, f32)> = Vec::with_capacity(limit.min(self.scores.len()) + 1);
        let mut least = 0.0;
        for (document, &score) in self.scores.iter().enumerate() {
            if score > least {
                let at = best.partition_point(|&(_, other)| other >= score);
                best.insert(at, (document, score));
                best.truncate(limit);
                if best.len() == limit {
                    least = best.last().map_or(f32::INFINITY, |&(_, score)| score);
                }
            }
        }
        best.iter().map(|&(document, score)| Hit { document, score, coverage: self.coverage(document) }).collect()
    }

    /// Share of the question's weight that a document has, 0 to 1.
    pub fn coverage(&self, document: usize) -> f32 {
        let covered = |sought: &&Sought<'_>| {
            [sought.own, sought.concept].into_iter().flatten().any(|postings| self.index.holds(postings, document))
        };
        let covered: f32 = self.sought.iter().filter(covered).map(|sought| sought.weight).sum();
        if covered > 0.0 { (covered / self.total).min(1.0) } else { 0.0 }
    }

    fn score(&mut self) {
        let Self { index, sought, scores, .. } = self;
        let add = |score: &mut f32, weight: f32| *score += weight;
        let concepts = sought.iter().filter(|sought| sought.said.class == Class::Concept);
        let words = || sought.iter().filter(|sought| sought.said.class != Class::Concept);
        for own in words().filter(|word| word.concept.is_none()).filter_map(|word| word.own) {
            index.update(own, scores, add);
        }
        let mut expressed = Vec::new();
        for (concept, postings) in concepts.filter_map(|concept| Some((concept.said.hash, concept.own?))) {
            expressed.clear();
            expressed.resize(scores.len(), 0.0);
            let mut worth = 0.0;
            for word in words().filter(|word| word.said.concept == Some(concept)) {
                worth += score_weight(word.said.class);
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

impl<'a> Sought<'a> {
    fn of(index: &'a Index, said: Said) -> Self {
        let own = index.terms.get(&said.hash);
        let tells = own.map_or_else(|| index.tells(said.hash, said.class, 0), |postings| postings.tells);
        let concept = said.concept.and_then(|concept| index.terms.get(&concept));
        Self { said, weight: tells * said.share, own, concept }
    }
}

/// Said twice counts once, as part of a concept if it ever is.
fn once(said: Vec<Said>) -> Vec<Said> {
    let mut places = Hashed::with_capacity_and_hasher(said.len(), Default::default());
    let mut once: Vec<Said> = Vec::with_capacity(said.len());
    for said in said {
        match places.entry(said.hash) {
            Entry::Vacant(place) => {
                place.insert(once.len());
                once.push(said);
            }
            Entry::Occupied(place) => {
                let before = &mut once[*place.get()];
                before.concept = before.concept.or(said.concept);
            }
        }
    }
    once
}
