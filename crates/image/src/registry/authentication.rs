//! The answer to a registry's challenge: Basic, or a Bearer token from the place it names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;

use super::repository::is_loopback;
use super::transport::{Answer, LARGEST_ANSWER, Outgoing};
use super::{RegistryError, Repository};
use crate::credentials::Credentials;

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The strongest challenge that is understood, from every WWW-Authenticate header.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let values: Vec<&str> =
            headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
        let bearer = values.iter().find_map(|value| {
            let parameters = strip_scheme(value, "bearer")?;
            let find = |name: &str| parameter(parameters, name);
            Some(Self::Bearer { realm: find("realm")?, service: find("service"), scope: find("scope") })
        });
        bearer.or_else(|| values.iter().any(|value| strip_scheme(value, "basic").is_some()).then_some(Self::Basic))
    }
}

fn strip_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let head = value.get(..scheme.len())?;
    let rest = &value[scheme.len()..];
    (head.eq_ignore_ascii_case(scheme) && (rest.is_empty() || rest.starts_with(' '))).then(|| rest.trim_start())
}

/// `name="value"` in a list; a quoted value may hold commas.
fn parameter(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    loop {
        let (key, tail) = rest.split_once('=')?;
        let (value, tail) = match tail.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => tail.split_once(',').unwrap_or((tail, "")),
        };
        if key.trim_start_matches([',', ' ']).eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = tail;
    }
}

pub(super) fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let pair = STANDARD.encode(format!("{}:{}", credentials.username, credentials.password));
    secret(&format!("Basic {pair}"))
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a token is for.
pub(super) struct Wanted<'a> {
    pub(super) repository: &'a Repository,
    /// A repository to take blobs from.
    pub(super) mount_from: Option<&'a str>,
    /// The scope that the challenge named.
    pub(super) challenged: Option<&'a str>,
}

/// The request for a Bearer token.
pub(super) fn token_request(
    wanted: &Wanted<'_>,
    realm: &str,
    service: Option<&str>,
    credentials: Option<&Credentials>,
) -> Result<Outgoing, RegistryError> {
    let repository = wanted.repository;
    let refuse = |reason: String| RegistryError::Challenge { registry: repository.registry().to_owned(), reason };
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    // One scope for the whole push: the challenge of a HEAD names `pull` alone.
    query.append_pair("scope", &format!("repository:{}:pull,push", repository.name()));
    if let Some(from) = wanted.mount_from {
        query.append_pair("scope", &format!("repository:{from}:pull"));
    }
    if let Some(scope) = wanted.challenged.filter(|scope| !scope.contains(repository.name())) {
        query.append_pair("scope", scope);
    }
    let separator = if realm.contains('?') { '&' } else { '?' };
    let uri: Uri = format!("{realm}{separator}{}", query.finish())
        .parse()
        .map_err(|_| refuse(format!("the realm `{realm}` is not an address")))?;
    let plain = uri.scheme_str() != Some("https");
    if plain && !uri.authority().is_some_and(|authority| is_loopback(authority.as_str())) {
        return Err(refuse(format!("the realm `{realm}` would receive the password without TLS")));
    }
    let headers = credentials.and_then(basic).map(|value| (AUTHORIZATION, value)).into_iter().collect();
    Ok(Outgoing { method: Method::GET, uri, headers, body: Bytes::new(), largest_answer: LARGEST_ANSWER })
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The header made of a token service's answer.
pub(super) fn read_token(
    answer: &Answer,
    repository: &Repository,
    credentials: Option<&Credentials>,
) -> Result<HeaderValue, RegistryError> {
    let registry = repository.registry().to_owned();
    match answer.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(rejected(registry, credentials)),
        status => {
            let action = "a token request".to_owned();
            return Err(RegistryError::Unexpected { action, status, message: super::error::message(&answer.body) });
        }
    }
    serde_json::from_slice::<Token>(&answer.body)
        .ok()
        .and_then(|token| token.token.or(token.access_token))
        .and_then(|token| secret(&format!("Bearer {token}")))
        .ok_or_else(|| RegistryError::Challenge { registry, reason: "the token service sent no token".to_owned() })
}

pub(super) fn rejected(registry: String, credentials: Option<&Credentials>) -> RegistryError {
    match credentials {
        Some(credentials) => RegistryError::WrongCredentials { registry, username: credentials.username.clone() },
        None => RegistryError::NoCredentials { registry },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_scope_with_commas_is_one_parameter() {
        let mut headers = HeaderMap::new();
        let text = r#"Bearer realm="https://auth.example.com/token",service="r",scope="repository:a/b:pull,push""#;
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(text));
        let expected = Challenge::Bearer {
            realm: "https://auth.example.com/token".to_owned(),
            service: Some("r".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(Challenge::read(&headers), Some(expected));
    }
}
