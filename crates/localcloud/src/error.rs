//! The error that every operation of the endpoint answers with: a code, a message and an HTTP status, as AWS's do.

/// An AWS-shaped error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The code that SDKs match on, for example `ResourceNotFoundException`.
    pub code: String,
    /// One or two sentences for people.
    pub message: String,
    /// HTTP status of the answer.
    pub status: u16,
}

impl ApiError {
    /// A client error (HTTP 400), as most AWS APIs answer.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), status: 400 }
    }

    /// The same error with another HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// What was asked exists on AWS and not here. `what` is a whole noun phrase.
    pub fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::new(
            "UnsupportedByLocalEndpoint",
            format!("{what} is not supported by the embedded endpoint (localcloud); AWS itself may support it"),
        )
    }

    /// A fault of the endpoint itself (HTTP 500).
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new("InternalFailure", message.to_string()).with_status(500)
    }
}
