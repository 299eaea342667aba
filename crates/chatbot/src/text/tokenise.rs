use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use foldhash::HashMap;
use rust_stemmers::{Algorithm, Stemmer};

use super::{is_cjk, is_cjk_mark, normalise};

/// Words longer than this are cut: nobody asks for them, and their n-grams would only cost.
const LONGEST_WORD: usize = 64;
const GRAM: usize = 4;
/// What the terms of a word are of a text together.
const WORD: f32 = 2.0;
/// And its grams alone: a slip of the pen changes the stem, and leaves most of them.
const GRAMS: f32 = 1.3;
/// The most words whose stems are remembered: a tenant's vocabulary, with room for its customers'.
const REMEMBERED: usize = 1024;

/// Cuts text into search terms. Holds the stemmer, so build it once.
pub struct Tokeniser {
    stemmer: Stemmer,
    /// The term of each word's stem. People use the same words all the time, and stemming is a
    /// third of what analysing an English text takes.
    stems: Mutex<HashMap<Box<str>, u64>>,
}

/// A text in pieces.
#[derive(Debug, Default)]
pub struct Analysis {
    /// What the text is written with, in order: each CJK character, each other word (its stem).
    pub units: Vec<u64>,
    /// The search terms, in order, with repetitions.
    pub terms: Vec<Term>,
}

/// A unit of search. Two terms are the same when their hashes are.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// What is written, and the class, in 64 bits.
    pub hash: u64,
    /// What kind of term it is.
    pub class: Class,
    /// How much of the text it is, beside others as rare: the terms of a word sum up to the same, however long it is;
    /// so do, about, those of a CJK character.
    pub share: f32,
    /// The units it is made of.
    pub units: Range<u32>,
}

/// The kinds of terms: how much each tells about a text differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Two neighbours: CJK characters, or one of them and a digit.
    Pair,
    /// One kanji.
    Kanji,
    /// One kana.
    Kana,
    /// The stem of a word in another script, or a number.
    Stem,
    /// Four letters in a row inside such a word; forgives a typo.
    Gram,
    /// A meaning that has several phrasings: see [`crate::lexicon`].
    Concept,
}

impl Default for Tokeniser {
    fn default() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::English), stems: Mutex::default() }
    }
}

impl std::fmt::Debug for Tokeniser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokeniser")
    }
}

impl Tokeniser {
    /// Cuts a text.
    ///
    /// Runs of CJK give every pair of neighbours and every single character; other words give
    /// their Snowball stem and the 4-grams inside it. A digit is a neighbour too (2段階, 4月). There
    /// is no stop list: the weights of the index do its work.
    pub fn analyse(&self, text: &str) -> Analysis {
        let text = normalise(text);
        // A CJK character has two terms and three bytes; a word has fewer for its letters, as a rule.
        let characters = text.len() / 3;
        let mut analysis =
            Analysis { units: Vec::with_capacity(characters), terms: Vec::with_capacity(2 * characters) };
        let mut beside = None;
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let kind = Kind::of(first);
            let end = rest.find(|c| Kind::of(c) != kind).unwrap_or(rest.len());
            let (run, tail) = rest.split_at(end);
            match kind {
                Kind::Cjk => analysis.cjk(run, beside.filter(char::is_ascii_digit)),
                Kind::Word => self.word(run, beside.filter(|&c| is_cjk(c)), &mut analysis),
                Kind::Gap => {}
            }
            beside = run.chars().next_back();
            rest = tail;
        }
        analysis
    }

    fn word(&self, word: &str, beside: Option<char>, analysis: &mut Analysis) {
        let word = match word.char_indices().nth(LONGEST_WORD) {
            Some((end, _)) => &word[..end],
            None => word,
        };
        let stem = self.stem(word);
        let at = analysis.unit(stem);
        if let (Some(beside), Some(digit)) = (beside, word.chars().next().filter(char::is_ascii_digit)) {
            analysis.pair(beside, digit, at);
        }
        let mut letters = ['\0'; LONGEST_WORD];
        let mut length = 0;
        for (place, letter) in letters.iter_mut().zip(word.chars()) {
            *place = letter;
            length += 1;
        }
        let grams = letters[..length].windows(GRAM);
        let number = grams.len();
        let of_stem = if number > 0 { WORD - GRAMS } else { WORD };
        analysis.term(stem, Class::Stem, of_stem, at..at + 1);
        let share = GRAMS / number as f32;
        for gram in grams {
            let hash = hash(Class::Gram, gram.iter().map(|&c| u64::from(c)));
            analysis.term(hash, Class::Gram, share, at..at + 1);
        }
    }

    fn stem(&self, word: &str) -> u64 {
        let mut stems = self.stems.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&stem) = stems.get(word) {
            return stem;
        }
        let stem = hash(Class::Stem, self.stemmer.stem(word).bytes().map(u64::from));
        if stems.len() >= REMEMBERED {
            stems.clear();
        }
        stems.insert(word.into(), stem);
        stem
    }
}

