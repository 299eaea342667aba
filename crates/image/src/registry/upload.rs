//! Sending one blob: not at all if it is there, mounted from a repository that has it, or in chunks that go on where a
//! broken connection left off.

use std::time::Instant;

use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use http::{HeaderValue, Method, StatusCode, Uri};

use super::client::{check_digest, is_transient, protocol, resolve};
use super::error::message;
use super::transport::{Answer, Broken, Outgoing};
use super::{Registry, RegistryError};
use crate::assemble::Blob;
use crate::digest::Digest;
use crate::progress::Step;

/// The least a registry wants in every chunk but the last.
const CHUNK_MINIMUM: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It was there.
    Present,
    /// The registry took it from another repository.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

/// An upload that was begun: where the next bytes go, and how many the registry has.
struct Session {
    location: Uri,
    offset: u64,
    chunk: u64,
    /// Whether it went on after a failure.
    resumed: bool,
}

enum Begun {
    Upload(Session),
    Mounted,
}

/// What one request of an upload came to.
enum Advance {
    Finished,
    Further,
    /// It may pass.
    Broken {
        reason: String,
        answer: Option<Answer>,
    },
}

impl Registry<'_> {
    /// Makes sure that a blob is in the repository.
    ///
    /// # Errors
    /// The registry refuses, lies or cannot be reached.
    pub async fn put_blob(&self, blob: &Blob) -> Result<Sent, RegistryError> {
        let digest = blob.digest();
        if self.has_blob(digest).await? {
            (self.progress)(Step::BlobPresent { digest });
            return Ok(Sent::Present);
        }
        let mut session = match self.begin(digest, self.options.mount_from.as_deref()).await? {
            Begun::Upload(session) => session,
            Begun::Mounted => {
                (self.progress)(Step::BlobMounted { digest });
                return Ok(Sent::Mounted);
            }
        };
        (self.progress)(Step::Uploading { digest, size: blob.descriptor.size });
        let started = Instant::now();
        // Without progress an upload fails as often as a request may; with progress more often, but not for ever.
        let (mut in_a_row, mut failures) = (0, 0);
        loop {
            match self.advance(&mut session, blob).await? {
                Advance::Finished => break,
                Advance::Further => in_a_row = 0,
                Advance::Broken { reason, answer } => {
                    in_a_row += 1;
                    failures += 1;
                    let attempts = self.options.retry.attempts;
                    let attempt = if failures >= attempts.saturating_pow(2) { attempts } else { in_a_row };
                    self.pause_or_give_up(attempt, &upload_of(digest), reason, answer.as_ref()).await?;
                    if self.recover(&mut session, blob).await? {
                        break;
                    }
                }
            }
        }
        (self.progress)(Step::Uploaded { digest, size: blob.descriptor.size, time: started.elapsed() });
        Ok(Sent::Uploaded)
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let action = format!("the look-up of blob {}", digest.short());
        let answer = self.call(self.request(Method::HEAD, &format!("blobs/{digest}"))?, &action).await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refused(action, &answer)),
        }
    }

    async fn begin(&self, digest: &Digest, mount_from: Option<&str>) -> Result<Begun, RegistryError> {
        let action = upload_of(digest);
        let path = match mount_from {
            Some(from) => format!("blobs/uploads/?mount={digest}&from={from}"),
            None => "blobs/uploads/".to_owned(),
        };
        let answer = self.call(self.request(Method::POST, &path)?, &action).await?;
        match answer.status {
            StatusCode::CREATED if mount_from.is_some() => {
                check_digest(&answer, digest, action)?;
                Ok(Begun::Mounted)
            }
            // The registry would not mount, and began an upload instead, or has this one as well.
            StatusCode::ACCEPTED => {
                let base = self.base(&action)?;
                let location = location(&base, &answer, &action)?.ok_or_else(|| protocol(&action, "no Location"))?;
                let least = answer.headers.get(CHUNK_MINIMUM).and_then(|value| value.to_str().ok()?.parse().ok());
                let chunk = self.options.chunk.max(least.unwrap_or(0)).max(1);
                Ok(Begun::Upload(Session { location, offset: 0, chunk, resumed: false }))
            }
            _ => Err(self.refused(action, &answer)),
        }
    }

    /// Sends the next chunk; the last one closes the upload.
    async fn advance(&self, session: &mut Session, blob: &Blob) -> Result<Advance, RegistryError> {
        let digest = blob.digest();
        let action = upload_of(digest);
        let size = blob.descriptor.size;
        let end = size.min(session.offset + session.chunk);
        let last = end == size;
        let content = HeaderValue::from_static("application/octet-stream");
        let mut headers = vec![(CONTENT_TYPE, content)];
        if end > session.offset && !(last && session.offset == 0) {
            let range = HeaderValue::from_str(&format!("{}-{}", session.offset, end - 1));
            headers.push((CONTENT_RANGE, range.map_err(|error| protocol(&action, error))?));
        }
        let request = Outgoing {
            method: if last { Method::PUT } else { Method::PATCH },
            uri: if last { with_digest(&session.location, digest, &action)? } else { session.location.clone() },
            headers,
            body: blob.bytes.slice(index(session.offset)..index(end)),
            largest_answer: super::transport::LARGEST_ANSWER,
        };
        let begin = session.offset;
        let sent = |bytes: u64| (self.progress)(Step::Sent { digest, sent: begin + bytes, size });
        let answer = match self.exchange(&request, &action, &sent).await? {
            Ok(answer) => answer,
            Err(Broken::Connection(reason)) => return Ok(Advance::Broken { reason, answer: None }),
            Err(Broken::TooLarge(reason)) => return Err(protocol(&action, reason)),
        };
        match answer.status {
            StatusCode::CREATED if last => {
                check_digest(&answer, digest, action)?;
                Ok(Advance::Finished)
            }
            StatusCode::ACCEPTED if !last => {
                let taken = acknowledged(&answer).unwrap_or(end);
                if taken > end {
                    return Err(protocol(&action, format!("it has {taken} bytes, and {end} were sent")));
                }
                session.location =
                    location(&request.uri, &answer, &action)?.unwrap_or_else(|| session.location.clone());
                session.offset = taken;
                sent(taken - begin.min(taken));
                Ok(Advance::Further)
            }
            // Out of step, or the session is gone: the registry knows what it has.
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => {
                Ok(Advance::Broken { reason: message(&answer.body), answer: None })
            }
            // What was left of a broken request may have arrived after all, behind the next one: from the beginning then.
            StatusCode::BAD_REQUEST if last && session.resumed => {
                Ok(Advance::Broken { reason: message(&answer.body), answer: None })
            }
            status if is_transient(status) => {
                Ok(Advance::Broken { reason: format!("{action}: {status}"), answer: Some(answer) })
            }
            _ => Err(self.refused(action, &answer)),
        }
    }

    /// After a failure: asks how much the registry has, and begins anew where the upload is gone. True if the blob is
    /// there after all, because only the answer was lost.
    ///
    /// docker-registry 2.8 signs an upload's address together with its length, so it knows an upload no more of which part
    /// of a request arrived; where nothing of it arrived, it goes on.
    async fn recover(&self, session: &mut Session, blob: &Blob) -> Result<bool, RegistryError> {
        let digest = blob.digest();
        let action = upload_of(digest);
        let request = Outgoing { uri: session.location.clone(), ..self.request(Method::GET, "")? };
        let answer = self.call(request, &action).await?;
        if answer.status == StatusCode::NO_CONTENT
            && let Some(offset) = acknowledged(&answer).filter(|offset| *offset <= blob.descriptor.size)
        {
            session.location =
                location(&session.location, &answer, &action)?.unwrap_or_else(|| session.location.clone());
            (session.offset, session.resumed) = (offset, true);
            (self.progress)(Step::Resuming { digest, offset });
            return Ok(false);
        }
        if self.has_blob(digest).await? {
            return Ok(true);
        }
        if let Begun::Upload(begun) = self.begin(digest, None).await? {
            *session = begun;
        }
        Ok(false)
    }
}

fn upload_of(digest: &Digest) -> String {
    format!("the upload of blob {}", digest.short())
}

/// `Range: 0-N` says that N + 1 bytes are there; an upload without any has `0-0` or nothing to say.
fn acknowledged(answer: &Answer) -> Option<u64> {
    let text = answer.headers.get(RANGE)?.to_str().ok()?;
    let last: u64 = text.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}

fn location(base: &Uri, answer: &Answer, action: &str) -> Result<Option<Uri>, RegistryError> {
    let Some(text) = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()) else { return Ok(None) };
    resolve(base, text).map(Some).ok_or_else(|| protocol(action, "its Location is not a safe address"))
}

fn with_digest(location: &Uri, digest: &Digest, action: &str) -> Result<Uri, RegistryError> {
    let text = location.to_string();
    let separator = if text.contains('?') { '&' } else { '?' };
    format!("{text}{separator}digest={digest}").parse().map_err(|error| protocol(action, error))
}

/// A position in a blob that is in memory.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
