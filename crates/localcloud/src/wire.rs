//! The AWS wire protocols, driven by AWS's own service models.
//!
//! [`Models::decode`] turns an HTTP request into an operation and its input; the [`Call`] it gives encodes the answer
//! in the protocol the client speaks. Requests are checked against the model before a service sees them, and every
//! answer is checked before it leaves: one that AWS's model does not allow becomes an `InternalFailure` that names the fault.
//!
//! Inside the endpoint all values look alike whatever the protocol: structures and maps are objects, timestamps are
//! numbers (seconds since the epoch), blobs are base64 strings, and an absent member is absent, never null.

mod cbor;
mod model;
mod properties;
mod query;
mod timestamp;
mod validate;
mod xml;

#[cfg(test)]
mod tests;

use std::io::Read;

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::services::Service;

pub use model::{LoadError, Models};
use model::{Operation, ServiceModel};
pub(crate) use properties::operation_input;

/// No request that the endpoint understands is larger than this once decompressed.
const MAX_INFLATED: u64 = 32 << 20;

/// How a client speaks. JSON 1.0 and 1.1 differ in the content type only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `application/x-amz-json-1.0`.
    Json10,
    /// `application/x-amz-json-1.1`.
    Json11,
    /// A form as request, XML as answer.
    Query,
    /// Smithy RPC v2 CBOR.
    Cbor,
}

impl Protocol {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json10 => "application/x-amz-json-1.0",
            Self::Json11 => "application/x-amz-json-1.1",
            Self::Query => "text/xml",
            Self::Cbor => "application/cbor",
        }
    }
}

/// A request that the model knows and allows.
#[derive(Debug)]
pub struct DecodedRequest<'m> {
    /// What is called; encodes the answer.
    pub call: Call<'m>,
    /// The operation's input.
    pub input: Value,
}

/// An operation being called in some protocol.
#[derive(Debug, Clone, Copy)]
pub struct Call<'m> {
    /// The service.
    pub service: Service,
    /// The operation's name in the model.
    pub operation: &'m str,
    /// How the client speaks.
    pub protocol: Protocol,
    model: &'m ServiceModel,
    shapes: &'m Operation,
}

/// A request that is answered with an error before any service sees it.
#[derive(Debug)]
pub struct Rejection<'m> {
    /// Why.
    pub error: ApiError,
    protocol: Protocol,
    model: Option<&'m ServiceModel>,
}

impl Rejection<'_> {
    /// The answer.
    pub fn respond(&self, request_id: &str) -> Response<Bytes> {
        encode_error(self.protocol, self.model, &self.error, request_id)
    }
}

/// What a request line, its headers and its body say about who is called.
struct Route<'m> {
    protocol: Protocol,
    service: &'m ServiceModel,
    operation: String,
}

impl Models {
    /// Finds the operation that a request calls and reads its input. `path_and_query` is the request target.
    pub fn decode(
        &self,
        path_and_query: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<DecodedRequest<'_>, Box<Rejection<'_>>> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let protocol = protocol_of(path, headers);
        let reject = |model, error| Box::new(Rejection { error, protocol, model });
        let inflated;
        let body = match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity" | b"") => body,
            Some(b"gzip") => {
                inflated = inflate(body).map_err(|error| reject(None, error))?;
                &inflated
            }
            Some(_) => return Err(reject(None, serialization("the content encoding is not supported"))),
        };
        let form = if body.is_empty() { query.as_bytes() } else { body };
        let route = self.route(protocol, path, headers, form).map_err(|error| reject(None, error))?;
        let model = route.service;
        let Some((operation, shapes)) = model.operations.get_key_value(route.operation.as_str()) else {
            return Err(reject(Some(model), unknown_operation(protocol, model.service.name(), &route.operation)));
        };
        let call = Call { service: model.service, operation, protocol: route.protocol, model, shapes };
        let input = call.read_input(form, body).map_err(|error| reject(Some(model), error))?;
        if let Some(shape) = &shapes.input {
            let violations = validate::request(model, shape, &input);
            if !violations.is_empty() {
                return Err(reject(Some(model), call.validation_error(&violations)));
            }
        }
        Ok(DecodedRequest { call, input })
    }

    fn route(&self, protocol: Protocol, path: &str, headers: &HeaderMap, form: &[u8]) -> Result<Route<'_>, ApiError> {
        let (service, operation) = match protocol {
            Protocol::Cbor => {
                let mut parts = path.split('/').skip_while(|part| *part != "service").skip(1);
                let (prefix, operation) = (parts.next().unwrap_or(""), parts.nth(1).unwrap_or(""));
                (self.with_target_prefix(prefix), operation.to_owned())
            }
            Protocol::Json10 | Protocol::Json11 => {
                let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or("");
                let (prefix, operation) = target.rsplit_once('.').unwrap_or(("", target));
                (self.with_target_prefix(prefix), operation.to_owned())
            }
            Protocol::Query => {
                let field = |name: &str| {
                    form_urlencoded::parse(form)
                        .find(|(key, _)| key == name)
                        .map(|(_, value)| value.into_owned())
                        .unwrap_or_default()
                };
                (self.with_query_version(&field("Version")), field("Action"))
            }
        };
        match service {
            Some(service) => Ok(Route { protocol, service, operation }),
            None => Err(unknown_operation(protocol, "the addressed service", &operation)),
        }
    }
}

