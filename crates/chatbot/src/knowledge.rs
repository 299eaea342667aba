//! What the service knows: questions, their phrasings and the answers to them.
//!
//! A knowledge file is YAML (or JSON, which is YAML). One is compiled in; `KNOWLEDGE_FILE` names
//! another. A file is checked completely before anything is served from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::text::Language;

/// The knowledge compiled into the binary: support for SmartBot itself.
pub const DEFAULT: &str = include_str!("../knowledge/smartbot.yaml");

const SCHEMA: u32 = 1;

/// A whole knowledge file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knowledge {
    /// Version of the file's format; 1.
    pub schema: u32,
    /// What this knowledge is about, for people.
    pub name: String,
    /// What the service says when it has no answer, per language.
    pub replies: BTreeMap<Language, Replies>,
    /// The questions and answers.
    pub entries: Vec<Entry>,
}

/// The sentences around the answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replies {
    /// Introduces the suggestions when the question is only half understood.
    pub did_you_mean: String,
    /// Hands the person over when nothing is known.
    pub handover: String,
}

/// One question with its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Stable name, used in citations.
    pub id: String,
    /// Page with more about it.
    #[serde(default)]
    pub url: Option<String>,
    /// Japanese text.
    #[serde(default)]
    pub ja: Option<Wording>,
    /// English text.
    #[serde(default)]
    pub en: Option<Wording>,
}

/// An entry in one language.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wording {
    /// The question as it is shown.
    pub question: String,
    /// Other ways to ask it.
    #[serde(default)]
    pub phrasings: Vec<String>,
    /// The answer.
    pub answer: String,
}

impl Entry {
    /// The entry's text in a language.
    pub fn wording(&self, language: Language) -> Option<&Wording> {
        match language {
            Language::Ja => self.ja.as_ref(),
            Language::En => self.en.as_ref(),
        }
    }
}

/// Why a knowledge file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// The file cannot be read.
    #[error("cannot read the knowledge file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no YAML or does not have the fields it should.
    #[error("the knowledge file {origin} is not valid: {message}")]
    Parse {
        /// Where the text came from.
        origin: String,
        /// The parser's message, with line and column.
        message: String,
    },
    /// The file is well-formed but contradicts itself.
    #[error("the knowledge file {origin} is not valid: {}", .problems.join("; "))]
    Invalid {
        /// Where the text came from.
        origin: String,
        /// Everything wrong with it.
        problems: Vec<String>,
    },
}

impl Knowledge {
    /// Reads and checks a knowledge file.
    pub fn load(path: &Path) -> Result<Self, KnowledgeError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| KnowledgeError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The knowledge compiled into the binary.
    pub fn built_in() -> Result<Self, KnowledgeError> {
        Self::parse(DEFAULT, "built into smartbot")
    }

    /// Parses and checks a knowledge text; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, KnowledgeError> {
        let knowledge: Knowledge = serde_yaml::from_str(text)
            .map_err(|error| KnowledgeError::Parse { origin: origin.to_owned(), message: error.to_string() })?;
        let problems = knowledge.problems();
        if problems.is_empty() {
            Ok(knowledge)
        } else {
            Err(KnowledgeError::Invalid { origin: origin.to_owned(), problems })
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.schema != SCHEMA {
            problems.push(format!("schema is {}, this version reads {SCHEMA}", self.schema));
        }
        if self.entries.is_empty() {
            problems.push("entries is empty".to_owned());
        }
        for language in Language::ALL {
            if !self.replies.contains_key(&language) {
                problems.push(format!("replies.{} is missing", language.code()));
            }
        }
        let mut seen = BTreeSet::new();
        for (position, entry) in self.entries.iter().enumerate() {
            let at = format!("entries[{position}] ({:?})", entry.id);
            if entry.id.trim().is_empty() {
                problems.push(format!("{at}: id is empty"));
            }
            if !seen.insert(entry.id.as_str()) {
                problems.push(format!("{at}: another entry has this id"));
            }
            if entry.ja.is_none() && entry.en.is_none() {
                problems.push(format!("{at}: has neither ja nor en"));
            }
            for language in Language::ALL {
                let Some(wording) = entry.wording(language) else {
                    continue;
                };
                for (field, text) in [("question", &wording.question), ("answer", &wording.answer)] {
                    if text.trim().is_empty() {
                        problems.push(format!("{at}: {}.{field} is empty", language.code()));
                    }
                }
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::Knowledge;

    #[test]
    fn the_built_in_knowledge_is_valid_and_bilingual() {
        let knowledge = Knowledge::built_in().expect("the built-in file parses");
        assert!(knowledge.entries.len() >= 20);
        assert!(knowledge.entries.iter().all(|entry| entry.ja.is_some() && entry.en.is_some()));
    }

    #[test]
    fn a_wrong_field_is_named_with_its_line() {
        let error = Knowledge::parse("schema: 1\nnaem: x\n", "faq.yaml").unwrap_err().to_string();
        assert!(error.contains("faq.yaml") && error.contains("naem") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn every_contradiction_is_named_at_once() {
        let text = "{schema: 2, name: x, replies: {}, entries: [{id: a}, {id: a, en: {question: '', answer: y}}]}";
        let error = Knowledge::parse(text, "faq.yaml").unwrap_err().to_string();
        for part in ["schema is 2", "replies.ja", "neither ja nor en", "another entry", "en.question is empty"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
