//! Bodies in and out: read with limits, explained when wrong, never quoted.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The largest body of most requests.
pub const SMALL: usize = 64 * 1024;
/// The largest body of a knowledge import.
pub const LARGE: usize = 2 * 1024 * 1024;
/// How long a caller may take to send the body.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a JSON body of at most [`SMALL`] bytes.
pub fn json<T: DeserializeOwned>(request: Request) -> impl Future<Output = Result<T, Problem>> {
    // Only the body is carried along.
    let (is_json, body) = (is_json(request.headers()), request.into_body());
    async move {
        if !is_json {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Unsupported media type",
                "Send the body as application/json.",
            ));
        }
        let body = read(body, SMALL).await?;
        serde_json::from_slice(&body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Problem::invalid("invalid_request", describe(&error)),
            _ => Problem::new(StatusCode::BAD_REQUEST, "invalid_json", "The body is not JSON", describe(&error)),
        })
    }
}

/// Reads a body of at most `limit` bytes.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    match tokio::time::timeout(PATIENCE, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is too large",
            format!("The most is {limit} bytes."),
        )),
        Ok(Err(_)) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "The body ended early", "Send it again."))
        }
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "The body took too long",
            format!("It must arrive within {} seconds.", PATIENCE.as_secs()),
        )),
    }
}

/// A JSON answer that nobody may cache.
pub fn answer<T: Serialize>(value: &T) -> Response {
    // Most answers fit, and so do the headers that are added later: growing step by step would copy them several times.
    let mut body = Vec::with_capacity(1024);
    match serde_json::to_writer(&mut body, value) {
        Ok(()) => {
            let mut response = Response::new(Body::from(body));
            let headers = response.headers_mut();
            headers.reserve(8);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => {
            tracing::error!(error = %error, "an answer could not be written as JSON");
            Problem::internal().into_response()
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
    // What nearly everybody sends.
    if value == "application/json" {
        return true;
    }
    let essence = value.to_str().ok().and_then(|value| value.split(';').next());
    let Some((kind, subtype)) = essence.and_then(|essence| essence.trim().split_once('/')) else { return false };
    let is = |end: Option<&str>, suffix: &str| end.is_some_and(|end| end.eq_ignore_ascii_case(suffix));
    let suffix = subtype.rsplit_once('+').map(|(_, suffix)| suffix);
    kind.eq_ignore_ascii_case("application") && (is(Some(subtype), "json") || is(suffix, "json"))
}

/// What is wrong with the JSON, and where. The parser's own text may quote what was sent: what it expected comes last, and is ours.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") {
        return text;
    }
    if let Some((_, expected)) = text.rsplit_once(", expected ").filter(|_| error.is_data()) {
        return format!("Expected {expected}.");
    }
    format!("The body is not as expected at line {} column {}.", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::describe;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Rating {
        Up,
        Down,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only read by the parser")]
        rating: Rating,
    }

    fn said(body: &str) -> String {
        describe(&serde_json::from_str::<Body>(body).unwrap_err())
    }

    #[test]
    fn what_was_expected_is_told_and_what_was_sent_is_not() {
        assert_eq!(said(r#"{"rating":"my secret"}"#), "Expected `up` or `down` at line 1 column 21.");
        assert_eq!(said(r#"{"rating":"a, expected my secret"}"#), "Expected `up` or `down` at line 1 column 33.");
        assert_eq!(said(r#"{"my secret":1}"#), "Expected `rating` at line 1 column 12.");
        assert_eq!(said(r#""my secret""#), "Expected struct Body at line 1 column 11.");
        assert_eq!(said("{}"), "missing field `rating` at line 1 column 2");
        assert_eq!(said(r#"{"rating" "my secret"}"#), "The body is not as expected at line 1 column 11.");
    }
}
