//! YAML and JSON: the whole of [`Knowledge`].

use saphyr_parser::{Event, Parser};

use super::lines::Lines;
use super::{Knowledge, Mistake};

type Read = Result<(Knowledge, Option<Lines>), Vec<Mistake>>;

pub(super) fn read_yaml(text: &str) -> Read {
    serde_yaml::from_str(text).map(|knowledge| (knowledge, None)).map_err(|error| {
        let line = error.location().map(|location| location.line());
        let message = error.to_string();
        // The message begins with the path of the field, where the parser was inside one.
        let (field, problem) = match message.split_once(": ") {
            Some((field, problem)) if !field.contains(char::is_whitespace) => (field, problem),
            _ => ("", message.as_str()),
        };
        vec![Mistake { line, field: field.to_owned(), problem: without_place(problem).to_owned() }]
    })
}

pub(super) fn read_json(text: &str) -> Read {
    serde_json::from_str(text)
        .map(|knowledge| (knowledge, None))
        .map_err(|error| vec![Mistake::new(error.line(), "", without_place(&error.to_string()).to_owned())])
}

/// Both parsers end their messages with the place, which is a field of its own here.
fn without_place(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |end| &message[..end])
}

/// Where every field of a YAML or JSON text is. Only asked when there is a mistake to place.
pub(super) fn lines(text: &str) -> Lines {
    let mut lines = Lines::default();
    let mut open: Vec<Level> = Vec::new();
    for event in Parser::new_from_str(text) {
        // What the deserialiser took and this parser does not is without lines, no worse.
        let Ok((event, span)) = event else { break };
        let line = span.start.line();
        match event {
            Event::Scalar(value, ..) => match open.last_mut() {
                Some(Level::Mapping { key: key @ None, path }) => {
                    let path = if path.is_empty() { value.into_owned() } else { format!("{path}.{value}") };
                    lines.note(path.clone(), line);
                    *key = Some(path);
                }
                _ => {
                    lines.note(next_path(&mut open), line);
                }
            },
            Event::Alias(_) => {
                next_path(&mut open);
            }
            Event::SequenceStart(..) => {
                let path = next_path(&mut open);
                lines.note(path.clone(), line);
                open.push(Level::Sequence { next: 0, path });
            }
            Event::MappingStart(..) => {
                let path = next_path(&mut open);
                lines.note(path.clone(), line);
                open.push(Level::Mapping { key: None, path });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
            }
            Event::DocumentEnd => break,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
    }
    lines
}

/// A collection that the parser is inside of.
enum Level {
    /// `key` is the path of the value that comes next; without it, a key comes next.
    Mapping {
        key: Option<String>,
        path: String,
    },
    Sequence {
        next: usize,
        path: String,
    },
}

/// The path of the value that begins here.
fn next_path(open: &mut [Level]) -> String {
    match open.last_mut() {
        None => String::new(),
        Some(Level::Mapping { key, path }) => key.take().unwrap_or_else(|| path.clone()),
        Some(Level::Sequence { next, path }) => {
            *next += 1;
            format!("{path}[{}]", *next - 1)
        }
    }
}
