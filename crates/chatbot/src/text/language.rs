use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{is_cjk, is_cjk_mark};

/// A language the service answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Japanese.
    Ja,
    /// English.
    En,
}

impl Language {
    /// Every language, in a fixed order.
    pub const ALL: [Language; 2] = [Language::Ja, Language::En];

    /// The language of a message: Japanese when twice its CJK characters reach its Latin letters.
    ///
    /// A message with neither (digits, punctuation, emoji) has no language of its own.
    pub fn of(text: &str) -> Option<Language> {
        if text.is_ascii() {
            return text.bytes().any(|b| b.is_ascii_alphabetic()).then_some(Language::En);
        }
        let (mut cjk, mut latin) = (0_usize, 0_usize);
        for c in text.chars() {
            if c.is_ascii() {
                latin += usize::from(c.is_ascii_alphabetic());
            } else if is_cjk(c) {
                cjk += 1;
            } else if !is_cjk_mark(c) && c.is_alphabetic() {
                latin += 1;
            }
        }
        match (cjk, latin) {
            (0, 0) => None,
            (cjk, latin) if cjk * 2 >= latin => Some(Language::Ja),
            _ => Some(Language::En),
        }
    }

    /// The language of a tag such as `ja` or `en-GB`, if it is spoken here.
    pub fn of_tag(tag: &str) -> Option<Language> {
        let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
        Language::ALL.into_iter().find(|language| language.code().eq_ignore_ascii_case(primary))
    }

    /// The code used in JSON, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Language::Ja => "ja",
            Language::En => "en",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Language::{self, En, Ja};

    #[test]
    fn the_script_decides() {
        assert_eq!(Language::of("パスワードを忘れました"), Some(Ja));
        assert_eq!(Language::of("How do I reset my password?"), Some(En));
        assert_eq!(Language::of("API keyを再発行したい"), Some(Ja), "7 x 2 >= 6");
        assert_eq!(Language::of("What does 請求書 mean on my account page"), Some(En));
        assert_eq!(Language::of("ﾊﾟｽﾜｰﾄﾞ"), Some(Ja), "half-width kana counts");
        assert_eq!(Language::of("123 !?"), None);
    }

    #[test]
    fn tags_name_languages() {
        assert_eq!(["ja", "JA-jp", "ja_JP"].map(Language::of_tag), [Some(Ja); 3]);
        assert_eq!(Language::of_tag("en-GB"), Some(En));
        assert_eq!(["", "fr", "jam", "eng"].map(Language::of_tag), [None; 4]);
    }
}
