//! Task runtime: a task is a process of the pushed image's own files, or a container of a Docker engine. Either way it runs
//! under a shim of its own, and the endpoint knows it only through the files of the task's folder.
//!
//! What a process isolates: memory and CPU by cgroup (or a watchdog), the environment, the working folder, and the address,
//! which is a loopback address of the task's own. What it does not: the file system and the network are the machine's. Paths
//! below a mount point of the task definition are translated to the volume's folder in environment values. A container
//! isolates what Docker isolates; its port is published on 127.0.0.1.

pub mod docker;
pub mod health;
pub mod limits;
mod process;
pub mod shim;
pub mod unpack;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What the shim is to run, written to `spec.json` in the task's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// What to run.
    pub program: Program,
    /// The whole environment; a container adds its image's own below it.
    pub environment: Vec<(String, String)>,
    /// Hard memory limit in bytes.
    pub memory_bytes: u64,
    /// CPU units as in a task definition: 1024 are one core.
    pub cpu_units: u64,
    /// Seconds between SIGTERM and SIGKILL when the task is stopped. Real time: it concerns a real process.
    pub stop_timeout_seconds: u64,
    /// Name for the cgroup or the container; unique on the machine.
    pub name: String,
    /// The container's health check, if it has one.
    #[serde(default)]
    pub health_check: Option<health::HealthCheck>,
}

/// What runs an endpoint's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runtime {
    /// Processes that unpack the pushed image.
    Process,
    /// Containers of the Docker engine at this address.
    Docker(String),
}

impl Runtime {
    /// The name in the endpoint's status.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker(_) => "docker",
        }
    }
}

/// What a task runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Program {
    /// A program on this machine and its arguments.
    Process(Vec<String>),
    /// A container.
    Docker(docker::Container),
}

/// A process, told apart from a later one that got the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process number.
    pub pid: u32,
    /// When it started, in clock ticks since boot; 0 where the system does not tell.
    pub started: u64,
}

impl ProcessId {
    /// The identity of a running process.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, started: start_time(pid)? })
    }

    /// True while this very process runs (a zombie does not).
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

/// Field 22 of `/proc/<pid>/stat`, unless the process is a zombie. See proc(5).
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// How a task's process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + the signal when a signal ended it.
    pub code: i32,
    /// True when the memory limit killed it.
    pub out_of_memory: bool,
    /// Why it could not even be started.
    pub start_error: Option<String>,
}

/// What is known of a task's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Its shim has been started and has not said anything yet.
    Starting,
    /// It runs.
    Running(ProcessId),
    /// It has ended.
    Exited(Exit),
    /// The shim is gone and left no exit record: both were killed from outside.
    Lost,
}

/// A task's folder, through which endpoint and shim talk.
#[derive(Debug, Clone)]
pub struct TaskFolder(PathBuf);

impl TaskFolder {
    /// The folder at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Standard output and error of the task, in one file.
    pub fn output(&self) -> PathBuf {
        self.0.join("output.log")
    }

    /// Writes the specification and starts the shim, which outlives this process. Repeating it is harmless: a folder whose
    /// shim has been started is left alone.
    pub fn start(&self, shim: &Path, spec: &Spec) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        if self.0.join("spec.json").exists() {
            return Ok(());
        }
        write_whole(&self.0.join("spec.json"), spec)?;
        let mut command = Command::new(shim);
        command.arg("shim").arg(&self.0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env_clear();
        // A group of its own: what ends the endpoint's group (Ctrl-C) must not end tasks.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        write_whole(&self.0.join("shim.json"), &ProcessId::of(child.id()))?;
        // Reaps the shim while this endpoint lives, so that it does not stay as a zombie.
        std::thread::spawn(move || child.wait());
        Ok(())
    }

    /// What is known of the task's process now.
    pub fn observe(&self) -> Observation {
        if let Some(exit) = read::<Exit>(&self.0.join("exit.json")) {
            return Observation::Exited(exit);
        }
        let Some(shim) = self.shim() else {
            // Killed between writing the specification and starting the shim.
            return Observation::Lost;
        };
        if !shim.is_alive() {
            // The shim may have written its record just now.
            return read::<Exit>(&self.0.join("exit.json")).map_or(Observation::Lost, Observation::Exited);
        }
        self.process().map_or(Observation::Starting, Observation::Running)
    }

    fn shim(&self) -> Option<ProcessId> {
        read::<Option<ProcessId>>(&self.0.join("shim.json")).flatten()
    }

    /// The task's process, once it has been started; it may have ended since.
    pub fn process(&self) -> Option<ProcessId> {
        read(&self.0.join("process.json"))
    }

    /// What the container's health checks say; nothing before the first verdict, or without a check.
    pub fn health(&self) -> Option<health::Verdict> {
        read::<Option<health::Verdict>>(&self.0.join("health.json")).flatten()
    }

    /// Ends a task whose shim was killed: without limits, and with nobody to record its end, it must not go on.
    pub async fn end_orphan(&self) {
        let Some(spec) = read::<Spec>(&self.0.join("spec.json")) else { return };
        match &spec.program {
            Program::Process(_) => self.kill_process(&spec.name),
            Program::Docker(container) => docker::remove(container, &spec.name).await,
        }
    }

    fn kill_process(&self, name: &str) {
        if let Some(process) = self.process()
            && process.is_alive()
            && let Some(pid) = rustix::process::Pid::from_raw(process.pid.cast_signed())
        {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        limits::remove(name);
    }

    /// Asks the shim to stop the task: SIGTERM, then SIGKILL after the stop timeout.
    pub fn stop(&self) {
        if let Some(shim) = self.shim()
            && shim.is_alive()
            && let Some(pid) = rustix::process::Pid::from_raw(shim.pid.cast_signed())
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

/// Stops every task below the folder of tasks, whether an endpoint runs or not, and waits for their ends.
/// Gives the number of tasks that were running and the number of those still running after `patience`.
pub async fn stop_all(tasks: &Path, patience: Duration) -> io::Result<(usize, usize)> {
    let entries = match fs::read_dir(tasks) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(error) => return Err(error),
    };
    let folders = entries.map(|entry| Ok(TaskFolder::new(entry?.path()))).collect::<io::Result<Vec<_>>>()?;
    // A shim that has recorded the end may still be removing the container.
    let is_live = |folder: &TaskFolder| {
        folder.shim().is_some_and(|shim| shim.is_alive())
            || matches!(folder.observe(), Observation::Starting | Observation::Running(_))
    };
    for folder in folders.iter().filter(|folder| folder.observe() == Observation::Lost) {
        folder.end_orphan().await;
    }
    let mut live: Vec<&TaskFolder> = folders.iter().filter(|folder| is_live(folder)).collect();
    let count = live.len();
    live.iter().for_each(|folder| folder.stop());
    let deadline = Instant::now() + patience;
    while !live.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
        live.retain(|folder| is_live(folder));
    }
    Ok((count, live.len()))
}

/// Waits for a moment that may never come.
async fn at(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a file so that a reader sees all of it or nothing.
pub(crate) fn write_whole(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, serde_json::to_vec(content)?)?;
    fs::rename(temporary, path)
}
