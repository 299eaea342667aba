//! The shim: one small process beside each task. It outlives the endpoint, holds the limits, keeps the output in a file and
//! records how the task ended.

use std::path::Path;

use super::{Exit, Program, Spec, TaskFolder, docker, process, read, write_whole};

/// Runs the task of a folder to its end.
pub async fn run(folder: &Path) -> std::io::Result<()> {
    let folder = TaskFolder::new(folder.to_owned());
    let spec: Spec =
        read(&folder.path().join("spec.json")).ok_or_else(|| std::io::Error::other("spec.json cannot be read"))?;
    let ended = match &spec.program {
        Program::Process(command) => process::supervise(&folder, &spec, command).await,
        Program::Docker(container) => docker::supervise(&folder, &spec, container).await,
    };
    let exit =
        ended.unwrap_or_else(|error| Exit { code: 128, out_of_memory: false, start_error: Some(error.to_string()) });
    write_whole(&folder.path().join("exit.json"), &exit)?;
    // Only now: the end is known at once, and an engine takes its time to remove a container.
    if let Program::Docker(container) = &spec.program {
        docker::remove(container, &spec.name).await;
    }
    Ok(())
}
