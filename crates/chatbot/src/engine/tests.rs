//! The built-in knowledge, asked in words it does not contain.

use super::{Engine, Outcome, Thresholds};
use crate::knowledge::{Format, Knowledge};
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
    let replies: Vec<_> = PARAPHRASES.iter().map(|&(text, id)| (text, id, engine.reply(text, None, None))).collect();
    for (text, id, reply) in &replies {
        let first = reply.citations.first().map(|citation| &*citation.id);
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
        let reply = engine.reply(text, None, None);
        assert_ne!(reply.outcome, Outcome::Answer, "{text}: {reply:?}");
        handed_over += usize::from(reply.outcome == Outcome::Handover);
    }
    assert!(handed_over * 10 >= UNKNOWN.len() * 7, "{handed_over} of {} handed over", UNKNOWN.len());
}

#[test]
fn what_only_wraps_a_question_is_not_answered() {
    let engine = engine();
    for text in [
        "教えてください",
        "どうすればいいですか",
        "How do I",
        "please tell me how to",
        "yes",
        "no",
        "はい",
        "うん",
        "あ",
    ] {
        assert_eq!(engine.reply(text, None, None).outcome, Outcome::Handover, "{text}");
    }
}

#[test]
fn every_listed_phrasing_is_answered_by_its_entry() {
    let engine = engine();
    let knowledge = Knowledge::built_in().expect("valid");
    for entry in &knowledge.entries {
        for language in Language::ALL {
            let wording = entry.wording(language).expect("bilingual");
            for text in wording.phrasings.iter().map(String::as_str).chain([&*wording.question]) {
                let reply = engine.reply(text, None, None);
                assert_eq!(reply.outcome, Outcome::Answer, "{text}: {reply:?}");
                assert_eq!(reply.citations[0].id, entry.id, "{text}");
            }
        }
    }
}

#[test]
fn the_reply_is_in_the_language_of_the_question() {
    let engine = engine();
    assert_eq!(engine.reply("パスワードを忘れた", None, None).language, Language::Ja);
    assert_eq!(engine.reply("I forgot my password", None, None).language, Language::En);
    assert_eq!(engine.reply("Slack連携", None, None).language, Language::Ja, "although Latin letters prevail");
    assert_eq!(engine.reply("???", Some("I forgot my password"), None).language, Language::En);
}

#[test]
fn suggestions_are_cited_and_listed() {
    let engine = engine();
    let reply = engine.reply("how can I resett my pasword", None, None);
    assert_eq!(reply.outcome, Outcome::DidYouMean, "{reply:?}");
    assert!((1..=3).contains(&reply.citations.len()));
    assert!(reply.citations.iter().all(|citation| reply.text.contains(&*citation.title)));
}

#[test]
fn a_short_follow_up_uses_the_previous_message() {
    let engine = engine();
    let alone = engine.reply("いつから有効になる？", None, None);
    assert_ne!(alone.outcome, Outcome::Answer, "{alone:?}");
    let reply = engine.reply("いつから有効になる？", Some("プランをダウングレードしたい"), None);
    assert_eq!(&*reply.citations[0].id, "change-plan");
    assert!(reply.follow_up);

    let unrelated = engine.reply("pizza?", Some("I forgot my password"), None);
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
        let reply = engine.reply(question, None, None);
        assert_eq!((reply.outcome, &*reply.citations[0].id), (Outcome::Answer, "a"), "{question}: {reply:?}");
    }
}

#[test]
fn the_wished_language_is_answered_in_where_it_exists() {
    let knowledge = Knowledge::import(
        Format::Csv,
        "id,language,question,answer\nhours,ja,営業時間は何時までですか,18時までです。\nhours,en,When do you close?,At six.\n\
         parking,ja,駐車場はありますか,30台あります。\n"
            .as_bytes(),
        "test",
        None,
    );
    let engine = Engine::new(knowledge.unwrap());
    let reply = |message, wished| {
        let reply = engine.reply(message, None, wished);
        (reply.outcome, reply.language, reply.text)
    };
    let answer = |language, text: &str| (Outcome::Answer, language, text.to_owned());
    let (ja, en) = (Language::Ja, Language::En);
    assert_eq!(reply("営業時間は何時まで？", None), answer(ja, "18時までです。"));
    assert_eq!(reply("営業時間は何時まで？", Some(en)), answer(en, "At six."));
    assert_eq!(reply("When do you close?", Some(ja)), answer(ja, "18時までです。"));
    assert_eq!(reply("駐車場はありますか", Some(en)), answer(ja, "30台あります。"), "it exists in no other");
    let (outcome, language, text) = reply("富士山の高さを教えて", Some(en));
    assert_eq!((outcome, language), (Outcome::Handover, en));
    assert_eq!(text, engine.knowledge().replies[&en].handover);
    assert_eq!(reply("???", Some(en)).1, en);

    let unsure = Thresholds { answer: 1.0, suggest: 0.01 };
    let offered = Engine::with_thresholds(engine.knowledge().clone(), unsure).reply("営業の場所", None, Some(en));
    assert_eq!((offered.outcome, offered.language), (Outcome::DidYouMean, en));
    assert!(offered.text.starts_with(&engine.knowledge().replies[&en].did_you_mean), "{}", offered.text);
    assert_eq!(&*offered.citations[0].title, "When do you close?");
}

#[test]
fn one_language_is_told_from_two() {
    let knowledge = |csv: &str| Knowledge::import(Format::Csv, csv.as_bytes(), "test", None).unwrap();
    let japanese = knowledge("question,answer\n駐車場はありますか,30台あります。\n");
    assert_eq!(Engine::new(japanese).only_language(), Some(Language::Ja));
    assert_eq!(engine().only_language(), None);
}
