//! ECR and the registry HTTP API, as a builder uses them.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::eventually;
use crate::server::Endpoint;

const ECR: &str = "AmazonEC2ContainerRegistry_V20150921";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn error_code(&self) -> String {
        let document: Value = serde_json::from_slice(&self.body).expect("JSON");
        document["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A registry client that is logged in.
pub(crate) struct Client<'e> {
    endpoint: &'e Endpoint,
    token: String,
}

impl<'e> Client<'e> {
    pub(crate) fn new(endpoint: &'e Endpoint) -> Self {
        let token = endpoint.call(ECR, "GetAuthorizationToken", &json!({})).expect("a token");
        let token = token["authorizationData"][0]["authorizationToken"].as_str().expect("text").to_owned();
        Self { endpoint, token }
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let authorization = format!("Authorization: Basic {}\r\n", self.token);
        exchange(self.endpoint, method, path, &format!("{authorization}{headers}"), body)
    }

    fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let begun = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        assert_eq!(begun.status, 202);
        let location = begun.header("location").expect("where to").to_owned();
        let put = self.send("PUT", &format!("{location}?digest={digest}"), "", bytes);
        assert_eq!((put.status, put.header("docker-content-digest")), (201, Some(digest.as_str())));
        digest
    }

    fn push_image(&self, repository: &str, tag: &str, content: &[u8]) -> (Answer, Vec<u8>) {
        self.push(repository, tag, b"{}", content)
    }

    /// Pushes an image of one uncompressed layer; gives the answer to its manifest and the manifest.
    pub(crate) fn push(&self, repository: &str, tag: &str, config_bytes: &[u8], content: &[u8]) -> (Answer, Vec<u8>) {
        let config = self.push_blob(repository, config_bytes);
        let layer = self.push_blob(repository, content);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_bytes.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": content.len()}],
        })
        .to_string()
        .into_bytes();
        let headers = format!("Content-Type: {MANIFEST}\r\n");
        (self.send("PUT", &format!("/v2/{repository}/manifests/{tag}"), &headers, &manifest), manifest)
    }
}

fn exchange(endpoint: &Endpoint, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(&endpoint.address).expect("it accepts");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        endpoint.address,
        body.len()
    )
    .expect("sent");
    stream.write_all(body).expect("sent");
    let mut answer = vec![];
    stream.read_to_end(&mut answer).expect("answered");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head[9..12].parse().expect("a status");
    Answer { status, head, body: answer[end + 4..].to_vec() }
}

pub(crate) fn digest_of(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

pub(crate) fn create(endpoint: &Endpoint, name: &str, mutability: &str) {
    let input = json!({"repositoryName": name, "imageTagMutability": mutability});
    let created = endpoint.call(ECR, "CreateRepository", &input).expect("created");
    assert_eq!(created["repository"]["repositoryUri"], format!("{}/{name}", endpoint.address));
}

#[test]
fn a_pushed_image_is_pulled_and_described() {
    let endpoint = Endpoint::start(&[]);
    create(&endpoint, "team/app", "MUTABLE");
    let client = Client::new(&endpoint);
    let (put, manifest) = client.push_image("team/app", "v1", b"a layer");
    assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
    let digest = digest_of(&manifest);

    let pulled = client.send("GET", "/v2/team/app/manifests/v1", "", b"");
    assert_eq!((pulled.header("docker-content-digest"), &pulled.body), (Some(digest.as_str()), &manifest));
    assert_eq!(pulled.header("content-type"), Some(MANIFEST));
    let layer = client.send("GET", &format!("/v2/team/app/blobs/{}", digest_of(b"a layer")), "", b"");
    assert_eq!((layer.status, layer.body.as_slice()), (200, b"a layer".as_slice()));
    let head = client.send("HEAD", &format!("/v2/team/app/blobs/{}", digest_of(b"a layer")), "", b"");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("7"), 0));
    let tags = client.send("GET", "/v2/team/app/tags/list", "", b"");
    assert_eq!(serde_json::from_slice::<Value>(&tags.body).expect("JSON"), json!({"name": "team/app", "tags": ["v1"]}));

    let described = endpoint.call(ECR, "DescribeImages", &json!({"repositoryName": "team/app"})).expect("described");
    let detail = &described["imageDetails"][0];
    assert_eq!((&detail["imageDigest"], &detail["imageTags"]), (&json!(digest), &json!(["v1"])));
    assert_eq!(detail["imageSizeInBytes"], 9);

    // One more tag for the same image needs no upload, and the same tag again is told apart.
    let retag = json!({"repositoryName": "team/app", "imageManifest": String::from_utf8(manifest).expect("text"), "imageTag": "prod"});
    endpoint.call(ECR, "PutImage", &retag).expect("tagged");
    assert_eq!(endpoint.call(ECR, "PutImage", &retag).expect_err("again").code, "ImageAlreadyExistsException");
    let got = json!({"repositoryName": "team/app", "imageIds": [{"imageTag": "prod"}, {"imageTag": "none"}]});
    let got = endpoint.call(ECR, "BatchGetImage", &got).expect("got");
    assert_eq!(got["images"][0]["imageId"]["imageDigest"], digest);
    assert_eq!(got["failures"][0]["failureCode"], "ImageNotFound");
}

