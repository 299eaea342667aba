//! The two builders beside each other: what Docker makes by the checkout's Dockerfile is what the daemonless builder makes, but
//! for the compiler's own output. Passed over without an engine and without an image to compile in (SMARTBOT_TEST_RUST_IMAGE).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::assemble::{Blob, Image};
use image::contents::{self, Kind, Limits};
use image::{Tag, auditable, layout};
use serde_json::{Value, json};

use crate::docker::engine;
use crate::fixture::{commit_all, run};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[test]
fn both_builders_give_the_same_image_of_a_small_workspace() {
    let Some(base) = base_image() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let checkout = scratch.path().join("checkout");
    small_workspace(&checkout);
    let (ours, theirs) = compare(&checkout, &base, scratch.path());

    // The program looks around, in either image.
    let names = [("ours", &ours), ("theirs", &theirs)].map(|(name, built)| {
        let (name, archive) = (format!("smartbot-test-{name}-{}", std::process::id()), scratch.path().join(name));
        image::archive::write(&archive, &built.image, &name, &built.tags).expect("written");
        run(Command::new("docker").args(["load", "--quiet", "--input"]).arg(&archive));
        format!("{name}:{}", built.tags[0])
    });
    let said = names.clone().map(|name| {
        let options = ["run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none"];
        run(Command::new("docker").args(options).args([&name, "probe"]))
    });
    for name in names {
        run(Command::new("docker").args(["rmi", "--force", &name]));
    }
    assert_eq!(said[0], "uid 10001, arguments [\"probe\"], / read-only, /data writable, certificates there\n");
    assert_eq!(said[0], said[1]);
}

#[test]
fn both_builders_give_the_same_image_of_the_chatbot() {
    if std::env::var_os("SMARTBOT_TEST_WHOLE_BUILD").is_none() {
        eprintln!("skipped: it compiles the chatbot twice; SMARTBOT_TEST_WHOLE_BUILD=1 asks for that");
        return;
    }
    let Some(base) = base_image() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    compare(Path::new(REPOSITORY), &base, scratch.path());
}

fn base_image() -> Option<String> {
    let Ok(base) = std::env::var("SMARTBOT_TEST_RUST_IMAGE") else {
        eprintln!("skipped: SMARTBOT_TEST_RUST_IMAGE names no image to compile in");
        return None;
    };
    engine().then_some(base)
}

/// The checkout's own Dockerfile with a program that compiles in a second and needs no registry.
fn small_workspace(checkout: &Path) {
    let write = |name: &str, text: &str| {
        let path = checkout.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    for name in ["Dockerfile", ".dockerignore"] {
        write(name, &fs::read_to_string(Path::new(REPOSITORY).join(name)).expect("the checkout's own"));
    }
    let package = |name: &str, rest: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion = \"1.2.3\"\nedition = \"2024\"\nlicense.workspace = true\n\
             repository.workspace = true\n{rest}"
        )
    };
    write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n[workspace.package]\nlicense = \"MIT\"\n\
         repository = \"https://example.com/repository\"\n[profile.release]\nstrip = \"symbols\"\n",
    );
    write(
        "crates/chatbot/Cargo.toml",
        &package(
            "chatbot",
            "[[bin]]\nname = \"smartbot\"\npath = \"src/main.rs\"\n[dependencies]\nanswers = { path = \"../answers\", features = \
             [\"polite\"] }\n[build-dependencies]\nquestions = { path = \"../questions\" }\n",
        ),
    );
    write("crates/chatbot/build.rs", "fn main() { questions::ask(); }\n");
    write(
        "crates/chatbot/src/main.rs",
        &format!("use answers as _;\n{}", include_str!("probe.rs").replace("//!", "//")),
    );
    write("crates/answers/Cargo.toml", &package("answers", "[features]\npolite = []\n"));
    write("crates/answers/src/lib.rs", "");
    write("crates/questions/Cargo.toml", &package("questions", ""));
    write("crates/questions/src/lib.rs", "pub fn ask() {}\n");
    write(".gitignore", "/target\n");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    run(cargo.args(["generate-lockfile", "--offline"]).current_dir(checkout));
    commit_all(checkout);
}

struct Built {
    image: Image,
    tags: Vec<Tag>,
    configuration: Value,
}

