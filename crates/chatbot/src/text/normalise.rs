use unicode_normalization::UnicodeNormalization as _;

/// Folds a text for matching: NFKC, lower case, katakana to hiragana.
///
/// Full-width letters, half-width kana and ligatures meet their ordinary forms (NFKC). Japanese
/// writers choose freely between the two kana, so one of them stands for both.
pub fn normalise(text: &str) -> String {
    // NFKC comes last once more: lower case can leave a sequence that composes (for example İ).
    let lower = text.nfkc().collect::<String>().to_lowercase();
    lower.nfkc().map(fold_kana).collect()
}

/// The hiragana of a katakana; any other character itself. The long-vowel mark stays.
fn fold_kana(c: char) -> char {
    match c {
        'ァ'..='ヶ' | 'ヽ' | 'ヾ' => char::from_u32(u32::from(c) - 0x60).unwrap_or(c),
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::normalise;

    #[test]
    fn different_spellings_meet() {
        assert_eq!(normalise("ＡＰＩ"), "api");
        assert_eq!(normalise("ﾊﾟｽﾜｰﾄﾞ"), normalise("パスワード"));
        assert_eq!(normalise("パスワード"), "ぱすわーど");
        assert_eq!(normalise("か\u{3099}"), "が");
        assert_eq!(normalise("ヴ"), "ゔ");
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
