//! Errors that lead to the line that has to change.

use std::fmt;

/// Why the files could not be used: one file that cannot be read, or all problems found in what was read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {file}: {reason}\nhint: {hint}")]
    Unreadable {
        /// Path as given.
        file: String,
        /// What to do.
        hint: String,
        /// Why; part of the message, so not a source that would be told once more.
        reason: std::io::Error,
    },
    /// The files were read and something in them is wrong.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the file.
    pub file: String,
    /// Line, from 1; 0 if it concerns the file as a whole.
    pub line: usize,
    /// Column, from 1; 0 if it concerns the file as a whole.
    pub column: usize,
    /// Path of the field, such as `deployment.strategy.canary.percent`; empty for the file as a whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": ")?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}\n  hint: {}", self.message, self.hint)
    }
}

impl Error {
    /// The problems found, if the files could be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Error::Unreadable { .. } => &[],
            Error::Invalid(problems) => problems,
        }
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
