//! Widget sessions: what a publishable key is exchanged for, so that a page's source gives nothing away
//! that lasts.
//!
//! A token is its own record, signed: `sbw_` and, in base64url, tenant, key, session and expiry with
//! their HMAC-SHA-256. Nothing is kept, so every process with the same secret accepts it. Revoking the key or
//! removing the origin ends its sessions.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::access::{Caller, Proof, unauthorised};
use crate::app::App;
use crate::clock::now_ms;
use crate::conversation::TenantId;
use crate::problem::Problem;
use crate::random;
use crate::tenant::{Found, KeyKind, Tenant};

/// What a token begins with.
pub const PREFIX: &str = "sbw_";
/// How long a token is good.
const LIFETIME_MS: u64 = 30 * 60 * 1000;
/// How long after that it may still be renewed, with the conversations it started.
const RENEWABLE_MS: u64 = 30 * 24 * 3600 * 1000;

/// Signs tokens.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    #[serde(rename = "t")]
    tenant: TenantId,
    #[serde(rename = "k")]
    key: String,
    #[serde(rename = "s")]
    session: String,
    #[serde(rename = "e")]
    expires_ms: u64,
}

/// A token for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub token: String,
    /// Until when it is good, in milliseconds since 1970.
    pub expires_ms: u64,
}

impl Signer {
    /// Signs with a secret of any length.
    pub fn new(secret: &[u8]) -> Self {
        // HMAC takes keys of every length; this cannot fail.
        Self(Hmac::new_from_slice(secret).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    fn sign(&self, claims: &Claims) -> Result<String, Problem> {
        let payload = serde_json::to_vec(claims).map_err(|_| Problem::internal())?;
        let mut mac = self.0.clone();
        mac.update(&payload);
        let signature = mac.finalize().into_bytes();
        Ok(format!("{PREFIX}{}.{}", BASE64.encode(payload), BASE64.encode(signature)))
    }

    fn verify(&self, token: &str) -> Option<Claims> {
        let (payload, signature) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let (payload, signature) = (BASE64.decode(payload).ok()?, BASE64.decode(signature).ok()?);
        let mut mac = self.0.clone();
        mac.update(&payload);
        mac.verify_slice(&signature).ok()?;
        serde_json::from_slice(&payload).ok()
    }
}

/// Opens a session for a publishable key, or goes on with the one that `renew` was a token of.
pub fn open(app: &App, key: &str, renew: Option<&str>, headers: &HeaderMap) -> Result<(Token, Found), Problem> {
    let now = now_ms();
    let found = app.tenants.find(key).filter(|found| found.key().is_valid(now));
    let found = found
        .filter(|found| found.key().kind == KeyKind::Publishable)
        .ok_or_else(|| unauthorised("The publishable key does not exist, was revoked or has expired."))?;
    let tenant = found.tenant.id();
    check_origin(&found.tenant, headers, true)?;
    let old = renew.and_then(|token| app.signer.verify(token));
    let old = old.filter(|claims| claims.tenant == *tenant && now < claims.expires_ms + RENEWABLE_MS);
    let session = match old {
        Some(claims) => claims.session,
        None => format!("ws_{}", random::hex().map_err(|_| Problem::internal())?),
    };
    let expires_ms = now + LIFETIME_MS;
    let claims = Claims { tenant: tenant.clone(), key: found.key().id.clone(), session, expires_ms };
    let token = app.signer.sign(&claims)?;
    Ok((Token { token, expires_ms }, found))
}

/// Who sends this token.
pub fn caller(app: &App, token: &str, headers: &HeaderMap) -> Result<Caller, Problem> {
    let claims = app.signer.verify(token).ok_or_else(|| unauthorised("The session token is not valid."))?;
    let now = now_ms();
    if claims.expires_ms <= now {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "session_expired",
            "The session has expired",
            "Ask for a new token: POST /v1/widget/sessions with the old one as renew.",
        ));
    }
    let tenant = app
        .tenants
        .get(&claims.tenant)
        .filter(|tenant| tenant.settings.keys.iter().any(|key| key.id == claims.key && key.is_valid(now)));
    let tenant = tenant.ok_or_else(|| unauthorised("The session's key was revoked."))?;
    check_origin(&tenant, headers, false)?;
    Ok(Caller { tenant, proof: Proof::Session, end_user: Some(claims.session) })
}

/// A browser may only speak for the tenant from the tenant's own pages. Other programs can lie about
/// their origin, so this protects visitors, not the tenant.
fn check_origin(tenant: &Tenant, headers: &HeaderMap, required: bool) -> Result<(), Problem> {
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
    match origin {
        None if !required => Ok(()),
        Some(origin) if allows(tenant, origin, headers) => Ok(()),
        _ => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "The widget may not run here",
            "Add this page's origin to the tenant's allowed_origins.",
        )),
    }
}

/// Whether pages of an origin may speak for a tenant. The demo page is the service's own.
pub fn allows(tenant: &Tenant, origin: &str, headers: &HeaderMap) -> bool {
    let own = || {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        tenant.open && host.is_some_and(|host| origin.split_once("://").is_some_and(|(_, rest)| rest == host))
    };
    tenant.settings.allowed_origins.iter().any(|allowed| allowed.as_str() == origin) || own()
}
