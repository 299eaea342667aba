//! BM25 over the fields of an entry, and how well a hit covers the question.
//!
//! The score orders hits; it does not say whether the best one is any good. That is *coverage*:
//! the share of the question's weight (inverse document frequency) that the hit contains, where a
//! term seen in no document weighs as much as the rarest one.

use std::ops::Range;

use crate::lexicon::{Lexicon, Mention};
use crate::text::{Class, Hashed, Tokeniser, hash};

/// How much the length of a field lowers the weight of its terms.
const B: f32 = 0.75;
/// A term in more than one of so many documents has its weights in a table instead of a list.
const COMMON: usize = 4;

/// A part of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// What people ask: the question, its other phrasings, keywords.
    Asked,
    /// What they are told.
    Answer,
}

impl Field {
    /// How slowly repetition in the field saturates. Ten phrasings that name a thing say more than
    /// one of them, an answer that names it ten times hardly more than one that names it once.
    fn k1(self) -> f32 {
        match self {
            Field::Asked => 1.5,
            Field::Answer => 0.6,
        }
    }

    /// What a match in the field is worth.
    fn weight(self) -> f32 {
        match self {
            Field::Asked => 1.0,
            Field::Answer => 0.5,
        }
    }
}

/// What a match of a term is worth. Pairs and single characters overlap, so does a word with its
/// grams: these are shares of one judgement.
fn score_weight(class: Class) -> f32 {
    match class {
        Class::Pair | Class::Kana | Class::Stem | Class::Concept => 1.0,
        Class::Kanji => 1.5,
        Class::Gram => 0.25,
    }
}

/// How much of the question a term is. A concept is no part of the question: its words are.
fn coverage_weight(class: Class) -> f32 {
    match class {
        Class::Pair | Class::Kana | Class::Kanji | Class::Stem => 1.0,
        Class::Gram => 0.5,
        Class::Concept => 0.0,
    }
}

/// A searchable set of documents.
#[derive(Debug)]
pub struct Index {
    tokeniser: Tokeniser,
    synonyms: Lexicon,
    terms: Hashed<Postings>,
    /// The document in which a text stands as something asked, by the hash of the whole text.
    verbatim: Hashed<u32>,
    /// (document, weight), in order of documents, for each term that few documents have.
    lists: Vec<(u32, f32)>,
    /// One weight for each document, for each term that many documents have.
    tables: Vec<f32>,
    documents: usize,
}

/// Where a term is found, and how much it tells.
#[derive(Debug, Clone, Copy)]
struct Postings {
    idf: f32,
    start: u32,
    length: u32,
    /// Whether this is a part of `tables` or of `lists`.
    table: bool,
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

/// A term of a text, and the concept that its words express, if they do.
#[derive(Debug, Clone, Copy)]
struct Said {
    hash: u64,
    class: Class,
    concept: Option<u64>,
}

/// A text as the index sees it.
#[derive(Debug)]
struct Read {
    /// Its terms and the concepts it mentions, with repetitions.
    said: Vec<Said>,
    /// The hash of all its units.
    whole: u64,
}

/// A term of a question, looked up.
#[derive(Debug, Clone, Copy)]
struct Sought<'a> {
    weight: f32,
    own: Option<&'a Postings>,
    concept: Option<&'a Postings>,
}

