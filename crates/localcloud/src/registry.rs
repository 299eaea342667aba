//! The registry HTTP API (OCI distribution, "v2") of the repositories that ECR has, for `docker`, `skopeo` and our own builder.
//!
//! Blobs stream to and from files. An upload may stop anywhere and go on at the byte that `GET` on it reports.

mod answers;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::AsyncWriteExt;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::Body;
use crate::services::ecr::{self, images, layers};

use answers::{
    Failure, created, empty, manifest_answer, range_answer, referrers_answer, set_subject, stream_file, tags_answer,
};

/// What a path below `/v2/` names.
#[derive(Debug, PartialEq, Eq)]
enum Target<'p> {
    Base,
    Blob { repository: &'p str, digest: &'p str },
    Uploads { repository: &'p str },
    Upload { repository: &'p str, id: &'p str },
    Manifest { repository: &'p str, reference: &'p str },
    Referrers { repository: &'p str, digest: &'p str },
    Tags { repository: &'p str },
}

impl<'p> Target<'p> {
    fn parse(path: &'p str) -> Option<Self> {
        let path = path.strip_prefix("/v2/")?;
        if path.is_empty() {
            return Some(Self::Base);
        }
        if let Some(repository) = path.strip_suffix("/tags/list") {
            return Some(Self::Tags { repository });
        }
        if let Some(repository) = path.strip_suffix("/blobs/uploads/").or_else(|| path.strip_suffix("/blobs/uploads")) {
            return Some(Self::Uploads { repository });
        }
        let (before, last) = path.rsplit_once('/')?;
        if let Some(repository) = before.strip_suffix("/blobs/uploads") {
            return Some(Self::Upload { repository, id: last });
        }
        if let Some(repository) = before.strip_suffix("/blobs") {
            return Some(Self::Blob { repository, digest: last });
        }
        if let Some(repository) = before.strip_suffix("/referrers") {
            return Some(Self::Referrers { repository, digest: last });
        }
        let repository = before.strip_suffix("/manifests")?;
        Some(Self::Manifest { repository, reference: last })
    }

    fn repository(&self) -> Option<&'p str> {
        match self {
            Self::Base => None,
            Self::Blob { repository, .. }
            | Self::Uploads { repository }
            | Self::Upload { repository, .. }
            | Self::Manifest { repository, .. }
            | Self::Referrers { repository, .. }
            | Self::Tags { repository } => Some(repository),
        }
    }
}

/// The parameters of the query string that the API knows.
#[derive(Debug, Default)]
struct Parameters {
    digest: Option<String>,
    mount: Option<String>,
    from: Option<String>,
    n: Option<usize>,
    last: Option<String>,
    password: Option<String>,
}

impl Parameters {
    fn parse(query: Option<&str>) -> Self {
        let mut parameters = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or("").as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "digest" => parameters.digest = Some(value),
                "mount" => parameters.mount = Some(value),
                "from" => parameters.from = Some(value),
                "n" => parameters.n = value.parse().ok(),
                "last" => parameters.last = Some(value),
                "password" => parameters.password = Some(value),
                _ => {}
            }
        }
        parameters
    }
}

/// Answers a request for a path below `/v2/`.
pub(crate) async fn respond(cloud: &Cloud, request: Request<Incoming>) -> Response<Body> {
    answer(cloud, request).await.unwrap_or_else(Failure::respond)
}

async fn answer(cloud: &Cloud, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    let (head, body) = request.into_parts();
    let parameters = Parameters::parse(head.uri.query());
    if !is_admitted(cloud, &head.headers, parameters.password.as_deref()) {
        return Err(Failure::unauthorized());
    }
    let path = head.uri.path();
    let target = if path == "/v2" { Some(Target::Base) } else { Target::parse(path) };
    let target = target.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such path"))?;
    if let Some(repository) = target.repository()
        && !ecr::has_repository(cloud, repository)
    {
        let message = format!("the repository '{repository}' does not exist in the embedded endpoint's ECR");
        return Err(Failure::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message));
    }
    let is_head = head.method == Method::HEAD;
    match (&head.method, target) {
        (&Method::GET | &Method::HEAD, Target::Base) => Ok(empty(StatusCode::OK)),
        (&Method::GET | &Method::HEAD, Target::Blob { repository, digest }) => {
            let (path, size) = layers::find(cloud, repository, digest).ok_or_else(|| Failure::no_blob(digest))?;
            stream_file(&path, size, digest, is_head).await
        }
        (&Method::POST, Target::Uploads { repository }) => begin(cloud, repository, &parameters, body).await,
        (&Method::GET, Target::Upload { repository, id }) => {
            let (_, length) = layers::resume(cloud, repository, id).await?;
            Ok(range_answer(StatusCode::NO_CONTENT, repository, id, length))
        }
        (&Method::PATCH, Target::Upload { repository, id }) => {
            let length = append(cloud, repository, id, &head.headers, body).await?;
            Ok(range_answer(StatusCode::ACCEPTED, repository, id, length))
        }
        (&Method::PUT, Target::Upload { repository, id }) => {
            append(cloud, repository, id, &head.headers, body).await?;
            finish(cloud, repository, id, parameters.digest.as_deref()).await
        }
        (&Method::DELETE, Target::Upload { repository, id }) => {
            layers::cancel(cloud, repository, id).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (&Method::GET | &Method::HEAD, Target::Manifest { repository, reference }) => {
            let image = images::find(cloud, repository, reference).ok_or_else(|| Failure::no_manifest(reference))?;
            let bytes = images::manifest(cloud, &image).await?;
            Ok(manifest_answer(&image.digest, &image.media_type, bytes, is_head))
        }
        (&Method::PUT, Target::Manifest { repository, reference }) => {
            let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            put_manifest(cloud, repository, reference, media_type, body).await
        }
        (&Method::GET, Target::Referrers { repository, digest }) => {
            Ok(referrers_answer(images::referrers(cloud, repository, digest).await?))
        }
        (&Method::GET, Target::Tags { repository }) => {
            let tags = images::tags(cloud, repository);
            Ok(tags_answer(repository, tags, parameters.n, parameters.last.as_deref()))
        }
        _ => Err(Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "the operation is not supported, as on ECR: images are deleted with BatchDeleteImage",
        )),
    }
}

