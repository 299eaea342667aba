//! Words that mean the same in a support conversation.
//!
//! A group of phrasings is one *concept*. Wherever one of them is written, in an entry or in a
//! question, the concept is a search term of its own, so that 退会 finds 解約 and "refund" finds
//! "money back". Tenants add groups in their knowledge; a small lexicon is built in.

use std::ops::Range;
use std::sync::LazyLock;

use foldhash::HashMap;

use crate::text::{Class, Hashed, Tokeniser, hash};

/// The built-in groups: one a line, phrasings apart by commas.
const SUPPORT: &str = include_str!("../knowledge/lexicon.txt");
/// Phrases that only wrap what is asked, in the same form.
const FILLER: &str = include_str!("../knowledge/filler.txt");

/// Groups of phrasings, searchable in a text that has been cut into units.
#[derive(Debug, Default)]
pub struct Lexicon {
    /// A trie over units: [`edge`] to node; the root is 0.
    edges: Hashed<u32>,
    /// The concepts that end at a node.
    concepts: HashMap<u32, Vec<u64>>,
}

/// A concept found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The concept, as the hash of a search term.
    pub concept: u64,
    /// The units that express it.
    pub units: Range<u32>,
}

impl Lexicon {
    /// A lexicon of the given groups. `name` keeps its concepts apart from those of other lexicons.
    pub fn new<'a, G>(name: &str, groups: G) -> Self
    where
        G: IntoIterator,
        G::Item: IntoIterator<Item = &'a str>,
    {
        let tokeniser = Tokeniser::default();
        let mut lexicon = Self::default();
        for (number, group) in (0_u64..).zip(groups) {
            let concept = hash(Class::Concept, name.bytes().map(u64::from).chain([number]));
            for phrasing in group {
                lexicon.insert(&tokeniser.analyse(phrasing).units, concept);
            }
        }
        lexicon
    }

    /// The built-in lexicon, Japanese and English.
    pub fn support() -> &'static Self {
        static BUILT_IN: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::new("support", groups(SUPPORT)));
        &BUILT_IN
    }

    fn insert(&mut self, units: &[u64], concept: u64) {
        if units.is_empty() {
            return;
        }
        let mut node = 0;
        for &unit in units {
            let next = self.edges.len() as u32 + 1;
            node = *self.edges.entry(edge(node, unit)).or_insert(next);
        }
        let concepts = self.concepts.entry(node).or_default();
        if !concepts.contains(&concept) {
            concepts.push(concept);
        }
    }

    /// Adds the concepts mentioned, the longest phrasing at each place, from left to right.
    pub fn find(&self, units: &[u64], mentions: &mut Vec<Mention>) {
        if self.edges.is_empty() {
            return;
        }
        let mut at = 0;
        while at < units.len() {
            let start = at;
            let Some((length, concepts)) = self.longest(&units[at..]) else {
                at += 1;
                continue;
            };
            at += length;
            mentions.extend(concepts.iter().map(|&concept| Mention { concept, units: start as u32..at as u32 }));
        }
    }

    fn longest(&self, units: &[u64]) -> Option<(usize, &[u64])> {
        let (mut node, mut longest) = (0, None);
        for (position, &unit) in units.iter().enumerate() {
            match self.edges.get(&edge(node, unit)) {
                Some(&next) => node = next,
                None => break,
            }
            if let Some(concepts) = self.concepts.get(&node) {
                longest = Some((position + 1, concepts.as_slice()));
            }
        }
        longest
    }
}

/// Whether a search term is part of a phrase that wraps what people ask ("please tell me how to", 教えてください).
pub(crate) fn is_filler(term: u64) -> bool {
    static TERMS: LazyLock<Hashed<()>> = LazyLock::new(|| {
        let tokeniser = Tokeniser::default();
        groups(FILLER)
            .flatten()
            .flat_map(|phrase| tokeniser.analyse(phrase).terms)
            .map(|term| (term.hash, ()))
            .collect()
    });
    TERMS.contains_key(&term)
}

/// Where a unit leads from a node. The unit is a hash; the node moves it apart.
fn edge(node: u32, unit: u64) -> u64 {
    unit ^ u64::from(node).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The groups of a lexicon file: `#` starts a comment, a line is a group, commas part phrasings.
fn groups(text: &'static str) -> impl Iterator<Item = impl Iterator<Item = &'static str>> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(|line| line.split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Lexicon, SUPPORT, groups};
    use crate::text::Tokeniser;

    fn mentions(lexicon: &Lexicon, text: &str) -> Vec<(u64, std::ops::Range<u32>)> {
        let units = Tokeniser::default().analyse(text).units;
        let mut mentions = Vec::new();
        lexicon.find(&units, &mut mentions);
        mentions.into_iter().map(|mention| (mention.concept, mention.units)).collect()
    }

    #[test]
    fn phrasings_of_a_group_are_one_concept() {
        let lexicon = Lexicon::new("t", [vec!["解約", "契約をやめる"], vec!["two factor", "2FA"]]);
        let [(leave, _)] = mentions(&lexicon, "解約したい")[..] else { panic!("one concept") };
        assert_eq!(mentions(&lexicon, "来月で契約をやめるには"), [(leave, 3..9)]);
        let [(factor, _)] = mentions(&lexicon, "enable 2fa")[..] else { panic!("one concept") };
        assert_eq!(mentions(&lexicon, "Two-Factors, please"), [(factor, 0..2)], "stems, whatever stands between");
        assert_eq!(mentions(&lexicon, "two of them"), []);
    }

    #[test]
    fn the_longest_phrasing_counts() {
        let lexicon = Lexicon::new("t", [vec!["card"], vec!["credit card"]]);
        let long = mentions(&lexicon, "my credit card");
        assert_eq!(long.len(), 1);
        assert_ne!(long[0].0, mentions(&lexicon, "my card")[0].0);
    }

    #[test]
    fn a_phrasing_may_mean_two_things() {
        let lexicon = Lexicon::new("t", [vec!["bill", "invoice"], vec!["bill", "law"]]);
        assert_eq!(mentions(&lexicon, "bill").len(), 2);
        assert_eq!(mentions(&lexicon, "law").len(), 1);
    }

    #[test]
    fn lexicons_do_not_share_concepts() {
        let [a, b] = ["a", "b"].map(|name| Lexicon::new(name, [["x"]]));
        assert_ne!(mentions(&a, "x"), mentions(&b, "x"));
    }

    #[test]
    fn the_built_in_groups_have_members() {
        for group in groups(SUPPORT) {
            let members: Vec<_> = group.collect();
            assert!(members.len() > 1, "{members:?} has no synonym");
            assert!(members.iter().all(|member| !member.is_empty()), "{members:?} has an empty member");
        }
    }

    proptest! {
        #[test]
        fn mentions_do_not_overlap(text in "[a-c 解約金]{0,30}") {
            let lexicon = Lexicon::new("t", [["a", "b c"], ["解", "約金"]]);
            let mentions = mentions(&lexicon, &text);
            prop_assert!(mentions.is_sorted_by(|a, b| a.1.end <= b.1.start));
        }
    }
}