impl Index {
    /// Indexes documents, each given as the texts it consists of. `synonyms` add to the built-in ones.
    pub fn build<'a, D>(documents: D, synonyms: Lexicon) -> Self
    where
        D: IntoIterator,
        D::Item: IntoIterator<Item = (Field, &'a str)>,
    {
        let mut index = Self {
            tokeniser: Tokeniser::default(),
            synonyms,
            terms: Hashed::default(),
            verbatim: Hashed::default(),
            lists: Vec::new(),
            tables: Vec::new(),
            documents: 0,
        };
        let mut lengths: Vec<Counts> = Vec::new();
        let mut found: Hashed<(Class, Vec<(u32, Counts)>)> = Hashed::default();
        for (number, texts) in (0_u32..).zip(documents) {
            let mut length = Counts::default();
            for (field, text) in texts {
                let Read { said, whole } = index.read(text);
                if field == Field::Asked {
                    index.verbatim.entry(whole).or_insert(number);
                }
                for said in said {
                    length.add(field);
                    let (_, postings) = found.entry(said.hash).or_insert_with(|| (said.class, Vec::new()));
                    match postings.last_mut() {
                        Some((document, counts)) if *document == number => counts.add(field),
                        _ => postings.push((number, Counts::one(field))),
                    }
                }
            }
            lengths.push(length);
        }
        index.documents = lengths.len();
        let average = Counts::average(&lengths);
        for (term, (class, postings)) in found {
            let idf = index.idf(postings.len());
            let weigh = |(document, counts): (u32, Counts)| {
                (document, idf * score_weight(class) * counts.saturated(lengths[document as usize], average))
            };
            let postings = index.keep(idf, postings.into_iter().map(weigh).collect());
            index.terms.insert(term, postings);
        }
        index.lists.shrink_to_fit();
        index.tables.shrink_to_fit();
        index
    }

    fn keep(&mut self, idf: f32, weights: Vec<(u32, f32)>) -> Postings {
        let table = weights.len() * COMMON > self.documents;
        if !table {
            let start = self.lists.len() as u32;
            let length = weights.len() as u32;
            self.lists.extend(weights);
            return Postings { idf, start, length, table };
        }
        let start = self.tables.len();
        self.tables.resize(start + self.documents, 0.0);
        for (document, weight) in weights {
            self.tables[start + document as usize] = weight;
        }
        Postings { idf, start: start as u32, length: self.documents as u32, table }
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.documents
    }

    /// True when there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.documents == 0
    }

    /// The best documents for a question, best first, at most `limit`.
    pub fn search(&self, question: &str, limit: usize) -> Vec<Hit> {
        let Read { mut said, whole } = self.read(question);
        // Said twice counts once, as part of a concept if it ever is.
        said.sort_unstable_by_key(|said| (said.hash, said.concept.is_none()));
        said.dedup_by_key(|said| said.hash);
        let sought: Vec<Sought<'_>> = said.iter().map(|said| self.seek(said)).collect();
        let mut scores = self.score(&said, &sought);
        // What somebody wrote down as a phrasing of an entry means that entry, whatever else is like it.
        if let Some(&document) = self.verbatim.get(&whole) {
            scores[document as usize] += scores.iter().copied().fold(0.0, f32::max);
        }
        let total: f32 = sought.iter().map(|sought| sought.weight).sum();
        let mut hits = best(&scores, limit);
        for hit in &mut hits {
            let covered: f32 =
                sought.iter().filter(|sought| self.covers(hit.document, sought)).map(|sought| sought.weight).sum();
            hit.coverage = (covered / total).min(1.0);
        }
        hits
    }

    /// The score of each document.
    fn score(&self, said: &[Said], sought: &[Sought<'_>]) -> Vec<f32> {
        let mut scores = vec![0.0_f32; self.documents];
        let both = || said.iter().zip(sought);
        for (_, sought) in both().filter(|(said, sought)| said.class != Class::Concept && sought.concept.is_none()) {
            self.add(sought.own, &mut scores);
        }
        let concepts = both().filter(|(said, _)| said.class == Class::Concept);
        let known = concepts.filter_map(|(said, sought)| Some((said.hash, sought.own?)));
        let mut expressed = vec![0.0_f32; self.documents];
        for (concept, postings) in known {
            let mut worth = 0.0;
            for (word, sought) in both().filter(|(word, _)| word.concept == Some(concept)) {
                worth += score_weight(word.class);
                self.add(sought.own, &mut expressed);
            }
            // Said in other words, it is worth what the words of the question are worth.
            self.visit(postings, |document, weight| {
                let score = &mut expressed[document];
                *score = (*score + weight).max(worth * weight);
            });
            for (score, expressed) in scores.iter_mut().zip(&mut expressed) {
                *score += std::mem::take(expressed);
            }
        }
        scores
    }

    fn add(&self, postings: Option<&Postings>, scores: &mut [f32]) {
        if let Some(postings) = postings {
            self.visit(postings, |document, weight| scores[document] += weight);
        }
    }

    /// Calls with each document that a term is in, and its weight there.
    fn visit(&self, postings: &Postings, mut with: impl FnMut(usize, f32)) {
        if postings.table {
            self.tables[postings.range()].iter().enumerate().for_each(|(document, &weight)| with(document, weight));
        } else {
            self.lists[postings.range()].iter().for_each(|&(document, weight)| with(document as usize, weight));
        }
    }

    fn read(&self, text: &str) -> Read {
        let analysis = self.tokeniser.analyse(text);
        let mut mentions = Lexicon::support().mentions(&analysis.units);
        mentions.extend(self.synonyms.mentions(&analysis.units));
        let within = |mention: &&Mention, units: &Range<u32>| {
            mention.units.start <= units.start && units.end <= mention.units.end
        };
        let concept = |units| mentions.iter().find(|mention| within(mention, units)).map(|mention| mention.concept);
        let terms = analysis.terms.iter().map(|term| Said {
            hash: term.hash,
            class: term.class,
            concept: concept(&term.units),
        });
        let concepts =
            mentions.iter().map(|mention| Said { hash: mention.concept, class: Class::Concept, concept: None });
        let whole = hash(Class::Concept, analysis.units.iter().copied());
        Read { said: terms.chain(concepts).collect(), whole }
    }

    fn seek(&self, said: &Said) -> Sought<'_> {
        let own = self.terms.get(&said.hash);
        let idf = own.map_or_else(|| self.idf(0), |postings| postings.idf);
        let concept = said.concept.and_then(|concept| self.terms.get(&concept));
        Sought { weight: idf * coverage_weight(said.class), own, concept }
    }

