//! Failures as a caller sees them: RFC 9457 `application/problem+json`.
//!
//! A handler returns a [`Problem`]; the middleware of [`crate::observe`] renders it, because only
//! there the request's id is known. What went wrong inside is logged, never sent.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::conversation::{Failure, StoreError};

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable name for programs.
    pub code: &'static str,
    /// Short text for people, the same for every problem of this code.
    pub title: &'static str,
    /// What is particular about this one.
    pub detail: String,
    /// Seconds after which trying again makes sense.
    pub retry_after: Option<u32>,
    /// Everything wrong with what was sent, where there can be more than one thing.
    pub errors: Option<Box<Value>>,
}

impl Problem {
    /// A problem whose detail is safe to show.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), retry_after: None, errors: None }
    }

    /// The same problem, worth another try after some seconds.
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The same problem, with everything that is wrong.
    pub fn errors(self, errors: Value) -> Self {
        Self { errors: Some(Box::new(errors)), ..self }
    }

    /// A request that is understood but cannot be accepted.
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, "The request is not valid", detail)
    }

    /// Something of ours broke: the caller learns nothing but the request's id.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "The service could not answer. Quote the request_id when you report it.",
        )
    }

    /// This process is about to stop.
    pub fn draining(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "The server is shutting down", detail).retry_after(1)
    }

    /// Nobody answers in a closed conversation.
    pub fn closed() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "conversation_closed",
            "The conversation is closed",
            "Leave conversation_id out to start a new conversation.",
        )
    }

    /// A reply that did not come to its end. The message is kept; it may be sent again.
    pub fn reply_failed(failure: Failure) -> Self {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let (status, code, detail) = match failure {
            Failure::Interrupted => (unavailable, "reply_interrupted", "The process that wrote it is gone."),
            Failure::Draining => (unavailable, "draining", "The server is shutting down."),
            Failure::Model => (StatusCode::BAD_GATEWAY, "reply_failed", "The language model broke off."),
            Failure::Timeout => (StatusCode::GATEWAY_TIMEOUT, "reply_timeout", "It took too long."),
            Failure::Abandoned => (unavailable, "reply_abandoned", "Nobody was reading it for 30 seconds."),
        };
        let detail = format!("{detail} Your message is kept: send it again.");
        Self::new(status, code, "The reply was not finished", detail).retry_after(1)
    }

    /// The problem as JSON.
    pub fn to_json(&self, request_id: &str) -> Value {
        let mut problem = json!({
            "type": format!("urn:smartbot:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
        });
        if let Some(errors) = &self.errors {
            problem["errors"] = (**errors).clone();
        }
        problem
    }

    /// The problem as OpenAI writes errors.
    pub fn to_openai(&self, request_id: &str) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        json!({
            "error": {
                "message": format!("{}. {}", self.title, self.detail),
                "type": kind,
                "param": null,
                "code": self.code,
                "request_id": request_id,
            }
        })
    }

    /// The complete response, as OpenAI's clients expect it.
    pub fn render_openai(&self, request_id: &str) -> Response {
        let mut response = self.render(request_id);
        *response.body_mut() = self.to_openai(request_id).to_string().into();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// The complete response.
    pub fn render(&self, request_id: &str) -> Response {
        let mut response = (self.status, self.to_json(request_id).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::new(
                StatusCode::NOT_FOUND,
                "conversation_not_found",
                "No such conversation",
                "Leave conversation_id out to start a new conversation.",
            ),
            StoreError::Full => Self::new(
                StatusCode::CONFLICT,
                "conversation_full",
                "The conversation is full",
                "Leave conversation_id out to start a new conversation.",
            ),
            StoreError::Conflict => Self::new(
                StatusCode::CONFLICT,
                "conversation_changed",
                "The conversation has changed",
                "Another request changed this conversation in the meantime. Read it again.",
            ),
            StoreError::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "conversation_busy",
                "The conversation is in use",
                "Another request holds this conversation. Try again.",
            )
            .retry_after(1),
            StoreError::Unavailable(_) => {
                tracing::error!(error = %error, "conversation store not available");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store_unavailable",
                    "The conversation store cannot be used",
                    "Nothing was done. Try again.",
                )
                .retry_after(1)
            }
            StoreError::Damaged(_) | StoreError::Io(_) => {
                tracing::error!(error = %error, "conversation store failed");
                Self::internal()
            }
        }
    }
}
