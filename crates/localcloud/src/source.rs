//! What a source connection reaches: local git checkouts by repository id, read with git itself.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::cloud::Cloud;

/// The checkout behind a repository id.
pub(crate) fn checkout<'a>(cloud: &'a Cloud, repository: &str) -> Result<&'a Path, String> {
    cloud.settings().sources.get(repository).map(std::path::PathBuf::as_path).ok_or_else(|| {
        format!(
            "no checkout is known for the repository {repository}; start the endpoint with --source {repository}=PATH"
        )
    })
}

/// Runs git in a checkout and gives what it prints.
pub(crate) fn git<A: AsRef<OsStr>>(checkout: &Path, arguments: impl IntoIterator<Item = A>) -> Result<String, String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(checkout).args(arguments);
    let output = command.output().map_err(|error| format!("git cannot be run: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
