//! The local checkout, asked through git.

use std::path::Path;
use std::process::Command;

use crate::error::Error;

fn git(root: &Path, arguments: &[&str]) -> Result<String, Error> {
    let what = format!("cannot run `git {}`", arguments.join(" "));
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(arguments)
        .output()
        .map_err(|error| Error::unexpected(&what, error.to_string(), "install git"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::unexpected(what, why, "run it in the checkout"))
    }
}

/// The full id of a commit; `HEAD` or anything else git understands.
pub(crate) fn commit(root: &Path, revision: &str) -> Result<String, Error> {
    git(root, &["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")])
}

/// Paths with changes that are not committed.
pub(crate) fn changed_paths(root: &Path) -> Result<Vec<String>, Error> {
    let status = git(root, &["status", "--porcelain", "--untracked-files=normal"])?;
    Ok(status.lines().map(|line| line.get(2..).unwrap_or(line).trim().to_owned()).collect())
}

/// True if `branch` contains the commit.
pub(crate) fn branch_contains(root: &Path, branch: &str, commit: &str) -> bool {
    git(root, &["merge-base", "--is-ancestor", commit, &format!("refs/heads/{branch}")]).is_ok()
        || git(root, &["merge-base", "--is-ancestor", commit, &format!("refs/remotes/origin/{branch}")]).is_ok()
}

/// One line for each commit that `new` has and `old` has not.
pub(crate) fn between(root: &Path, old: &str, new: &str) -> Option<Vec<String>> {
    let log = git(root, &["log", "--oneline", "--no-decorate", &format!("{old}..{new}")]).ok()?;
    Some(log.lines().map(str::to_owned).collect())
}