#[test]
fn an_upload_goes_on_where_it_broke_off() {
    let endpoint = Endpoint::start(&[]);
    create(&endpoint, "app", "MUTABLE");
    let client = Client::new(&endpoint);
    let location = client.send("POST", "/v2/app/blobs/uploads/", "", b"").header("location").expect("where").to_owned();
    let first = client.send("PATCH", &location, "Content-Range: 0-4\r\n", b"hello");
    assert_eq!((first.status, first.header("range")), (202, Some("0-4")));
    let wrong = client.send("PATCH", &location, "Content-Range: 9-10\r\n", b"xx");
    assert_eq!((wrong.status, wrong.header("range")), (416, Some("0-4")));
    let progress = client.send("GET", &location, "", b"");
    assert_eq!((progress.status, progress.header("range")), (204, Some("0-4")));
    client.send("PATCH", &location, "Content-Range: 5-10\r\n", b" world");
    let done = client.send("PUT", &format!("{location}?digest={}", digest_of(b"hello world")), "", b"");
    assert_eq!(done.status, 201);

    create(&endpoint, "other", "MUTABLE");
    let mount = format!("/v2/other/blobs/uploads/?mount={}&from=app", digest_of(b"hello world"));
    assert_eq!(client.send("POST", &mount, "", b"").status, 201);
}

#[test]
fn the_length_of_an_upload_is_not_told_while_a_request_still_writes_to_it() {
    let endpoint = Endpoint::start(&[]);
    create(&endpoint, "app", "MUTABLE");
    let client = Client::new(&endpoint);
    let begun = client.send("POST", "/v2/app/blobs/uploads/", "", b"");
    let location = begun.header("location").expect("where to").to_owned();
    let mut writer = TcpStream::connect(&endpoint.address).expect("it accepts");
    let head =
        format!("PATCH {location} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {}", endpoint.address, client.token);
    write!(writer, "{head}\r\nContent-Length: 10\r\n\r\n12345").expect("half of it is sent");
    let file = endpoint.data().join("uploads").join(location.rsplit('/').next().expect("an id"));
    eventually("the first half arrives", || (std::fs::metadata(&file).ok()?.len() == 5).then_some(()));

    std::thread::scope(|scope| {
        let asked = scope.spawn(|| client.send("GET", &location, "", b""));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!asked.is_finished(), "five bytes are not the last word");
        drop(writer);
        assert_eq!(asked.join().expect("an answer").header("range"), Some("0-4"));
    });
}

