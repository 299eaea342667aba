//! What several tests need: a binary that is just enough, an image, a git checkout, a quiet progress.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use image::assemble::{Description, Image, assemble};
use image::git::{Commit, Source};
use image::layer;
use image::progress::Step;
use image::registry::{Options, RetryPolicy};
use image::target::Architecture;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The header of a static x86-64 ELF file without segments, and some content.
pub(crate) fn binary(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18..20].copy_from_slice(&62_u16.to_le_bytes());
    bytes.extend_from_slice(content);
    bytes
}

pub(crate) fn source() -> Source {
    let commit: Commit = COMMIT.parse().expect("a commit");
    Source::given(commit, 1_700_000_000)
}

pub(crate) fn image(content: &[u8]) -> Image {
    image_of(content, &source())
}

/// An image of a tree with uncommitted changes.
pub(crate) fn dirty_image() -> Image {
    image_of(b"content", &Source { dirty: Some("1a2b3c4d".to_owned()), ..source() })
}

/// An image of a real program.
pub(crate) fn image_of_program(program: Vec<u8>) -> Image {
    let layers = layer::of_binary(program, None).expect("layers");
    assemble(layers, Architecture::Amd64, &source(), &Description::default()).expect("an image")
}

fn image_of(content: &[u8], source: &Source) -> Image {
    let description = Description {
        version: Some("1.2.3".to_owned()),
        source: Some("https://example.com/repository".to_owned()),
        licenses: Some("MIT OR Apache-2.0".to_owned()),
    };
    let layers = layer::of_binary(binary(content), None).expect("layers");
    assemble(layers, Architecture::Amd64, source, &description).expect("an image")
}

pub(crate) fn quiet(_: Step<'_>) {}

/// Retries as usual, without the waiting.
pub(crate) fn impatient() -> Options {
    let retry = RetryPolicy {
        attempts: 4,
        base: Duration::from_millis(1),
        cap: Duration::from_millis(5),
        longest_wait: Duration::from_secs(2),
    };
    Options { retry, ..Options::default() }
}

/// Whether a foreign tool is here; a test that needs it says so and does nothing otherwise.
pub(crate) fn installed(tool: &str) -> bool {
    let found =
        std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()));
    if !found {
        eprintln!("skipped: `{tool}` is not installed");
    }
    found
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// git with an identity and a time of its own, whatever the machine's configuration says.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    run(Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
        .args(["-c", "tag.gpgsign=false", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000"))
}

/// Commits everything in a directory, which becomes a checkout if it is none.
pub(crate) fn commit_all(directory: &Path) -> String {
    if !directory.join(".git").exists() {
        git(directory, &["init", "--quiet"]);
    }
    git(directory, &["add", "--all"]);
    git(directory, &["commit", "--quiet", "--message", "change"]);
    git(directory, &["rev-parse", "HEAD"]).trim().to_owned()
}
