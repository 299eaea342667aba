//! Tenants as large as they come: 50 of 200 entries each, in both languages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use chatbot::tenant::{Key, KeyKind, Scope, Scopes};
use serde_json::json;

pub(crate) const TENANTS: usize = 50;
pub(crate) const ENTRIES: usize = 200;

const ACTIONS: [(&str, &str); 10] = [
    ("変更する", "change"),
    ("削除する", "delete"),
    ("追加する", "add"),
    ("確認する", "check"),
    ("印刷する", "print"),
    ("共有する", "share"),
    ("検索する", "search"),
    ("並べ替える", "sort"),
    ("復元する", "restore"),
    ("承認する", "approve"),
];
const THINGS: [(&str, &str); 20] = [
    ("請求書", "an invoice"),
    ("勤務表", "a timesheet"),
    ("配送先の住所", "a delivery address"),
    ("支払い方法", "a payment method"),
    ("メールの通知", "e-mail notifications"),
    ("会員情報", "a member's profile"),
    ("見積書", "a quotation"),
    ("クーポン", "a coupon"),
    ("休暇の申請", "a leave request"),
    ("承認の経路", "an approval route"),
    ("部署", "a department"),
    ("予約", "a booking"),
    ("写真", "a photo"),
    ("報告書", "a report"),
    ("契約", "a contract"),
    ("在庫", "stock"),
    ("連絡先", "a contact"),
    ("カレンダー", "a calendar"),
    ("添付ファイル", "an attachment"),
    ("アンケート", "a survey"),
];

/// The tenants' files, and how to ask as one of the tenants.
#[derive(Debug)]
pub(crate) struct Tenants {
    pub(crate) file: PathBuf,
    /// One key for each tenant.
    pub(crate) keys: Vec<String>,
    /// Questions about what the knowledge holds, in both languages, in words of their own: two thirds are answered, to the
    /// others several entries are offered.
    pub(crate) questions: Vec<String>,
}

/// Writes the files below a directory.
pub(crate) fn write(directory: &Path) -> Result<Tenants> {
    let mut keys = Vec::new();
    let mut tenants = Vec::new();
    for number in 0..TENANTS {
        let scopes = Scopes::from([Scope::Chat]);
        let (key, secret) = Key::generate(KeyKind::Secret, "bench".to_owned(), scopes, 0)?;
        keys.push(secret.reveal().to_owned());
        let name = format!("knowledge-{number}.json");
        fs::write(directory.join(&name), serde_json::to_vec(&knowledge(number))?)?;
        tenants.push(json!({
            "id": format!("tenant-{number}"),
            "name": format!("Tenant {number}"),
            "knowledge": name,
            "keys": [key],
            // What is measured is the service, not its limits.
            "limits": {"requests_per_second": 1_000_000, "burst": 1_000_000, "user_messages_per_minute": 1_000_000},
        }));
    }
    let file = directory.join("tenants.json");
    fs::write(&file, serde_json::to_vec(&json!({"schema": 1, "tenants": tenants}))?)?;
    Ok(Tenants { file, keys, questions: questions() })
}

fn knowledge(tenant: usize) -> serde_json::Value {
    let entries: Vec<_> = pairs()
        .enumerate()
        .map(|(number, ((do_ja, do_en), (thing_ja, thing_en)))| {
            json!({
                "id": format!("entry-{number}"),
                "ja": {
                    "question": format!("{thing_ja}を{do_ja}にはどうすればよいですか"),
                    "phrasings": [format!("{thing_ja}を{do_ja}方法"), format!("{thing_ja}が{do_ja}画面にない")],
                    "answer": format!(
                        "画面右上のメニューから「{thing_ja}」を開き、{do_ja}項目を選びます。手順{number}は設定{tenant}で変えられます。"
                    ),
                },
                "en": {
                    "question": format!("How do I {do_en} {thing_en}?"),
                    "phrasings": [format!("Where can I {do_en} {thing_en}?"), format!("I cannot {do_en} {thing_en}")],
                    "answer": format!(
                        "Open {thing_en} from the menu at the top right and choose {do_en}. Step {number} depends on setting {tenant}."
                    ),
                },
            })
        })
        .collect();
    json!({"schema": 1, "name": format!("Tenant {tenant}"), "entries": entries})
}

fn questions() -> Vec<String> {
    let asked = pairs().enumerate().map(|(number, ((do_ja, do_en), (thing_ja, thing_en)))| match number % 4 {
        0 => format!("{thing_ja}を{do_ja}にはどこを押せばいいですか"),
        1 => format!("please tell me how to {do_en} {thing_en}"),
        2 => format!("{thing_ja}の件で、{do_ja}手順を教えてください"),
        _ => format!("it seems I can't {do_en} {thing_en} any more"),
    });
    asked.collect()
}

fn pairs() -> impl Iterator<Item = ((&'static str, &'static str), (&'static str, &'static str))> {
    let pairs = THINGS.into_iter().flat_map(|thing| ACTIONS.into_iter().map(move |action| (action, thing)));
    debug_assert_eq!(pairs.clone().count(), ENTRIES);
    pairs
}