impl<'m> Call<'m> {
    /// Encodes a success. An output that AWS's model does not allow is a fault of the endpoint and answered as one.
    pub fn respond(&self, output: &Value, request_id: &str) -> Response<Bytes> {
        let empty = Value::Object(Map::new());
        let output = if output.is_null() { &empty } else { output };
        let violations = validate::response(self.model, self.shapes.output.as_ref(), output);
        if let Some(violation) = violations.first() {
            tracing::error!(service = %self.service, operation = self.operation, violation, "an answer breaks AWS's model");
            let error = ApiError::internal(format_args!(
                "the embedded endpoint's answer to {} {} breaks AWS's model: {violation}",
                self.service, self.operation
            ));
            return self.fail(&error, request_id);
        }
        let shape = self.shapes.output.as_ref();
        let body = match self.protocol {
            // An operation without output answers with an empty body, as AWS does.
            Protocol::Json10 | Protocol::Json11 if shape.is_none() => Vec::new(),
            Protocol::Json10 | Protocol::Json11 => without_nulls(output.clone()).to_string().into_bytes(),
            Protocol::Query => xml::encode(self.model, self.operation, shape, output, request_id).into_bytes(),
            Protocol::Cbor => cbor::encode(self.model, shape, output),
        };
        answer(self.protocol, StatusCode::OK, request_id, body)
    }

    /// Encodes an error.
    pub fn fail(&self, error: &ApiError, request_id: &str) -> Response<Bytes> {
        encode_error(self.protocol, Some(self.model), error, request_id)
    }

    fn read_input(&self, form: &[u8], body: &[u8]) -> Result<Value, ApiError> {
        let empty = || Value::Object(Map::new());
        let input = match self.protocol {
            Protocol::Query => query::decode(self.model, self.shapes.input.as_ref(), form),
            Protocol::Cbor if body.is_empty() => empty(),
            Protocol::Cbor => cbor::decode(body)?,
            Protocol::Json10 | Protocol::Json11 if body.iter().all(u8::is_ascii_whitespace) => empty(),
            Protocol::Json10 | Protocol::Json11 => serde_json::from_slice(body)
                .map_err(|error| serialization(format_args!("the body is not JSON: {error}")))?,
        };
        if !input.is_object() {
            return Err(serialization("the body is not a structure"));
        }
        Ok(without_nulls(input))
    }

    /// The code differs from service to service: the operation's own error list says which one clients expect.
    fn validation_error(&self, violations: &[String]) -> ApiError {
        let count = violations.len();
        let noun = if count == 1 { "error" } else { "errors" };
        let message = format!("{count} validation {noun} detected: {}", violations.join("; "));
        let listed = |code: &&str| self.shapes.errors.iter().any(|error| error == code);
        let code = match self.protocol {
            Protocol::Query => "ValidationError",
            _ => ["ValidationException", "InvalidParameterException"]
                .into_iter()
                .find(listed)
                .unwrap_or("ValidationException"),
        };
        ApiError::new(code, message)
    }
}

fn protocol_of(path: &str, headers: &HeaderMap) -> Protocol {
    let is_cbor = headers.get("smithy-protocol").is_some_and(|value| value == "rpc-v2-cbor");
    if is_cbor && path.contains("service/") {
        return Protocol::Cbor;
    }
    if headers.contains_key("x-amz-target") {
        let version_1_0 = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().ends_with(b"json-1.0"));
        return if version_1_0 { Protocol::Json10 } else { Protocol::Json11 };
    }
    Protocol::Query
}

fn encode_error(
    protocol: Protocol,
    model: Option<&ServiceModel>,
    error: &ApiError,
    request_id: &str,
) -> Response<Bytes> {
    let modelled = model.and_then(|model| model.error(&error.code));
    let shape_name = modelled.map_or(error.code.as_str(), |modelled| modelled.name);
    let query_code = modelled.and_then(|modelled| modelled.query_code).unwrap_or(shape_name);
    let status = modelled.and_then(|modelled| modelled.status).unwrap_or(error.status);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let body = match protocol {
        Protocol::Json10 | Protocol::Json11 => {
            json!({"__type": shape_name, "message": error.message}).to_string().into_bytes()
        }
        Protocol::Cbor => cbor::encode_error(shape_name, &error.message),
        Protocol::Query => xml::encode_error(fault, query_code, &error.message, request_id).into_bytes(),
    };
    let mut response = answer(protocol, status, request_id, body);
    let compatible = model.is_some_and(|model| model.query_compatible);
    if compatible && protocol != Protocol::Query {
        // Clients that were written against the Query protocol match on this code.
        if let Ok(value) = HeaderValue::from_str(&format!("{query_code};{fault}")) {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
    }
    response
}

fn answer(protocol: Protocol, status: StatusCode, request_id: &str, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(protocol.content_type()));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    if protocol == Protocol::Cbor {
        headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    }
    response
}

fn unknown_operation(protocol: Protocol, service: &str, operation: &str) -> ApiError {
    let code = match protocol {
        Protocol::Query => "InvalidAction",
        _ => "UnknownOperationException",
    };
    let operation = if operation.is_empty() { "a request without an operation" } else { operation };
    ApiError::new(code, format!("{operation} of {service} is not supported by the embedded endpoint (localcloud)"))
}

fn serialization(why: impl std::fmt::Display) -> ApiError {
    ApiError::new("SerializationException", why.to_string())
}

fn inflate(body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mut inflated = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(body).take(MAX_INFLATED + 1);
    reader.read_to_end(&mut inflated).map_err(|error| serialization(format_args!("the body is not gzip: {error}")))?;
    if inflated.len() as u64 > MAX_INFLATED {
        return Err(serialization("the decompressed body is too large"));
    }
    Ok(inflated)
}

/// Null members mean absent members, to AWS and to every SDK.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(name, member)| (name, without_nulls(member)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        scalar => scalar,
    }
}
