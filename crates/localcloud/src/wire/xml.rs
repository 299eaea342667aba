//! Answers of the Query protocol: XML.

use std::fmt::Write;

use serde_json::Value;

use super::model::{Kind, Reference, ServiceModel, Shape, TimestampFormat};
use super::timestamp;

/// A success.
pub(super) fn encode(
    model: &ServiceModel,
    operation: &str,
    output: Option<&Reference>,
    value: &Value,
    request_id: &str,
) -> String {
    let mut xml = format!("<{operation}Response xmlns=\"{}\">", model.xml_namespace);
    if let Some(reference) = output {
        let default = format!("{operation}Result");
        let wrapper = reference.result_wrapper.as_deref().unwrap_or(&default);
        element(&mut xml, wrapper, |xml| members(xml, model, model.shape(reference), value));
    }
    element(&mut xml, "ResponseMetadata", |xml| element(xml, "RequestId", |xml| escape(xml, request_id)));
    let _ = write!(xml, "</{operation}Response>");
    xml
}

/// An error.
pub(super) fn encode_error(fault: &str, code: &str, message: &str, request_id: &str) -> String {
    let mut xml = String::new();
    element(&mut xml, "ErrorResponse", |xml| {
        element(xml, "Error", |xml| {
            for (name, text) in [("Type", fault), ("Code", code), ("Message", message)] {
                element(xml, name, |xml| escape(xml, text));
            }
        });
        element(xml, "RequestId", |xml| escape(xml, request_id));
    });
    xml
}

fn write_value(xml: &mut String, model: &ServiceModel, reference: &Reference, name: &str, value: &Value) {
    if value.is_null() {
        return;
    }
    let shape = model.shape(reference);
    let flattened = shape.flattened || reference.flattened;
    match &shape.kind {
        Kind::Structure { .. } => element(xml, name, |xml| members(xml, model, shape, value)),
        Kind::List(member) => {
            let default = if flattened { name } else { "member" };
            let item_name = member.location_name.as_deref().unwrap_or(default);
            let items = |xml: &mut String| {
                for item in value.as_array().into_iter().flatten() {
                    write_value(xml, model, member, item_name, item);
                }
            };
            if flattened { items(xml) } else { element(xml, name, items) }
        }
        Kind::Map { key, value: value_reference } => {
            let entry_name = if flattened { name } else { "entry" };
            let key_name = key.location_name.as_deref().unwrap_or("key");
            let value_name = value_reference.location_name.as_deref().unwrap_or("value");
            let entries = |xml: &mut String| {
                for (entry_key, entry_value) in value.as_object().into_iter().flatten() {
                    element(xml, entry_name, |xml| {
                        element(xml, key_name, |xml| escape(xml, entry_key));
                        write_value(xml, model, value_reference, value_name, entry_value);
                    });
                }
            };
            if flattened { entries(xml) } else { element(xml, name, entries) }
        }
        Kind::Timestamp => {
            let unix = reference.timestamp_format.or(shape.timestamp_format) == Some(TimestampFormat::Unix);
            let seconds = value.as_f64().unwrap_or_default();
            let text = if unix { seconds.to_string() } else { timestamp::iso8601(seconds) };
            element(xml, name, |xml| xml.push_str(&text));
        }
        _ => element(xml, name, |xml| match value {
            Value::String(text) => escape(xml, text),
            other => {
                let _ = write!(xml, "{other}");
            }
        }),
    }
}

fn members(xml: &mut String, model: &ServiceModel, shape: &Shape, value: &Value) {
    let Kind::Structure { members, .. } = &shape.kind else { return };
    for (name, member) in value.as_object().into_iter().flatten() {
        if let Some(reference) = members.get(name) {
            write_value(xml, model, reference, reference.location_name.as_deref().unwrap_or(name), member);
        }
    }
}

fn element(xml: &mut String, name: &str, content: impl FnOnce(&mut String)) {
    let _ = write!(xml, "<{name}>");
    content(xml);
    let _ = write!(xml, "</{name}>");
}

fn escape(xml: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\r' => xml.push_str("&#xD;"),
            // Characters that XML 1.0 cannot carry, not even escaped.
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            other => xml.push(other),
        }
    }
}