#[test]
fn what_is_wrong_is_refused() {
    let endpoint = Endpoint::start(&[]);
    create(&endpoint, "app", "IMMUTABLE");
    let client = Client::new(&endpoint);

    let anonymous = exchange(&endpoint, "GET", "/v2/", "", b"");
    assert_eq!(anonymous.status, 401);
    assert!(anonymous.header("www-authenticate").expect("a challenge").starts_with("Basic "));
    assert_eq!(client.send("GET", "/v2/", "", b"").status, 200);
    assert_eq!(client.send("GET", "/v2/none/tags/list", "", b"").error_code(), "NAME_UNKNOWN");

    let location = client.send("POST", "/v2/app/blobs/uploads/", "", b"").header("location").expect("where").to_owned();
    let lied = client.send("PUT", &format!("{location}?digest={}", digest_of(b"truth")), "", b"lie");
    assert_eq!((lied.status, lied.error_code()), (400, "DIGEST_INVALID".to_owned()));

    let dangling = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
        "config": {"mediaType": "x", "digest": digest_of(b"absent"), "size": 1},
    });
    let headers = format!("Content-Type: {MANIFEST}\r\n");
    let put = client.send("PUT", "/v2/app/manifests/v1", &headers, dangling.to_string().as_bytes());
    assert_eq!(put.error_code(), "MANIFEST_BLOB_UNKNOWN");

    assert_eq!(client.push_image("app", "v1", b"one").0.status, 201);
    assert_eq!(client.push_image("app", "v1", b"one").0.status, 201, "the same again is no conflict");
    assert_eq!(client.push_image("app", "v1", b"two").0.error_code(), "TAG_INVALID");

    let error = endpoint.call(ECR, "DeleteRepository", &json!({"repositoryName": "app"})).expect_err("not empty");
    assert_eq!(error.code, "RepositoryNotEmptyException");
    let error = endpoint.call(ECR, "DescribeImages", &json!({"repositoryName": "none"})).expect_err("unknown");
    assert_eq!(error.code, "RepositoryNotFoundException");
}

#[test]
fn an_upload_and_its_login_survive_a_kill() {
    let mut endpoint = Endpoint::start(&[]);
    create(&endpoint, "app", "MUTABLE");
    let token = Client::new(&endpoint).token;
    let client = Client { endpoint: &endpoint, token: token.clone() };
    let location = client.send("POST", "/v2/app/blobs/uploads/", "", b"").header("location").expect("where").to_owned();
    assert_eq!(client.send("PATCH", &location, "", b"hello").status, 202);
    endpoint.kill_and_restart();
    let client = Client { endpoint: &endpoint, token };
    assert_eq!(client.send("GET", &location, "", b"").header("range"), Some("0-4"));
    let done = client.send("PUT", &format!("{location}?digest={}", digest_of(b"hello world")), "", b" world");
    assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
}

#[test]
fn what_is_attached_to_an_image_is_listed_and_makes_it_no_other_image() {
    let endpoint = Endpoint::start(&[]);
    create(&endpoint, "app", "IMMUTABLE");
    let client = Client::new(&endpoint);
    let (_, image) = client.push_image("app", "v1", b"a layer");
    let subject = digest_of(&image);
    let list = || -> Value {
        let answer = client.send("GET", &format!("/v2/app/referrers/{subject}"), "", b"");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/vnd.oci.image.index.v1+json"))
        );
        serde_json::from_slice(&answer.body).expect("JSON")
    };
    assert_eq!(list()["manifests"], json!([]));

    let config = client.push_blob("app", b"{}");
    let document = client.push_blob("app", b"{\"bill\": 1}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/spdx+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/spdx+json", "digest": document, "size": 11}],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": image.len()},
        "annotations": {"note": "of a test"},
    })
    .to_string()
    .into_bytes();
    let digest = digest_of(&manifest);
    let headers = format!("Content-Type: {MANIFEST}\r\n");
    let put = client.send("PUT", &format!("/v2/app/manifests/{digest}"), &headers, &manifest);
    assert_eq!((put.status, put.header("oci-subject")), (201, Some(subject.as_str())));
    let expected = json!({
        "mediaType": MANIFEST, "digest": digest, "size": manifest.len(), "artifactType": "application/spdx+json",
        "annotations": {"note": "of a test"},
    });
    assert_eq!(list()["manifests"], json!([expected]));
    let described = endpoint.call(ECR, "DescribeImages", &json!({"repositoryName": "app"})).expect("described");
    let attached =
        described["imageDetails"].as_array().expect("a list").iter().find(|one| one["imageDigest"] == digest);
    assert_eq!(attached.expect("listed")["subjectManifestDigest"], subject);
}
