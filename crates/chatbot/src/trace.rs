//! W3C trace context: the `traceparent` of a request, logged with it and passed on to whatever it asks.

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::futures::TaskLocalFuture;

use crate::random::Digits;

/// The header.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: Trace;
}

/// A request's place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    /// This request's own span.
    span: u64,
    flags: u8,
}

impl Trace {
    /// The trace that a request belongs to; one without begins its own. A span of ours begins in both.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(TRACEPARENT).and_then(|value| parse(value.to_str().ok()?));
        let (id, flags) = given.unwrap_or_else(|| (fastrand::u128(1..), 0));
        // Ids need to differ, not to be secret.
        Self { id, span: fastrand::u64(1..), flags }
    }

    /// The id, as logs have it.
    pub fn id(&self) -> Digits {
        Digits::of(self.id)
    }

    /// What is sent on: our span is the parent.
    pub fn header(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.id, self.span, self.flags)
    }

    /// Does work as part of this trace.
    pub fn scope<F: Future>(self, work: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self, work)
    }
}

/// The trace of the request that is being worked on.
pub fn current() -> Option<Trace> {
    CURRENT.try_with(|trace| *trace).ok()
}

/// Passes the current trace on.
pub fn pass_on(headers: &mut HeaderMap) {
    if let Some(value) = current().and_then(|trace| HeaderValue::try_from(trace.header()).ok()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// Trace id and flags of a `traceparent`. Versions after 00 may have more at the end.
fn parse(value: &str) -> Option<(u128, u8)> {
    let mut parts = value.split('-');
    let mut next = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)).then_some(part)
    };
    let (version, id, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
    let id = u128::from_str_radix(id, 16).ok()?;
    let whole = version != "ff" && id != 0 && span.bytes().any(|b| b != b'0');
    let exact = version != "00" || value.len() == 55;
    (whole && exact).then_some((id, u8::from_str_radix(flags, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_with_a_span_of_its_own() {
        let mut headers = HeaderMap::new();
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert(TRACEPARENT, HeaderValue::from_static(given));
        let sent = Trace::of(&headers).header();
        assert!(sent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && sent.ends_with("-01") && sent != given);
        assert_ne!(Trace::of(&HeaderMap::new()).id().as_str(), Trace::of(&HeaderMap::new()).id().as_str());
    }

    #[test]
    fn what_is_no_traceparent_is_ignored() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
    }
}
