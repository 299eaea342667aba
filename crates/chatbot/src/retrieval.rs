//! BM25 over the fields of an entry, and how well a hit covers the question.
//!
//! The score orders hits; it does not say whether the best one is any good. That is *coverage*:
//! the share of the question's weight (inverse document frequency) that the hit contains, where a
//! term seen in no document weighs as much as the rarest one.

mod search;

use std::ops::Range;

pub use search::{Hit, Search};

use crate::lexicon::{Lexicon, Mention, is_filler};
use crate::text::{Analysis, Class, Hashed, Term, Tokeniser, hash};

/// How much the length of a field lowers the weight of its terms.
const B: f32 = 0.75;
/// A term in more than one of so many documents has its weights in a table instead of a list.
const COMMON: usize = 4;

/// Documents that are looked at together.
const AT_ONCE: usize = 8;

/// The inverse document frequency below which a term tells nothing: that of one in 95 of 100 documents. Where all entries are
/// phrased alike, their phrase alone would otherwise be a question that any of them covers.
const TELLING: f32 = 0.05;

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

/// What a filler word tells about a question, as a share of what another word of its rarity would tell,
/// and at most.
const FILLER: (f32, f32) = (0.3, 0.5);

/// Whether a term only wraps what is asked. A kana alone is in every text.
fn wraps(term: u64, class: Class) -> bool {
    class == Class::Kana || is_filler(term)
}

