//! A build's source: a clean checkout of one commit.

use std::ffi::OsStr;
use std::path::Path;

use crate::cloud::Cloud;
use crate::source::{checkout, git};

/// Clones the checkout behind a repository id into `target` at a revision, and gives the commit. The clone borrows the
/// checkout's objects, so it is quick; nothing is taken from the working tree.
pub(super) fn check_out(cloud: &Cloud, repository: &str, revision: &str, target: &Path) -> Result<String, String> {
    let checkout = checkout(cloud, repository)?;
    // What is left of an attempt that was killed.
    let _ = std::fs::remove_dir_all(target);
    let clone = ["clone", "--quiet", "--shared", "--no-checkout"].map(OsStr::new);
    git(checkout, clone.into_iter().chain([checkout.as_os_str(), target.as_os_str()]))?;
    git(target, ["-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", revision])?;
    Ok(git(target, ["rev-parse", "HEAD"])?.trim().to_owned())
}
