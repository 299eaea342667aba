//! A local checkout, as a source connection reaches it.

use std::path::Path;
use std::process::Command;

/// A git repository in a temporary folder, with one commit.
pub(crate) struct Checkout(tempfile::TempDir);

impl Checkout {
    pub(crate) fn new() -> Self {
        let checkout = Self(tempfile::tempdir().expect("a folder"));
        checkout.git(&["init", "--quiet", "--initial-branch=main"]);
        checkout.commit("first");
        checkout
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-C"])
            .arg(self.path())
            .args(arguments)
            .output()
            .expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        std::fs::write(self.path().join(path), content).expect("written");
    }
}
