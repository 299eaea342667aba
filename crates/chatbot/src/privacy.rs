//! Personal data is masked where text leaves for somewhere it is not needed: logs, webhooks,
//! analytics, language models. Conversations themselves keep what was written.
//!
//! What has a form of its own is found by it: e-mail addresses, phone numbers, payment cards (Luhn) and My
//! Number (its check digit). Full-width digits and signs count like the others. Names and addresses have no form and are
//! not found.

use std::borrow::Cow;
use std::ops::Range;

/// The most groups of digits that are one number: `+81 (0)3-1234-5678` has five.
const GROUPS: usize = 7;

/// The text without what identifies people.
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut found = emails(text);
    found.extend(numbers(text));
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_by_key(|(range, _)| range.start);
    let (mut masked, mut kept) = (String::with_capacity(text.len()), 0);
    for (range, label) in found {
        // A number in an address is masked with it.
        if range.start < kept {
            continue;
        }
        masked.push_str(&text[kept..range.start]);
        masked.push_str(label);
        kept = range.end;
    }
    masked.push_str(&text[kept..]);
    Cow::Owned(masked)
}

fn emails(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let local = |c: char| c.is_ascii_alphanumeric() || "._%+-".contains(c);
    let domain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let at = text.char_indices().filter(|(_, c)| matches!(c, '@' | '＠'));
    at.filter_map(|(at, sign)| {
        let after = at + sign.len_utf8();
        let start = text[..at].char_indices().rev().take_while(|(_, c)| local(*c)).last().map(|(start, _)| start)?;
        let length = text[after..].find(|c| !domain(c)).unwrap_or(text.len() - after);
        let host = text[after..after + length].trim_end_matches(['.', '-']);
        let top = host.rsplit_once('.').map(|(_, top)| top)?;
        (top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic()))
            .then_some((start..after + host.len(), "[email]"))
    })
    .collect()
}

/// Digits that stand together.
struct Group {
    range: Range<usize>,
    digits: Vec<u8>,
    /// True after a plus sign.
    plus: bool,
    /// True when it goes on from the group before: one or two separators between them.
    joined: bool,
}

fn numbers(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let groups = groups(text);
    let mut found = Vec::new();
    let mut first = 0;
    while first < groups.len() {
        let joined = groups[first + 1..].iter().take(GROUPS - 1).take_while(|group| group.joined).count();
        let longest = (first..=first + joined).rev().find_map(|last| {
            let digits: Vec<u8> = groups[first..=last].iter().flat_map(|group| &group.digits).copied().collect();
            Some((last, kind(&digits, groups[first].plus)?))
        });
        match longest {
            Some((last, label)) => {
                found.push((groups[first].range.start..groups[last].range.end, label));
                first = last + 1;
            }
            None => first += 1,
        }
    }
    found
}

fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let (mut separators, mut plus, mut letter) = (0, None, false);
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        if let Some(digit) = digit(c) {
            match groups.last_mut() {
                Some(group) if group.range.end == at => {
                    group.digits.push(digit);
                    group.range.end = end;
                }
                _ => {
                    let joined = separators <= 2 && !letter && !groups.is_empty() && plus.is_none();
                    let start = plus.unwrap_or(at);
                    groups.push(Group { range: start..end, digits: vec![digit], plus: plus.is_some(), joined });
                }
            }
            (separators, plus, letter) = (0, None, false);
        } else {
            plus = matches!(c, '+' | '＋').then_some(at);
            letter |= plus.is_none() && !separates(c);
            separators += 1;
        }
    }
    groups
}

fn digit(c: char) -> Option<u8> {
    match c {
        '0'..='9' => Some(c as u8 - b'0'),
        '０'..='９' => Some((c as u32 - '０' as u32) as u8),
        _ => None,
    }
}

fn separates(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{3000}' | '-' | '‐' | '‑' | '–' | '−' | '－' | 'ー' | '.' | '(' | ')' | '（' | '）')
}

fn kind(digits: &[u8], plus: bool) -> Option<&'static str> {
    match digits.len() {
        8..=15 if plus => Some("[phone]"),
        10..=11 if digits[0] == 0 => Some("[phone]"),
        12 if is_my_number(digits) => Some("[my number]"),
        13..=19 if is_card(digits) => Some("[card]"),
        _ => None,
    }
}

/// Luhn: every second digit from the right doubled, the sum of all digits divides by ten.
fn is_card(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(position, &digit)| match position % 2 {
            1 if digit > 4 => u32::from(digit) * 2 - 9,
            1 => u32::from(digit) * 2,
            _ => u32::from(digit),
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|&digit| digit != 0)
}

/// The check digit of the Individual Number (ordinance 85 of 2014, article 5): weights 2 to 7, then 2 to 6, from
/// the right.
fn is_my_number(digits: &[u8]) -> bool {
    let Some((&check, rest)) = digits.split_last() else { return false };
    let weights = (2..=7).chain(2..=6);
    let sum: u32 = rest.iter().rev().zip(weights).map(|(&digit, weight)| u32::from(digit) * weight).sum();
    let expected = match sum % 11 {
        0 | 1 => 0,
        remainder => 11 - remainder,
    };
    u32::from(check) == expected
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::mask;

    #[test]
    fn what_identifies_people_is_masked() {
        for (text, masked) in [
            ("write to taro.yamada+x@mail.example.co.jp.", "write to [email]."),
            ("メールはtaro@example.comです", "メールは[email]です"),
            ("taro＠example.com", "[email]"),
            ("090-1234-5678にお電話ください", "[phone]にお電話ください"),
            ("０９０−１２３４−５６７８", "[phone]"),
            ("03(1234)5678 or 0312345678", "[phone] or [phone]"),
            ("call +81 90 1234 5678 now", "call [phone] now"),
            ("+1 (415) 555-0100", "[phone]"),
            ("card 4111 1111 1111 1111, exp 12/27", "card [card], exp 12/27"),
            ("4111-1111-1111-1111", "[card]"),
            ("マイナンバーは1234 5678 9018です", "マイナンバーは[my number]です"),
            ("090-1234-5678 4111111111111111", "[phone] [card]"),
        ] {
            assert_eq!(mask(text), masked);
        }
    }

    #[test]
    fn other_numbers_stay() {
        for text in [
            "order 4111111111111112",
            "1234 5678 9017",
            "2026-11-25 13:45",
            "30日 2,400円 v1.2.3 100%",
            "tweet @someone",
            "error 0x80070005 in 192.168.0.10",
        ] {
            assert_eq!(mask(text), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_masked_and_a_number_is_found_anywhere(before in "[a-zあ-ん、 ]{0,20}", after in "[a-zあ-ん、]{0,20}") {
            let masked = mask(&format!("{before}、090-1234-5678、{after}")).into_owned();
            prop_assert_eq!(masked, format!("{before}、[phone]、{after}"));
        }

        #[test]
        fn nothing_panics(text in any::<String>(), digits in "[0-9０-９ +()@.-]{0,60}") {
            mask(&text);
            mask(&digits);
        }
    }
}
