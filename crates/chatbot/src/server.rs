//! Sockets: accept, serve, and stop without losing a reply.
//!
//! `axum::serve` waits for ever for an open event stream and has no limit on connections or on the
//! time a caller takes for its headers; this loop has all three.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tower_service::Service as _;

use crate::app::App;
use crate::config::Config;
use crate::drain::Phase;
use crate::problem::Problem;
use crate::router::router;

/// How long a caller may leave what was sent to it: a stream that nobody takes off the wire ends then.
const UNREAD: Duration = Duration::from_secs(30);
/// The end of the drain deadline that open streams get to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Connections beyond the limit on which probes are still answered.
const PROBES: usize = 64;
/// The largest request head.
const HEAD_LIMIT: usize = 64 * 1024;

/// How the drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every reply was finished.
    Complete,
    /// This many connections were still open at the deadline.
    Cut(usize),
}

/// Serves until `stop` completes, then drains.
pub async fn serve(listener: TcpListener, app: Arc<App>, config: &Config, stop: impl Future<Output = ()>) -> Drained {
    let router = router(Arc::clone(&app));
    let graceful = GracefulShutdown::new();
    let regular = Arc::new(Semaphore::new(config.max_connections));
    let spare = Arc::new(Semaphore::new(PROBES));

    let stopped = async {
        stop.await;
        app.drain.advance(Phase::Draining);
        let delay_seconds = config.drain_delay.as_secs_f64();
        tracing::info!(delay_seconds, connections = app.metrics.connections(), "draining: not ready, still serving");
        sleep(config.drain_delay).await;
    };
    let mut stopped = pin!(stopped);
    loop {
        let (socket, _) = tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the peer is already gone: the next one may work.
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (permit, overloaded) = match Arc::clone(&regular).try_acquire_owned() {
            Ok(permit) => (permit, false),
            Err(_) => match Arc::clone(&spare).try_acquire_owned() {
                Ok(permit) => (permit, true),
                Err(_) => {
                    app.metrics.connection_refused();
                    continue;
                }
            },
        };
        let open = app.metrics.connection();
        let connection = connection(socket, router.clone(), Arc::clone(&app), config.idle, overloaded);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A caller that goes away in the middle is its own business.
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "connection ended early");
            }
            drop((permit, open));
        });
    }
    drop(listener);
    tracing::info!(connections = app.metrics.connections(), "draining: no longer accepting");
    finish(graceful, &app, config.drain_deadline).await
}

/// Waits for what is open, up to the deadline.
async fn finish(graceful: GracefulShutdown, app: &App, deadline: Duration) -> Drained {
    // Replies that nobody reads any more count too: their questions were accepted.
    let mut finished = pin!(async {
        graceful.shutdown().await;
        app.generations.idle().await;
    });
    if timeout(deadline.saturating_sub(GOODBYE), &mut finished).await.is_ok() {
        return Drained::Complete;
    }
    app.drain.advance(Phase::Closing);
    match timeout(GOODBYE, &mut finished).await {
        Ok(()) => Drained::Complete,
        Err(_) => Drained::Cut(app.metrics.connections()),
    }
}

fn connection(
    socket: TcpStream,
    router: Router,
    app: Arc<App>,
    idle: Duration,
    overloaded: bool,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    // Events are small and must not wait for each other; without it they are only slower.
    let _ = socket.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&socket, UNREAD.as_millis() as u32);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        let refused = overloaded && !matches!(request.uri().path(), "/health" | "/ready" | "/metrics");
        let app = Arc::clone(&app);
        async move {
            if refused {
                app.metrics.connection_refused();
                return Ok(too_many(&app));
            }
            router.call(request.map(Body::new)).await
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        // Whether the caller still listens shows when something is sent to it. To look for it all the time that a request is
        // answered takes another 8 kB buffer for each.
        .half_close(true)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(socket), service)
}

fn too_many(app: &App) -> Response {
    let problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "overloaded",
        "Too many connections",
        "This process serves as many connections as it may. Try again.",
    );
    let mut response = problem.retry_after(1).render("none");
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().insert("x-smartbot-commit", app.commit_header.clone());
    response
}
