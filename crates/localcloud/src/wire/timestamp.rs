//! Timestamps: seconds since the epoch inside, text where a protocol wants text.

use serde_json::{Number, Value};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// `2026-01-01T00:00:00.123Z`; the epoch for a value beyond what dates can say.
pub(super) fn iso8601(seconds: f64) -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let nanoseconds = ((seconds * 1000.0).round() as i128).saturating_mul(1_000_000);
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(format)
        .unwrap_or_default()
}

/// Seconds from any form a client may send; `None` when it is no time.
pub(super) fn parse(text: &str) -> Option<Value> {
    if let Ok(seconds) = text.parse::<f64>() {
        return number(seconds);
    }
    let parsed = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
        .or_else(|_| OffsetDateTime::parse(text, &Rfc2822))
        .ok()?;
    number(parsed.unix_timestamp_nanos() as f64 / 1e9)
}

/// A number without a needless fraction; `None` for infinities.
pub(super) fn number(value: f64) -> Option<Value> {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Some(Value::from(value as i64));
    }
    Number::from_f64(value).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_time_is_the_same_time() {
        for text in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000", "2026-01-01T09:00:00+09:00", "1767225600"] {
            assert_eq!(parse(text), Some(Value::from(1_767_225_600)), "{text}");
        }
        assert_eq!(iso8601(1_767_225_600.5), "2026-01-01T00:00:00.500Z");
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse("inf"), None);
        assert_eq!(iso8601(f64::MAX), "1970-01-01T00:00:00.000Z");
    }
}
