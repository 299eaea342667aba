//! Starting the endpoint: detached, from a copy of its binary, and not before it answers.

use std::ffi::OsString;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::endpoint::{Endpoint, Status};
use crate::local::{data_directory, own_status};
use crate::problem::{CONFIGURATION, Problem, UNREACHABLE};
use crate::synth;
use crate::workspace::Workspace;

/// Adopting many tasks after a restart takes a moment; a start that takes longer than this hangs.
const START: Duration = Duration::from_secs(60);

/// What a build needs of the machine, as the build image would carry it. Buildspecs otherwise run in a cleared environment.
const BUILD_VARIABLES: [&str; 12] = [
    "PATH",
    "HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "NO_PROXY",
];

/// What a person may ask of a start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options<'a> {
    /// How many times faster model waits pass.
    pub(super) time_scale: Option<f64>,
    /// What runs tasks.
    pub(super) runtime: Option<&'a str>,
}

impl Options<'_> {
    /// What was asked for and a running endpoint does not do: the option, its value there, its value here.
    fn differences(&self, running: &Status) -> Vec<(&'static str, String, String)> {
        let scale = self.time_scale.filter(|asked| *asked != running.time_scale());
        let scale = scale.map(|asked| ("time-scale", running.time_scale().to_string(), asked.to_string()));
        let theirs = running.document["runtime"].as_str().unwrap_or_default();
        let runtime = self.runtime.filter(|asked| *asked != "auto" && *asked != theirs);
        let runtime = runtime.map(|asked| ("runtime", theirs.to_owned(), asked.to_owned()));
        scale.into_iter().chain(runtime).collect()
    }
}

/// `local up`.
pub(super) fn up(workspace: &Workspace, endpoint: &Endpoint, options: Options<'_>) -> Result<Status> {
    let Some(status) = own_status(workspace, endpoint)? else { return start(workspace, endpoint, options) };
    let differences = options.differences(&status);
    if differences.is_empty() {
        eprintln!("the endpoint runs already");
        return Ok(status);
    }
    let (mut what, mut again) = (vec![], "cargo xtask local down && cargo xtask local up".to_owned());
    for (option, running, asked) in differences {
        what.push(format!("{option} {running} and not {asked}"));
        again += &format!(" --{option} {asked}");
    }
    let what = format!("the endpoint runs already, with {}", what.join(", "));
    Err(Problem::new(CONFIGURATION, what, again).into())
}

/// The endpoint, started if it is silent. Says so when model waits are shortened.
pub(crate) fn ensure(workspace: &Workspace, endpoint: &Endpoint) -> Result<Status> {
    let status = match own_status(workspace, endpoint)? {
        Some(status) => status,
        None => start(workspace, endpoint, Options::default())?,
    };
    if let Some(notice) = status.scale_notice() {
        eprintln!("{notice}");
    }
    Ok(status)
}

fn start(workspace: &Workspace, endpoint: &Endpoint, options: Options<'_>) -> Result<Status> {
    let built = workspace.build("localcloud", "localcloud")?;
    let directory = data_directory(workspace);
    let binary = install(&built, &directory.join("bin"))
        .with_context(|| format!("cannot put the endpoint's binary into {}", directory.display()))?;
    let log_path = directory.join("endpoint.log");
    let log = File::options().create(true).append(true).open(&log_path);
    let log = log.with_context(|| format!("cannot write {}", log_path.display()))?;
    // The log goes on over restarts; only what this start adds to it explains this start.
    let before = log.metadata().map_or(0, |metadata| metadata.len());

    let mut command = workspace.command(&binary);
    // A failed start is explained by its message, which frames would push out of the log's tail.
    command.env("RUST_LIB_BACKTRACE", "0");
    command.arg("serve").arg("--listen").arg(endpoint.address().to_string());
    command.arg("--data-dir").arg(&directory);
    if let Some(scale) = options.time_scale {
        command.arg("--time-scale").arg(scale.to_string());
    }
    if let Some(runtime) = options.runtime {
        command.arg("--runtime").arg(runtime);
    }
    command.arg("--region").arg(synth::value(workspace, "region")?);
    command.arg("--source").arg(pair(&synth::value(workspace, "source")?, workspace.root()));
    for (name, value) in build_environment(workspace.root()) {
        command.arg("--build-env").arg(pair(name, &value));
    }
    detach(&mut command, log)?;
    let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
    wait(child, endpoint, &log_path, before)
}

