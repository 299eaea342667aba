//! The answers of the registry HTTP API.

use std::path::Path;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION, RANGE, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::error::ApiError;
use crate::http::{Body, full};
use crate::services::ecr::images::OCI_INDEX;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// A failed request, in the specification's words.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: HeaderMap,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: HeaderMap::new() }
    }

    pub(super) fn unauthorized() -> Self {
        let mut failure = Self::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "user AWS with a password from ecr GetAuthorizationToken is expected",
        );
        let challenge = HeaderValue::from_static("Basic realm=\"localcloud\",service=\"ecr\"");
        failure.headers.insert(WWW_AUTHENTICATE, challenge);
        failure
    }

    pub(super) fn no_blob(digest: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("the repository has no blob {digest}"))
    }

    pub(super) fn no_manifest(reference: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("the repository has no image {reference}"))
    }

    pub(super) fn out_of_order(repository: &str, id: &str, length: u64) -> Self {
        let message = format!("the upload has {length} bytes; the next chunk must begin there");
        let mut failure = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message);
        failure.headers = upload_headers(repository, id, length);
        failure
    }

    pub(super) fn respond(self) -> Response<Body> {
        let document = json!({"errors": [{"code": self.code, "message": self.message, "detail": {}}]});
        let mut response = Response::new(full(document.to_string()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        response
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let (status, code) = match error.code.as_str() {
            "RepositoryNotFoundException" => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            "UploadNotFoundException" => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            "InvalidLayerException" | "ImageDigestDoesNotMatchException" => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            "LayersNotFoundException" | "ReferencedImagesNotFoundException" => {
                (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN")
            }
            "ImageTagAlreadyExistsException" => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
            _ if error.status < 500 => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        };
        Self::new(status, code, error.message)
    }
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    with_body(status, full(Bytes::new()))
}

/// A blob or manifest is there.
pub(super) fn created(location: &str, digest: &str) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    set(response.headers_mut(), LOCATION, location);
    set(response.headers_mut(), DIGEST, digest);
    response
}

/// How far an upload has come.
pub(super) fn range_answer(status: StatusCode, repository: &str, id: &str, length: u64) -> Response<Body> {
    let mut response = empty(status);
    response.headers_mut().extend(upload_headers(repository, id, length));
    response
}

pub(super) fn manifest_answer(digest: &str, media_type: &str, bytes: Vec<u8>, is_head: bool) -> Response<Body> {
    let length = bytes.len() as u64;
    let mut response = with_body(StatusCode::OK, full(if is_head { vec![] } else { bytes }));
    set(response.headers_mut(), CONTENT_TYPE, media_type);
    describe(response.headers_mut(), digest, length);
    response
}

/// Adds which image a manifest is about.
pub(super) fn set_subject(response: &mut Response<Body>, subject: &str) {
    set(response.headers_mut(), SUBJECT, subject);
}

/// What is attached to an image, as an index.
pub(super) fn referrers_answer(manifests: Vec<Value>) -> Response<Body> {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    let mut response = with_body(StatusCode::OK, full(index.to_string()));
    set(response.headers_mut(), CONTENT_TYPE, OCI_INDEX);
    response
}

pub(super) fn tags_answer(repository: &str, tags: Vec<String>, n: Option<usize>, last: Option<&str>) -> Response<Body> {
    let mut rest = tags.into_iter().filter(|tag| last.is_none_or(|last| tag.as_str() > last)).peekable();
    let page: Vec<String> = rest.by_ref().take(n.unwrap_or(usize::MAX)).collect();
    let mut response = with_body(StatusCode::OK, full(json!({"name": repository, "tags": page}).to_string()));
    set(response.headers_mut(), CONTENT_TYPE, "application/json");
    if let (Some(n), Some(last), true) = (n, page.last(), rest.peek().is_some()) {
        let next = format!("</v2/{repository}/tags/list?n={n}&last={last}>; rel=\"next\"");
        set(response.headers_mut(), LINK, &next);
    }
    response
}

/// A blob, read from its file as the client takes it.
pub(super) async fn stream_file(
    path: &Path,
    size: u64,
    digest: &str,
    is_head: bool,
) -> Result<Response<Body>, Failure> {
    let body = if is_head {
        full(Bytes::new())
    } else {
        let file = File::open(path).await.map_err(ApiError::internal)?;
        let chunks = stream::try_unfold(file, |mut file| async move {
            let mut chunk = vec![0; 64 << 10];
            let read = file.read(&mut chunk).await?;
            chunk.truncate(read);
            Ok::<_, std::io::Error>((read > 0).then(|| (Frame::data(Bytes::from(chunk)), file)))
        });
        StreamBody::new(chunks).boxed()
    };
    let mut response = with_body(StatusCode::OK, body);
    set(response.headers_mut(), CONTENT_TYPE, "application/octet-stream");
    describe(response.headers_mut(), digest, size);
    Ok(response)
}

fn with_body(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

fn describe(headers: &mut HeaderMap, digest: &str, length: u64) {
    set(headers, CONTENT_LENGTH, &length.to_string());
    set(headers, DIGEST, digest);
    set(headers, ETAG, &format!("\"{digest}\""));
}

fn upload_headers(repository: &str, id: &str, length: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, LOCATION, &format!("/v2/{repository}/blobs/uploads/{id}"));
    set(&mut headers, UPLOAD_ID, id);
    // The end is inclusive, so nothing and one byte look alike; that is the specification's own convention.
    set(&mut headers, RANGE, &format!("0-{}", length.saturating_sub(1)));
    headers
}

/// Values come from paths and media types that HTTP has let through; one that it would not is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
