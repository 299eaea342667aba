//! `logs`: what the containers print.

use std::collections::HashSet;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use environment::Span;
use serde_json::json;

use crate::call::{Pace, failed};
use crate::context::Context;
use crate::error::Error;

/// Prints the log events of the last `since`; with `follow`, those to come as well, until interrupted.
pub(crate) async fn run(context: &Context, since: Span, follow: bool, as_json: bool) -> Result<(), Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut from = i64::try_from(now.saturating_sub(since.as_duration()).as_millis()).unwrap_or(0);
    let mut seen: HashSet<String> = HashSet::new();
    let mut pace = Pace::new();
    loop {
        let mut newest = from;
        let mut fresh = false;
        let mut next = None;
        loop {
            let output = context
                .clients
                .logs
                .filter_log_events()
                .log_group_name(context.names().log_group())
                .start_time(from)
                .set_next_token(next)
                .send()
                .await
                .map_err(failed(format!("read the logs of {}", context.environment.name)))?;
            for event in output.events.unwrap_or_default() {
                let time = event.timestamp.unwrap_or(0);
                let stream = event.log_stream_name.unwrap_or_default();
                let message = event.message.unwrap_or_default();
                let id = event.event_id.unwrap_or_else(|| format!("{time} {stream} {message}"));
                if !seen.insert(id) {
                    continue;
                }
                fresh = true;
                newest = newest.max(time);
                if !print(&stream, time, &message, as_json) {
                    return Ok(());
                }
            }
            next = output.next_token;
            if next.is_none() {
                break;
            }
        }
        if !follow {
            if seen.is_empty() {
                let _ = writeln!(std::io::stderr(), "no lines in the last {since}; --since 1d looks further back");
            }
            return Ok(());
        }
        // Events may arrive a little out of order: the last seconds are read again, and told apart by id.
        from = (newest - 5_000).max(from);
        if fresh {
            pace.changed();
        }
        tokio::select! {
            () = pace.next() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// False when nobody reads any more.
fn print(stream: &str, time: i64, message: &str, as_json: bool) -> bool {
    let task = stream.rsplit('/').next().unwrap_or(stream);
    let mut out = std::io::stdout().lock();
    let written = if as_json {
        writeln!(out, "{}", json!({"schema": 1, "timestamp": time, "task": task, "message": message}))
    } else {
        writeln!(out, "{} {}", task.get(..8).unwrap_or(task), message.trim_end())
    };
    written.and_then(|()| out.flush()).is_ok()
}
