//! The built-in knowledge, asked in words it does not contain.

use super::{Engine, Outcome};
use crate::knowledge::Knowledge;
use crate::text::Language;

fn engine() -> Engine {
    Engine::new(Knowledge::built_in().expect("the built-in knowledge is valid"))
}

/// Paraphrases: (question, entry). None of them is written like this in the file.
const PARAPHRASES: &[(&str, &str)] = &[
    ("パスワードを忘れてしまいました", "password-reset"),
    ("ログインができなくて困っています", "password-reset"),
    ("ぱすわーどを再設定する方法は？", "password-reset"),
    ("二段階認証の設定方法を知りたい", "two-factor"),
    ("ＳＳＯでログインしたいのですが", "single-sign-on"),
    ("同僚をメンバーに招待する方法", "add-member"),
    ("月額料金はいくらですか", "pricing"),
    ("上位のプランにアップグレードしたいです", "change-plan"),
    ("無料のお試し期間はどのくらいですか", "free-trial"),
    ("サブスクリプションを解約したい", "cancel"),
    ("領収書のダウンロードはどこから？", "invoice"),
    ("ｸﾚｼﾞｯﾄｶｰﾄﾞの変更", "payment-method"),
    ("会話数の上限を超えた場合", "usage-limit"),
    ("ホームページにチャットを埋め込みたい", "install-widget"),
    ("LINEと連携したい", "line-integration"),
    ("オペレーターと話したいです", "human-handoff"),
    ("apiキーを再発行してほしい", "api-key"),
    ("429エラーが出ます", "rate-limit"),
    ("会話履歴をCSVでダウンロードしたい", "data-export"),
    ("データの暗号化について", "security"),
    ("英語に対応していますか", "languages"),
    ("I've forgotten the password", "password-reset"),
    ("how can I resett my pasword", "password-reset"),
    ("enabling two factor authentication", "two-factor"),
    ("inviting a new team member", "add-member"),
    ("what does it cost per month?", "pricing"),
    ("I'd like to upgrade our plan", "change-plan"),
    ("can I have a free trial", "free-trial"),
    ("cancelling our subscription", "cancel"),
    ("where do I download invoices?", "invoice"),
    ("my credit card expired", "payment-method"),
    ("embedding the widget on a website", "install-widget"),
    ("I want to talk to a human", "human-handoff"),
    ("create new api keys", "api-key"),
    ("how many requests per second may I send to the API", "rate-limit"),
    ("is our data encrypted", "security"),
    ("exporting chat history as csv", "data-export"),
];

/// Questions the knowledge does not answer.
const UNKNOWN: &[&str] = &[
    "明日の東京の天気は？",
    "富士山の高さを教えて",
    "おすすめのラーメン屋",
    "源氏物語の作者",
    "What is the capital of France?",
    "recipe for tomato soup",
    "who won the world cup in 1998",
    "asdfghjkl",
    "🙂",
];

#[test]
fn paraphrases_find_their_entry() {
    let engine = engine();
    let replies: Vec<_> = PARAPHRASES.iter().map(|&(text, id)| (text, id, engine.reply(text, None))).collect();
    for (text, id, reply) in &replies {
        let first = reply.citations.first().map(|citation| citation.id.as_str());
        assert_eq!(first, Some(*id), "{text}: {reply:?}");
    }
    let answered = replies.iter().filter(|(_, _, reply)| reply.outcome == Outcome::Answer).count();
    assert!(answered * 10 >= replies.len() * 8, "{answered} of {} answered outright", replies.len());
}

#[test]
fn what_is_not_known_is_not_answered() {
    let engine = engine();
    let mut handed_over = 0;
    for text in UNKNOWN {
        let reply = engine.reply(text, None);
        assert_ne!(reply.outcome, Outcome::Answer, "{text}: {reply:?}");
        handed_over += usize::from(reply.outcome == Outcome::Handover);
    }
    assert!(handed_over * 10 >= UNKNOWN.len() * 7, "{handed_over} of {} handed over", UNKNOWN.len());
}

#[test]
fn every_listed_phrasing_is_answered_by_its_entry() {
    let engine = engine();
    let knowledge = Knowledge::built_in().expect("valid");
    for entry in &knowledge.entries {
        for language in Language::ALL {
            let wording = entry.wording(language).expect("bilingual");
            for text in wording.phrasings.iter().chain([&wording.question]) {
                let reply = engine.reply(text, None);
                assert_eq!(reply.outcome, Outcome::Answer, "{text}: {reply:?}");
                assert_eq!(reply.citations[0].id, entry.id, "{text}");
            }
        }
    }
}

#[test]
fn the_reply_is_in_the_language_of_the_question() {
    let engine = engine();
    assert_eq!(engine.reply("パスワードを忘れた", None).language, Language::Ja);
    assert_eq!(engine.reply("I forgot my password", None).language, Language::En);
    assert_eq!(engine.reply("Slack連携", None).language, Language::Ja, "although Latin letters prevail");
    assert_eq!(engine.reply("???", Some("I forgot my password")).language, Language::En);
}

#[test]
fn suggestions_are_cited_and_listed() {
    let engine = engine();
    let reply = engine.reply("how can I resett my pasword", None);
    assert_eq!(reply.outcome, Outcome::DidYouMean, "{reply:?}");
    assert!((1..=3).contains(&reply.citations.len()));
    assert!(reply.citations.iter().all(|citation| reply.text.contains(&citation.title)));
}

#[test]
fn a_short_follow_up_uses_the_previous_message() {
    let engine = engine();
    let alone = engine.reply("いつから有効になる？", None);
    assert_ne!(alone.outcome, Outcome::Answer, "{alone:?}");
    let reply = engine.reply("いつから有効になる？", Some("プランをダウングレードしたい"));
    assert_eq!(reply.citations[0].id, "change-plan");
    assert!(reply.follow_up);

    let unrelated = engine.reply("pizza?", Some("I forgot my password"));
    assert_ne!(unrelated.outcome, Outcome::Answer, "{unrelated:?}");
}

#[test]
fn tags_and_the_tenants_synonyms_are_searched() {
    let text = "
schema: 1
name: x
synonyms:
  - [ポチ袋, のし袋]
entries:
  - id: a
    tags: [水引]
    ja: {question: のし袋の種類, answer: 三種類あります。}
  - id: b
    ja: {question: 包装紙の色, answer: 白です。}
";
    let engine = Engine::new(Knowledge::parse(text, "test").expect("valid"));
    for question in ["水引", "ポチ袋の種類"] {
        let reply = engine.reply(question, None);
        assert_eq!((reply.outcome, reply.citations[0].id.as_str()), (Outcome::Answer, "a"), "{question}: {reply:?}");
    }
}
