//! What the service knows: questions, their phrasings and the answers to them.
//!
//! Knowledge comes as YAML, JSON, CSV or Markdown ([`Format`]); the crate's README shows each. A file
//! is checked completely before anything is served from it, and every mistake is named with its
//! line and field. One file is compiled in; `KNOWLEDGE_FILE` names another.

mod check;
mod csv;
mod diff;
mod draft;
mod lines;
mod markdown;
mod mistake;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use check::{LARGEST_FILE, MOST_ENTRIES};
pub use diff::{Change, Diff};
pub use mistake::{KnowledgeError, Mistake};

use crate::text::Language;

/// The knowledge compiled into the binary: support for SmartBot itself.
pub const DEFAULT: &str = include_str!("../knowledge/smartbot.yaml");

const SCHEMA: u32 = 1;

/// Everything that one tenant's bot knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Knowledge {
    /// Version of the format; 1.
    pub schema: u32,
    /// What this knowledge is about, for people.
    pub name: String,
    /// What the service says when it has no answer; a language left out gets built-in sentences.
    #[serde(default)]
    pub replies: BTreeMap<Language, Replies>,
    /// Groups of words that mean the same here, beyond those that every support desk uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub synonyms: Vec<Vec<String>>,
    /// The questions and answers.
    pub entries: Vec<Entry>,
}

/// The sentences around the answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replies {
    /// Introduces the suggestions when the question is only half understood.
    pub did_you_mean: String,
    /// Hands the person over when nothing is known.
    pub handover: String,
}

/// One question with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Stable name, used in citations.
    #[schema(value_type = String)]
    pub id: Arc<str>,
    /// Page with more about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub url: Option<Arc<str>>,
    /// Keywords that people may use, in either language.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Japanese text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ja: Option<Wording>,
    /// English text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub en: Option<Wording>,
}

/// An entry in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wording {
    /// The question as it is shown.
    #[schema(value_type = String)]
    pub question: Arc<str>,
    /// Other ways to ask it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phrasings: Vec<String>,
    /// The answer.
    pub answer: String,
}

/// How a knowledge file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The whole of [`Knowledge`], for people.
    Yaml,
    /// The same for programs.
    Json,
    /// Entries alone, one a row, from a spreadsheet.
    Csv,
    /// Entries alone, one a section, from a page.
    Markdown,
}

impl Format {
    /// The format that a file's name ends with.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Some(Format::Yaml),
            "json" => Some(Format::Json),
            "csv" => Some(Format::Csv),
            "md" | "markdown" => Some(Format::Markdown),
            _ => None,
        }
    }

    /// The format that a `Content-Type` names.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type.split(';').next()?.trim().to_ascii_lowercase().as_str() {
            "application/yaml" | "application/x-yaml" | "text/yaml" => Some(Format::Yaml),
            "application/json" => Some(Format::Json),
            "text/csv" => Some(Format::Csv),
            "text/markdown" => Some(Format::Markdown),
            _ => None,
        }
    }
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

impl Replies {
    /// What the service says in a language when nobody chose other words.
    pub fn built_in(language: Language) -> Self {
        let (did_you_mean, handover) = match language {
            Language::Ja => (
                "お探しの内容は、次のどれかでしょうか。",
                "申し訳ありません。この質問にお答えできる情報が見つかりませんでした。担当者におつなぎします。",
            ),
            Language::En => (
                "Did you mean one of these?",
                "I am sorry, I have no reliable answer to that. A member of our team can help.",
            ),
        };
        Self { did_you_mean: did_you_mean.to_owned(), handover: handover.to_owned() }
    }
}

impl Knowledge {
    /// Reads and checks a file; its name tells the format.
    pub fn load(path: &Path) -> Result<Self, KnowledgeError> {
        let bytes = std::fs::read(path).map_err(|source| KnowledgeError::Read { path: path.to_owned(), source })?;
        Self::import(Format::of_path(path).unwrap_or(Format::Yaml), &bytes, &path.display().to_string(), None)
    }

    /// The knowledge compiled into the binary.
    pub fn built_in() -> Result<Self, KnowledgeError> {
        Self::parse(DEFAULT, "built into smartbot")
    }

    /// Parses and checks YAML; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, KnowledgeError> {
        Self::import(Format::Yaml, text.as_bytes(), origin, None)
    }

    /// Parses and checks a file's content; `origin` names it in errors.
    ///
    /// CSV and Markdown hold entries alone: name, replies and synonyms are then those of `current`.
    pub fn import(
        format: Format,
        bytes: &[u8],
        origin: &str,
        current: Option<&Knowledge>,
    ) -> Result<Self, KnowledgeError> {
        let invalid = |mistakes| KnowledgeError::Invalid { origin: origin.to_owned(), mistakes };
        let text = check::text(bytes).map_err(|mistake| invalid(vec![mistake]))?;
        let imported = match format {
            Format::Yaml => yaml::read_yaml(text),
            Format::Json => yaml::read_json(text),
            Format::Csv => csv::read(text).map(|draft| draft.finish(current)),
            Format::Markdown => markdown::read(text).map(|draft| draft.finish(current)),
        };
        let (mut knowledge, lines) = imported.map_err(invalid)?;
        let mistakes = check::mistakes(&knowledge);
        if !mistakes.is_empty() {
            let lines = lines.unwrap_or_else(|| yaml::lines(text));
            let located = |(field, problem): (String, String)| Mistake { line: lines.of(&field), field, problem };
            return Err(invalid(mistakes.into_iter().map(located).collect()));
        }
        for language in Language::ALL {
            knowledge.replies.entry(language).or_insert_with(|| Replies::built_in(language));
        }
        Ok(knowledge)
    }

    /// What replacing this knowledge by another would change.
    pub fn diff(&self, new: &Knowledge) -> Diff {
        Diff::between(self, new)
    }
}

#[cfg(test)]
mod tests;
