//! Tenants, for the operator.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::body;
use crate::engine::Thresholds;
use crate::problem::Problem;
use crate::random;
use crate::tenant::{Handoff, Limits, ModelSettings, Origin, Settings, Tenant, TenantId, TenantsError};

use super::keys::KeyView;
use super::knowledge::blocking;

/// A tenant, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantView {
    id: TenantId,
    name: String,
    /// The knowledge version in use.
    knowledge_version: u64,
    /// Entries in it.
    entries: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    thresholds: Option<Thresholds>,
    model: ModelSettings,
    allowed_origins: Vec<Origin>,
    limits: Limits,
    /// Where its webhook events go.
    #[serde(skip_serializing_if = "Option::is_none")]
    handoff_url: Option<String>,
    /// What signs them; shown only when it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    handoff_secret: Option<String>,
    keys: Vec<KeyView>,
}

/// Every tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantsReply {
    tenants: Vec<TenantView>,
}

/// What can be set for a tenant. What is left out gets the service's default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantRequest {
    /// What people call it.
    name: String,
    #[serde(default)]
    thresholds: Option<Thresholds>,
    #[serde(default)]
    model: ModelSettings,
    #[serde(default)]
    allowed_origins: Vec<Origin>,
    #[serde(default)]
    limits: Limits,
    /// Where webhook events go: https. A secret is made for a new URL.
    #[serde(default)]
    handoff_url: Option<String>,
}

impl TenantView {
    fn new(tenant: &Tenant, handoff_secret: Option<String>) -> Self {
        let settings = tenant.settings.clone();
        Self {
            id: settings.id,
            name: settings.name,
            knowledge_version: settings.knowledge_version,
            entries: tenant.engine.entries(),
            thresholds: settings.thresholds,
            model: settings.model,
            allowed_origins: settings.allowed_origins,
            limits: settings.limits,
            handoff_url: settings.handoff.map(|handoff| handoff.url),
            handoff_secret,
            keys: settings.keys.iter().map(KeyView::from).collect(),
        }
    }
}

impl TenantRequest {
    /// Sets everything; returns the webhook's secret when a new one was made.
    fn apply(self, settings: &mut Settings) -> Result<Option<String>, Problem> {
        let before = settings.handoff.take();
        let mut made = None;
        settings.handoff = match (self.handoff_url, before) {
            (None, _) => None,
            (Some(url), Some(before)) if before.url == url => Some(before),
            (Some(url), _) => {
                let secret = format!("whsec_{}", random::hex().map_err(|_| Problem::internal())?);
                made = Some(secret.clone());
                Some(Handoff { url, secret })
            }
        };
        settings.name = self.name;
        settings.thresholds = self.thresholds;
        settings.model = self.model;
        settings.allowed_origins = self.allowed_origins;
        settings.limits = self.limits;
        Ok(made)
    }
}

/// Every tenant.
#[utoipa::path(
    get,
    path = "/v1/tenants",
    tag = "tenants",
    responses((status = 200, description = "Every tenant.", body = TenantsReply)),
)]
pub async fn list(State(app): State<Arc<App>>) -> Response {
    let tenants = app.tenants.all();
    body::answer(&TenantsReply { tenants: tenants.iter().map(|tenant| TenantView::new(tenant, None)).collect() })
}

/// One tenant.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant_id}",
    tag = "tenants",
    responses((status = 200, description = "The tenant.", body = TenantView)),
)]
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    view(&app, &tenant_id(&id)?, None)
}

/// Adds a tenant, or sets everything of one but its keys and knowledge.
#[utoipa::path(
    put,
    path = "/v1/tenants/{tenant_id}",
    tag = "tenants",
    request_body = TenantRequest,
    responses(
        (status = 200, description = "It was changed.", body = TenantView),
        (status = 201, description = "It was added.", body = TenantView),
    ),
)]
pub async fn put(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    let id: TenantId = id.parse().map_err(|error| Problem::invalid("invalid_tenant_id", format!("{error}.")))?;
    let asked: TenantRequest = body::json(request).await?;
    if let Some(name) = asked.model.chain.iter().find(|name| app.models.links().iter().all(|link| link.name != **name))
    {
        return Err(Problem::invalid("unknown_model", format!("This service has no model {name}.")));
    }
    blocking(move || {
        let (made, new) = app.tenants.change(|tenants| {
            if let Some(settings) = tenants.iter_mut().find(|settings| settings.id == id) {
                return Ok::<_, Problem>((asked.apply(settings)?, false));
            }
            let mut settings = Settings::named(id.clone(), String::new());
            let made = asked.apply(&mut settings)?;
            tenants.push(settings);
            Ok((made, true))
        })?;
        let status = if new { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, view(&app, &id, made)?).into_response())
    })
    .await
}

/// Removes a tenant with its keys: from then on nobody is served for it. Conversations stay until they expire.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant_id}",
    tag = "tenants",
    responses((status = 204, description = "It is gone.")),
)]
pub async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = tenant_id(&id)?;
    blocking(move || {
        app.tenants.change(|tenants| {
            find(tenants, &id)?;
            tenants.retain(|settings| settings.id != id);
            Ok::<_, Problem>(())
        })?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

fn view(app: &App, id: &TenantId, secret: Option<String>) -> Result<Response, Problem> {
    let tenant = app.tenants.get(id).ok_or_else(no_tenant)?;
    Ok(body::answer(&TenantView::new(&tenant, secret)))
}

/// The settings of a tenant among all.
pub(super) fn find<'a>(tenants: &'a mut [Settings], id: &TenantId) -> Result<&'a mut Settings, Problem> {
    tenants.iter_mut().find(|settings| settings.id == *id).ok_or_else(no_tenant)
}

/// A tenant's id from outside.
pub(super) fn tenant_id(id: &str) -> Result<TenantId, Problem> {
    id.parse().map_err(|_| no_tenant())
}

fn no_tenant() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "tenant_not_found", "No such tenant", "GET /v1/tenants lists all.")
}

impl From<TenantsError> for Problem {
    fn from(error: TenantsError) -> Self {
        match error {
            TenantsError::Invalid(problems) => Self::invalid("tenant_invalid", format!("{}.", problems.join("; "))),
            TenantsError::Gone => no_tenant(),
            TenantsError::Changed => Self::new(
                StatusCode::CONFLICT,
                "knowledge_changed",
                "The knowledge has changed",
                "Another request put a version in the meantime. Read it again.",
            ),
            TenantsError::Raced => Self::new(
                StatusCode::CONFLICT,
                "tenants_changed",
                "The tenants have changed",
                "Another request changed them in the meantime. Try again.",
            ),
            TenantsError::Table(error) => error.into(),
            TenantsError::NoFile => Self::new(
                StatusCode::CONFLICT,
                "tenants_read_only",
                "Tenants cannot be changed here",
                "This service runs without TENANTS_FILE: nothing could be kept.",
            ),
            TenantsError::Read { .. }
            | TenantsError::Write { .. }
            | TenantsError::Parse { .. }
            | TenantsError::Knowledge { .. } => {
                tracing::error!(error = %error, "tenants could not be changed");
                Self::internal()
            }
        }
    }
}
