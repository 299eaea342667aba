//! Who is asking: keys, widget sessions, and what they may do.
//!
//! The route table says what each route needs ([`Access`]); [`guard`] turns the `Authorization`
//! header into a [`Caller`] before any handler runs, so no handler can forget to ask.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use crate::app::App;
use crate::clock::now_ms;
use crate::conversation::{ConversationId, ConversationKey, StoreError};
use crate::cors;
use crate::idempotency::{self, IDEMPOTENCY_KEY};
use crate::limits::Standing;
use crate::problem::Problem;
use crate::tenant::{KeyKind, Scope, Tenant, hash};

/// The header with which a tenant's server says for whom it asks.
pub const END_USER: &str = "x-end-user";

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// A tenant's key or session with this scope.
    Tenant(Scope),
    /// The operator's key.
    Operator,
}

/// What the guard of a route has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// What a caller needs.
    pub access: Access,
    /// Whether the route heeds `Idempotency-Key`.
    pub once: bool,
}

/// Who is asking, for which tenant, with which rights.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The tenant; nothing of another one can be reached.
    pub tenant: Arc<Tenant>,
    /// How it was proven.
    pub proof: Proof,
    /// The person it is done for, where one is known. Conversations of others do not exist then.
    pub end_user: Option<String>,
}

/// How a caller showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Not at all: the demo's tenant is open.
    Nothing,
    /// By a secret key, at this position among the tenant's.
    Key(usize),
    /// By the token of a widget session.
    Session,
}

impl Caller {
    /// Whether this caller has a right.
    pub fn may(&self, scope: Scope) -> bool {
        match self.proof {
            Proof::Key(position) => self.tenant.settings.keys[position].scopes.contains(&scope),
            Proof::Nothing | Proof::Session => scope == Scope::Chat,
        }
    }

    /// Names a conversation of this caller's tenant.
    pub fn conversation(&self, id: ConversationId) -> ConversationKey {
        ConversationKey { tenant: self.tenant.id().clone(), id }
    }

    /// Refuses a conversation that is not one of this caller's, as if it did not exist. Its own are, and with a secret key
    /// any of the tenant's.
    pub fn see(&self, owner: Option<&str>) -> Result<(), StoreError> {
        let is_ours = match (&self.proof, &self.end_user, owner) {
            (Proof::Key(_), None, _) | (_, None, None) => true,
            (_, Some(user), Some(owner)) => user == owner,
            (_, _, _) => false,
        };
        if is_ours { Ok(()) } else { Err(StoreError::NotFound) }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // A route whose access is `Public` has no caller to take: a mistake in the route table.
        parts.extensions.remove::<Caller>().ok_or_else(Problem::internal)
    }
}

/// A response on its way.
pub type Answered = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Lets a request through when it has the access its route needs and its tenant is not too fast.
///
/// What can be decided is decided at once: a future that waits for the answer would carry the request along.
pub fn guard(
    app: &Arc<App>,
    needs: Needs,
    request: Request,
    next: impl FnOnce(Request) -> Answered + Send + 'static,
) -> impl Future<Output = Response> + Send {
    let allowed = match needs.access {
        Access::Public => Ok(None),
        Access::Operator => operator(app, request.headers()).map(|()| None),
        Access::Tenant(scope) => authenticate(app, request.headers())
            .and_then(|caller| if caller.may(scope) { Ok(Some(caller)) } else { Err(forbidden(scope)) }),
    };
    let tenant = allowed.as_ref().ok().and_then(Option::as_ref).map(|caller| &*caller.tenant);
    let origin = cors::allowed(app, tenant, request.headers());
    let (standing, answer) = match allowed {
        Ok(Some(caller)) => limited(app, caller, needs.once, request, next),
        Ok(None) => (None, next(request)),
        Err(problem) => (None, refused(problem)),
    };
    async move {
        let mut response = answer.await;
        if let Some(standing) = standing {
            standing.describe(response.headers_mut());
        }
        if let Some(origin) = origin {
            cors::expose(response.headers_mut(), origin);
        }
        response
    }
}

fn limited(
    app: &Arc<App>,
    caller: Caller,
    once: bool,
    mut request: Request,
    next: impl FnOnce(Request) -> Answered + Send + 'static,
) -> (Option<Standing>, Answered) {
    let standing = app.rates.request(caller.tenant.id(), &caller.tenant.settings.limits);
    let key = request.headers().get(IDEMPOTENCY_KEY).filter(|_| once).cloned();
    let answer = match key {
        _ if !standing.allowed => refused(standing.problem("The tenant")),
        Some(key) => {
            let app = Arc::clone(app);
            Box::pin(async move { idempotency::once(&app, caller, &key, request, next).await })
        }
        None => {
            request.extensions_mut().insert(caller);
            next(request)
        }
    };
    (Some(standing), answer)
}

fn refused(problem: Problem) -> Answered {
    Box::pin(std::future::ready(problem.into_response()))
}

/// The caller of a request.
pub fn authenticate(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    let Some(token) = bearer(headers)? else {
        let tenant = app.tenants.open_tenant().ok_or_else(|| unauthorised("Send Authorization: Bearer <key>."))?;
        return Ok(Caller { tenant, proof: Proof::Nothing, end_user: None });
    };
    if token.starts_with(crate::session::PREFIX) {
        return crate::session::caller(app, token, headers);
    }
    let found = app.tenants.find(token).filter(|found| found.key().is_valid(now_ms()));
    let found = found.ok_or_else(|| unauthorised("The key does not exist, was revoked or has expired."))?;
    let key = found.key();
    if key.kind != KeyKind::Secret {
        return Err(unauthorised("A publishable key only opens widget sessions: POST /v1/widget/sessions."));
    }
    Ok(Caller { proof: Proof::Key(found.position), end_user: end_user(headers)?, tenant: found.tenant })
}

fn operator(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let expected =
        app.operator_key.ok_or_else(|| unauthorised("This service has no operator: set OPERATOR_KEY_SHA256."))?;
    let token = bearer(headers)?.ok_or_else(|| unauthorised("Send Authorization: Bearer <operator key>."))?;
    // Hashes are compared, so the time it takes tells nothing about the key.
    if hash(token) == expected { Ok(()) } else { Err(unauthorised("This is not the operator's key.")) }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    token.map(Some).ok_or_else(|| unauthorised("Authorization must be: Bearer <key>."))
}

fn end_user(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(END_USER) else { return Ok(None) };
    let sane = |text: &&str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b))
    };
    match value.to_str().ok().filter(sane) {
        Some(user) => Ok(Some(user.to_owned())),
        None => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_end_user",
            "Not a valid end user",
            "X-End-User is 1 to 64 letters, digits, and -_.:@",
        )),
    }
}

/// Nobody we know.
pub fn unauthorised(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Authentication is needed", detail)
}

fn forbidden(scope: Scope) -> Problem {
    let detail = format!("The key does not have the scope {:?}.", scope.name());
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "The key may not do this", detail)
}
