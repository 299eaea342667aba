//! Requests of the Query protocol: a flat form whose keys spell the way into the input (`Tags.member.1.Key`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::model::{Kind, Reference, ServiceModel};
use super::timestamp;

type Form = BTreeMap<String, String>;

/// Reads the input. A scalar that does not parse stays a string, which validation then refuses by its place.
pub(super) fn decode(model: &ServiceModel, input: Option<&Reference>, body: &[u8]) -> Value {
    let form: Form = form_urlencoded::parse(body).into_owned().collect();
    let empty = || Value::Object(Map::new());
    input.map_or_else(empty, |reference| read(model, reference, &form, "").unwrap_or_else(empty))
}

fn read(model: &ServiceModel, reference: &Reference, form: &Form, prefix: &str) -> Option<Value> {
    // Recursive shapes end here: nothing is read that the form does not mention.
    if !prefix.is_empty() && !mentions(form, prefix) {
        return None;
    }
    let shape = model.shape(reference);
    let flattened = shape.flattened || reference.flattened;
    match &shape.kind {
        Kind::Structure { members, .. } => {
            let read_member = |(name, member): (&String, &Reference)| {
                let key = join(prefix, &key_of(model, member, name));
                Some((name.clone(), read(model, member, form, &key)?))
            };
            Some(Value::Object(members.iter().filter_map(read_member).collect()))
        }
        Kind::List(member) => {
            let base = if flattened { prefix.to_owned() } else { join(prefix, name_or(member, "member")) };
            let items: Vec<Value> =
                (1..).map_while(|index| read(model, member, form, &format!("{base}.{index}"))).collect();
            Some(Value::Array(items))
        }
        Kind::Map { key, value } => {
            let base = if flattened { prefix.to_owned() } else { join(prefix, "entry") };
            let entries = (1..).map_while(|index| {
                let name = form.get(&format!("{base}.{index}.{}", name_or(key, "key")))?;
                Some((name.clone(), read(model, value, form, &format!("{base}.{index}.{}", name_or(value, "value")))))
            });
            Some(Value::Object(entries.filter_map(|(name, value)| Some((name, value?))).collect()))
        }
        Kind::Document => None,
        scalar => form.get(prefix).map(|text| read_scalar(scalar, text)),
    }
}

fn read_scalar(kind: &Kind, text: &str) -> Value {
    let parsed = match kind {
        Kind::Boolean => text.parse::<bool>().ok().map(Value::Bool),
        Kind::Integer => text.parse::<i64>().ok().map(Value::from),
        Kind::Float => text.parse::<f64>().ok().and_then(timestamp::number),
        Kind::Timestamp => timestamp::parse(text),
        _ => None,
    };
    parsed.unwrap_or_else(|| json!(text))
}

fn mentions(form: &Form, prefix: &str) -> bool {
    if form.contains_key(prefix) {
        return true;
    }
    let below = format!("{prefix}.");
    form.range(below.clone()..).next().is_some_and(|(key, _)| key.starts_with(&below))
}

/// The key of a member: a flattened list is called as its items are.
fn key_of(model: &ServiceModel, reference: &Reference, name: &str) -> String {
    let shape = model.shape(reference);
    if let Kind::List(member) = &shape.kind
        && (shape.flattened || reference.flattened)
        && let Some(location) = &member.location_name
    {
        return location.clone();
    }
    reference.location_name.clone().unwrap_or_else(|| name.to_owned())
}

fn name_or<'a>(reference: &'a Reference, default: &'a str) -> &'a str {
    reference.location_name.as_deref().unwrap_or(default)
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}