impl Analysis {
    fn cjk(&mut self, run: &str, beside: Option<char>) {
        let mut previous = beside;
        for c in run.chars() {
            let class = if is_kana(c) { Class::Kana } else { Class::Kanji };
            let single = hash(class, [u64::from(c)]);
            let at = self.unit(single);
            if let Some(previous) = previous {
                self.pair(previous, c, at);
            }
            self.term(single, class, 1.0, at..at + 1);
            previous = Some(c);
        }
    }

    fn pair(&mut self, previous: char, c: char, at: u32) {
        self.term(hash(Class::Pair, [previous, c].map(u64::from)), Class::Pair, 1.0, at - 1..at + 1);
    }

    fn unit(&mut self, hash: u64) -> u32 {
        self.units.push(hash);
        self.units.len() as u32 - 1
    }

    fn term(&mut self, hash: u64, class: Class, share: f32, units: Range<u32>) {
        self.terms.push(Term { hash, class, share, units });
    }
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Kind {
    Cjk,
    Word,
    Gap,
}

impl Kind {
    fn of(c: char) -> Kind {
        if c.is_ascii() {
            if c.is_ascii_alphanumeric() { Kind::Word } else { Kind::Gap }
        } else if is_cjk(c) {
            Kind::Cjk
        } else if !is_cjk_mark(c) && c.is_alphanumeric() {
            Kind::Word
        } else {
            Kind::Gap
        }
    }
}

fn is_kana(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}')
}

/// FNV-1a over 64-bit symbols, then mixed so that every bit depends on all of them. It need not
/// withstand an attacker: a text is only ever compared with its own tenant's.
pub(crate) fn hash(class: Class, symbols: impl IntoIterator<Item = u64>) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ (class as u64);
    let folded = symbols.into_iter().fold(start, |hash, symbol| (hash ^ symbol).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (folded ^ (folded >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Class::{Gram, Kana, Kanji, Pair, Stem};
    use super::{Class, Tokeniser, hash};

    fn analyse(text: &str) -> Vec<(Class, u64)> {
        Tokeniser::default().analyse(text).terms.iter().map(|term| (term.class, term.hash)).collect()
    }

    fn spelled(terms: &[(Class, &str)]) -> Vec<(Class, u64)> {
        let symbols = |class: Class, text: &str| match class {
            Stem => hash(class, text.bytes().map(u64::from)),
            _ => hash(class, text.chars().map(u64::from)),
        };
        terms.iter().map(|&(class, text)| (class, symbols(class, text))).collect()
    }

    #[test]
    fn japanese_gives_pairs_and_characters() {
        let terms = [(Kanji, "請"), (Pair, "請求"), (Kanji, "求"), (Pair, "求の"), (Kana, "の")];
        assert_eq!(analyse("請求ノ"), spelled(&terms));
        assert_eq!(analyse("プラン"), analyse("ぷらん"));
    }

    #[test]
    fn english_gives_stems_and_grams() {
        let terms = [(Stem, "reset"), (Gram, "rese"), (Gram, "eset"), (Gram, "sets")];
        assert_eq!(analyse("Resets!"), spelled(&terms));
        assert_eq!(analyse("a key"), spelled(&[(Stem, "a"), (Stem, "key")]));
    }

    #[test]
    fn digits_are_neighbours() {
        assert_eq!(analyse("2段"), spelled(&[(Stem, "2"), (Pair, "2段"), (Kanji, "段")]));
        assert_eq!(analyse("二段"), analyse("２段"));
        assert_eq!(analyse("第10"), spelled(&[(Kanji, "第"), (Pair, "第1"), (Stem, "10")]));
        assert_eq!(analyse("2 段"), spelled(&[(Stem, "2"), (Kanji, "段")]), "not across a gap");
    }

    #[test]
    fn scripts_part_where_they_meet() {
        assert_eq!(analyse("API鍵"), spelled(&[(Stem, "api"), (Kanji, "鍵")]));
        assert_eq!(analyse("・ - 。"), []);
    }

    proptest! {
        #[test]
        fn terms_are_made_of_units(text in any::<String>()) {
            let analysis = Tokeniser::default().analyse(&text);
            for term in &analysis.terms {
                prop_assert!(term.units.start < term.units.end);
                prop_assert!(term.units.end as usize <= analysis.units.len());
            }
        }

        #[test]
        fn the_number_of_terms_is_bounded(text in "\\PC{0,200}") {
            // NFKC may grow a text (at most 18 times); terms per character are at most two.
            let analysis = Tokeniser::default().analyse(&text);
            prop_assert!(analysis.terms.len() <= 2 * 18 * text.chars().count().max(1));
        }

        #[test]
        fn case_and_width_do_not_matter(text in "[a-z]{1,12}") {
            let wide: String = text.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect();
            prop_assert_eq!(analyse(&text.to_uppercase()), analyse(&text));
            prop_assert_eq!(analyse(&wide), analyse(&text));
        }
    }
}
