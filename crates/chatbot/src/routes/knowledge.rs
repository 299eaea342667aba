//! What a tenant knows: read, tried out, replaced, and put back.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::access::Caller;
use crate::app::App;
use crate::body;
use crate::engine::Citation;
use crate::knowledge::{Diff, Format, Knowledge, KnowledgeError};
use crate::problem::Problem;
use crate::tenant::Version;

use super::chat::text;

/// The most entries found.
const MOST_FOUND: usize = 20;
/// Mistakes told at once.
const MOST_MISTAKES: usize = 100;

/// A tenant's knowledge.
#[derive(Debug, Serialize, ToSchema)]
pub struct KnowledgeView<'a> {
    /// The version in use; 0 is the file that came with the tenant.
    version: u64,
    knowledge: &'a Knowledge,
}

/// The knowledge in use.
#[utoipa::path(
    get,
    path = "/v1/knowledge",
    tag = "knowledge",
    responses((status = 200, description = "The knowledge in use.", body = KnowledgeView<'_>)),
)]
pub async fn show(caller: Caller) -> Response {
    let tenant = &caller.tenant;
    let (version, knowledge) = (tenant.settings.knowledge_version, tenant.engine.knowledge());
    let mut response = body::answer(&KnowledgeView { version, knowledge });
    tag(response.headers_mut(), version);
    response
}

/// How a knowledge is put.
#[derive(Debug, Deserialize)]
pub struct PutQuery {
    /// True to see what would change, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What putting a knowledge changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct PutReply {
    /// The version in use after it.
    version: u64,
    dry_run: bool,
    entries: usize,
    diff: Diff,
}

/// Replaces the knowledge: YAML, JSON, CSV or Markdown, by its `Content-Type`. With `If-Match` only when the version in
/// use is that one.
#[utoipa::path(
    put,
    path = "/v1/knowledge",
    tag = "knowledge",
    params(
        ("dry_run" = Option<bool>, Query, description = "Only tell what would change."),
        ("if-match" = Option<String>, Header, description = "The version that must be in use."),
    ),
    request_body(
        content(
            (Knowledge = "application/json"),
            (String = "application/yaml"),
            (String = "text/csv"),
            (String = "text/markdown"),
        ),
    ),
    responses((status = 200, description = "What changed.", body = PutReply)),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    caller: Caller,
    query: Result<Query<PutQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|_| Problem::invalid("invalid_query", "dry_run is true or false."))?;
    let headers = request.headers().clone();
    let format = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).and_then(Format::of_media_type);
    let format = format.ok_or_else(|| {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Unsupported media type",
            "Send application/yaml, application/json, text/csv or text/markdown.",
        )
    })?;
    let bytes = body::read(request.into_body(), body::LARGE).await?;
    let tenant = Arc::clone(&caller.tenant);
    // Parsing and indexing two megabytes takes milliseconds that nobody else should wait for.
    blocking(move || {
        let before = tenant.engine.knowledge();
        let after = Knowledge::import(format, &bytes, "in the request", Some(before)).map_err(invalid)?;
        let (diff, entries) = (before.diff(&after), after.entries.len());
        let current = tenant.settings.knowledge_version;
        let version = match (query.dry_run || diff.is_empty(), matches(&headers, current)) {
            (_, false) => return Err(stale(current)),
            (true, true) => current,
            (false, true) => app.tenants.put_knowledge(tenant.id(), current, &after)?,
        };
        let mut response = body::answer(&PutReply { version, dry_run: query.dry_run, entries, diff });
        tag(response.headers_mut(), version);
        Ok(response)
    })
    .await
}

/// The versions kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionsReply {
    /// The version in use.
    current: u64,
    /// Newest first.
    versions: Vec<Version>,
}

