//! One repository's requests, with authentication, retries and redirects.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode, Uri};
use tokio::sync::Mutex;

use super::authentication::{self, Challenge};
use super::error::message;
use super::repository::is_loopback;
use super::transport::{Answer, Outgoing, Transport};
use super::{RegistryError, Repository, RetryPolicy};
use crate::assemble::Blob;
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::oci;
use crate::progress::{Progress, Step};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const REDIRECTS: usize = 5;

/// How patient the client is.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Tries.
    pub retry: RetryPolicy,
    /// The time one answer may take, beside the time its bytes need.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), patience: Duration::from_secs(60) }
    }
}

/// A client for one repository.
pub struct Registry<'a> {
    pub(super) repository: Repository,
    pub(super) progress: Progress<'a>,
    credentials: Option<Credentials>,
    transport: Transport,
    options: Options,
    authorization: Mutex<Option<HeaderValue>>,
}

impl<'a> Registry<'a> {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        repository: Repository,
        credentials: Option<Credentials>,
        options: Options,
        progress: Progress<'a>,
    ) -> Result<Self, RegistryError> {
        let transport = Transport::new(options.patience).map_err(|error| RegistryError::Unreachable {
            action: "any request".to_owned(),
            reason: error.to_string(),
        })?;
        let authorization = Mutex::new(None);
        Ok(Self { repository, progress, credentials, transport, options, authorization })
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

    /// A manifest by its digest, checked byte for byte.
    pub(super) async fn manifest(&self, digest: &Digest) -> Result<Blob, RegistryError> {
        let action = format!("the download of {digest}");
        let answer = self.call(self.manifest_request(Method::GET, digest.as_str())?, &action).await?;
        if answer.status == StatusCode::NOT_FOUND {
            let repository = self.repository.to_string();
            return Err(RegistryError::UnknownManifest { repository, digest: digest.clone() });
        }
        if answer.status != StatusCode::OK {
            return Err(self.refused(action, &answer));
        }
        let media_type =
            answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or(oci::MANIFEST);
        let blob = Blob::new(media_type, answer.body.clone());
        if blob.digest() != digest {
            let ours = blob.digest().clone();
            return Err(RegistryError::DigestMismatch { action, ours, theirs: digest.to_string() });
        }
        Ok(blob)
    }

    /// Puts a manifest under a tag; the raw answer, because a refusal needs a closer look.
    pub(super) async fn put_manifest(&self, tag: &str, manifest: &Blob) -> Result<Answer, RegistryError> {
        let mut request = self.manifest_request(Method::PUT, tag)?;
        let media_type = HeaderValue::from_str(&manifest.descriptor.media_type)
            .map_err(|error| protocol("a manifest upload", error))?;
        request.headers = vec![(CONTENT_TYPE, media_type)];
        request.body = manifest.bytes.clone();
        self.call(request, &format!("the tag `{tag}`")).await
    }

    /// Uploads a blob unless it is there; true if it was sent.
    pub(super) async fn ensure_blob(&self, blob: &Blob) -> Result<bool, RegistryError> {
        let digest = blob.digest();
        let short = &digest.hex()[..12];
        let action = format!("the look-up of blob {short}");
        let head = self.request(Method::HEAD, &format!("blobs/{digest}"))?;
        let answer = self.call(head, &action).await?;
        match answer.status {
            StatusCode::OK => {
                (self.progress)(Step::BlobPresent { digest });
                return Ok(false);
            }
            StatusCode::NOT_FOUND => {}
            _ => return Err(self.refused(action, &answer)),
        }
        (self.progress)(Step::Uploading { digest, size: blob.descriptor.size });
        let action = format!("the upload of blob {short}");
        let mut attempt = 1;
        loop {
            let begun = self.call(self.request(Method::POST, "blobs/uploads/")?, &action).await?;
            if begun.status != StatusCode::ACCEPTED {
                return Err(self.refused(action, &begun));
            }
            let put = self.upload_request(&begun, blob, &action)?;
            // One try here: a broken upload is begun anew, its session may be gone.
            let result = self.call_with(put, &action, 1).await;
            let reason = match &result {
                Ok(answer) if answer.status == StatusCode::CREATED => {
                    return check_digest(answer, digest, action).map(|()| true);
                }
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => message(&answer.body),
                Err(RegistryError::Unreachable { reason, .. }) => reason.clone(),
                Ok(answer) if is_transient(answer.status) => answer.status.to_string(),
                Ok(answer) => return Err(self.refused(action, answer)),
                Err(_) => return result.map(|_| false),
            };
            if attempt >= self.options.retry.attempts {
                return result.and_then(|answer| Err(self.refused(action, &answer)));
            }
            self.pause(attempt, &reason, result.ok().as_ref()).await;
            attempt += 1;
        }
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

    fn request(&self, method: Method, path: &str) -> Result<Outgoing, RegistryError> {
        let text = format!("{}/v2/{}/{path}", self.repository.base(), self.repository.name());
        let uri = text.parse().map_err(|_| RegistryError::Repository(self.repository.to_string()))?;
        Ok(Outgoing { method, uri, headers: Vec::new(), body: Bytes::new() })
    }

    fn manifest_request(&self, method: Method, reference: &str) -> Result<Outgoing, RegistryError> {
        let mut request = self.request(method, &format!("manifests/{reference}"))?;
        let types = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                     application/vnd.docker.distribution.manifest.v2+json, \
                     application/vnd.docker.distribution.manifest.list.v2+json";
        request.headers.push((ACCEPT, HeaderValue::from_static(types)));
        Ok(request)
    }

    fn upload_request(&self, begun: &Answer, blob: &Blob, action: &str) -> Result<Outgoing, RegistryError> {
        let location = begun.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| protocol(action, "no Location for the upload"))?;
        let separator = if location.contains('?') { '&' } else { '?' };
        let target = format!("{location}{separator}digest={}", blob.digest());
        let base = self.repository.base().parse().map_err(|error| protocol(action, error))?;
        let uri = resolve(&base, &target).ok_or_else(|| protocol(action, "its Location is not a safe address"))?;
        let content = HeaderValue::from_static("application/octet-stream");
        Ok(Outgoing { method: Method::PUT, uri, headers: vec![(CONTENT_TYPE, content)], body: blob.bytes.clone() })
    }

    async fn call(&self, request: Outgoing, action: &str) -> Result<Answer, RegistryError> {
        self.call_with(request, action, self.options.retry.attempts).await
    }

    /// Sends a request: authenticates when asked to, follows redirects of reads, tries again what may pass.
    async fn call_with(&self, mut request: Outgoing, action: &str, attempts: u32) -> Result<Answer, RegistryError> {
        let (mut attempt, mut redirects, mut authenticated) = (1, 0, false);
        loop {
            let home = self.is_home(&request.uri);
            // The password goes to the registry itself only, wherever it redirects.
            let authorization = if home { self.authorization.lock().await.clone() } else { None };
            let result = self.transport.send(&request, authorization.as_ref()).await;
            let reason = match &result {
                Err(reason) => reason.clone(),
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && home => {
                    if authenticated {
                        return Err(authentication::rejected(
                            self.repository.registry().to_owned(),
                            self.credentials.as_ref(),
                        ));
                    }
                    self.authenticate(answer).await?;
                    authenticated = true;
                    continue;
                }
                Ok(answer) if is_transient(answer.status) => format!("{action}: {}", answer.status),
                Ok(answer) if answer.status.is_redirection() && is_read(&request.method) && redirects < REDIRECTS => {
                    let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                    let target = location.and_then(|location| resolve(&request.uri, location));
                    request.uri = target.ok_or_else(|| protocol(action, "a redirect to no safe address"))?;
                    redirects += 1;
                    continue;
                }
                Ok(_) => String::new(),
            };
            if reason.is_empty() || attempt >= attempts {
                return result.map_err(|reason| RegistryError::Unreachable { action: action.to_owned(), reason });
            }
            self.pause(attempt, &reason, result.ok().as_ref()).await;
            attempt += 1;
        }
    }

    async fn pause(&self, attempt: u32, reason: &str, answer: Option<&Answer>) {
        let asked = answer
            .and_then(|answer| answer.headers.get(RETRY_AFTER))
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        let pause = self.options.retry.pause(attempt, asked);
        (self.progress)(Step::Retrying { reason, pause });
        tokio::time::sleep(pause).await;
    }

    async fn authenticate(&self, answer: &Answer) -> Result<(), RegistryError> {
        let registry = self.repository.registry().to_owned();
        let Some(challenge) = Challenge::read(&answer.headers) else {
            let reason = "neither Basic nor Bearer is offered".to_owned();
            return Err(RegistryError::Challenge { registry, reason });
        };
        let credentials = self.credentials.as_ref();
        let header = match challenge {
            Challenge::Basic => {
                let known = credentials.ok_or(RegistryError::NoCredentials { registry: registry.clone() })?;
                authentication::basic(known).ok_or(RegistryError::Challenge {
                    registry,
                    reason: "the password cannot be sent in a header".to_owned(),
                })?
            }
            Challenge::Bearer { realm, service, scope } => {
                let request = authentication::token_request(
                    &self.repository,
                    &realm,
                    service.as_deref(),
                    scope.as_deref(),
                    credentials,
                )?;
                let answer = self.token(&request).await?;
                authentication::read_token(&answer, &self.repository, credentials)?
            }
        };
        *self.authorization.lock().await = Some(header);
        Ok(())
    }

    async fn token(&self, request: &Outgoing) -> Result<Answer, RegistryError> {
        let mut attempt = 1;
        loop {
            let result = self.transport.send(request, None).await;
            let reason = match &result {
                Ok(answer) if !is_transient(answer.status) => String::new(),
                Ok(answer) => format!("the token request: {}", answer.status),
                Err(reason) => reason.clone(),
            };
            if reason.is_empty() || attempt >= self.options.retry.attempts {
                let action = "a token".to_owned();
                return result.map_err(|reason| RegistryError::Unreachable { action, reason });
            }
            self.pause(attempt, &reason, result.ok().as_ref()).await;
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

fn protocol(action: &str, reason: impl ToString) -> RegistryError {
    RegistryError::Protocol { action: action.to_owned(), reason: reason.to_string() }
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn is_transient(status: StatusCode) -> bool {
    // 501 and 505 say that the registry cannot do it at all.
    status == StatusCode::TOO_MANY_REQUESTS
        || (status.is_server_error()
            && status != StatusCode::NOT_IMPLEMENTED
            && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED)
}

/// A Location relative to the address that named it; none that would leave TLS for plain HTTP on another machine.
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
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