    fn covers(&self, document: usize, sought: &Sought<'_>) -> bool {
        [sought.own, sought.concept].into_iter().flatten().any(|postings| {
            if postings.table {
                self.tables[postings.start as usize + document] > 0.0
            } else {
                self.lists[postings.range()].binary_search_by_key(&(document as u32), |(listed, _)| *listed).is_ok()
            }
        })
    }

    /// Inverse document frequency; a term of no document weighs as the rarest possible.
    fn idf(&self, frequency: usize) -> f32 {
        let (n, df) = (self.documents as f32, frequency.max(1) as f32);
        (1.0 + (n - df + 0.5) / (df + 0.5)).ln()
    }
}

impl Postings {
    fn range(&self) -> Range<usize> {
        self.start as usize..(self.start + self.length) as usize
    }
}

/// The documents with the highest scores, best first. Equal scores keep the documents' order, so
/// the same question always gets the same answer.
fn best(scores: &[f32], limit: usize) -> Vec<Hit> {
    let mut hits: Vec<Hit> = Vec::with_capacity(limit.min(scores.len()) + 1);
    let mut least = 0.0;
    for (document, &score) in scores.iter().enumerate() {
        if score > least {
            let at = hits.partition_point(|hit| hit.score >= score);
            hits.insert(at, Hit { document, score, coverage: 0.0 });
            hits.truncate(limit);
            if hits.len() == limit {
                least = hits.last().map_or(f32::INFINITY, |hit| hit.score);
            }
        }
    }
    hits
}

/// A number for each field: how often a term is in it, or how many terms it has.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    asked: f32,
    answer: f32,
}

impl Counts {
    fn one(field: Field) -> Self {
        let mut counts = Self::default();
        counts.add(field);
        counts
    }

    fn add(&mut self, field: Field) {
        match field {
            Field::Asked => self.asked += 1.0,
            Field::Answer => self.answer += 1.0,
        }
    }

    fn average(all: &[Counts]) -> Counts {
        let number = all.len().max(1) as f32;
        let mean = |of: fn(&Counts) -> f32| (all.iter().map(of).sum::<f32>() / number).max(1.0);
        Counts { asked: mean(|counts| counts.asked), answer: mean(|counts| counts.answer) }
    }

    /// BM25's term weight without the idf, summed over the fields.
    fn saturated(self, length: Counts, average: Counts) -> f32 {
        let field = |field: Field, count: f32, length: f32| {
            let k1 = field.k1();
            field.weight() * count * (k1 + 1.0) / (count + k1 * (1.0 - B + B * length))
        };
        field(Field::Asked, self.asked, length.asked / average.asked)
            + field(Field::Answer, self.answer, length.answer / average.answer)
    }
}

#[cfg(test)]
mod tests;