/// Every version that can be put back.
#[utoipa::path(
    get,
    path = "/v1/knowledge/versions",
    tag = "knowledge",
    responses((status = 200, description = "The versions kept.", body = VersionsReply)),
)]
pub async fn versions(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Problem> {
    let tenant = Arc::clone(&caller.tenant);
    let current = tenant.settings.knowledge_version;
    let versions = blocking(move || Ok(app.tenants.knowledge_versions(tenant.id())?)).await?;
    Ok(body::answer(&VersionsReply { current, versions }))
}

/// One version's content.
#[utoipa::path(
    get,
    path = "/v1/knowledge/versions/{version}",
    tag = "knowledge",
    responses((status = 200, description = "That version.", body = KnowledgeView<'_>)),
)]
pub async fn version(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(version): Path<String>,
) -> Result<Response, Problem> {
    let version = number(&version)?;
    let tenant = Arc::clone(&caller.tenant);
    let knowledge = blocking(move || app.tenants.read_knowledge(tenant.id(), version)?.ok_or_else(no_version)).await?;
    Ok(body::answer(&KnowledgeView { version, knowledge: &knowledge }))
}

/// What is in use now.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActivateReply {
    version: u64,
}

/// Puts a version back into use.
#[utoipa::path(
    post,
    path = "/v1/knowledge/versions/{version}/activate",
    tag = "knowledge",
    responses((status = 200, description = "It is in use.", body = ActivateReply)),
)]
pub async fn activate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(version): Path<String>,
) -> Result<Response, Problem> {
    let version = number(&version)?;
    let tenant = Arc::clone(&caller.tenant);
    blocking(move || {
        if !app.tenants.activate_knowledge(tenant.id(), version)? {
            return Err(no_version());
        }
        Ok(body::answer(&ActivateReply { version }))
    })
    .await
}

/// What is looked for.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SearchRequest {
    /// A question, as a person would ask it.
    query: String,
    /// The most entries, 1 to 20; 5 without it.
    #[serde(default)]
    limit: Option<usize>,
}

/// An entry that was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundEntry {
    #[serde(flatten)]
    citation: Citation,
    answer: String,
}

/// What was found, best first.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchReply {
    results: Vec<FoundEntry>,
}

/// Finds entries as the bot would, without a conversation.
#[utoipa::path(
    post,
    path = "/v1/knowledge/search",
    tag = "knowledge",
    request_body = SearchRequest,
    responses((status = 200, description = "The entries found.", body = SearchReply)),
)]
pub async fn search(caller: Caller, request: Request) -> Result<Response, Problem> {
    let asked: SearchRequest = body::json(request).await?;
    let limit = asked.limit.unwrap_or(5);
    if !(1..=MOST_FOUND).contains(&limit) {
        return Err(Problem::invalid("invalid_limit", format!("limit must be from 1 to {MOST_FOUND}.")));
    }
    let passages = caller.tenant.engine.nearest(text(&asked.query)?, limit).into_iter();
    let results = passages.map(|passage| FoundEntry { citation: passage.citation, answer: passage.answer }).collect();
    Ok(body::answer(&SearchReply { results }))
}

fn invalid(error: KnowledgeError) -> Problem {
    match error {
        KnowledgeError::Invalid { mistakes, .. } => {
            let detail = format!("errors lists what is wrong: {} in all.", mistakes.len());
            let shown: Vec<_> = mistakes.iter().take(MOST_MISTAKES).collect();
            Problem::invalid("knowledge_invalid", detail).errors(json!(shown))
        }
        KnowledgeError::Read { .. } => Problem::internal(),
    }
}

fn matches(headers: &HeaderMap, version: u64) -> bool {
    let Some(wanted) = headers.get(header::IF_MATCH) else { return true };
    wanted.to_str().is_ok_and(|wanted| wanted == "*" || wanted.trim_matches('"') == version.to_string())
}

fn stale(version: u64) -> Problem {
    let detail = format!("The version in use is {version}.");
    Problem::new(StatusCode::PRECONDITION_FAILED, "knowledge_changed", "The knowledge has changed", detail)
}

fn no_version() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "version_not_found",
        "No such version",
        "GET /v1/knowledge/versions lists those that are kept.",
    )
}

fn number(version: &str) -> Result<u64, Problem> {
    version.parse().map_err(|_| no_version())
}

fn tag(headers: &mut HeaderMap, version: u64) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        headers.insert(header::ETAG, tag);
    }
}

/// Runs work that reads or writes files beside the event loop.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::internal()))
}
