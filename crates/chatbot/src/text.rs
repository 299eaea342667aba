//! From written text to search terms.
//!
//! [`normalise`] folds what people write differently but mean alike, [`Tokeniser`] cuts the result
//! into the units the index is made of, [`Language::of`] decides which index to ask.

mod hashed;
mod language;
mod normalise;
mod tokenise;

pub(crate) use hashed::Hashed;
pub use language::Language;
pub use normalise::normalise;
pub(crate) use tokenise::hash;
pub use tokenise::{Analysis, Class, Term, Tokeniser};

/// True for the scripts that are written without spaces: kana, kanji and their marks.
pub(crate) fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3005}'..='\u{3007}'      // 々 〆 〇
        | '\u{3040}'..='\u{30ff}'    // hiragana, katakana, ー
        | '\u{31f0}'..='\u{31ff}'    // small katakana
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}'    // half-width katakana
        | '\u{20000}'..='\u{323af}')
        && !matches!(c, '\u{30a0}' | '\u{30fb}') // ゠ and ・ separate
}

/// True for the commonest marks between CJK characters: 、。「」 and their like, which are no letters. Unicode's
/// tables say so too, after a search.
pub(crate) fn is_cjk_mark(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{3004}' | '\u{3008}'..='\u{3020}')
}
