//! Stopping the endpoint and its tasks; removing what it keeps.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::endpoint::Endpoint;
use crate::local::own_status;
use crate::problem::{CONFIGURATION, Problem, UNEXPECTED};
use crate::workspace::Workspace;

/// Open connections get their drain; an endpoint that is still there after this hangs.
const STOP: Duration = Duration::from_secs(30);

/// Stops the endpoint, which would replace stopped tasks, and then the tasks. False when it was down already.
pub(super) fn down(workspace: &Workspace, endpoint: &Endpoint) -> Result<bool> {
    let Some(status) = own_status(workspace, endpoint)? else { return Ok(false) };
    endpoint.request("POST", "/_localcloud/shutdown")?;
    let begin = Instant::now();
    let data = status.document["data_dir"].as_str().map(Path::new);
    let state = data.map(|directory| directory.join("state/lock"));
    // Closed to new requests first, then done with its state: only then can the next endpoint open it.
    while endpoint.request("GET", "/_localcloud/status").is_ok_and(|answer| answer.is_some())
        || state.as_deref().is_some_and(locked)
    {
        if begin.elapsed() > STOP {
            return Err(Problem::new(
                UNEXPECTED,
                format!("the endpoint still runs {} s after its shutdown", STOP.as_secs()),
                format!("end it yourself: kill {}", status.document["pid"]),
            )
            .into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    data.map_or(Ok(true), |directory| stop_tasks(directory, &[]).map(|()| true))
}

/// Removes what tasks kept in volumes of a Docker engine: the endpoint's folder only notes them.
pub(super) fn remove_volumes(data: &Path) -> Result<()> {
    if data.join("docker-volumes").exists() { stop_tasks(data, &["--remove-volumes"]) } else { Ok(()) }
}

/// Lets the endpoint's own program stop the tasks that outlive it: the copy that was started last.
fn stop_tasks(data: &Path, options: &[&str]) -> Result<()> {
    let copies = std::fs::read_dir(data.join("bin")).into_iter().flatten().flatten();
    let newest = copies.max_by_key(|copy| copy.metadata().and_then(|metadata| metadata.modified()).ok());
    let Some(program) = newest else { return Ok(()) };
    let status = std::process::Command::new(program.path())
        .args(["stop-tasks", "--data-dir"])
        .arg(data)
        .args(options)
        .stdout(std::process::Stdio::null())
        .status()
        .context("the tasks cannot be stopped")?;
    anyhow::ensure!(status.success(), "some tasks could not be stopped");
    Ok(())
}

/// True while a process holds the lock on the state.
fn locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_err())
}

/// Removes the endpoint's folder. Refuses a folder that an endpoint never wrote to: the place can be set by a variable.
pub(super) fn remove(directory: &Path) -> Result<bool> {
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", directory.display())),
        Ok(_) if directory.join("state").exists() || directory.join("endpoint.log").exists() => {}
        Ok(_) => {
            return Err(Problem::new(
                CONFIGURATION,
                format!("{} holds no state of the endpoint; it is left alone", directory.display()),
                "SMARTASSIST_DATA_DIR names the folder to reset",
            )
            .into());
        }
    }
    std::fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    Ok(true)
}
