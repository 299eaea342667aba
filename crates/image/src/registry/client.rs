//! One repository's requests, with authentication, retries and redirects.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderValue, Method, StatusCode, Uri};
use tokio::sync::Mutex;

use super::authentication::{self, Challenge, Wanted};
use super::error::message;
use super::repository::is_loopback;
use super::retry::asked_pause;
use super::transport::{Answer, Broken, LARGEST_ANSWER, Outgoing, Transport};
use super::{RegistryError, Repository, RetryPolicy};
use crate::assemble::Blob;
use crate::digest::Digest;
use crate::login::Login;
use crate::progress::{Progress, Step};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const REDIRECTS: usize = 5;

/// How the client works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tries.
    pub retry: RetryPolicy,
    /// The longest time in which a connection may stand still.
    pub patience: Duration,
    /// The bytes in one request of an upload: what a broken connection can cost at most where the registry keeps nothing of
    /// a request that was cut off.
    pub chunk: u64,
    /// Blobs that are sent at the same time.
    pub parallel: usize,
    /// Another repository of the registry, which may have some of the blobs.
    pub mount_from: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            patience: Duration::from_secs(60),
            chunk: 8 << 20,
            parallel: 4,
            mount_from: None,
        }
    }
}

/// A client for one repository.
pub struct Registry<'a> {
    pub(super) repository: Repository,
    pub(super) progress: Progress<'a>,
    pub(super) options: Options,
    login: Login,
    transport: Transport,
    authorization: Mutex<Authorization>,
}

/// What the registry wants to see in every request.
#[derive(Clone)]
enum Authorization {
    /// Not known yet: the first answer tells.
    Unasked,
    /// Name and password.
    Basic,
    /// The token that was fetched last.
    Bearer(HeaderValue),
}

