//! Structured logs: one JSON object a line on standard output.

use std::fmt::Debug;
use std::io::Write as _;
use std::ops::Range;

use serde::Serialize;
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging what `filter` lets through. A panic becomes a log line too.
pub fn start(filter: Targets) {
    let lines = Lines(|line: &[u8]| {
        // Where standard output is gone there is nowhere to say so.
        let _ = std::io::stdout().lock().write_all(line);
    });
    tracing_subscriber::registry().with(lines).with(filter).init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        // The panic's own text may quote what somebody wrote, so only its place is logged.
        tracing::error!(place, "panic");
    }));
}

/// Writes each event as a line. The library's own formatter also knows spans, which are not used here, and takes a
/// tenth of a request's time.
struct Lines<W>(W);

impl<S: Subscriber, W: Fn(&[u8]) + 'static> Layer<S> for Lines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut members = Members(Vec::with_capacity(512));
        members.0.extend_from_slice(b"{\"timestamp\":\"");
        timestamp(&mut members.0, OffsetDateTime::now_utc());
        members.0.push(b'"');
        members.member("level", event.metadata().level().as_str());
        event.record(&mut members);
        members.member("target", event.metadata().target());
        members.0.extend_from_slice(b"}\n");
        (self.0)(&members.0);
    }
}

/// A time in UTC as RFC 3339 writes it, with microseconds.
fn timestamp(line: &mut Vec<u8>, at: OffsetDateTime) {
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let mut put = |place: Range<usize>, mut number: u32| {
        for digit in text[place].iter_mut().rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
    };
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, micros) = at.to_hms_micro();
    put(0..4, year.unsigned_abs());
    put(5..7, u8::from(month).into());
    put(8..10, day.into());
    put(11..13, hour.into());
    put(14..16, minute.into());
    put(17..19, second.into());
    put(20..26, micros);
    line.extend_from_slice(&text);
}

/// Writes fields as members of an object.
struct Members(Vec<u8>);

impl Members {
    fn member(&mut self, name: &str, value: impl Serialize) {
        // Names are identifiers: nothing in them needs escaping.
        for part in [",\"", name, "\":"] {
            self.0.extend_from_slice(part.as_bytes());
        }
        // Neither texts nor numbers can fail; what is no number to JSON becomes null.
        let _ = serde_json::to_writer(&mut self.0, &value);
    }
}

impl Visit for Members {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field.name(), value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn times_are_written_as_in_rfc_3339() {
        let written = |micros: i128| {
            let mut line = Vec::new();
            timestamp(&mut line, OffsetDateTime::from_unix_timestamp_nanos(micros * 1000).unwrap());
            String::from_utf8(line).unwrap()
        };
        assert_eq!(written(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(written(1_700_000_000_012_345), "2023-11-14T22:13:20.012345Z");
    }

    #[test]
    fn an_event_is_one_json_object_on_a_line_of_its_own() {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let writer = Arc::clone(&written);
        let layer = Lines(move |line: &[u8]| writer.lock().unwrap().extend_from_slice(line));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let missing: Option<&str> = None;
            let text = "two\nlines, a \"quote\", a \\ and \u{1}";
            tracing::info!(
                text,
                count = 3_u64,
                below = -1_i64,
                ms = 0.5,
                nan = f64::NAN,
                yes = true,
                missing,
                "it {}",
                "ran"
            );
            tracing::warn!(error = %"a \"displayed\" one", list = ?["日本語"], "again");
        });
        let bytes = written.lock().unwrap().clone();
        let lines: Vec<Value> =
            String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [first, second] = &lines[..] else { panic!("two lines: {lines:?}") };
        assert!(first["timestamp"].as_str().unwrap().ends_with('Z'));
        let members = ["level", "message", "text", "count", "below", "ms", "nan", "yes", "missing", "target"];
        let wanted = json!([
            "INFO",
            "it ran",
            "two\nlines, a \"quote\", a \\ and \u{1}",
            3,
            -1,
            0.5,
            null,
            true,
            null,
            "chatbot::logging::tests"
        ]);
        assert_eq!(Value::from(members.map(|member| first[member].clone()).to_vec()), wanted);
        assert_eq!(first.get("missing"), None, "what is not there is left out");
        assert_eq!((&second["error"], &second["list"]), (&json!("a \"displayed\" one"), &json!("[\"日本語\"]")));
    }
}
