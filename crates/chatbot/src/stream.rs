//! A reply as server-sent events: start, delta, citations, done, or error.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use http_body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, error::SendTimeoutError};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::app::App;
use crate::drain::Phase;
use crate::metrics::Open;
use crate::observe::RequestId;
use crate::problem::Problem;
use crate::turn::Turn;

/// Silence after which a comment keeps the connection alive.
const PING: Duration = Duration::from_secs(15);
/// Events waiting for a slow reader; then the sender waits too.
const QUEUE: usize = 16;
/// How long the sender waits for a reader that has stopped reading.
const STALL: Duration = Duration::from_secs(20);
/// Characters in one delta.
const DELTA: usize = 8;

/// Starts sending a turn that has already been kept.
pub fn respond(app: Arc<App>, turn: Turn, request_id: RequestId) -> Response {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let open = app.metrics.stream();
    tokio::spawn(send(app, turn, request_id, sender));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::new(Events::new(receiver, open, PING))).into_response()
}

async fn send(app: Arc<App>, turn: Turn, request_id: RequestId, sender: mpsc::Sender<Bytes>) {
    let started = Instant::now();
    let mut events = events(&turn);
    let mut sent = 0_u64;
    let end = loop {
        let Some((name, data)) = events.pop_front() else {
            break "done";
        };
        // In both cases the answer is kept; whoever comes back reads it from the conversation.
        match sender.send_timeout(event(sent + 1, name, &data), STALL).await {
            Ok(()) => {}
            Err(SendTimeoutError::Closed(_)) => break "client left",
            Err(SendTimeoutError::Timeout(_)) => break "client stalled",
        }
        sent += 1;
        if name == "delta" && !app.delta_delay.is_zero() {
            let closing = tokio::select! {
                () = tokio::time::sleep(app.delta_delay) => false,
                () = app.drain.reached(Phase::Closing) => true,
            };
            if closing {
                let detail = format!("The whole answer is kept: GET /v1/conversations/{}.", turn.key.id.as_str());
                let problem = json!({"problem": Problem::draining(detail).to_json(&request_id.0)});
                // Nobody may be there any more; there is nothing else to do about it.
                let _ = sender.try_send(event(sent + 1, "error", &problem));
                break "draining";
            }
        }
    };
    let duration_ms = started.elapsed().as_millis() as u64;
    tracing::info!(request_id = %request_id.0, events = sent, end, duration_ms, "stream");
}

/// Everything to send, in order.
fn events(turn: &Turn) -> VecDeque<(&'static str, Value)> {
    let reply = &turn.reply;
    let mut events = VecDeque::new();
    events.push_back(("start", json!({"conversation_id": turn.key.id, "message_id": turn.message_id})));
    let characters: Vec<char> = reply.text.chars().collect();
    for piece in characters.chunks(DELTA) {
        events.push_back(("delta", json!({"text": piece.iter().collect::<String>()})));
    }
    events.push_back(("citations", json!({"citations": reply.citations})));
    events.push_back((
        "done",
        json!({
            "usage": turn.usage,
            "finish_reason": turn.finish_reason(),
            "source": turn.source(),
            "outcome": reply.outcome,
            "language": reply.language,
            "confidence": turn.confidence(),
        }),
    ));
    events
}

/// One event as it goes over the wire. JSON has no raw line end, so one data line is enough.
fn event(id: u64, name: &str, data: &Value) -> Bytes {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into()
}

/// The response body: what the sender gives, and a comment when it is silent for long.
struct Events {
    receiver: mpsc::Receiver<Bytes>,
    ping: Interval,
    _open: Open,
}

impl Events {
    fn new(receiver: mpsc::Receiver<Bytes>, open: Open, silence: Duration) -> Self {
        let mut ping = interval_at(tokio::time::Instant::now() + silence, silence);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { receiver, ping, _open: open }
    }
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(next) = self.receiver.poll_recv(cx) {
            self.ping.reset();
            return Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))));
        }
        ready!(self.ping.poll_tick(cx));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b": ping\n\n")))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use http_body_util::BodyExt as _;

    #[test]
    fn an_event_is_one_block() {
        let bytes = event(3, "delta", &json!({"text": "a\nb"}));
        assert_eq!(bytes, "id: 3\nevent: delta\ndata: {\"text\":\"a\\nb\"}\n\n");
    }

    #[tokio::test]
    async fn silence_is_filled_with_pings() {
        let (sender, receiver) = mpsc::channel(1);
        let metrics = Metrics::default();
        let mut body = Events::new(receiver, metrics.stream(), Duration::from_millis(20));
        let before = Instant::now();
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame, ": ping\n\n");
        assert!(before.elapsed() >= Duration::from_millis(20));
        sender.send(Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
        drop(sender);
        assert!(body.frame().await.is_none());
    }
}
