//! Cross-origin requests: a tenant's pages may read what its keys and sessions may ask for.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::app::App;
use crate::session::allows;
use crate::tenant::Tenant;

const HEADERS: &str = "authorization, content-type, idempotency-key, last-event-id, x-request-id, traceparent";
const EXPOSED: &str = "x-request-id, retry-after, ratelimit, ratelimit-policy, idempotency-replayed";

/// Answers a browser's question whether a page may ask at all. It comes without a key, so the
/// answer is yes when any tenant's pages are on that origin; the request itself is judged by its own.
/// `None` for a request that is no such question.
pub fn preflight(app: &App, request: &Request) -> Option<Response> {
    let headers = request.headers();
    let asks = request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !asks || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let answer = response.headers_mut();
    if let Some(origin) = allowed(app, None, headers) {
        expose(answer, origin);
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE"));
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    answer.append(header::VARY, HeaderValue::from_static("origin"));
    Some(response)
}

/// The origin of a request, if its pages may read the response: one of this tenant's or, where the tenant is not
/// known, as in a refusal, one of any tenant's.
pub fn allowed(app: &App, tenant: Option<&Tenant>, headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(header::ORIGIN)?;
    let origin = value.to_str().ok()?;
    let allowed = match tenant {
        Some(tenant) => allows(tenant, origin, headers),
        None => app.tenants.all().iter().any(|tenant| allows(tenant, origin, headers)),
    };
    allowed.then(|| value.clone())
}

/// Lets a page of this origin read the response.
pub fn expose(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}
