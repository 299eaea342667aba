use rust_stemmers::{Algorithm, Stemmer};

use super::{is_cjk, normalise};

/// Words longer than this are cut: nobody asks for them, and their n-grams would only cost.
const LONGEST_WORD: usize = 64;
const GRAM: usize = 4;

/// Cuts text into search terms. Holds the stemmer, so build it once.
pub struct Tokeniser {
    stemmer: Stemmer,
}

impl Default for Tokeniser {
    fn default() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::English) }
    }
}

impl std::fmt::Debug for Tokeniser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokeniser")
    }
}

impl Tokeniser {
    /// The terms of a text, in order, with repetitions.
    ///
    /// Runs of CJK give every pair of neighbours and every single character; other words give
    /// their Snowball stem and the 4-grams inside it, which forgive a typo. There is no stop list:
    /// the weights of the index do its work.
    pub fn terms(&self, text: &str) -> Vec<String> {
        let text = normalise(text);
        let mut terms = Vec::new();
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let kind = Kind::of(first);
            let end = rest.find(|c| Kind::of(c) != kind).unwrap_or(rest.len());
            let (run, tail) = rest.split_at(end);
            match kind {
                Kind::Cjk => cjk(run, &mut terms),
                Kind::Word => self.word(run, &mut terms),
                Kind::Gap => {}
            }
            rest = tail;
        }
        terms
    }

    fn word(&self, word: &str, terms: &mut Vec<String>) {
        let word = match word.char_indices().nth(LONGEST_WORD) {
            Some((end, _)) => &word[..end],
            None => word,
        };
        let letters: Vec<char> = word.chars().collect();
        for gram in letters.windows(GRAM) {
            // The mark keeps the gram "pass" apart from the stem "pass".
            terms.push(std::iter::once('#').chain(gram.iter().copied()).collect());
        }
        terms.push(self.stemmer.stem(word).into_owned());
    }
}

/// The terms of one text; for many texts keep a [`Tokeniser`].
pub fn terms(text: &str) -> Vec<String> {
    Tokeniser::default().terms(text)
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Kind {
    Cjk,
    Word,
    Gap,
}

impl Kind {
    fn of(c: char) -> Kind {
        if is_cjk(c) {
            Kind::Cjk
        } else if c.is_alphanumeric() {
            Kind::Word
        } else {
            Kind::Gap
        }
    }
}

fn cjk(run: &str, terms: &mut Vec<String>) {
    let mut previous: Option<char> = None;
    for c in run.chars() {
        if let Some(previous) = previous {
            terms.push([previous, c].iter().collect());
        }
        terms.push(c.to_string());
        previous = Some(c);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::terms;

    #[test]
    fn japanese_gives_pairs_and_characters() {
        assert_eq!(terms("請求書"), ["請", "請求", "求", "求書", "書"]);
        assert_eq!(terms("プラン"), terms("ぷらん"));
    }

    #[test]
    fn english_gives_stems_and_grams() {
        assert_eq!(terms("Resetting!"), ["#rese", "#eset", "#sett", "#etti", "#ttin", "#ting", "reset"]);
        assert_eq!(terms("a key"), ["a", "key"]);
    }

    #[test]
    fn scripts_part_where_they_meet() {
        assert_eq!(terms("API鍵"), ["api", "鍵"]);
        assert_eq!(terms("・ - 。"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_text_gives_terms_without_gaps(text in any::<String>()) {
            for term in terms(&text) {
                prop_assert!(!term.is_empty());
                prop_assert!(!term.contains(char::is_whitespace));
            }
        }

        #[test]
        fn the_number_of_terms_is_bounded(text in "\\PC{0,200}") {
            // NFKC may grow a text (at most 18 times); terms per character are at most two.
            prop_assert!(terms(&text).len() <= 2 * 18 * text.chars().count().max(1));
        }

        #[test]
        fn case_and_width_do_not_matter(text in "[a-z]{1,12}") {
            let wide: String = text.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect();
            prop_assert_eq!(terms(&text.to_uppercase()), terms(&text));
            prop_assert_eq!(terms(&wide), terms(&text));
        }
    }
}
