//! The checkout, and its binaries: built when needed, then executed at the checkout's root.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::problem::{Problem, Reported, UNEXPECTED};

/// A program of a package. Examples are programs for this repository alone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    Binary(&'a str),
    Example(&'a str),
}

impl<'a> Target<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Binary(name) | Self::Example(name) => name,
        }
    }
}

/// The checkout that the command works on.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    /// What this process has built already.
    built: RefCell<BTreeMap<String, PathBuf>>,
}

impl Workspace {
    /// Under cargo the workspace of this package, otherwise the nearest directory upwards with a Cargo.lock.
    pub(crate) fn find() -> Result<Self> {
        if let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR")
            && let Some(root) = Path::new(&package).parent()
            && root.join("Cargo.lock").is_file()
        {
            return Ok(Self::at(root));
        }
        let here = std::env::current_dir().context("cannot find the current directory")?;
        match here.ancestors().find(|directory| directory.join("Cargo.lock").is_file()) {
            Some(root) => Ok(Self::at(root)),
            None => bail!("no Cargo.lock in {} or above it: run this inside the checkout", here.display()),
        }
    }

    fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), built: RefCell::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Builds a binary of the workspace and returns where it is. A build that takes its time says so on stderr.
    pub(crate) fn build(&self, package: &str, binary: &str) -> Result<PathBuf> {
        self.compile(&[(package, Target::Binary(binary))], &[])?;
        self.built(package, binary)
    }

    /// Builds a program of the workspace with optimisation: for what is measured.
    pub(crate) fn build_release(&self, package: &str, target: Target<'_>) -> Result<PathBuf> {
        self.compile(&[(package, target)], &["--release"])?;
        self.built(package, target.name())
    }

    /// Builds programs, given with their packages, in one cargo call: one look at the whole workspace instead of several.
    /// `options` are more of cargo's.
    pub(crate) fn build_together(&self, programs: &[(&str, Target<'_>)], options: &[&str]) -> Result<()> {
        self.compile(programs, options)
    }

    /// A program that was built together with others.
    pub(crate) fn built(&self, package: &str, name: &str) -> Result<PathBuf> {
        match self.built.borrow().get(name) {
            Some(executable) => Ok(executable.clone()),
            None => bail!("cargo built {package} but reported no executable `{name}`"),
        }
    }

    fn compile(&self, programs: &[(&str, Target<'_>)], options: &[&str]) -> Result<()> {
        if programs.iter().all(|(_, target)| self.built.borrow().contains_key(target.name())) {
            return Ok(());
        }
        let packages: Vec<&str> = programs.iter().map(|(package, _)| *package).collect();
        let packages = packages.join(" and ");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet"]);
        for (package, target) in programs {
            let flag = match target {
                Target::Binary(_) => "--bin",
                Target::Example(_) => "--example",
            };
            cargo.args(["--package", package, flag, target.name()]);
        }
        cargo
            .args(options)
            .arg("--message-format=json-render-diagnostics")
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        without_cargo_variables(&mut cargo);
        let mut child = cargo.spawn().context("cannot start cargo")?;
        let building = Notice::after(Duration::from_secs(1), format!("building {packages} …"));
        if let Some(messages) = child.stdout.take() {
            for line in BufReader::new(messages).lines() {
                let line = line.context("cannot read cargo's messages")?;
                let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
                if message["reason"] == "compiler-artifact"
                    && let (Some(name), Some(executable)) =
                        (message["target"]["name"].as_str(), message["executable"].as_str())
                {
                    self.built.borrow_mut().insert(name.to_owned(), PathBuf::from(executable));
                }
            }
        }
        let status = child.wait().context("cannot wait for cargo")?;
        drop(building);
        if status.success() {
            return Ok(());
        }
        Err(Problem::new(
            UNEXPECTED,
            format!("{packages} does not build ({status})"),
            "cargo's message is above; `cargo build -p PACKAGE` repeats it",
        )
        .into())
    }

    /// Becomes a binary of the workspace, built when needed.
    pub(crate) fn execute(&self, package: &str, binary: &str, arguments: &[OsString]) -> Result<ExitCode> {
        let executable = self.build(package, binary)?;
        become_command(self.command(&executable).args(arguments))
    }

    /// A command that runs a built binary at the checkout's root.
    pub(crate) fn command(&self, executable: &Path) -> Command {
        let mut command = Command::new(executable);
        command.current_dir(&self.root);
        without_cargo_variables(&mut command);
        command
    }
}

/// A line on stderr about something that takes longer than expected; never printed if this is dropped before.
struct Notice {
    /// Closed by the drop, which is what the printing thread waits for.
    _open: mpsc::Sender<()>,
}

impl Notice {
    fn after(delay: Duration, line: String) -> Self {
        let (open, dropped) = mpsc::channel();
        std::thread::spawn(move || {
            if dropped.recv_timeout(delay) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{line}");
            }
        });
        Self { _open: open }
    }
}

/// Replaces this process: signals, exit code and streams are then the other program's own.
pub(crate) fn become_command(command: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Runs a command to its end and returns its stdout; its stderr is shown. A failure is [`Reported`], after its stdout was shown
/// too if `relay` asks for it.
pub(crate) fn output(command: &mut Command, relay: bool) -> Result<Vec<u8>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    if relay {
        // Nobody may read any more; the failure stands nevertheless.
        let _ = std::io::stdout().write_all(&output.stdout);
    }
    Err(Reported(exit_code(output.status)).into())
}

/// Runs a command to its end. A failure is [`Reported`]: the command has said why.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if status.success() { Ok(()) } else { Err(Reported(exit_code(status)).into()) }
}

/// As a shell reports it: 128 + the signal for a child that a signal ended.
fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// `cargo run` tells this process about its own package; a child must not take that for its own, and a nested cargo must not
/// find a changed environment to rebuild for.
fn without_cargo_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_BIN_NAME" {
            command.env_remove(&name);
        }
    }
}
