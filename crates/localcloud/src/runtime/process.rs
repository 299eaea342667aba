//! A task as a process of this machine: started, limited, checked, stopped, and its end recorded.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::limits::Limits;
use super::{Exit, ProcessId, Spec, TaskFolder, at, health, write_whole};

/// A program as the task's container would start it: with its environment alone, in its folder.
pub(super) fn in_task(folder: &TaskFolder, spec: &Spec, program: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(spec.environment.iter().map(|(key, value)| (key, value)))
        .current_dir(folder.path())
        .stdin(Stdio::null());
    command
}

/// Runs the process to its end.
pub(super) async fn supervise(folder: &TaskFolder, spec: &Spec, command: &[String]) -> std::io::Result<Exit> {
    // Listening comes first, so that a stop that arrives during the start is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let output = OpenOptions::new().create(true).append(true).open(folder.output())?;
    let program = command.first().ok_or_else(|| std::io::Error::other("the command is empty"))?;
    let limits = Limits::create(&spec.name, spec.memory_bytes, spec.cpu_units);
    let mut child = in_task(folder, spec, program, &command[1..])
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .map_err(|error| std::io::Error::new(error.kind(), format!("CannotStartContainerError: {program}: {error}")))?;
    let pid = child.id().unwrap_or_default();
    limits.admit(pid);
    if let Some(process) = ProcessId::of(pid) {
        write_whole(&folder.path().join("process.json"), &process)?;
    }
    let group = Pid::from_raw(pid.cast_signed());
    let send = |signal: Signal| group.map(|group| kill_process_group(group, signal));

    let mut watchdog = tokio::time::interval(Duration::from_millis(100));
    let mut presence = tokio::time::interval(Duration::from_secs(1));
    let mut health = std::pin::pin!(health::watch(folder, spec, &limits));
    let mut deadline: Option<tokio::time::Instant> = None;
    let mut over_limit = false;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = terminate.recv() => {
                send(Signal::TERM);
                deadline.get_or_insert(tokio::time::Instant::now() + Duration::from_secs(spec.stop_timeout_seconds));
            }
            () = at(deadline) => {
                send(Signal::KILL);
                deadline = None;
            }
            never = &mut health => match never {},
            // Looked at in the branch, not before it: nothing else may ever wake this loop.
            _ = presence.tick() => {
                // Somebody deleted the endpoint's state: nobody will ever come to stop the task.
                if !folder.path().exists() {
                    send(Signal::KILL);
                }
            }
            _ = watchdog.tick(), if limits.needs_watchdog() => {
                if super::limits::resident_bytes(pid) > spec.memory_bytes {
                    over_limit = true;
                    send(Signal::KILL);
                }
            }
        }
    };
    // Children that the task left behind end with it, as the processes of a container do.
    send(Signal::KILL);
    let out_of_memory = over_limit || limits.out_of_memory();
    limits.remove();
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(Exit { code, out_of_memory: out_of_memory && code == 137, start_error: None })
}
