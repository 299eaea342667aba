//! For whoever runs the service: probes, metrics, version.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::body;
use crate::drain::Phase;
use crate::problem::Problem;

/// A probe's good answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProbeReply {
    /// `ok` or `ready`.
    status: &'static str,
}

/// `GET /health`: the process works. Stays 200 while draining, so that nobody kills it then.
#[utoipa::path(
    get,
    path = "/health",
    tag = "operations",
    responses((status = 200, description = "The process works.", body = ProbeReply)),
)]
pub async fn health() -> Response {
    body::answer(&ProbeReply { status: "ok" })
}

/// `GET /ready`: new requests are welcome.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "operations",
    responses(
        (status = 200, description = "New requests are welcome.", body = ProbeReply),
        (status = 503, description = "They are not: it starts, stops, or cannot use its store."),
    ),
)]
pub async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    if app.drain.phase() > Phase::Serving {
        return Err(Problem::draining("This process finishes its open replies and stops."));
    }
    if !app.models.is_warm() {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "warming_up",
            "The first connections are being opened",
            "It takes a few seconds after the start.",
        ));
    }
    if let Err(error) = app.store.check().await {
        app.metrics.store_failure();
        tracing::error!(error = %error, "not ready: the conversation store cannot be used");
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "The conversation store cannot be used",
            "The log says why.",
        ));
    }
    Ok(body::answer(&ProbeReply { status: "ready" }))
}

/// `GET /metrics`: Prometheus text.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses((status = 200, description = "Prometheus text.", content_type = "text/plain", body = String)),
)]
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let ready = app.drain.phase() == Phase::Serving;
    let page = app.metrics.render(
        &app.release,
        &app.models,
        app.tenants.all().iter().map(|tenant| tenant.engine.entries()).sum(),
        ready,
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

/// What is running.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionReply<'a> {
    schema: u32,
    name: &'static str,
    version: &'static str,
    commit: Option<&'a str>,
    commit_time: Option<&'a str>,
    image_digest: Option<&'a str>,
    environment: Option<&'a str>,
}

/// `GET /version`: what is running.
#[utoipa::path(
    get,
    path = "/version",
    tag = "operations",
    responses((status = 200, description = "What is running.", body = VersionReply<'_>)),
)]
pub async fn version(State(app): State<Arc<App>>) -> Response {
    let release = &app.release;
    body::answer(&VersionReply {
        schema: 1,
        name: "smartbot",
        version: env!("CARGO_PKG_VERSION"),
        commit: release.commit.as_deref(),
        commit_time: release.commit_time.as_deref(),
        image_digest: release.image_digest.as_deref(),
        environment: release.environment.as_deref(),
    })
}