/// In a process group of its own (Ctrl-C at the terminal does not reach it), holding none of our streams.
fn detach(command: &mut Command, log: File) -> Result<()> {
    let errors = log.try_clone().context("cannot share the endpoint's log")?;
    command.process_group(0).stdin(Stdio::null()).stdout(log).stderr(errors);
    Ok(())
}

fn wait(mut child: Child, endpoint: &Endpoint, log: &Path, before: u64) -> Result<Status> {
    let begin = Instant::now();
    loop {
        if let Some(status) = endpoint.status()? {
            return Ok(status);
        }
        let exited = child.try_wait().context("cannot watch the endpoint")?;
        if exited.is_none() && begin.elapsed() < START {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        let what = match exited {
            Some(status) => format!("the endpoint ended at its start ({status})"),
            None => format!("the endpoint does not answer on {} after {} s", endpoint.url(), START.as_secs()),
        };
        for line in tail(log, before) {
            eprintln!("  {line}");
        }
        return Err(Problem::new(UNREACHABLE, what, format!("its log is {}", log.display())).into());
    }
}

/// The last lines that this start wrote.
fn tail(log: &Path, before: u64) -> Vec<String> {
    let bytes = std::fs::read(log).unwrap_or_default();
    let new = bytes.get(usize::try_from(before).unwrap_or(0)..).unwrap_or_default();
    let text = String::from_utf8_lossy(new);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(20)..].to_vec()
}

/// Copies the binary to a name made from its content: a rebuild never changes the file that running task shims execute.
fn install(built: &Path, directory: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let mut hasher = DefaultHasher::new();
    std::fs::read(built)?.hash(&mut hasher);
    let installed = directory.join(format!("localcloud-{:016x}", hasher.finish()));
    if !installed.exists() {
        let partial = directory.join(format!("partial-{}", std::process::id()));
        std::fs::copy(built, &partial)?;
        std::fs::rename(&partial, &installed)?;
    }
    Ok(installed)
}

fn build_environment(root: &Path) -> Vec<(&'static str, OsString)> {
    let set = |name| std::env::var_os(name).map(|value| (name, value));
    let mut variables: Vec<_> = BUILD_VARIABLES.into_iter().filter_map(set).collect();
    // A build in a clean checkout finds the dependencies that the user's own build has compiled.
    let shared = std::env::var_os("CARGO_BUILD_BUILD_DIR").or_else(|| std::env::var_os("CARGO_TARGET_DIR"));
    let shared = shared.map_or_else(|| root.join("target"), |directory| root.join(directory));
    variables.push(("CARGO_BUILD_BUILD_DIR", shared.into_os_string()));
    // A wrapper that changes nothing makes cargo keep the workspace's own crates of a build apart from the user's: by file times
    // alone it would take the one checkout's code for the other's. Dependencies stay shared.
    variables.push(("RUSTC_WORKSPACE_WRAPPER", "/usr/bin/env".into()));
    variables
}

fn pair(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut pair = OsString::from(name);
    pair.push("=");
    pair.push(value);
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_binary_is_copied_once_and_a_rebuilt_one_beside_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let built = directory.path().join("built");
        let bin = directory.path().join("bin");
        std::fs::write(&built, "one").expect("written");
        let first = install(&built, &bin).expect("installed");
        assert_eq!(install(&built, &bin).expect("installed"), first);
        std::fs::write(&built, "two").expect("written");
        assert_ne!(install(&built, &bin).expect("installed"), first);
        assert_eq!(std::fs::read(first).expect("read"), b"one");
    }
}