impl<'a> Registry<'a> {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        repository: Repository,
        login: impl Into<Login>,
        options: Options,
        progress: Progress<'a>,
    ) -> Result<Self, RegistryError> {
        let transport = Transport::new(options.patience).map_err(|error| RegistryError::Unreachable {
            action: "any request".to_owned(),
            reason: error.to_string(),
        })?;
        let login = login.into();
        // ECR is known to ask for Basic: no need to be told.
        let authorization = if matches!(login, Login::Ecr(_)) { Authorization::Basic } else { Authorization::Unasked };
        Ok(Self { repository, progress, options, login, transport, authorization: Mutex::new(authorization) })
    }

    /// Where it works.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// What a tag or digest names, if anything.
    ///
    /// # Errors
    /// The registry refuses or cannot be reached.
    pub async fn find_manifest(&self, reference: &str) -> Result<Option<Digest>, RegistryError> {
        let action = format!("the look-up of `{reference}`");
        let answer = self.call(self.manifest_request(Method::HEAD, reference)?, &action).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.refused(action, &answer)),
        }
        if let Some(digest) = answer.headers.get(CONTENT_DIGEST).and_then(|value| value.to_str().ok()) {
            let digest = digest.parse().map_err(|error| protocol(&action, error))?;
            return Ok(Some(digest));
        }
        let manifest = self.call(self.manifest_request(Method::GET, reference)?, &action).await?;
        Ok((manifest.status == StatusCode::OK).then(|| Digest::of(&manifest.body)))
    }

    /// Puts a manifest under a tag or its digest.
    ///
    /// # Errors
    /// The registry refuses, lies or cannot be reached.
    pub async fn put_manifest(&self, reference: &str, manifest: &Blob) -> Result<(), RegistryError> {
        let action = format!("the manifest `{reference}`");
        let answer = self.send_manifest(reference, manifest).await?;
        match answer.status {
            StatusCode::CREATED => check_digest(&answer, manifest.digest(), action),
            _ => Err(self.refused(action, &answer)),
        }
    }

    /// The raw answer to a manifest, where a refusal needs a closer look.
    pub(super) async fn send_manifest(&self, reference: &str, manifest: &Blob) -> Result<Answer, RegistryError> {
        let mut request = self.manifest_request(Method::PUT, reference)?;
        let media_type = HeaderValue::from_str(&manifest.descriptor.media_type)
            .map_err(|error| protocol("a manifest upload", error))?;
        request.headers = vec![(CONTENT_TYPE, media_type)];
        request.body = manifest.bytes.clone();
        self.call(request, &format!("the manifest `{reference}`")).await
    }

    /// An error for an answer that no caller expects.
    pub(super) fn refused(&self, action: String, answer: &Answer) -> RegistryError {
        let message = message(&answer.body);
        match answer.status {
            StatusCode::FORBIDDEN => RegistryError::Denied { action, message },
            StatusCode::NOT_FOUND => {
                RegistryError::UnknownRepository { repository: self.repository.name().to_owned(), message }
            }
            status => RegistryError::Unexpected { action, status, message },
        }
    }

    pub(super) fn request(&self, method: Method, path: &str) -> Result<Outgoing, RegistryError> {
        let text = format!("{}/v2/{}/{path}", self.repository.base(), self.repository.name());
        let uri = text.parse().map_err(|_| RegistryError::Repository(self.repository.to_string()))?;
        Ok(Outgoing { method, uri, headers: Vec::new(), body: Bytes::new(), largest_answer: LARGEST_ANSWER })
    }

    pub(super) fn manifest_request(&self, method: Method, reference: &str) -> Result<Outgoing, RegistryError> {
        let mut request = self.request(method, &format!("manifests/{reference}"))?;
        let types = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                     application/vnd.docker.distribution.manifest.v2+json, \
                     application/vnd.docker.distribution.manifest.list.v2+json";
        request.headers.push((ACCEPT, HeaderValue::from_static(types)));
        Ok(request)
    }

    pub(super) fn base(&self, action: &str) -> Result<Uri, RegistryError> {
        self.repository.base().parse().map_err(|error| protocol(action, error))
    }

    /// Sends a request, and again what may pass.
    pub(super) async fn call(&self, request: Outgoing, action: &str) -> Result<Answer, RegistryError> {
        let mut attempt = 1;
        loop {
            let (reason, answer) = match self.exchange(&request, action, &|_| {}).await? {
                Ok(answer) if is_transient(answer.status) => (format!("{action}: {}", answer.status), Some(answer)),
                Ok(answer) => return Ok(answer),
                Err(Broken::Connection(reason)) => (reason, None),
                Err(Broken::TooLarge(reason)) => return Err(protocol(action, reason)),
            };
            self.pause_or_give_up(attempt, action, reason, answer.as_ref()).await?;
            attempt += 1;
        }
    }

    /// One request: authenticates when asked to, and follows redirects of reads.
    pub(super) async fn exchange(
        &self,
        request: &Outgoing,
        action: &str,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Result<Answer, Broken>, RegistryError> {
        let mut request = request.clone();
        let (mut redirects, mut authenticated) = (0, false);
        loop {
            let home = self.is_home(&request.uri);
            // The password goes to the registry itself only, wherever it redirects.
            let authorization = if home { self.authorization().await? } else { None };
            let answer = match self.transport.send(&request, authorization.as_ref(), sent).await {
                Ok(answer) => answer,
                Err(broken) => return Ok(Err(broken)),
            };
            if answer.status == StatusCode::UNAUTHORIZED && home {
                if authenticated {
                    return Err(self.rejected().await?);
                }
                self.authenticate(&answer).await?;
                authenticated = true;
            } else if answer.status.is_redirection() && is_read(&request.method) && redirects < REDIRECTS {
                let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                let target = location.and_then(|location| resolve(&request.uri, location));
                request.uri = target.ok_or_else(|| protocol(action, "a redirect to no safe address"))?;
                redirects += 1;
            } else {
                return Ok(Ok(answer));
            }
        }
    }

    /// Waits before another try; or turns the failure into the error that it is, after the last one.
    pub(super) async fn pause_or_give_up(
        &self,
        attempt: u32,
        action: &str,
        reason: String,
        answer: Option<&Answer>,
    ) -> Result<(), RegistryError> {
        let asked = answer.and_then(|answer| asked_pause(&answer.headers));
        let pause = self.options.retry.pause(attempt, asked);
        match pause.filter(|_| attempt < self.options.retry.attempts) {
            Some(pause) => {
                (self.progress)(Step::Retrying { reason: &reason, pause });
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(match answer {
                Some(answer) => self.refused(action.to_owned(), answer),
                None => RegistryError::Unreachable { action: action.to_owned(), reason },
            }),
        }
    }

    /// The header for the registry itself. A password may have been renewed meanwhile.
    async fn authorization(&self) -> Result<Option<HeaderValue>, RegistryError> {
        let authorization = self.authorization.lock().await.clone();
        Ok(match authorization {
            Authorization::Unasked => None,
            Authorization::Basic => self.login.credentials().await?.as_ref().and_then(authentication::basic),
            Authorization::Bearer(token) => Some(token),
        })
    }

    async fn rejected(&self) -> Result<RegistryError, RegistryError> {
        let registry = self.repository.registry().to_owned();
        Ok(authentication::rejected(registry, self.login.credentials().await?.as_ref()))
    }

    async fn authenticate(&self, answer: &Answer) -> Result<(), RegistryError> {
        let registry = self.repository.registry().to_owned();
        let Some(challenge) = Challenge::read(&answer.headers) else {
            let reason = "neither Basic nor Bearer is offered".to_owned();
            return Err(RegistryError::Challenge { registry, reason });
        };
        let credentials = self.login.credentials().await?;
        let authorization = match challenge {
            Challenge::Basic => {
                let known = credentials.ok_or(RegistryError::NoCredentials { registry: registry.clone() })?;
                if authentication::basic(&known).is_none() {
                    let reason = "the password cannot be sent in a header".to_owned();
                    return Err(RegistryError::Challenge { registry, reason });
                }
                Authorization::Basic
            }
            Challenge::Bearer { realm, service, scope } => {
                let wanted = Wanted {
                    repository: &self.repository,
                    mount_from: self.options.mount_from.as_deref(),
                    challenged: scope.as_deref(),
                };
                let request = authentication::token_request(&wanted, &realm, service.as_deref(), credentials.as_ref())?;
                let answer = self.token(&request).await?;
                let token = authentication::read_token(&answer, &self.repository, credentials.as_ref())?;
                Authorization::Bearer(token)
            }
        };
        *self.authorization.lock().await = authorization;
        Ok(())
    }

    async fn token(&self, request: &Outgoing) -> Result<Answer, RegistryError> {
        let action = "a token";
        let mut attempt = 1;
        loop {
            let (reason, answer) = match self.transport.send(request, None, &|_| {}).await {
                Ok(answer) if is_transient(answer.status) => (format!("{action}: {}", answer.status), Some(answer)),
                Ok(answer) => return Ok(answer),
                Err(Broken::Connection(reason)) => (reason, None),
                Err(Broken::TooLarge(reason)) => return Err(protocol(action, reason)),
            };
            self.pause_or_give_up(attempt, action, reason, answer.as_ref()).await?;
            attempt += 1;
        }
    }

    fn is_home(&self, uri: &Uri) -> bool {
        let base: Result<Uri, _> = self.repository.base().parse();
        base.is_ok_and(|base| base.scheme() == uri.scheme() && base.authority() == uri.authority())
    }
}

/// An answer's digest must be the content's, if it names one.
pub(super) fn check_digest(answer: &Answer, ours: &Digest, action: String) -> Result<(), RegistryError> {
    match answer.headers.get(CONTENT_DIGEST).and_then(|value| value.to_str().ok()) {
        Some(theirs) if theirs != ours.as_str() => {
            Err(RegistryError::DigestMismatch { action, ours: ours.clone(), theirs: theirs.to_owned() })
        }
        _ => Ok(()),
    }
}

pub(super) fn protocol(action: &str, reason: impl ToString) -> RegistryError {
    RegistryError::Protocol { action: action.to_owned(), reason: reason.to_string() }
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

pub(super) fn is_transient(status: StatusCode) -> bool {
    // 501 and 505 say that the registry cannot do it at all.
    status == StatusCode::TOO_MANY_REQUESTS
        || (status.is_server_error()
            && status != StatusCode::NOT_IMPLEMENTED
            && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED)
}

/// A Location relative to the address that named it; none that would leave TLS for plain HTTP on another machine.
pub(super) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let absolute = location.starts_with("http://") || location.starts_with("https://");
    let uri: Uri = if absolute {
        location.parse().ok()?
    } else if location.starts_with('/') && !location.starts_with("//") {
        format!("{}://{}{location}", base.scheme_str()?, base.authority()?).parse().ok()?
    } else {
        return None;
    };
    let safe =
        uri.scheme_str() == Some("https") || uri.authority().is_some_and(|authority| is_loopback(authority.as_str()));
    safe.then_some(uri)
}
