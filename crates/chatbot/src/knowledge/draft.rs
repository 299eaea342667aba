//! Entries as CSV and Markdown give them: one language at a time, without what belongs to the whole.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use super::lines::Lines;
use super::{Entry, Knowledge, Mistake, SCHEMA, Wording};
use crate::text::{Class, Language, hash, normalise};

/// Entries being collected.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: Option<String>,
    entries: Vec<Entry>,
    positions: HashMap<String, usize>,
    lines: Lines,
    pub(super) mistakes: Vec<Mistake>,
}

/// One row or section.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) line: usize,
    pub(super) id: Option<String>,
    pub(super) language: Option<String>,
    pub(super) url: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) question: String,
    pub(super) phrasings: Vec<String>,
    pub(super) answer: String,
}

impl Draft {
    /// Adds a part; the second language of an entry joins the first under the same id.
    pub(super) fn add(&mut self, part: Part) {
        let line = part.line;
        let language = match part.language.as_deref() {
            None => Language::of(&part.question).unwrap_or(Language::Ja),
            Some("ja") => Language::Ja,
            Some("en") => Language::En,
            Some(other) => {
                self.mistakes.push(Mistake::new(line, "language", format!("{other:?} is neither ja nor en")));
                return;
            }
        };
        let id = part.id.unwrap_or_else(|| id_of(&part.question));
        let position = match self.positions.entry(id) {
            Slot::Occupied(known) => *known.get(),
            Slot::Vacant(new) => {
                self.entries.push(Entry {
                    id: new.key().as_str().into(),
                    url: None,
                    tags: Vec::new(),
                    ja: None,
                    en: None,
                });
                *new.insert(self.entries.len() - 1)
            }
        };
        let field = format!("entries[{position}]");
        if self.lines.of(&field).is_none() {
            self.lines.note(field.clone(), line);
        }
        let entry = &mut self.entries[position];
        let wording = match language {
            Language::Ja => &mut entry.ja,
            Language::En => &mut entry.en,
        };
        if wording.is_some() {
            let problem = format!("{:?} is there already in {}: ids must differ", entry.id, language.code());
            self.mistakes.push(Mistake::new(line, "id", problem));
            return;
        }
        *wording = Some(Wording { question: part.question.into(), phrasings: part.phrasings, answer: part.answer });
        self.lines.note(format!("{field}.{}", language.code()), line);
        entry.url = entry.url.take().or(part.url.map(Arc::from));
        for tag in part.tags {
            if !entry.tags.contains(&tag) {
                entry.tags.push(tag);
            }
        }
    }

    /// The knowledge; what entries alone do not say is as it was.
    pub(super) fn finish(self, current: Option<&Knowledge>) -> (Knowledge, Option<Lines>) {
        let name = self.name.or_else(|| current.map(|current| current.name.clone()));
        let knowledge = Knowledge {
            schema: SCHEMA,
            name: name.unwrap_or_else(|| "FAQ".to_owned()),
            replies: current.map(|current| current.replies.clone()).unwrap_or_default(),
            synonyms: current.map(|current| current.synonyms.clone()).unwrap_or_default(),
            entries: self.entries,
        };
        (knowledge, Some(self.lines))
    }
}

/// An id for a question that has none: the same for the same question.
fn id_of(question: &str) -> String {
    format!("q-{:016x}", hash(Class::Concept, normalise(question).trim().bytes().map(u64::from)))
}
