//! What happens around every request: its id, its log line, its numbers.
//!
//! The log never holds what people write: no message, no query, no path outside the route table.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::app::App;
use crate::drain::Phase;
use crate::problem::Problem;
use crate::random::{self, Digits};
use crate::routes::completions::speaks_openai;
use crate::trace::Trace;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const COMMIT: HeaderName = HeaderName::from_static("x-smartbot-commit");

/// The id of a request: the caller's `x-request-id` if it is a sane one, otherwise random.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let sane = |id: &&str| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
        match given {
            Some(id) => Self(id.into()),
            None => Self(Digits::of(random::unique()).as_str().into()),
        }
    }
}

/// Does what a request asks for, and notes it under the route's pattern.
///
/// The work is begun at once: a future that waits for it would carry the request along.
pub fn observe<F>(
    app: &App,
    route: &str,
    mut request: Request,
    work: impl FnOnce(Request) -> F,
) -> impl Future<Output = Response>
where
    F: Future<Output = Response>,
{
    let id = RequestId::of(request.headers());
    let received = Received {
        route,
        method: method_name(request.method()),
        id: id.clone(),
        trace: Trace::of(request.headers()),
        at: Instant::now(),
    };
    request.extensions_mut().insert(id);
    let admitted = app.metrics.admit(app.max_requests);
    // A probe that is not answered makes things worse: the process would be replaced.
    let work = (received.is_probe() || admitted.is_some()).then(|| received.trace.scope(work(request)));
    async move {
        let response = match work {
            Some(work) => work.await,
            None => overloaded().into_response(),
        };
        drop(admitted);
        received.answered(app, response)
    }
}

/// What is known of a request before it is answered.
struct Received<'a> {
    route: &'a str,
    method: &'static str,
    id: RequestId,
    trace: Trace,
    at: Instant,
}

impl Received<'_> {
    fn is_probe(&self) -> bool {
        matches!(self.route, "/health" | "/ready" | "/metrics")
    }

    /// Completes the response, and notes it.
    fn answered(&self, app: &App, mut response: Response) -> Response {
        let Self { route, method, id, trace, at } = self;
        let problem = response.extensions_mut().remove::<Problem>();
        if let Some(problem) = &problem {
            // What was set around the problem stays: Allow, CORS, rate limits.
            let around = std::mem::take(response.headers_mut());
            response = if speaks_openai(route) { problem.render_openai(&id.0) } else { problem.render(&id.0) };
            let headers = response.headers_mut();
            for (name, value) in around.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
                headers.entry(name).or_insert_with(|| value.clone());
            }
        }
        let headers = response.headers_mut();
        if problem.as_ref().is_some_and(|problem| problem.status == StatusCode::UNAUTHORIZED) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers.insert(COMMIT, app.commit_header.clone());
        if let Ok(value) = HeaderValue::from_str(&id.0) {
            headers.insert(REQUEST_ID, value);
        }
        if app.drain.phase() > Phase::Serving {
            // The load balancer's idle connections go away one by one, so that none is cut under a request.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }

        let (status, latency) = (response.status().as_u16(), at.elapsed());
        app.metrics.request(route, method, status, latency);
        let latency_ms = latency.as_micros() as u64 as f64 / 1000.0;
        let code = problem.as_ref().map(|problem| problem.code);
        // Probes come every few seconds for ever; they are only worth a line when they fail.
        if self.is_probe() && status < 400 {
            tracing::debug!(request_id = &*id.0, method, route, status, latency_ms, "request");
        } else if tracing::enabled!(tracing::Level::INFO) {
            let trace_id = trace.id();
            let trace_id = trace_id.as_str();
            tracing::info!(request_id = &*id.0, trace_id, method, route, status, latency_ms, problem = code, "request");
        }
        response
    }
}

fn overloaded() -> Problem {
    let detail = "This process answers as many requests as it may. Try again.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many requests", detail).retry_after(1)
}

/// The method as a label: a name we know, because callers can invent others without end.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        _ => "OTHER",
    }
}
