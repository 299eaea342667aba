//! A reply as OpenAI streams it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, header};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;

use super::wire::Chunk;
use crate::app::App;
use crate::conversation::{ConversationId, Failure, Message, Status};
use crate::metrics::Open;
use crate::observe::RequestId;
use crate::problem::Problem;
use crate::turn::Turn;

/// Silence after which a comment keeps the connection alive.
const PING: Duration = Duration::from_secs(15);

/// Streams a reply while it is written.
pub(super) fn respond(app: &Arc<App>, turn: Turn, with_usage: bool, request_id: RequestId) -> Response {
    let reader = Reader {
        conversation: turn.key.id,
        message: turn.reply.watch(),
        sent: None,
        ended: false,
        with_usage,
        request_id,
        _open: app.metrics.stream(),
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

struct Reader {
    conversation: ConversationId,
    message: watch::Receiver<Message>,
    /// Bytes of the text that were sent; none before the first event.
    sent: Option<usize>,
    ended: bool,
    with_usage: bool,
    request_id: RequestId,
    _open: Open,
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        while !self.ended {
            if let Some(events) = self.ready() {
                return Some(events);
            }
            match timeout(PING, self.message.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    // Its task is gone without an end: nothing more can come.
                    self.ended = true;
                    return Some(told(Failure::Interrupted, &self.request_id));
                }
                Err(_) => return Some(Bytes::from_static(b": ping\n\n")),
            }
        }
        None
    }

    /// The events that can be sent now.
    fn ready(&mut self) -> Option<Bytes> {
        let message = self.message.borrow_and_update();
        let mut events = Vec::new();
        let sent = match self.sent {
            Some(sent) => sent,
            None => {
                write(&mut events, &Chunk::start(&message));
                0
            }
        };
        let more = message.text.get(sent..).unwrap_or_default();
        if !more.is_empty() {
            write(&mut events, &Chunk::text(&message, more));
        }
        self.sent = Some(sent + more.len());
        self.ended = message.status != Status::Generating;
        match (message.status, message.failure) {
            (Status::Generating, _) => {}
            (Status::Failed, failure) => {
                events.extend(told(failure.unwrap_or(Failure::Interrupted), &self.request_id));
            }
            (Status::Complete | Status::Cancelled, _) => {
                write(&mut events, &Chunk::end(self.conversation, &message));
                if self.with_usage {
                    write(&mut events, &Chunk::usage(&message));
                }
                events.extend(b"data: [DONE]\n\n");
            }
        }
        (!events.is_empty()).then(|| events.into())
    }
}

/// How a failure after the first byte is told; clients raise it as an error.
fn told(failure: Failure, request_id: &RequestId) -> Bytes {
    let mut event = Vec::new();
    write(&mut event, &Problem::reply_failed(failure).to_openai(&request_id.0));
    event.into()
}

fn write(events: &mut Vec<u8>, event: &impl Serialize) {
    events.extend(b"data: ");
    // Text and numbers into memory: this cannot fail. JSON has no raw line end, so one line is enough.
    let _ = serde_json::to_writer(&mut *events, event);
    events.extend(b"\n\n");
}
