//! A reply as server-sent events: start, delta, citations, done, or error.
//!
//! Events are not recorded anywhere: they follow from the message alone. Its text is always cut
//! into the same pieces, so event number n is the same whether it is sent while the reply is
//! written, replayed from memory or from the store, and by whichever process. That is what makes
//! `Last-Event-ID` work after everything that can go wrong.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, header};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::conversation::{ConversationId, ConversationKey, Failure, Message, Status};
use crate::drain::Phase;
use crate::generation::{interrupted, stored};
use crate::metrics::Open;
use crate::observe::RequestId;
use crate::problem::Problem;
use crate::turn::Replying;

/// Silence after which a comment keeps the connection alive.
const PING: Duration = Duration::from_secs(15);
/// How often a message that another process generates is read again.
const POLL: Duration = Duration::from_millis(500);
/// Characters in one delta.
const DELTA: usize = 8;

/// Follows a message that another process generates, until it ends or nobody follows it any more.
pub fn follow(app: &Arc<App>, key: &ConversationKey, seq: u64, message: Message) -> watch::Receiver<Message> {
    let (app, key) = (Arc::clone(app), key.clone());
    let (sender, receiver) = watch::channel(message);
    tokio::spawn(async move {
        while sender.borrow().status == Status::Generating {
            tokio::select! {
                () = sender.closed() => return,
                () = sleep(POLL) => {}
            }
            let newer = stored(app.store.as_ref(), &key, seq).await;
            let newer = newer.unwrap_or_else(|error| {
                tracing::warn!(error = %error, "a message could not be followed");
                interrupted(sender.borrow().clone())
            });
            sender.send_if_modified(|message| {
                let changed = *message != newer;
                *message = newer;
                changed
            });
        }
    });
    receiver
}

/// Sends a reply from the event after `after` on.
pub fn respond(app: Arc<App>, key: ConversationKey, reply: Replying, after: u64, request_id: RequestId) -> Response {
    let open = app.metrics.stream();
    let reader = Reader {
        app,
        key,
        message: reply.watch(),
        cursor: Cursor::default(),
        after,
        paused: false,
        ended: false,
        request_id,
        _open: open,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        reader.next().await.map(|bytes| (Ok::<_, Infallible>(bytes), reader))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// True when a reader that has event number `after` has everything.
pub fn has_all(message: &Message, after: u64) -> bool {
    let deltas = message.text.chars().count().div_ceil(DELTA) as u64;
    // The start, the citations and the end; a failure is told again, because it asks for something.
    matches!(message.status, Status::Complete | Status::Cancelled) && after >= deltas + 3
}

/// One reader of one message.
struct Reader {
    app: Arc<App>,
    key: ConversationKey,
    message: watch::Receiver<Message>,
    cursor: Cursor,
    /// The last event the reader has already.
    after: u64,
    /// True when the pause before the next delta is due.
    paused: bool,
    ended: bool,
    request_id: RequestId,
    _open: Open,
}

impl Reader {
    /// The next event, or a comment when it takes long.
    async fn next(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.paused) {
            // When the process is about to stop, the rest goes out at once.
            tokio::select! {
                () = sleep(self.app.delta_delay) => {}
                () = self.app.drain.reached(Phase::Closing) => {}
            }
        }
        while !self.ended {
            let event = self.cursor.next(&self.message.borrow(), &self.key.id, &self.request_id);
            match event {
                Some(event) => {
                    self.ended = event.last;
                    if event.id > self.after || event.last {
                        self.paused = event.pause && !self.app.delta_delay.is_zero();
                        return Some(event.bytes);
                    }
                }
                None => {
                    if let Some(ping) = self.wait().await {
                        return Some(ping);
                    }
                }
            }
        }
        None
    }

    /// Waits for more of the message.
    async fn wait(&mut self) -> Option<Bytes> {
        match timeout(PING, self.message.changed()).await {
            Ok(Ok(())) => None,
            Ok(Err(_)) => {
                // Its task is gone without an end: nothing more can come.
                self.ended = true;
                Some(event(self.cursor.id + 1, "error", &failure(Failure::Interrupted, &self.request_id)))
            }
            Err(_) => Some(Bytes::from_static(b": ping\n\n")),
        }
    }
}

/// A place in a message's events.
#[derive(Debug, Default, Clone, Copy)]
struct Cursor {
    /// The last event.
    id: u64,
    /// Bytes of the text that events have carried.
    text: usize,
    /// True after the citations.
    cited: bool,
}

struct Event {
    id: u64,
    bytes: Bytes,
    /// True for a delta: text that a person reads as it comes.
    pause: bool,
    last: bool,
}

impl Cursor {
    /// The next event, if the message has got that far.
    fn next(&mut self, message: &Message, conversation: &ConversationId, request_id: &RequestId) -> Option<Event> {
        let ended = message.status != Status::Generating;
        let id = self.id + 1;
        let (mut pause, mut last) = (false, false);
        // A shorter text is one whose last part was lost with its process.
        let rest = message.text.get(self.text..).unwrap_or_default();
        let bytes = if self.id == 0 {
            event(id, "start", &json!({"conversation_id": conversation, "message_id": message.id}))
        } else if let Some(piece) = piece(rest, ended) {
            self.text += piece.len();
            pause = true;
            event(id, "delta", &json!({"text": piece}))
        } else if !ended {
            return None;
        } else if message.status == Status::Failed {
            last = true;
            event(id, "error", &failure(message.failure.unwrap_or(Failure::Interrupted), request_id))
        } else if !self.cited {
            self.cited = true;
            let citations = message.provenance.as_ref().map(|provenance| &provenance.citations);
            event(id, "citations", &json!({"citations": citations.map_or(&[][..], Vec::as_slice)}))
        } else {
            last = true;
            event(id, "done", &done(message))
        };
        self.id = id;
        Some(Event { id, bytes, pause, last })
    }
}

/// The next piece of a text: always as long, except at the very end.
fn piece(rest: &str, ended: bool) -> Option<&str> {
    match rest.char_indices().nth(DELTA) {
        Some((end, _)) => Some(&rest[..end]),
        None if rest.is_empty() => None,
        // Eight characters are a piece even when no ninth has come yet.
        None => (ended || rest.chars().count() == DELTA).then_some(rest),
    }
}

fn done(message: &Message) -> Value {
    match &message.provenance {
        Some(provenance) => json!({
            "usage": provenance.usage,
            "finish_reason": provenance.finish_reason,
            "source": provenance.source,
            "outcome": provenance.outcome,
            "language": provenance.language,
            "confidence": provenance.confidence,
            "suggestions": provenance.suggestions(),
        }),
        None => json!({"finish_reason": "stop"}),
    }
}

fn failure(failure: Failure, request_id: &RequestId) -> Value {
    json!({"problem": Problem::reply_failed(failure).to_json(&request_id.0)})
}

/// One event as it goes over the wire. JSON has no raw line end, so one data line is enough.
fn event(id: u64, name: &str, data: &Value) -> Bytes {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests;