/// Every request needs a password from `GetAuthorizationToken`: in the header, or in a URL that `GetDownloadUrlForLayer` made.
fn is_admitted(cloud: &Cloud, headers: &HeaderMap, in_url: Option<&str>) -> bool {
    let basic = || {
        let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = header.split_once(' ')?;
        let decoded = BASE64.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let credentials = String::from_utf8(decoded).ok()?;
        credentials.strip_prefix("AWS:").map(str::to_owned)
    };
    in_url.map(str::to_owned).or_else(basic).is_some_and(|password| ecr::admits(cloud, &password))
}

async fn begin(
    cloud: &Cloud,
    repository: &str,
    parameters: &Parameters,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    if let (Some(digest), Some(from)) = (&parameters.mount, &parameters.from)
        && layers::mount(cloud, from, repository, digest)
    {
        return Ok(created(&format!("/v2/{repository}/blobs/{digest}"), digest));
    }
    let id = layers::start(cloud, repository).await?;
    if parameters.digest.is_some() {
        append(cloud, repository, &id, &HeaderMap::new(), body).await?;
        return finish(cloud, repository, &id, parameters.digest.as_deref()).await;
    }
    Ok(range_answer(StatusCode::ACCEPTED, repository, &id, 0))
}

/// Appends a body to an upload and returns the upload's length. What arrived before a broken connection stays.
async fn append(
    cloud: &Cloud,
    repository: &str,
    id: &str,
    headers: &HeaderMap,
    mut body: Incoming,
) -> Result<u64, Failure> {
    let (mut file, mut length) = layers::resume(cloud, repository, id).await?;
    if let Some(range) = headers.get(CONTENT_RANGE) {
        let range = range.to_str().unwrap_or("").trim_start_matches("bytes ");
        let start = range.split_once('-').and_then(|(start, _)| start.parse::<u64>().ok());
        if start != Some(length) {
            return Err(Failure::out_of_order(repository, id, length));
        }
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = format!("the body was cut off: {error}");
            Failure::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
        });
        let data = match frame {
            Ok(frame) => frame.into_data(),
            Err(failure) => {
                let _ = file.flush().await;
                return Err(failure);
            }
        };
        if let Ok(data) = data {
            file.write_all(&data).await.map_err(ApiError::internal)?;
            length += data.len() as u64;
        }
    }
    file.flush().await.map_err(ApiError::internal)?;
    Ok(length)
}

async fn finish(cloud: &Cloud, repository: &str, id: &str, digest: Option<&str>) -> Result<Response<Body>, Failure> {
    let digest = digest
        .ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "the parameter `digest` is missing"))?;
    layers::finish(cloud, repository, id, digest).await?;
    Ok(created(&format!("/v2/{repository}/blobs/{digest}"), digest))
}

async fn put_manifest(
    cloud: &Cloud,
    repository: &str,
    reference: &str,
    media_type: Option<&str>,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let body = Limited::new(body, images::MAX_MANIFEST).collect().await.map_err(|_| {
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "the manifest is too large or was cut off")
    })?;
    let by_digest = reference.contains(':');
    if !by_digest && !is_tag(reference) {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "TAG_INVALID", format!("'{reference}' is not a tag")));
    }
    let new = images::NewImage {
        repository,
        manifest: &body.to_bytes(),
        media_type,
        tag: (!by_digest).then_some(reference),
        digest: by_digest.then_some(reference),
    };
    let (images::Put::Changed(digest) | images::Put::Same(digest)) = images::put(cloud, new).await?;
    let mut answer = created(&format!("/v2/{repository}/manifests/{digest}"), &digest);
    // By this a client knows that referrers are listed here, and keeps no list of its own.
    if let Some(subject) = images::find(cloud, repository, &digest).and_then(|image| image.subject) {
        set_subject(&mut answer, &subject);
    }
    Ok(answer)
}

/// The distribution specification's form of a tag.
fn is_tag(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart_whatever_the_repository_is_called() {
        for (path, expected) in [
            ("/v2/", Some(Target::Base)),
            ("/v2/a/b/tags/list", Some(Target::Tags { repository: "a/b" })),
            ("/v2/a/b/blobs/uploads/", Some(Target::Uploads { repository: "a/b" })),
            ("/v2/a/blobs/uploads/x", Some(Target::Upload { repository: "a", id: "x" })),
            ("/v2/blobs/a/blobs/sha256:0", Some(Target::Blob { repository: "blobs/a", digest: "sha256:0" })),
            ("/v2/a/referrers/sha256:0", Some(Target::Referrers { repository: "a", digest: "sha256:0" })),
            ("/v2/manifests/manifests/v1", Some(Target::Manifest { repository: "manifests", reference: "v1" })),
            ("/v2/a", None),
            ("/v2/a/other/x", None),
        ] {
            assert_eq!(Target::parse(path), expected, "{path}");
        }
    }

    #[test]
    fn tags_have_the_specified_form() {
        assert!(is_tag("v1.2.3-abc_D"));
        for bad in ["", ".a", "-a", "a b", "a/b", &"a".repeat(129)] {
            assert!(!is_tag(bad), "{bad}");
        }
    }
}
