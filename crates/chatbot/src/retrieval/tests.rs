use proptest::prelude::*;

use super::{Field, Index};
use crate::lexicon::Lexicon;

fn index() -> Index {
    let documents = [
        vec!["How do I reset my password?", "I forgot my password"],
        vec!["Where is my invoice?", "download a receipt"],
        vec!["請求書はどこですか", "領収書をダウンロードしたい"],
        vec!["Which colours are there?"],
    ];
    let synonyms = Lexicon::new("tenant", [["colour", "paint job"]]);
    Index::build(documents.map(|texts| texts.into_iter().map(|text| (Field::Asked, text))), synonyms)
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
fn a_synonym_finds_and_covers() {
    let index = index();
    let hits = index.search("paint jobs", 1);
    assert_eq!((hits[0].document, hits[0].coverage), (3, 1.0));
    assert_eq!(index.search("paint", 1), [], "half a phrasing is no synonym");
}

#[test]
fn other_words_for_the_same_are_worth_the_words_themselves() {
    let found = |synonyms| {
        let texts = ["Where is it?", "A paint job"];
        let index = Index::build(texts.map(|text| [(Field::Asked, text)]), synonyms);
        index.search("Colour: where?", 1)[0].document
    };
    assert_eq!(found(Lexicon::default()), 0, "the only word they share");
    assert_eq!(found(Lexicon::new("tenant", [["colour", "paint job"]])), 1, "what it is about");
}

#[test]
fn a_phrasing_word_for_word_wins() {
    let texts = [["Delete the account of a user for good"], ["account"], ["account account user"]];
    let index = Index::build(texts.map(|texts| texts.map(|text| (Field::Asked, text))), Lexicon::default());
    assert_eq!(index.search("Delete the account of a user, for good!", 1)[0].document, 0);
    assert_eq!(index.search("Account?", 1)[0].document, 1);
}

#[test]
fn what_all_entries_are_phrased_with_tells_nothing() {
    let things = ["請求書", "領収書", "在庫", "予約", "契約", "写真", "部署", "会員", "連絡先", "報告", "休暇", "注文"];
    let phrased = things.map(|thing| format!("{thing}はどこですか"));
    let build = |first: &[&'static str]| {
        let documents = phrased.iter().enumerate().map(|(number, text)| {
            let more = first.iter().filter(move |_| number == 0);
            std::iter::once(text.as_str()).chain(more.copied()).map(|text| (Field::Asked, text))
        });
        Index::build(documents, Lexicon::default())
    };
    let index = build(&[]);
    assert_eq!(index.search("どこですか", 1), [], "any of them would be an answer");
    let hit = index.search("在庫はどこですか？", 1)[0];
    assert_eq!((hit.document, hit.coverage), (2, 1.0));
    let index = build(&["どこですか", "!"]);
    let hit = index.search("どこですか", 1)[0];
    assert_eq!((hit.document, hit.coverage), (0, 1.0), "unless one is phrased with nothing else");
    assert_eq!(index.search("？！", 1), [], "but nothing is no phrasing");
}

#[test]
fn an_answer_is_found_but_a_question_wins() {
    let fields = |asked, answer| [(Field::Asked, asked), (Field::Answer, answer)];
    let documents = [fields("Opening hours", "Ask for a refund there."), fields("Refund", "Within 30 days.")];
    let index = Index::build(documents, Lexicon::default());
    assert_eq!(index.search("refund", 2).iter().map(|hit| hit.document).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(index.search("30 days", 2)[0].document, 1);
}

#[test]
fn coverage_tells_known_from_unknown() {
    let index = index();
    assert!(index.search("reset my password", 1)[0].coverage > 0.95);
    assert!(index.search("my favourite pizza topping", 1)[0].coverage < 0.35);
    assert_eq!(index.search("zzz", 1), []);
    assert_eq!(index.search("", 1), []);
    assert_eq!(index.search("password", 0), []);
}

#[test]
fn what_wraps_a_question_hardly_counts() {
    let index = index();
    for question in
        ["Hi, could you please tell me how I can reset my password?", "すみません、領収書について教えていただけますか"]
    {
        let hit = index.search(question, 1)[0];
        assert!(hit.coverage > 0.4, "{question}: {hit:?}");
    }
}

#[test]
fn what_only_wraps_a_question_is_none() {
    let texts =
        ["How do I reset my password?", "料金を教えてください", "Thank you very much", "Which plans are there?"];
    let index = Index::build(texts.map(|text| [(Field::Asked, text)]), Lexicon::default());
    let coverage = |question: &str| index.search(question, 1).first().map_or(0.0, |hit| hit.coverage);
    for question in ["How do I", "please tell me how", "教えてください", "どうすればいいですか", "あ"]
    {
        assert!(coverage(question) <= 0.3, "{question}: {}", coverage(question));
    }
    for question in ["How do I reset it", "料金を教えて", "plans?", "thanks", "thank you so much"] {
        assert!(coverage(question) > 0.55, "{question}: {}", coverage(question));
    }
    let text = [(Field::Asked, "The price")];
    let synonyms = Lexicon::new("tenant", [["price", "how many"]]);
    assert_eq!(Index::build([text], synonyms).search("How many?", 1)[0].coverage, 1.0, "it is said in other words");
}

#[test]
fn a_long_unknown_word_weighs_as_much_as_a_short_one() {
    let [short, long] = ["reset my password xyzw", "reset my password xyzwvqjkzqxjvkyq"];
    let coverage = |question| index().search(question, 1)[0].coverage;
    assert!((coverage(short) - coverage(long)).abs() < 0.01);
}

#[test]
fn common_and_rare_terms_count_alike() {
    // The same two documents among few and among many others: a term is in a table here, in a list there.
    for others in [0, 40] {
        let texts = ["red apple", "green apple"].into_iter().chain(std::iter::repeat_n("something else", others));
        let index = Index::build(texts.map(|text| [(Field::Asked, text)]), Lexicon::default());
        let hits = index.search("green apple", 2);
        assert_eq!((hits[0].document, hits[0].coverage), (1, 1.0), "{others}");
        assert_eq!(hits[1].document, 0, "{others}");
        assert!(hits[1].coverage > 0.1 && hits[1].coverage < 0.9, "{others}: {hits:?}");
    }
}

proptest! {
    #[test]
    fn hits_are_ordered_and_covered(question in any::<String>()) {
        let hits = index().search(&question, 3);
        prop_assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
        prop_assert!(hits.iter().all(|hit| (0.0..=1.0).contains(&hit.coverage) && hit.score.is_finite()));
    }
}
