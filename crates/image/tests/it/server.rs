//! Registries of others, as they are installed: Debian's docker-registry with a password file, and the embedded endpoint.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use image::credentials::Credentials;
use image::registry::{Options, Registry, Repository};

use crate::fixture::{impatient, installed, quiet, run};

/// docker-registry on a free port; user `user`, password `secret`.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    data: PathBuf,
}

impl Server {
    /// None where it is not installed, which is said.
    pub(crate) fn start(directory: &Path) -> Option<Self> {
        if !installed("docker-registry") || !installed("htpasswd") {
            return None;
        }
        let passwords = run(Command::new("htpasswd").args(["-Bbn", "-C", "4", "user", "secret"]));
        let file = directory.join("htpasswd");
        fs::write(&file, passwords).expect("the password file");
        let data = directory.join("data");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n\
             http: {{addr: '127.0.0.1:0', secret: known}}\nauth: {{htpasswd: {{realm: test, path: {file}}}}}\n",
            root = data.display(),
            file = file.display(),
        );
        let path = directory.join("config.yml");
        fs::write(&path, config).expect("the configuration");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("docker-registry starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("listening on ")?;
                rest.split(['"', ',', ' ']).next().map(str::to_owned)
            })
            .expect("docker-registry says where it listens");
        // Its log must go somewhere, or it would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, address, data })
    }

    pub(crate) fn repository(&self) -> Repository {
        repository(&self.address)
    }

    /// Where it keeps a blob.
    pub(crate) fn blob_file(&self, digest: &image::Digest) -> PathBuf {
        let hex = digest.hex();
        self.data.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn repository(address: &str) -> Repository {
    format!("{address}/smartassist/chatbot").parse().expect("a repository")
}

pub(crate) fn client(repository: &Repository, password: &str) -> Registry<'static> {
    client_with(repository, password, impatient())
}

pub(crate) fn client_with(repository: &Repository, password: &str, options: Options) -> Registry<'static> {
    let credentials = Credentials { username: "user".to_owned(), password: password.to_owned() };
    Registry::new(repository.clone(), Some(credentials), options, &quiet).expect("a client")
}

/// `localcloud` as it was built beside `image`, with the repository `smartassist/chatbot` in its ECR.
pub(crate) struct Endpoint {
    child: Child,
    pub(crate) address: String,
}

impl Endpoint {
    /// None where it was not built, which is said.
    pub(crate) fn start(data: &Path) -> Option<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_image")).with_file_name("localcloud");
        if !program.is_file() {
            eprintln!("skipped: `localcloud` is not built; `cargo build --bins` builds it");
            return None;
        }
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .expect("localcloud starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("its URL");
        let endpoint = Self { child, address: line.trim().trim_start_matches("http://").to_owned() };
        endpoint
            .call("CreateRepository", r#"{"repositoryName":"smartassist/chatbot","imageTagMutability":"IMMUTABLE"}"#);
        Some(endpoint)
    }

    /// One operation of ECR's API.
    pub(crate) fn call(&self, operation: &str, body: &str) -> serde_json::Value {
        let target = format!("X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.{operation}");
        let credential = "Authorization: AWS4-HMAC-SHA256 Credential=local/20260101/ap-northeast-1/ecr/aws4_request, \
                          SignedHeaders=host, Signature=0";
        let text = run(Command::new("curl")
            .args(["--silent", "--show-error", "--header", &target, "--header", credential])
            .args(["--header", "Content-Type: application/x-amz-json-1.1", "--data", body])
            .arg(format!("http://{}/", self.address)));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{operation}: {error} in {text}"))
    }

    /// A password, as GetAuthorizationToken gives it, with its user.
    pub(crate) fn credentials(&self) -> Credentials {
        use base64::Engine as _;
        let answer = self.call("GetAuthorizationToken", "{}");
        let token = answer["authorizationData"][0]["authorizationToken"].as_str().expect("a token");
        let pair = base64::engine::general_purpose::STANDARD.decode(token).expect("base64");
        let pair = String::from_utf8(pair).expect("text");
        let (username, password) = pair.split_once(':').expect("a pair");
        Credentials { username: username.to_owned(), password: password.to_owned() }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
