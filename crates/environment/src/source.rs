//! A YAML file as text: parsing with positions, and the position of a field for problems found later.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Problem};

/// The text of a file and its name for messages.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

/// Reads a file; `hint` says what to do when it is not there.
pub(crate) fn read(path: &Path, hint: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|reason| Error::Unreadable {
        file: path.display().to_string(),
        hint: hint.to_owned(),
        reason,
    })
}

impl Source<'_> {
    /// Parses the text; the first syntax or type error becomes a problem with its position.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_yaml::from_str(self.text).map_err(|error| Error::Invalid(vec![self.of_serde(&error)]))
    }

    /// A problem at a field, found by its path.
    pub(crate) fn problem(&self, field: &str, message: impl Into<String>, hint: impl Into<String>) -> Problem {
        let (line, column) = self.locate(field);
        Problem {
            file: self.file.to_owned(),
            line,
            column,
            field: field.to_owned(),
            message: message.into(),
            hint: hint.into(),
        }
    }

    fn of_serde(&self, error: &serde_yaml::Error) -> Problem {
        let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
        let full = error.to_string();
        let message = full.split(" at line ").next().unwrap_or(&full);
        // The parser prefixes the path of the enclosing section: `task: unknown field ...`.
        let (path, message) = match message.split_once(": ") {
            Some((path, rest)) if is_path(path) => (path.to_owned(), rest.to_owned()),
            _ => (String::new(), message.to_owned()),
        };
        let named = quoted(&message);
        match named {
            Some(name) if message.starts_with("unknown field") || message.starts_with("missing field") => {
                let field = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                let hint = hint_for(&message, name, &field);
                let mut problem = Problem { file: self.file.to_owned(), line, column, field, message, hint };
                if problem.message.starts_with("unknown field") {
                    // The parser points at the section; the field itself is what has to change.
                    (problem.line, problem.column) = self.locate(&problem.field);
                    problem.message = format!("unknown field `{}`", quoted(&problem.message).unwrap_or_default());
                }
                problem
            }
            _ => {
                let hint = if message.starts_with("unknown variant") {
                    hint_for(&message, named.unwrap_or_default(), &path)
                } else {
                    "correct the value; the fields and their defaults are described at the top of the file's sections"
                        .to_owned()
                };
                let (line, column) = if line == 0 { self.locate(&path) } else { (line, column) };
                Problem { file: self.file.to_owned(), line, column, field: path, message, hint }
            }
        }
    }

    /// Line and column of the deepest part of a dotted path that the text contains in block style.
    fn locate(&self, field: &str) -> (usize, usize) {
        let mut found = (1, 1);
        let mut from = 0;
        let mut depth: Option<usize> = None;
        for key in field.split('.').map(|part| part.split('[').next().unwrap_or(part)) {
            let mut next = None;
            for (index, line) in self.text.lines().enumerate().skip(from) {
                let indent = line.len() - line.trim_start().len();
                let body = line.trim_start();
                if body.is_empty() || body.starts_with('#') {
                    continue;
                }
                if depth.is_some_and(|depth| indent <= depth) {
                    break;
                }
                if body.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')) {
                    next = Some((index, indent));
                    break;
                }
            }
            let Some((index, indent)) = next else { break };
            found = (index + 1, indent + 1);
            from = index + 1;
            depth = Some(indent);
        }
        found
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-[]".contains(c))
}

fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// A hint from what the parser expected: the nearest name, or all of them.
fn hint_for(message: &str, given: &str, field: &str) -> String {
    if message.starts_with("missing field") {
        return format!("add `{field}`");
    }
    let expected: Vec<&str> = message.split("expected").nth(1).unwrap_or("").split('`').skip(1).step_by(2).collect();
    let nearest = expected.iter().map(|name| (distance(given, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= 1 + given.len() / 3 => {
            format!("did you mean `{name}`?")
        }
        _ if expected.is_empty() => format!("remove `{given}`"),
        _ => format!("one of: {}", expected.join(", ")),
    }
}

/// Levenshtein distance, enough for a misspelt field.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
