//! Readers of the files that questions come in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Set;
use crate::knowledge::{Knowledge, KnowledgeError};
use crate::retrieval::Field;

/// Similarity from which on two sentences of JSTS mean the same.
const SAME: f64 = 4.0;

/// Why a set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not in the format it should be in.
    #[error("{path} is not as expected: {problem}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The knowledge that is asked cannot be used.
    #[error(transparent)]
    Knowledge(#[from] KnowledgeError),
}

#[derive(Deserialize)]
struct Squad {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    question: String,
    #[serde(default)]
    is_impossible: bool,
}

/// A file in the format of SQuAD: every paragraph is a document, every article a subject. Questions
/// marked as impossible have no answer in their own paragraph and are left out.
pub fn squad(path: &Path) -> Result<Set, SetError> {
    let read: Squad = serde_json::from_str(&text(path)?).map_err(|error| format(path, error))?;
    let mut set = Set { field: Some(Field::Answer), ..Set::default() };
    let mut known: HashMap<String, usize> = HashMap::new();
    for (subject, article) in read.data.into_iter().enumerate() {
        for paragraph in article.paragraphs {
            let document = *known.entry(paragraph.context).or_insert_with_key(|context| {
                set.documents.push(vec![context.clone()]);
                set.subjects.push(subject);
                set.documents.len() - 1
            });
            let possible = paragraph.qas.into_iter().filter(|question| !question.is_impossible);
            set.questions.extend(possible.map(|question| (question.question, document)));
        }
    }
    Ok(set)
}

#[derive(Deserialize)]
struct Pair {
    sentence1: String,
    sentence2: String,
    label: f64,
}

/// JSTS, one JSON object a line: every first sentence is a document, and the second sentences of
/// pairs that mean the same are the questions.
pub fn jsts(path: &Path) -> Result<Set, SetError> {
    let mut set = Set { field: Some(Field::Asked), ..Set::default() };
    for line in text(path)?.lines().filter(|line| !line.trim().is_empty()) {
        let pair: Pair = serde_json::from_str(line).map_err(|error| format(path, error))?;
        if pair.label >= SAME {
            set.questions.push((pair.sentence2, set.documents.len()));
        }
        set.documents.push(vec![pair.sentence1]);
        set.subjects.push(0);
    }
    Ok(set)
}

/// Banking77 and its like, CSV of text and intent: the first texts of an intent are the phrasings of
/// its document, the others the questions.
pub fn banking(path: &Path, phrasings: usize) -> Result<Set, SetError> {
    let mut set = Set { field: Some(Field::Asked), ..Set::default() };
    let mut intents: HashMap<String, usize> = HashMap::new();
    for record in csv::Reader::from_reader(text(path)?.as_bytes()).into_deserialize::<(String, String)>() {
        let (text, intent) = record.map_err(|error| format(path, error))?;
        let document = *intents.entry(intent).or_insert_with(|| {
            set.documents.push(Vec::new());
            set.subjects.push(0);
            set.documents.len() - 1
        });
        if set.documents[document].len() < phrasings {
            set.documents[document].push(text);
        } else {
            set.questions.push((text, document));
        }
    }
    Ok(set)
}

/// Which questions of a hand-written set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaqPart {
    /// Those that the lexicon was written with.
    Dev,
    /// Those that it was not.
    HeldOut,
}

#[derive(Deserialize)]
struct FaqRow {
    entry: Option<String>,
    set: FaqPart,
    question: String,
}

/// Questions of a hand-written set, each with the entry that answers it, if one does.
pub type FaqQuestions = Vec<(String, Option<String>)>;

/// A hand-written set: a knowledge file, and beside it a CSV of entry, set and question.
pub fn faq(path: &Path, part: FaqPart) -> Result<(Knowledge, FaqQuestions), SetError> {
    let knowledge = Knowledge::load(path)?;
    let questions = path.with_extension("csv");
    let mut asked = Vec::new();
    for row in csv::Reader::from_reader(text(&questions)?.as_bytes()).into_deserialize::<FaqRow>() {
        let row = row.map_err(|error| format(&questions, error))?;
        if let Some(entry) =
            row.entry.as_ref().filter(|entry| !knowledge.entries.iter().any(|known| *known.id == **entry))
        {
            return Err(format(&questions, format_args!("{entry:?} is not an entry of {}", path.display())));
        }
        if row.set == part {
            asked.push((row.question, row.entry));
        }
    }
    Ok((knowledge, asked))
}

fn text(path: &Path) -> Result<String, SetError> {
    std::fs::read_to_string(path).map_err(|source| SetError::Read { path: path.to_owned(), source })
}

fn format(path: &Path, problem: impl std::fmt::Display) -> SetError {
    SetError::Format { path: path.to_owned(), problem: problem.to_string() }
}
