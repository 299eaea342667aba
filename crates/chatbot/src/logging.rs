//! Structured logs: one JSON object a line on standard output.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging what `filter` lets through. A panic becomes a log line too.
pub fn start(filter: Targets) {
    let lines = tracing_subscriber::fmt::layer().event_format(Line).with_filter(filter);
    tracing_subscriber::registry().with(lines).init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        // The panic's own text may quote what somebody wrote, so only its place is logged.
        tracing::error!(place, "panic");
    }));
}

/// An event as a line. The library's own JSON formatter also knows spans, which are not used here, and takes a tenth
/// of a request's time.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        writer.write_str("\",\"level\":\"")?;
        writer.write_str(event.metadata().level().as_str())?;
        writer.write_str("\"")?;
        let mut members = Members { writer, written: Ok(()) };
        event.record(&mut members);
        members.text("target", event.metadata().target());
        members.written?;
        members.writer.write_str("}\n")
    }
}

/// Writes fields as members of an object.
struct Members<'a> {
    writer: Writer<'a>,
    written: fmt::Result,
}

impl Members<'_> {
    /// A member whose value is valid JSON as it is displayed.
    fn member(&mut self, name: &str, value: impl fmt::Display) {
        self.begin(name);
        self.written = self.written.and_then(|()| write!(self.writer, "{value}"));
    }

    fn text(&mut self, name: &str, value: impl fmt::Display) {
        self.begin(name);
        self.written = self.written.and_then(|()| {
            self.writer.write_char('"')?;
            write!(Escaped(&mut self.writer), "{value}")?;
            self.writer.write_char('"')
        });
    }

    fn begin(&mut self, name: &str) {
        // Names are identifiers: nothing in them needs escaping.
        self.written = self.written.and_then(|()| {
            self.writer.write_str(",\"")?;
            self.writer.write_str(name)?;
            self.writer.write_str("\":")
        });
    }
}

/// The inside of a JSON string (RFC 8259, section 7).
struct Escaped<'a, 'b>(&'a mut Writer<'b>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        let special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        while let Some(at) = text.bytes().position(special) {
            self.0.write_str(&text[..at])?;
            write!(self.0, "\\u{:04x}", text.as_bytes()[at])?;
            text = &text[at + 1..];
        }
        self.0.write_str(text)
    }
}

impl Visit for Members<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no other numbers than finite ones.
        if value.is_finite() { self.member(field.name(), value) } else { self.member(field.name(), "null") }
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

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_json_object_on_a_line_of_its_own() {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer().event_format(Line).with_writer(move || writer.clone());
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
        let bytes = written.0.lock().unwrap().clone();
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
