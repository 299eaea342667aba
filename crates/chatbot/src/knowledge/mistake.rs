use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// The most mistakes written out in one message.
const SHOWN: usize = 20;

/// Why knowledge cannot be used.
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
    /// The content is not as it should be.
    #[error("the knowledge {origin} is not valid: {}", Listed(.mistakes))]
    Invalid {
        /// Where the text came from.
        origin: String,
        /// Everything wrong with it.
        mistakes: Vec<Mistake>,
    },
}

/// Something wrong with a knowledge file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The line, from 1, where one can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The field, for example `entries[3].en.question`, a CSV column, or empty for the whole file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Mistake {
    pub(super) fn new(line: usize, field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { line: Some(line), field: field.into(), problem: problem.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)
    }
}

struct Listed<'a>(&'a [Mistake]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{mistake}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
