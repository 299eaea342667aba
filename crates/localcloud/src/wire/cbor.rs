//! Smithy RPC v2 CBOR, which is what the Rust SDK speaks to CloudWatch.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ciborium::Value as Cbor;
use serde_json::{Map, Value, json};

use super::model::{Kind, Reference, ServiceModel};
use super::{serialization, timestamp};
use crate::error::ApiError;

/// Reads a body. CBOR says what everything is, so no model is needed.
pub(super) fn decode(body: &[u8]) -> Result<Value, ApiError> {
    let cbor: Cbor =
        ciborium::from_reader(body).map_err(|error| serialization(format_args!("the body is not CBOR: {error}")))?;
    Ok(from_cbor(cbor))
}

fn from_cbor(cbor: Cbor) -> Value {
    match cbor {
        Cbor::Integer(integer) => i64::try_from(integer).map(Value::from).unwrap_or(Value::Null),
        Cbor::Float(float) => timestamp::number(float).unwrap_or(Value::Null),
        Cbor::Bytes(bytes) => json!(BASE64.encode(bytes)),
        Cbor::Text(text) => Value::String(text),
        Cbor::Bool(boolean) => Value::Bool(boolean),
        Cbor::Tag(_, inner) => from_cbor(*inner),
        Cbor::Array(items) => Value::Array(items.into_iter().map(from_cbor).collect()),
        Cbor::Map(entries) => {
            let entry = |(key, value): (Cbor, Cbor)| Some((key.into_text().ok()?, from_cbor(value)));
            Value::Object(entries.into_iter().filter_map(entry).collect::<Map<_, _>>())
        }
        _ => Value::Null,
    }
}

/// A success.
pub(super) fn encode(model: &ServiceModel, output: Option<&Reference>, value: &Value) -> Vec<u8> {
    bytes(&output.map_or(Cbor::Map(vec![]), |reference| to_cbor(model, reference, value)))
}

/// An error.
pub(super) fn encode_error(code: &str, message: &str) -> Vec<u8> {
    let text = |text: &str| Cbor::Text(text.to_owned());
    bytes(&Cbor::Map(vec![(text("__type"), text(code)), (text("message"), text(message))]))
}

fn bytes(cbor: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = ciborium::into_writer(cbor, &mut bytes);
    bytes
}

/// The value has been validated against the shape, so the defaults below are never used.
fn to_cbor(model: &ServiceModel, reference: &Reference, value: &Value) -> Cbor {
    match &model.shape(reference).kind {
        Kind::Structure { members, .. } => Cbor::Map(
            value
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(_, member)| !member.is_null())
                .filter_map(|(name, member)| {
                    Some((Cbor::Text(name.clone()), to_cbor(model, members.get(name)?, member)))
                })
                .collect(),
        ),
        Kind::List(member) => {
            Cbor::Array(value.as_array().into_iter().flatten().map(|item| to_cbor(model, member, item)).collect())
        }
        Kind::Map { value: value_reference, .. } => Cbor::Map(
            value
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, entry)| (Cbor::Text(key.clone()), to_cbor(model, value_reference, entry)))
                .collect(),
        ),
        Kind::Timestamp => Cbor::Tag(1, Box::new(Cbor::Float(value.as_f64().unwrap_or_default()))),
        Kind::Blob => Cbor::Bytes(BASE64.decode(value.as_str().unwrap_or_default()).unwrap_or_default()),
        Kind::Float => Cbor::Float(value.as_f64().unwrap_or_default()),
        Kind::Integer => Cbor::Integer(value.as_i64().unwrap_or_default().into()),
        Kind::Boolean => Cbor::Bool(value.as_bool().unwrap_or_default()),
        Kind::String { .. } | Kind::Document => Cbor::Text(value.as_str().unwrap_or_default().to_owned()),
    }
}
