//! Against a Docker engine: our archive loaded and run under the strictest rules, and the other builder's result compared with
//! ours. Passed over where no engine answers; the second test also needs the base image (SMARTBOT_TEST_RUST_IMAGE).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::contents::{self, Kind, Limits};
use image::{archive, layout};
use serde_json::{Value, json};

use crate::fixture::{image_of_program, installed, run};

/// Whether an engine answers.
fn engine() -> bool {
    if !installed("docker") {
        return false;
    }
    let answers = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    let answers = answers.is_ok_and(|output| output.status.success());
    if !answers {
        eprintln!("skipped: no Docker engine answers");
    }
    answers
}

/// Removes a container and an image of the engine, also after a failure.
struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.0]).output();
        let _ = Command::new("docker").args(["rmi", "--force", &format!("{}:0123456", self.0)]).output();
    }
}

#[test]
fn docker_loads_the_archive_and_runs_it_with_a_read_only_root_and_no_capabilities() {
    if !engine() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let program = static_program(scratch.path());
    let name = format!("smartbot-test-{}", std::process::id());
    let file = scratch.path().join("image.tar");
    let image = image_of_program(fs::read(&program).expect("a program"));
    archive::write(&file, &image, &name, &["0123456".parse().expect("a tag")]).expect("written");
    let _cleanup = Cleanup(name.clone());
    run(Command::new("docker").args(["load", "--quiet", "--input"]).arg(&file));
    let inspected = inspect(&format!("{name}:0123456"));
    assert_eq!(inspected["Config"]["User"], "10001:10001");
    assert_eq!(inspected["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));

    let said = run(Command::new("docker").args([
        "run",
        "--name",
        &name,
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges:true",
        "--network",
        "none",
        &format!("{name}:0123456"),
        "probe",
    ]));
    assert_eq!(said, "uid 10001, arguments [\"probe\"], / read-only, /data writable, certificates there\n");
}

/// A program that looks around in its container, linked statically.
fn static_program(scratch: &Path) -> PathBuf {
    let source = scratch.join("probe.rs");
    fs::write(&source, include_str!("probe.rs")).expect("a source");
    let program = scratch.join("probe");
    let host = run(Command::new("rustc").args(["--print", "host-tuple"]));
    run(Command::new("rustc")
        .args(["--edition", "2024", "-Ctarget-feature=+crt-static", "--target", host.trim(), "-o"])
        .arg(&program)
        .arg(&source));
    program
}

fn inspect(image: &str) -> Value {
    let text = run(Command::new("docker").args(["image", "inspect", image]));
    let mut images: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    images.remove(0)
}

#[test]
fn both_builders_give_the_same_entry_point_user_health_check_labels_and_files() {
    let Ok(base) = std::env::var("SMARTBOT_TEST_RUST_IMAGE") else {
        eprintln!("skipped: SMARTBOT_TEST_RUST_IMAGE names no image to compile in");
        return;
    };
    if !engine() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let build = |name: &str, arguments: &[&str]| {
        let directory = scratch.path().join(name);
        let output = Command::new(env!("CARGO_BIN_EXE_image"))
            .args(["build", "--layout"])
            .arg(&directory)
            .args(arguments)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .output()
            .expect("image starts");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let (image, tags) = layout::read(&directory).expect("a layout");
        let configuration = image.blobs.last().expect("a configuration").bytes.clone();
        let configuration: Value = serde_json::from_slice(&configuration).expect("JSON");
        (configuration, files(image.layers()), tags)
    };
    // What Docker needs to compile here goes through the Dockerfile's secret mounts.
    let extra = std::env::var("SMARTBOT_TEST_DOCKER_ARGUMENTS").unwrap_or_default();
    let mut arguments = vec!["--builder", "docker", "--base-image", &base];
    arguments.extend(extra.split_whitespace());
    let (theirs, their_files, their_tags) = build("docker", &arguments);
    let (ours, our_files, our_tags) = build("oci", &[]);
    assert_eq!(our_tags, their_tags);
    for part in ["Entrypoint", "User", "Healthcheck", "Labels", "ExposedPorts", "Volumes", "WorkingDir", "StopSignal"] {
        assert_eq!(sorted(&ours["config"][part]), sorted(&theirs["config"][part]), "{part}");
    }
    // BuildKit adds a PATH to every image, also to one from scratch.
    let without_path = |configuration: &Value| -> Vec<Value> {
        let all = configuration["config"]["Env"].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|pair| !pair.as_str().is_some_and(|pair| pair.starts_with("PATH="))).collect()
    };
    assert_eq!(without_path(&ours), without_path(&theirs));
    assert_eq!((&ours["architecture"], &ours["os"]), (&theirs["architecture"], &theirs["os"]));
    assert_eq!(
        ours["rootfs"]["diff_ids"].as_array().map(Vec::len),
        theirs["rootfs"]["diff_ids"].as_array().map(Vec::len)
    );
    assert_eq!(our_files, their_files);
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

/// Every path with mode, owner and kind; content where both builders write the same.
fn files(layers: &[image::assemble::Blob]) -> BTreeMap<String, String> {
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

#[test]
fn what_is_missing_for_docker_is_said_with_what_to_do() {
    let scratch = tempfile::tempdir().expect("a directory");
    let expect = |script: Option<&str>, code: i32, words: &[&str]| {
        let bin = scratch.path().join("bin");
        let _ = fs::remove_dir_all(&bin);
        fs::create_dir(&bin).expect("a directory");
        if let Some(script) = script {
            use std::os::unix::fs::PermissionsExt as _;
            fs::write(bin.join("docker"), format!("#!/bin/sh\n{script}\n")).expect("a program");
            fs::set_permissions(bin.join("docker"), fs::Permissions::from_mode(0o755)).expect("executable");
        }
        // cargo and git stay within reach; a real docker does not.
        for tool in ["cargo", "git", "rustc", "sh"] {
            let path = run(Command::new("sh").args(["-c", &format!("command -v {tool}")]));
            let _ = std::os::unix::fs::symlink(path.trim(), bin.join(tool));
        }
        let output = Command::new(env!("CARGO_BIN_EXE_image"))
            .args(["build", "--builder", "docker", "--allow-dirty"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .env("PATH", &bin)
            .output()
            .expect("image starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        for word in words.iter().chain(&["hint: ", "--builder oci"]) {
            assert!(stderr.contains(word), "{word}: {stderr}");
        }
    };
    expect(None, 64, &["cannot run `docker`", "apt-get install docker.io"]);
    expect(
        Some("echo '28.2.2'; echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1"),
        69,
        &["no Docker engine answers: Cannot connect", "DOCKER_HOST"],
    );
    expect(
        Some("case \"$1\" in version) echo 28.2.2;; *) exit 1;; esac"),
        64,
        &["client 28.2.2 has no BuildKit", "docker-buildx"],
    );
}
