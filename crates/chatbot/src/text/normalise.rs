use unicode_normalization::UnicodeNormalization as _;

/// Folds a text for matching: NFKC, lower case, katakana to hiragana.
///
/// Full-width letters, half-width kana and ligatures meet their ordinary forms (NFKC). Japanese
/// writers choose freely between the two kana, so one of them stands for both.
pub fn normalise(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    if text.chars().map(plain).all(|c| c.inspect(|&c| folded.push(c)).is_some()) {
        return folded;
    }
    // NFKC comes last once more: lower case can leave a sequence that composes (for example İ).
    let lower = text.nfkc().collect::<String>().to_lowercase();
    lower.nfkc().map(fold).collect()
}

/// The folded form of a character that neither composes nor decomposes, whatever stands next to it.
/// Nearly every message consists of these alone, and the full algorithm costs more than the search.
fn plain(c: char) -> Option<char> {
    match c {
        '\0'..='\u{7f}' => Some(c.to_ascii_lowercase()),
        // Kana without the combining marks, ・ and ー; kanji without the compatibility forms.
        'ぁ'..='ゖ' | 'ァ'..='ヺ' | '・'..='ヾ' | '一'..='\u{9fff}' => Some(fold(c)),
        '、'..='〃' | '々'..='】' => Some(fold(c)),
        // Full-width forms of ASCII.
        '！'..='～' => char::from_u32(u32::from(c) - 0xfee0).map(|c| c.to_ascii_lowercase()),
        _ => None,
    }
}

/// The hiragana of a katakana, the digit of a kanji numeral; any other character itself. The
/// long-vowel mark stays.
fn fold(c: char) -> char {
    match c {
        '〇' => '0',
        '一' => '1',
        '二' => '2',
        '三' => '3',
        '四' => '4',
        '五' => '5',
        '六' => '6',
        '七' => '7',
        '八' => '8',
        '九' => '9',
        'ァ'..='ヶ' | 'ヽ' | 'ヾ' => char::from_u32(u32::from(c) - 0x60).unwrap_or(c),
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization as _;

    use super::{fold, normalise};

    #[test]
    fn different_spellings_meet() {
        assert_eq!(normalise("ＡＰＩ"), "api");
        assert_eq!(normalise("ﾊﾟｽﾜｰﾄﾞ"), normalise("パスワード"));
        assert_eq!(normalise("パスワード"), "ぱすわーど");
        assert_eq!(normalise("か\u{3099}"), "が");
        assert_eq!(normalise("ヴ"), "ゔ");
    }

    #[test]
    fn the_short_way_gives_what_the_long_way_gives() {
        let long = |text: &str| text.nfkc().collect::<String>().to_lowercase().nfkc().map(fold).collect::<String>();
        for c in '\0'..='\u{ffff}' {
            let text = c.to_string();
            assert_eq!(normalise(&text), long(&text), "{c:?} U+{:04x}", u32::from(c));
        }
        for text in ["ハ\u{309a}", "ｶﾞ", "A\u{301}", "Ａ\u{301}", "ヽ\u{3099}"] {
            assert_eq!(normalise(text), long(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in any::<String>()) {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once);
        }

        #[test]
        fn kana_are_one(text in "[ァ-ヶ]{0,20}") {
            prop_assert!(normalise(&text).chars().all(|c| !('ァ'..='ヶ').contains(&c)));
        }
    }
}
