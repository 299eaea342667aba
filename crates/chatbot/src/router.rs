//! The whole route table.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use http::StatusCode;

use crate::app::App;
use crate::observe::observe;
use crate::problem::Problem;
use crate::routes::{chat, conversations, operations};

/// Every route of the service.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/chat", post(chat::chat))
        .route("/chat", post(chat::chat))
        .route("/v1/conversations/{id}", get(conversations::show))
        .route("/health", get(operations::health))
        .route("/ready", get(operations::ready))
        .route("/metrics", get(operations::metrics))
        .route("/version", get(operations::version))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), observe))
        .with_state(app)
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "Nothing here",
        "POST /v1/chat asks a question; GET /version tells what runs.",
    )
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method not allowed",
        "The Allow header names the methods of this path.",
    )
}
