//! Bodies that pass through unbuffered, and are watched while they do.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::routes::InFlight;

pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;
/// What a listener answers with.
pub(super) type ResponseBody = UnsyncBoxBody<Bytes, Error>;

/// A whole body.
pub(super) fn whole(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// When something last moved on a request.
pub(super) struct Activity {
    began: Instant,
    last: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), last: AtomicU64::new(0) })
    }

    fn touch(&self) {
        self.last.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// A client's body on its way to a target.
pub(crate) enum RequestBody {
    Empty,
    Streamed(Incoming, Arc<Activity>),
}

impl RequestBody {
    pub(super) fn streamed(body: Incoming, activity: Arc<Activity>) -> Self {
        Self::Streamed(body, activity)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(body, activity) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                activity.touch();
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(body, _) => body.size_hint(),
        }
    }
}

/// A target's body on its way to the client: keeps the request counted as in flight until it ends, and ends it when
/// nothing moves for the idle timeout.
pub(super) struct Relayed {
    body: Incoming,
    _in_flight: InFlight,
    idle_timeout: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Relayed {
    pub(super) fn new(body: Incoming, in_flight: InFlight, idle_timeout: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(idle_timeout));
        Self { body, _in_flight: in_flight, idle_timeout, last: Instant::now(), sleep }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.last = Instant::now();
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        // The timer is moved only when it fires, not with every frame.
        while self.sleep.as_mut().poll(context).is_ready() {
            let until = self.last + self.idle_timeout;
            if until <= Instant::now() {
                return Poll::Ready(Some(Err("the target sent nothing for the idle timeout".into())));
            }
            self.sleep.as_mut().reset(until.into());
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
