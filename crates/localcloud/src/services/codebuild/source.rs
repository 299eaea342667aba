//! A build's source: a clean checkout of one commit.

use std::path::Path;
use std::process::Command;

use crate::cloud::Cloud;

/// Clones the checkout behind a repository id into `target` at a revision, and gives the commit. The clone borrows the
/// checkout's objects, so it is quick; nothing is taken from the working tree.
pub(super) fn check_out(cloud: &Cloud, repository: &str, revision: &str, target: &Path) -> Result<String, String> {
    let checkout = cloud.settings().sources.get(repository).ok_or_else(|| {
        format!(
            "no checkout is known for the repository {repository}; start the endpoint with --source {repository}=PATH"
        )
    })?;
    // What is left of an attempt that was killed.
    let _ = std::fs::remove_dir_all(target);
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet", "--shared", "--no-checkout"]).arg(checkout).arg(target);
    run(clone)?;
    let mut switch = Command::new("git");
    switch.arg("-C").arg(target).args(["-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", revision]);
    run(switch)?;
    let mut head = Command::new("git");
    head.arg("-C").arg(target).args(["rev-parse", "HEAD"]);
    Ok(run(head)?.trim().to_owned())
}

fn run(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("git cannot be run: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
