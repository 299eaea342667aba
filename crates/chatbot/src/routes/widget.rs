//! `POST /v1/widget/sessions`: a publishable key becomes a short-lived token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::body;
use crate::problem::Problem;
use crate::session;
use crate::text::Language;

/// What a widget sends.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SessionRequest {
    /// The publishable key.
    key: String,
    /// An earlier token, whose conversations stay within reach.
    #[serde(default)]
    renew: Option<String>,
}

/// What a widget gets.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionReply<'a> {
    /// Bearer token for the chat routes.
    token: String,
    /// Until when it is good, in milliseconds since 1970.
    expires_at: u64,
    /// The language to greet in, if the tenant's entries are all in one.
    locale: Option<Language>,
    /// What the tenant is called.
    name: &'a str,
}

/// Opens a session, or goes on with one.
#[utoipa::path(
    post,
    path = "/v1/widget/sessions",
    tag = "widget",
    request_body = SessionRequest,
    responses((status = 200, description = "A token.", body = SessionReply<'_>)),
)]
pub async fn sessions(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let asked: SessionRequest = body::json(request).await?;
    let (token, found) = session::open(&app, &asked.key, asked.renew.as_deref(), &headers)?;
    let standing = app.rates.request(found.tenant.id(), &found.tenant.settings.limits);
    if !standing.allowed {
        return Err(standing.problem("The tenant"));
    }
    let (name, locale) = (found.tenant.settings.name.as_str(), found.tenant.engine.only_language());
    Ok(body::answer(&SessionReply { token: token.token, expires_at: token.expires_ms, locale, name }))
}
