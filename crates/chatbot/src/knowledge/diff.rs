use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Entry, Knowledge, Wording};
use crate::text::Language;

/// What changes from one version of a knowledge to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Diff {
    /// Ids of entries that are new.
    pub added: Vec<String>,
    /// Ids of entries that are gone.
    pub removed: Vec<String>,
    /// Entries that are in both, but not the same.
    pub changed: Vec<Change>,
    /// Number of entries that stay as they are.
    pub unchanged: usize,
    /// What else changes: `name`, `replies`, `synonyms`.
    pub settings: Vec<&'static str>,
}

/// An entry that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Change {
    /// The entry's id.
    pub id: String,
    /// The fields that differ, for example `en.answer`.
    pub fields: Vec<String>,
}

impl Diff {
    pub(super) fn between(old: &Knowledge, new: &Knowledge) -> Self {
        let before: BTreeMap<&str, &Entry> = old.entries.iter().map(|entry| (&*entry.id, entry)).collect();
        let after: BTreeMap<&str, &Entry> = new.entries.iter().map(|entry| (&*entry.id, entry)).collect();
        let mut diff = Self::default();
        for (id, entry) in &after {
            let Some(known) = before.get(id) else {
                diff.added.push((*id).to_owned());
                continue;
            };
            let fields = fields(known, entry);
            if fields.is_empty() {
                diff.unchanged += 1;
            } else {
                diff.changed.push(Change { id: (*id).to_owned(), fields });
            }
        }
        diff.removed = before.keys().filter(|id| !after.contains_key(*id)).map(|id| (*id).to_owned()).collect();
        let settings = [
            ("name", old.name != new.name),
            ("replies", old.replies != new.replies),
            ("synonyms", old.synonyms != new.synonyms),
        ];
        diff.settings = settings.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
        diff
    }

    /// True when nothing changes.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.settings.is_empty()
    }
}

fn fields(old: &Entry, new: &Entry) -> Vec<String> {
    let mut fields = Vec::new();
    if old.url != new.url {
        fields.push("url".to_owned());
    }
    if old.tags != new.tags {
        fields.push("tags".to_owned());
    }
    for language in Language::ALL {
        let code = language.code();
        match (old.wording(language), new.wording(language)) {
            (Some(old), Some(new)) => fields.extend(differing(old, new).map(|field| format!("{code}.{field}"))),
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => fields.push(code.to_owned()),
        }
    }
    fields
}

fn differing(old: &Wording, new: &Wording) -> impl Iterator<Item = &'static str> {
    let fields = [
        ("question", old.question != new.question),
        ("phrasings", old.phrasings != new.phrasings),
        ("answer", old.answer != new.answer),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name)
}
