//! What knowledge must satisfy whatever it was written in: limits, and no contradictions.

use std::collections::BTreeMap;

use super::{Knowledge, Mistake, SCHEMA, Wording};
use crate::text::Language;

/// The largest knowledge file, in bytes.
pub const LARGEST_FILE: usize = 2 * 1024 * 1024;
/// The most entries.
pub const MOST_ENTRIES: usize = 5_000;
const MOST_PHRASINGS: usize = 100;
const MOST_TAGS: usize = 30;
const MOST_SYNONYM_GROUPS: usize = 500;
const MOST_SYNONYMS: usize = 30;
const LONGEST_NAME: usize = 200;
const LONGEST_ID: usize = 100;
const LONGEST_URL: usize = 2_000;
const LONGEST_QUESTION: usize = 500;
const LONGEST_ANSWER: usize = 8_000;
const LONGEST_REPLY: usize = 1_000;
const LONGEST_TERM: usize = 100;

/// The text of a file: not too large, UTF-8, without a byte-order mark.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Mistake> {
    if bytes.len() > LARGEST_FILE {
        let problem = format!("the file has {} bytes, the most is {LARGEST_FILE}", bytes.len());
        return Err(Mistake { line: None, field: String::new(), problem });
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            Err(Mistake::new(line, "", "this is not UTF-8: save the file as UTF-8 (in Excel, \"CSV UTF-8\")"))
        }
    }
}

/// Everything wrong: (field, what).
pub(super) fn mistakes(knowledge: &Knowledge) -> Vec<(String, String)> {
    let mut found = Found(Vec::new());
    if knowledge.schema != SCHEMA {
        found.add("schema", format!("is {}, this version reads {SCHEMA}", knowledge.schema));
    }
    found.text("name", &knowledge.name, LONGEST_NAME);
    for (language, replies) in &knowledge.replies {
        let code = language.code();
        found.text(&format!("replies.{code}.did_you_mean"), &replies.did_you_mean, LONGEST_REPLY);
        found.text(&format!("replies.{code}.handover"), &replies.handover, LONGEST_REPLY);
    }
    found.number("synonyms", knowledge.synonyms.len(), MOST_SYNONYM_GROUPS);
    for (position, group) in knowledge.synonyms.iter().enumerate() {
        let field = format!("synonyms[{position}]");
        if group.len() < 2 {
            found.add(&field, "needs two members or more");
        }
        found.texts(&field, group, MOST_SYNONYMS, LONGEST_TERM);
    }
    if knowledge.entries.is_empty() {
        found.add("entries", "is empty");
    }
    found.number("entries", knowledge.entries.len(), MOST_ENTRIES);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (position, entry) in knowledge.entries.iter().enumerate() {
        let field = format!("entries[{position}]");
        found.text(&format!("{field}.id"), &entry.id, LONGEST_ID);
        if entry.id.chars().any(|c| c.is_whitespace() || c.is_control()) {
            found.add(&format!("{field}.id"), format!("{:?} has white space in it", entry.id));
        }
        if let Some(first) = seen.insert(&entry.id, position) {
            found.add(&format!("{field}.id"), format!("entries[{first}] has the id {:?} already", entry.id));
        }
        if let Some(url) = &entry.url {
            found.text(&format!("{field}.url"), url, LONGEST_URL);
            // It becomes a link on somebody's page: no other scheme may.
            if !(url.starts_with("https://") || url.starts_with("http://")) || url.contains(char::is_whitespace) {
                found.add(&format!("{field}.url"), "is not an http:// or https:// address");
            }
        }
        found.texts(&format!("{field}.tags"), &entry.tags, MOST_TAGS, LONGEST_TERM);
        if entry.ja.is_none() && entry.en.is_none() {
            found.add(&field, "has neither ja nor en");
        }
        for language in Language::ALL {
            if let Some(wording) = entry.wording(language) {
                found.wording(&format!("{field}.{}", language.code()), wording);
            }
        }
    }
    found.0
}

struct Found(Vec<(String, String)>);

impl Found {
    fn add(&mut self, field: &str, problem: impl Into<String>) {
        self.0.push((field.to_owned(), problem.into()));
    }

    fn wording(&mut self, field: &str, wording: &Wording) {
        self.text(&format!("{field}.question"), &wording.question, LONGEST_QUESTION);
        self.texts(&format!("{field}.phrasings"), &wording.phrasings, MOST_PHRASINGS, LONGEST_QUESTION);
        self.text(&format!("{field}.answer"), &wording.answer, LONGEST_ANSWER);
    }

    fn texts(&mut self, field: &str, texts: &[String], most: usize, longest: usize) {
        self.number(field, texts.len(), most);
        for (position, text) in texts.iter().enumerate() {
            self.text(&format!("{field}[{position}]"), text, longest);
        }
    }

    fn text(&mut self, field: &str, text: &str, longest: usize) {
        if text.trim().is_empty() {
            self.add(field, "is empty");
        }
        let length = text.chars().count();
        if length > longest {
            self.add(field, format!("has {length} characters, the most is {longest}"));
        }
    }

    fn number(&mut self, field: &str, number: usize, most: usize) {
        if number > most {
            self.add(field, format!("has {number} members, the most is {most}"));
        }
    }
}
