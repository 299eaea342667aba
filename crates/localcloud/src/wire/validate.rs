//! Checks values against the model: what clients ask, with AWS's own messages, and what we answer.

use serde_json::Value;

use super::model::{Kind, Reference, ServiceModel, Shape};

/// Nesting beyond this is refused rather than followed.
const MAX_DEPTH: usize = 64;

/// What is wrong with a request. Members that the model does not know are ignored, as AWS does.
pub(super) fn request(model: &ServiceModel, reference: &Reference, value: &Value) -> Vec<String> {
    let mut check = Check { model, side: Side::Request, violations: vec![] };
    check.value(reference, value, "", 0);
    check.violations
}

/// What is wrong with an answer: unknown or missing members, wrong types, and values outside an enumeration.
/// Lengths and ranges bind requests only: AWS itself answers with empty lists where a request must not have any.
pub(super) fn response(model: &ServiceModel, reference: Option<&Reference>, value: &Value) -> Vec<String> {
    let mut check = Check { model, side: Side::Response, violations: vec![] };
    match reference {
        Some(reference) => check.value(reference, value, "", 0),
        None if value.as_object().is_some_and(serde_json::Map::is_empty) => {}
        None => check.violations.push("the operation has no output, and some was given".to_owned()),
    }
    check.violations
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

struct Check<'m> {
    model: &'m ServiceModel,
    side: Side,
    violations: Vec<String>,
}

impl Check<'_> {
    fn value(&mut self, reference: &Reference, value: &Value, path: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return self.constraint(path, "Member must not be nested this deeply");
        }
        let shape = self.model.shape(reference);
        match (&shape.kind, value) {
            (Kind::Structure { members, required, union }, Value::Object(given)) => {
                for name in required {
                    if given.get(name).is_none_or(Value::is_null) {
                        let at = join(path, name);
                        self.violations.push(format!(
                            "Value null at '{at}' failed to satisfy constraint: Member must not be null"
                        ));
                    }
                }
                let present = given.iter().filter(|(_, member)| !member.is_null());
                if *union && present.clone().filter(|(name, _)| members.contains_key(*name)).count() != 1 {
                    self.constraint(path, "Member must have exactly one of its alternatives");
                }
                for (name, member) in present {
                    match members.get(name) {
                        Some(reference) => self.value(reference, member, &join(path, name), depth + 1),
                        None if self.side == Side::Response => {
                            self.violations.push(format!("'{}' is not a member in AWS's model", join(path, name)));
                        }
                        None => {}
                    }
                }
            }
            (Kind::List(member), Value::Array(items)) => {
                self.size(shape, items.len(), path, "length");
                for (index, item) in items.iter().enumerate() {
                    self.value(member, item, &format!("{path}.{}.member", index + 1), depth + 1);
                }
            }
            (Kind::Map { key, value: value_reference }, Value::Object(entries)) => {
                self.size(shape, entries.len(), path, "length");
                for (name, entry) in entries {
                    let key_path = format!("{path}.{name}");
                    self.value(key, &Value::String(name.clone()), &key_path, depth + 1);
                    self.value(value_reference, entry, &format!("{key_path}.member"), depth + 1);
                }
            }
            (Kind::String { values, pattern }, Value::String(text)) => {
                if !values.is_empty() && !values.contains(text) {
                    self.violations.push(format!(
                        "Value '{text}' at '{path}' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
                        values.join(", ")
                    ));
                }
                self.size(shape, text.chars().count(), path, "length");
                if self.side == Side::Request
                    && let Some(pattern) = pattern
                    && !pattern.allows(text)
                {
                    self.violations.push(format!(
                        "Value '{text}' at '{path}' failed to satisfy constraint: Member must satisfy regular expression pattern: {}",
                        pattern.source
                    ));
                }
            }
            (Kind::Integer, Value::Number(number)) if is_whole(number, self.side) => {
                self.bounds(shape, number.as_f64().unwrap_or_default(), path, "value");
            }
            (Kind::Float, Value::Number(number)) => {
                self.bounds(shape, number.as_f64().unwrap_or_default(), path, "value");
            }
            (Kind::Boolean, Value::Bool(_))
            | (Kind::Timestamp, Value::Number(_))
            | (Kind::Blob, Value::String(_))
            | (Kind::Document, _) => {}
            (kind, other) => self.violations.push(format!(
                "Value at '{path}' failed to satisfy constraint: Member must be {}, not {}",
                kind_name(kind),
                value_name(other)
            )),
        }
    }

    fn size(&mut self, shape: &Shape, size: usize, path: &str, what: &str) {
        self.bounds(shape, size as f64, path, what);
    }

    fn bounds(&mut self, shape: &Shape, size: f64, path: &str, what: &str) {
        if self.side == Side::Response {
            return;
        }
        if let Some(min) = shape.min.filter(|min| size < *min) {
            self.constraint(path, &format!("Member must have {what} greater than or equal to {min}"));
        }
        if let Some(max) = shape.max.filter(|max| size > *max) {
            self.constraint(path, &format!("Member must have {what} less than or equal to {max}"));
        }
    }

    fn constraint(&mut self, path: &str, constraint: &str) {
        self.violations.push(format!("Value at '{path}' failed to satisfy constraint: {constraint}"));
    }
}

/// A client may write 1.0 for 1; our own answers may not, since strict clients refuse it.
fn is_whole(number: &serde_json::Number, side: Side) -> bool {
    let written_whole = number.is_i64() || number.is_u64();
    written_whole || (side == Side::Request && number.as_f64().is_some_and(|float| float.fract() == 0.0))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Structure { .. } => "a structure",
        Kind::List(_) => "a list",
        Kind::Map { .. } => "a map",
        Kind::String { .. } => "a string",
        Kind::Blob => "a base64 string",
        Kind::Boolean => "a boolean",
        Kind::Integer => "an integer",
        Kind::Float => "a number",
        Kind::Timestamp => "a time",
        Kind::Document => "a document",
    }
}

fn value_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a structure",
    }
}
