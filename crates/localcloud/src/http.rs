//! The endpoint's HTTP server: admits loopback requests, finds out whom they are for, and drains on shutdown.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cloud::Cloud;
use crate::wire::Models;
use crate::{ids, registry};

/// A body that is either whole or streamed from a file.
pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// The largest request of an AWS API: a layer part (20 MiB) in base64, with room.
const MAX_REQUEST: usize = 64 << 20;

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// Serves until `shutdown` becomes true, by a signal or by the shutdown request, then lets open requests finish.
pub async fn serve(cloud: Cloud, listener: TcpListener, shutdown: watch::Sender<bool>) -> std::io::Result<()> {
    let models = Arc::new(Models::embedded().map_err(std::io::Error::other)?);
    let graceful = GracefulShutdown::new();
    let mut stop = shutdown.subscribe();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, or a connection reset while queued: neither is a reason to end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let _ = stream.set_nodelay(true);
        let (cloud, models, shutdown) = (cloud.clone(), models.clone(), shutdown.clone());
        let service = service_fn(move |request| {
            let (cloud, models, shutdown) = (cloud.clone(), models.clone(), shutdown.clone());
            async move { Ok::<_, Infallible>(respond(&cloud, &models, &shutdown, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30))
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), graceful.shutdown()).await;
    Ok(())
}

async fn respond(
    cloud: &Cloud,
    models: &Models,
    shutdown: &watch::Sender<bool>,
    request: Request<Incoming>,
) -> Response<Body> {
    if !host_is_loopback(request.headers()) {
        // A page in a browser can make requests to loopback under a name of its own (DNS rebinding): not with this Host.
        return text(StatusCode::FORBIDDEN, "the embedded endpoint answers requests for loopback hosts only\n");
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/_localcloud/status") => status(cloud),
        (&Method::POST, "/_localcloud/shutdown") => {
            shutdown.send_replace(true);
            text(StatusCode::OK, "shutting down\n")
        }
        (_, path) if path.starts_with("/_localcloud/") => text(StatusCode::NOT_FOUND, "not found\n"),
        (_, path) if path == "/v2" || path.starts_with("/v2/") => registry::respond(cloud, request).await,
        _ => api(cloud, models, request).await,
    }
}

/// Answers a call of an AWS API.
async fn api(cloud: &Cloud, models: &Models, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await.map(http_body_util::Collected::to_bytes) else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large or was cut off\n");
    };
    let request_id = ids::uuid();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let answer = match models.decode(target, &head.headers, &body) {
        Err(rejection) => {
            tracing::debug!(error = %rejection.error, "a request is refused");
            rejection.respond(&request_id)
        }
        Ok(request) => {
            let call = request.call;
            match cloud.call(call.service, call.operation, request.input).await {
                Ok(output) => call.respond(&output, &request_id),
                Err(error) => {
                    tracing::debug!(service = %call.service, operation = call.operation, %error, "an operation failed");
                    call.fail(&error, &request_id)
                }
            }
        }
    };
    answer.map(full)
}

fn status(cloud: &Cloud) -> Response<Body> {
    let document = json!({
        "schema": 1,
        "endpoint": cloud.endpoint(),
        "time_scale": cloud.clock().scale(),
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "region": cloud.region(),
        "account": crate::cloud::ACCOUNT,
        "data_dir": cloud.data_dir(),
        "runtime": cloud.settings().runtime.name(),
    });
    let mut response = Response::new(full(document.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn text(status: StatusCode, message: &'static str) -> Response<Body> {
    let mut response = Response::new(full(message));
    *response.status_mut() = status;
    response
}

/// True when the Host header names this machine's loopback: an address of 127.0.0.0/8, `[::1]` or `localhost`.
fn host_is_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let Ok(authority) = host.parse::<hyper::http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_served() {
        for (host, expected) in [
            ("127.0.0.1:7400", true),
            ("localhost:7400", true),
            ("[::1]:7400", true),
            ("127.0.0.9", true),
            ("bucket.localhost", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1:7400", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(host_is_loopback(&headers), expected, "{host}");
        }
        assert!(!host_is_loopback(&HeaderMap::new()));
    }
}