fn build(checkout: &Path, layout: PathBuf, arguments: &[&str]) -> Built {
    let output = Command::new(env!("CARGO_BIN_EXE_image"))
        .args(["build", "--layout"])
        .arg(&layout)
        .args(arguments)
        .current_dir(checkout)
        .output()
        .expect("image starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let (image, tags) = layout::read(&layout).expect("a layout");
    let configuration = image.blobs.last().expect("a configuration").bytes.clone();
    let configuration = serde_json::from_slice(&configuration).expect("JSON");
    Built { image, tags, configuration }
}

fn compare(checkout: &Path, base: &str, scratch: &Path) -> (Built, Built) {
    // What Docker needs to compile here, such as secrets for the Dockerfile's mounts.
    let extra = std::env::var("SMARTBOT_TEST_DOCKER_ARGUMENTS").unwrap_or_default();
    let mut arguments = vec!["--builder", "docker", "--base-image", base];
    arguments.extend(extra.split_whitespace());
    let theirs = build(checkout, scratch.join("docker"), &arguments);
    let ours = build(checkout, scratch.join("oci"), &[]);
    assert_eq!(ours.tags, theirs.tags);
    let (one, other) = (&ours.configuration, &theirs.configuration);
    for part in ["Entrypoint", "User", "Healthcheck", "Labels", "ExposedPorts", "Volumes", "WorkingDir", "StopSignal"] {
        assert_eq!(sorted(&one["config"][part]), sorted(&other["config"][part]), "{part}");
    }
    assert_eq!(variables(one), variables(other));
    assert_eq!((&one["architecture"], &one["os"]), (&other["architecture"], &other["os"]));
    assert_eq!(ours.image.layers().len(), theirs.image.layers().len());
    assert_eq!(files(ours.image.layers()), files(theirs.image.layers()));

    let list = |built: &Built| auditable::of_image(&built.image).expect("a program").expect("a list");
    assert_eq!(list(&ours), list(&theirs), "the list in the binary");
    let (our_documents, their_documents) = (documents(&ours.image), documents(&theirs.image));
    for kind in ["application/vnd.cyclonedx+json", "application/spdx+json"] {
        assert_eq!(our_documents[kind], their_documents[kind], "{kind}");
    }
    let statement: Value = serde_json::from_str(&their_documents["application/vnd.in-toto+json"]).expect("JSON");
    let run = &statement["predicate"]["runDetails"]["builder"];
    assert!(run["id"].as_str().is_some_and(|id| id.ends_with("#local-docker-builder")), "{run}");
    assert!(run["version"]["docker"].is_string(), "{run}");
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["baseImage"], base);
    assert_eq!(definition["resolvedDependencies"][1]["name"], base);
    (ours, theirs)
}

/// Keys in one order, and `null` for what is absent or empty.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let entries: BTreeMap<_, _> = entries.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            json!(entries)
        }
        other => other.clone(),
    }
}

/// BuildKit adds a PATH to every image, also to one from scratch.
fn variables(configuration: &Value) -> Vec<Value> {
    let all = configuration["config"]["Env"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|pair| !pair.as_str().is_some_and(|pair| pair.starts_with("PATH="))).collect()
}

/// Every path with mode, owner and kind; content where both builders write the same.
fn files(layers: &[Blob]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for layer in layers {
        for (path, found) in contents::read(&layer.bytes, Limits::default()).expect("a layer") {
            // The compilers' paths differ, and so do the bundles of Mozilla and of Debian.
            let own = path == "smartbot" || path.ends_with("ca-certificates.crt");
            let content = match &found.kind {
                Kind::File { digest, .. } if !own => digest.to_string(),
                Kind::File { .. } => "a file".to_owned(),
                Kind::Directory => "a directory".to_owned(),
                Kind::Link { target } => format!("-> {target}"),
            };
            files.insert(path, format!("{:o} {}:{} {content}", found.mode, found.uid, found.gid));
        }
    }
    files
}

/// What is attached, by type; an image's own digest, which both builders cannot have in common, is left out.
fn documents(image: &Image) -> BTreeMap<String, String> {
    let document = |artifact: &image::registry::Artifact| {
        let text = String::from_utf8_lossy(&artifact.blobs[0].bytes).replace(image.digest().hex(), "DIGEST");
        (artifact.descriptor.artifact_type.clone().expect("a type"), text)
    };
    image.artifacts.iter().map(document).collect()
}
