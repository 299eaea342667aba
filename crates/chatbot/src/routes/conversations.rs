//! `GET /v1/conversations/{id}`: what was said, so that a reload or a lost connection loses nothing.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::Uri;
use serde_json::json;

use crate::app::App;
use crate::conversation::{ConversationKey, TenantId};
use crate::problem::Problem;

use super::chat::{invalid, json_response, store_problem};

/// The most messages returned.
const LIMIT: usize = 200;

/// The last messages of a conversation; `?tenant=` names the tenant.
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, uri: Uri) -> Result<Response, Problem> {
    // Tenant names need no percent-encoding, so nothing has to be decoded.
    let tenant =
        uri.query().into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("tenant="));
    let tenant: TenantId = match tenant {
        Some(name) => name.parse().map_err(|error| invalid("invalid_tenant", format!("{error}")))?,
        None => TenantId::default(),
    };
    let id = id.parse().map_err(|error| invalid("invalid_conversation_id", format!("{error}")))?;
    let key = ConversationKey { tenant, id };
    let messages = app.store.recent(&key, LIMIT).await.map_err(|error| store_problem(&app, error))?;
    Ok(json_response(&json!({"schema": 1, "conversation_id": key.id, "messages": messages})))
}
