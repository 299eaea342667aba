//! Failures with an exit code and the way out of them.

use std::fmt;

/// Exit code: bad configuration.
pub(crate) const CONFIGURATION: u8 = 64;
/// Exit code: the endpoint cannot be reached.
pub(crate) const UNREACHABLE: u8 = 69;
/// Exit code: anything else.
pub(crate) const UNEXPECTED: u8 = 1;

/// What went wrong, what to do about it, and the exit code that says so to scripts.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: u8,
    what: String,
    pub(crate) hint: String,
}

impl Problem {
    pub(crate) fn new(code: u8, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, what: what.into(), hint: hint.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

/// A child failed and has said why on stderr; its exit code is ours.
#[derive(Debug)]
pub(crate) struct Reported(pub(crate) u8);

impl fmt::Display for Reported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a program failed with exit code {}", self.0)
    }
}

impl std::error::Error for Reported {}
