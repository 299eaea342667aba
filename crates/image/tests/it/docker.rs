//! Against a Docker engine: our archive loaded and run under the strictest rules. Passed over where no engine answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::archive;
use serde_json::Value;

use crate::fixture::{image_of_program, installed, run};

/// Whether an engine answers.
pub(crate) fn engine() -> bool {
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
