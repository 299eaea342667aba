//! Keys: made, rotated and revoked by whoever holds the scope `keys`, and by the operator.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Caller;
use crate::app::App;
use crate::body;
use crate::clock::now_ms;
use crate::problem::Problem;
use crate::tenant::{Key, KeyKind, Scope, Scopes, Secret, Settings, TenantId};

use super::knowledge::blocking;
use super::tenants::{find, tenant_id};

/// The longest time for which a rotated key stays good: 30 days.
const LONGEST_GRACE: u64 = 30 * 24 * 3600;
/// How long it does when nothing is said: a day.
const GRACE: u64 = 24 * 3600;
/// The most keys of a tenant.
const MOST_KEYS: usize = 100;

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    id: String,
    name: String,
    kind: KeyKind,
    /// The first characters of the secret.
    prefix: String,
    #[schema(value_type = Vec<Scope>)]
    scopes: Scopes,
    created_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
}

impl From<&Key> for KeyView {
    fn from(key: &Key) -> Self {
        let Key { id, name, kind, prefix, scopes, created_ms, expires_ms, sha256: _ } = key.clone();
        Self { id, name, kind, prefix, scopes, created_ms, expires_ms }
    }
}

/// A tenant's keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeysReply {
    keys: Vec<KeyView>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewKeyReply {
    #[serde(flatten)]
    key: KeyView,
    /// The key itself. It is shown this once and kept nowhere.
    secret: String,
}

/// What key is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What its owner calls it.
    name: String,
    /// `secret` for servers, `publishable` for the widget.
    kind: KeyKind,
    /// What a secret key may do.
    #[serde(default)]
    #[schema(value_type = Vec<Scope>)]
    scopes: Scopes,
    /// From when on it is refused, in milliseconds since 1970.
    #[serde(default)]
    expires_ms: Option<u64>,
}

/// How a key is rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// For how long the old secret stays good beside the new one; a day without it.
    #[serde(default)]
    grace_seconds: Option<u64>,
}

/// The tenant's keys.
#[utoipa::path(
    get,
    path = "/v1/keys",
    tag = "keys",
    responses((status = 200, description = "The keys, without their secrets.", body = KeysReply)),
)]
pub async fn list(caller: Caller) -> Response {
    body::answer(&KeysReply { keys: caller.tenant.settings.keys.iter().map(KeyView::from).collect() })
}

/// Makes a key. Nobody can give away more than they have.
#[utoipa::path(
    post,
    path = "/v1/keys",
    tag = "keys",
    request_body = KeyRequest,
    responses((status = 201, description = "The key; its secret is shown this once.", body = NewKeyReply)),
)]
pub async fn create(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Result<Response, Problem> {
    let asked: KeyRequest = body::json(request).await?;
    if !asked.scopes.iter().all(|&scope| caller.may(scope)) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "The key may not do this",
            "A key cannot give scopes that it does not have itself.",
        ));
    }
    make(app, caller.tenant.id().clone(), asked).await
}

/// Makes a key for any tenant: its first one.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant_id}/keys",
    tag = "tenants",
    request_body = KeyRequest,
    responses((status = 201, description = "The key; its secret is shown this once.", body = NewKeyReply)),
)]
pub async fn create_for(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    make(app, tenant_id(&id)?, body::json(request).await?).await
}

/// Makes a key in another's place, which stays good for a while.
#[utoipa::path(
    post,
    path = "/v1/keys/{key_id}/rotate",
    tag = "keys",
    request_body = RotateRequest,
    responses((status = 201, description = "The new key; its secret is shown this once.", body = NewKeyReply)),
)]
pub async fn rotate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let RotateRequest { grace_seconds } = body::json(request).await?;
    let grace = grace_seconds.unwrap_or(GRACE);
    if grace > LONGEST_GRACE {
        return Err(Problem::invalid("invalid_grace", format!("grace_seconds must be at most {LONGEST_GRACE}.")));
    }
    let now = now_ms();
    change(app, caller.tenant.id().clone(), move |settings| {
        let old = key(settings, &id)?;
        if !old.is_valid(now) {
            return Err(Problem::invalid("key_expired", "The key has expired; make a new one."));
        }
        let (new, secret) = generate(old.kind, old.name.clone(), old.scopes.clone(), now)?;
        let expires = now + grace * 1000;
        old.expires_ms = Some(old.expires_ms.map_or(expires, |earlier| earlier.min(expires)));
        add(settings, new, secret)
    })
    .await
}

/// Revokes a key at once, with the widget sessions it opened.
#[utoipa::path(
    delete,
    path = "/v1/keys/{key_id}",
    tag = "keys",
    responses((status = 204, description = "It is revoked.")),
)]
pub async fn revoke(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Result<Response, Problem> {
    change(app, caller.tenant.id().clone(), move |settings| {
        key(settings, &id)?;
        settings.keys.retain(|key| key.id != id);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

async fn make(app: Arc<App>, tenant: TenantId, asked: KeyRequest) -> Result<Response, Problem> {
    let KeyRequest { name, kind, scopes, expires_ms } = asked;
    if name.trim().is_empty() || name.chars().count() > 100 {
        return Err(Problem::invalid("invalid_name", "name must have 1 to 100 characters."));
    }
    match kind {
        KeyKind::Secret if scopes.is_empty() => {
            let names: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
            return Err(Problem::invalid("invalid_scopes", format!("scopes must name some of {}.", names.join(", "))));
        }
        KeyKind::Publishable if !scopes.is_empty() => {
            return Err(Problem::invalid("invalid_scopes", "A publishable key has no scopes."));
        }
        KeyKind::Secret | KeyKind::Publishable => {}
    }
    change(app, tenant, move |settings| {
        let (key, secret) = generate(kind, name, scopes, now_ms())?;
        add(settings, Key { expires_ms, ..key }, secret)
    })
    .await
}

async fn change(
    app: Arc<App>,
    tenant: TenantId,
    change: impl FnOnce(&mut Settings) -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    blocking(move || app.tenants.change(|tenants| change(find(tenants, &tenant)?))).await
}

fn add(settings: &mut Settings, key: Key, secret: Secret) -> Result<Response, Problem> {
    let now = now_ms();
    // What has expired a while ago is only clutter.
    settings.keys.retain(|key| key.is_valid(now.saturating_sub(LONGEST_GRACE * 1000)));
    if settings.keys.len() >= MOST_KEYS {
        return Err(Problem::invalid("too_many_keys", format!("A tenant has at most {MOST_KEYS} keys.")));
    }
    let reply = NewKeyReply { key: KeyView::from(&key), secret: secret.reveal().to_owned() };
    settings.keys.push(key);
    Ok((StatusCode::CREATED, body::answer(&reply)).into_response())
}

fn generate(kind: KeyKind, name: String, scopes: Scopes, now: u64) -> Result<(Key, Secret), Problem> {
    Key::generate(kind, name, scopes, now).map_err(|_| Problem::internal())
}

fn key<'a>(settings: &'a mut Settings, id: &str) -> Result<&'a mut Key, Problem> {
    settings.keys.iter_mut().find(|key| key.id == id).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "key_not_found", "No such key", "GET /v1/keys lists the tenant's keys.")
    })
}
