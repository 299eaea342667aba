//! BM25 over one document per entry, and how well a hit covers the question.
//!
//! The score orders hits; it does not say whether the best one is any good. That is *coverage*:
//! the share of the question's weight (inverse document frequency) that the hit contains, where a
//! term seen in no document weighs as much as the rarest one.

use std::collections::HashMap;

use crate::text::Tokeniser;

const K1: f32 = 0.6;
const B: f32 = 0.5;

/// A searchable set of documents.
#[derive(Debug)]
pub struct Index {
    tokeniser: Tokeniser,
    terms: HashMap<String, Vec<Posting>>,
    documents: usize,
}

#[derive(Debug, Clone, Copy)]
struct Posting {
    document: u32,
    /// The BM25 weight of the term in the document, without the idf.
    weight: f32,
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

impl Index {
    /// Indexes documents, each given as the texts it consists of.
    pub fn build<'a, D>(documents: D) -> Self
    where
        D: IntoIterator,
        D::Item: IntoIterator<Item = &'a str>,
    {
        let tokeniser = Tokeniser::default();
        let mut lengths = Vec::new();
        let mut counts: HashMap<String, Vec<(u32, u32)>> = HashMap::new();
        for (number, texts) in (0_u32..).zip(documents) {
            let mut length = 0_u32;
            for term in texts.into_iter().flat_map(|text| tokeniser.terms(text)) {
                length += 1;
                let postings = counts.entry(term).or_default();
                match postings.last_mut() {
                    Some((document, count)) if *document == number => *count += 1,
                    _ => postings.push((number, 1)),
                }
            }
            lengths.push(length as f32);
        }
        let average = (lengths.iter().sum::<f32>() / lengths.len().max(1) as f32).max(1.0);
        let weigh = |(document, count): (u32, u32)| {
            let count = count as f32;
            let length = lengths[document as usize] / average;
            Posting { document, weight: count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length)) }
        };
        let terms =
            counts.into_iter().map(|(term, postings)| (term, postings.into_iter().map(weigh).collect())).collect();
        Self { tokeniser, terms, documents: lengths.len() }
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
        let mut question_terms = self.tokeniser.terms(question);
        question_terms.sort_unstable();
        question_terms.dedup();

        let mut total = 0.0;
        let mut scores = vec![(0.0_f32, 0.0_f32); self.documents];
        for term in &question_terms {
            let Some(postings) = self.terms.get(term) else {
                total += self.idf(0);
                continue;
            };
            let idf = self.idf(postings.len());
            total += idf;
            for posting in postings {
                let (score, covered) = &mut scores[posting.document as usize];
                *score += idf * posting.weight;
                *covered += idf;
            }
        }
        let mut hits: Vec<Hit> = scores
            .into_iter()
            .enumerate()
            .filter(|(_, (score, _))| *score > 0.0)
            .map(|(document, (score, covered))| Hit { document, score, coverage: (covered / total).min(1.0) })
            .collect();
        // Equal scores keep the file's order, so the same question always gets the same answer.
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.document.cmp(&b.document)));
        hits.truncate(limit);
        hits
    }

    /// Inverse document frequency; a term of no document weighs as the rarest possible.
    fn idf(&self, frequency: usize) -> f32 {
        let (n, df) = (self.documents as f32, frequency.max(1) as f32);
        (1.0 + (n - df + 0.5) / (df + 0.5)).ln()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Index;

    fn index() -> Index {
        Index::build([
            vec!["How do I reset my password?", "I forgot my password"],
            vec!["Where is my invoice?", "download a receipt"],
            vec!["請求書はどこですか", "領収書をダウンロードしたい"],
        ])
    }

    #[test]
    fn the_right_document_comes_first() {
        let index = index();
        assert_eq!(index.search("forgotten password", 3)[0].document, 0);
        assert_eq!(index.search("invoices", 3)[0].document, 1);
        assert_eq!(index.search("領収書", 3)[0].document, 2);
    }

    #[test]
    fn a_typo_is_forgiven() {
        assert_eq!(index().search("passwrod resett", 1)[0].document, 0);
    }

    #[test]
    fn coverage_tells_known_from_unknown() {
        let index = index();
        assert!(index.search("reset my password", 1)[0].coverage > 0.95);
        assert!(index.search("my favourite pizza topping", 1)[0].coverage < 0.35);
        assert_eq!(index.search("zzz", 1), []);
        assert_eq!(index.search("", 1), []);
    }

    proptest! {
        #[test]
        fn hits_are_ordered_and_covered(question in any::<String>()) {
            let hits = index().search(&question, 3);
            prop_assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
            prop_assert!(hits.iter().all(|hit| (0.0..=1.0).contains(&hit.coverage) && hit.score.is_finite()));
        }
    }
}