/// How much a term tells about a question: its rarity, unless it only wraps what is asked. A concept is no part of the
/// question: its words are.
fn tells(term: u64, class: Class, idf: f32) -> f32 {
    match class {
        Class::Concept => 0.0,
        _ if is_filler(term) => (idf * FILLER.0).min(FILLER.1),
        Class::Pair | Class::Kanji | Class::Kana | Class::Stem | Class::Gram => idf,
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
    /// Of each document, whether something asked in it does nothing but wrap a question: "Hello", "thank you".
    greetings: Vec<bool>,
    /// (document, weight), in order of documents, for each term that few documents have.
    lists: Vec<(u32, f32)>,
    /// One weight for each document ([`Index::stride`]), for each term that many documents have.
    tables: Vec<f32>,
    documents: usize,
    /// The inverse document frequency of a term in no document: that of the rarest possible.
    rarest: f32,
}

/// Where a term is found, and how much it tells.
#[derive(Debug, Clone, Copy)]
struct Postings {
    /// See [`tells`].
    tells: f32,
    start: u32,
    length: u32,
    /// Whether this is a part of `tables` or of `lists`.
    table: bool,
    /// Whether the term only wraps what is asked.
    wraps: bool,
}

/// A text as the index sees it.
#[derive(Debug)]
struct Read {
    analysis: Analysis,
    /// The concepts it mentions.
    mentions: Vec<Mention>,
}

impl Read {
    /// The hash of the whole text.
    fn whole(&self) -> u64 {
        hash(Class::Concept, self.analysis.units.iter().copied())
    }

    /// The concept that the words of a term express, if they do.
    fn concept(&self, term: &Term) -> Option<u64> {
        let within =
            |mention: &&Mention| mention.units.start <= term.units.start && term.units.end <= mention.units.end;
        self.mentions.iter().find(within).map(|mention| mention.concept)
    }
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
            greetings: Vec::new(),
            lists: Vec::new(),
            tables: Vec::new(),
            documents: 0,
            rarest: 0.0,
        };
        let mut lengths: Vec<Counts> = Vec::new();
        let mut found: Hashed<(Class, Vec<(u32, Counts)>)> = Hashed::default();
        for (number, texts) in (0_u32..).zip(documents) {
            let mut length = Counts::default();
            let mut greets = false;
            for (field, text) in texts {
                let read = index.read(text);
                if field == Field::Asked && !read.analysis.units.is_empty() {
                    index.verbatim.entry(read.whole()).or_insert(number);
                    greets |= read.analysis.terms.iter().all(|term| wraps(term.hash, term.class));
                }
                let terms = read.analysis.terms.iter().map(|term| (term.hash, term.class));
                let concepts = read.mentions.iter().map(|mention| (mention.concept, Class::Concept));
                for (hash, class) in terms.chain(concepts) {
                    length.add(field);
                    let (_, postings) = found.entry(hash).or_insert_with(|| (class, Vec::new()));
                    match postings.last_mut() {
                        Some((document, counts)) if *document == number => counts.add(field),
                        _ => postings.push((number, Counts::one(field))),
                    }
                }
            }
            lengths.push(length);
            index.greetings.push(greets);
        }
        index.documents = lengths.len();
        index.rarest = index.idf(1);
        let average = Counts::average(&lengths);
        for (term, (class, postings)) in found {
            let idf = index.idf(postings.len());
            if idf < TELLING {
                index.terms.insert(term, Postings::IDLE);
                continue;
            }
            let weigh = |(document, counts): (u32, Counts)| {
                (document, idf * score_weight(class) * counts.saturated(lengths[document as usize], average))
            };
            let (tells, wraps) = (tells(term, class, idf), wraps(term, class));
            let postings = index.keep(tells, wraps, postings.into_iter().map(weigh).collect());
            index.terms.insert(term, postings);
        }
        index.lists.shrink_to_fit();
        index.tables.shrink_to_fit();
        index
    }

    fn keep(&mut self, tells: f32, wraps: bool, weights: Vec<(u32, f32)>) -> Postings {
        let table = weights.len() * COMMON > self.documents;
        if !table {
            let start = self.lists.len() as u32;
            let length = weights.len() as u32;
            self.lists.extend(weights);
            return Postings { tells, start, length, table, wraps };
        }
        let start = self.tables.len();
        self.tables.resize(start + self.stride(), 0.0);
        for (document, weight) in weights {
            self.tables[start + document as usize] = weight;
        }
        Postings { tells, start: start as u32, length: self.stride() as u32, table, wraps }
    }

    /// How long a list of something for each document is: so that it can be worked on [`AT_ONCE`] at a time.
    fn stride(&self) -> usize {
        self.documents.next_multiple_of(AT_ONCE)
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
        self.ask(question).best(limit)
    }

    /// Looks a question up.
    pub fn ask(&self, question: &str) -> Search<'_> {
        Search::new(self, &self.read(question))
    }

    fn read(&self, text: &str) -> Read {
        let analysis = self.tokeniser.analyse(text);
        let mut mentions = Vec::new();
        for lexicon in [Lexicon::support(), &self.synonyms] {
            lexicon.find(&analysis.units, &mut mentions);
        }
        Read { analysis, mentions }
    }

    /// Changes the score of each document that a term is in by its weight there.
    fn update(&self, postings: &Postings, scores: &mut [f32], with: impl Fn(&mut f32, f32)) {
        if postings.table {
            scores.iter_mut().zip(&self.tables[postings.range()]).for_each(|(score, &weight)| with(score, weight));
        } else {
            self.lists[postings.range()]
                .iter()
                .for_each(|&(document, weight)| with(&mut scores[document as usize], weight));
        }
    }

    /// Whether a term is in a document.
    fn holds(&self, postings: &Postings, document: usize) -> bool {
        if postings.table {
            self.tables[postings.start as usize + document] > 0.0
        } else {
            self.lists[postings.range()].binary_search_by_key(&(document as u32), |&(listed, _)| listed).is_ok()
        }
    }

    /// Inverse document frequency of a term that some document has.
    fn idf(&self, frequency: usize) -> f32 {
        let (n, df) = (self.documents as f32, frequency as f32);
        (1.0 + (n - df + 0.5) / (df + 0.5)).ln()
    }
}

impl Postings {
    /// Those of a term that tells nothing.
    const IDLE: Self = Self { tells: 0.0, start: 0, length: 0, table: false, wraps: true };

    fn is_idle(&self) -> bool {
        self.length == 0
    }

    fn range(&self) -> Range<usize> {
        self.start as usize..(self.start + self.length) as usize
    }
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
