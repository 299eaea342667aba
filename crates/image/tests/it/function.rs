//! `image function`: an archive that Lambda takes, the same for the same binary.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::fixture::{COMMIT, binary};

fn function(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image"));
    command.args([
        "function",
        "--package",
        "canary",
        "--program",
        "bootstrap",
        "--commit",
        COMMIT,
        "--binary",
        "program",
    ]);
    command.args(arguments).current_dir(directory).output().expect("image starts")
}

#[test]
fn the_archive_holds_one_executable_and_nothing_of_its_making() {
    let one = tempfile::tempdir().expect("a directory");
    let other = tempfile::tempdir().expect("a directory");
    let program = binary(b"a program");
    for directory in [&one, &other] {
        fs::write(directory.path().join("program"), &program).expect("written");
        let output = function(directory.path(), &["--output", "hooks/canary.zip", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON alone on stdout");
        assert_eq!((&report["schema"], &report["commit"]), (&1.into(), &COMMIT.into()));
        assert_eq!(report["architecture"], "amd64");
    }
    let archive =
        |directory: &tempfile::TempDir| fs::read(directory.path().join("hooks/canary.zip")).expect("an archive");
    assert_eq!(archive(&one), archive(&other));

    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive(&one))).expect("a zip");
    assert_eq!(zip.len(), 1);
    let mut entry = zip.by_index(0).expect("an entry");
    assert_eq!(entry.name().expect("a name"), "bootstrap");
    assert_eq!(entry.unix_mode().map(|mode| mode & 0o777), Some(0o755));
    let mut content = Vec::new();
    entry.read_to_end(&mut content).expect("readable");
    assert_eq!(content, program);
}

#[test]
fn a_binary_for_another_processor_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("program"), binary(b"a program")).expect("written");
    let output = function(directory.path(), &["--architecture", "arm64", "--output", "canary.zip"]);
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("amd64") && message.contains("hint: "), "{message}");
    assert!(!directory.path().join("canary.zip").exists());
}
