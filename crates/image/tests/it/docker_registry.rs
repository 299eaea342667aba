//! Pushing to the registry everybody knows, with a password file, and reading the result with skopeo.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use image::Tag;
use image::credentials::Credentials;
use image::registry::{Pushed, Registry, RegistryError, Repository};

use crate::fixture::{image, impatient, installed, quiet, run};

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let passwords = run(Command::new("htpasswd").args(["-Bbn", "user", "secret"]));
        let file = directory.join("htpasswd");
        fs::write(&file, passwords).expect("the password file");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\nauth: {{htpasswd: {{realm: test, path: {file}}}}}\n",
            root = directory.join("data").display(),
            file = file.display(),
        );
        let path = directory.join("config.yml");
        fs::write(&path, config).expect("the configuration");
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts");
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
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(repository: &Repository, password: &str) -> Registry<'static> {
    let credentials = Credentials { username: "user".to_owned(), password: password.to_owned() };
    Registry::new(repository.clone(), Some(credentials), impatient(), &quiet).expect("a client")
}

#[tokio::test]
async fn docker_registry_takes_the_image_and_skopeo_reads_it() {
    if !installed("docker-registry") || !installed("htpasswd") {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let server = Server::start(scratch.path());
    let repository: Repository = format!("{}/smartassist/chatbot", server.address).parse().expect("a repository");
    let image = image(&vec![7; 300_000]);
    let tags: Vec<Tag> = ["0123456", "staging-0123456"].iter().map(|name| name.parse().expect("a tag")).collect();

    let error = client(&repository, "wrong").push(&image, &tags).await.expect_err("a wrong password");
    assert!(matches!(error, RegistryError::WrongCredentials { .. }), "{error}");
    let pushed = client(&repository, "secret").push(&image, &tags).await.expect("pushed");
    assert_eq!(pushed, Pushed { uploaded: 2, mounted: 0, tagged: 2 });
    let again = client(&repository, "secret").push(&image, &tags).await.expect("pushed again");
    assert_eq!(again, Pushed { uploaded: 0, mounted: 0, tagged: 0 });
    let prod: Tag = "prod-0123456".parse().expect("a tag");
    client(&repository, "secret").add_tag(image.digest(), &prod).await.expect("tagged");

    if !installed("skopeo") {
        return;
    }
    let reference = format!("docker://{repository}:{prod}");
    let text =
        run(Command::new("skopeo").args(["inspect", "--tls-verify=false", "--creds", "user:secret", &reference]));
    let inspected: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(inspected["Digest"], image.digest().as_str());
}
