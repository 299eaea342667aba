//! The release build: one cargo call whose result depends on the commit alone.
//!
//! Two checkouts of one commit may share a cargo build directory. Two things follow.
//!
//! *Dependencies are compiled with the same flags everywhere*, or the checkouts would invalidate each other's artifacts:
//! only `crt-static` and the remaps of CARGO_HOME and of the build directory itself are in the flags of every crate; what
//! differs between checkouts goes to the last crate alone, through `cargo rustc -- …`. Flags are in the environment of this
//! one call and not in `.cargo/config.toml`, where they would rebuild everything for the tests too.
//!
//! *The workspace's own crates are never taken from another checkout.* Cargo names their artifacts by the path relative to
//! the workspace's root and judges freshness by file times, so a checkout with older files silently gets the other's
//! library (seen with cargo 1.95). A marker in the build directory names the checkout that built last; when it is another
//! one with other content, the workspace's crates are cleaned first, under a lock.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::assemble::Description;
use crate::auditable;
use crate::dependencies::{Artifact, Dependencies, DependenciesError, Lock, Origin};
use crate::error::Error;
use crate::git::Source;
use crate::progress::{Progress, Step};
use crate::settings::Settings;
use crate::target::Target;

/// What is built.
#[derive(Debug, Clone)]
pub struct Program {
    /// The package.
    pub package: String,
    /// Its binary.
    pub binary: String,
    /// Its cargo features beside the default ones.
    pub features: Vec<String>,
}

impl Default for Program {
    fn default() -> Self {
        Self { package: "chatbot".to_owned(), binary: "smartbot".to_owned(), features: Vec::new() }
    }
}

/// The workspace as cargo sees it.
#[derive(Debug)]
pub struct Workspace {
    metadata: Metadata,
    /// Variables that say where cargo works.
    place: Vec<(&'static str, PathBuf)>,
}

/// What went wrong with cargo.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// cargo does not start.
    #[error("cannot run cargo")]
    Start(#[source] std::io::Error),
    /// cargo ran and failed; its own messages are on stderr already.
    #[error("`cargo {arguments}` failed: {message}")]
    Failed {
        /// The arguments.
        arguments: String,
        /// The last words, or where to find them.
        message: String,
    },
    /// cargo answered in a form that is not known.
    #[error("cargo's answer is not understood")]
    Answer(#[source] serde_json::Error),
    /// The workspace lacks the package.
    #[error("the workspace at {} has no package `{package}`", root.display())]
    Package {
        /// The workspace.
        root: PathBuf,
        /// The package.
        package: String,
    },
    /// The build made no such binary.
    #[error("cargo built package `{package}` but reported no executable `{binary}`")]
    NoBinary {
        /// The package.
        package: String,
        /// The binary.
        binary: String,
    },
}

impl CompileError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Start(_) => "install the Rust toolchain and have cargo on PATH",
            Self::Failed { .. } => {
                "cargo's own messages are above; an outdated Cargo.lock is refused (`cargo check` repairs it)"
            }
            Self::Answer(_) => "use the toolchain named by the workspace's rust-version or a newer one",
            Self::Package { .. } => "run in a checkout of the project, or package a binary with `--binary PATH`",
            Self::NoBinary { .. } => "check the [[bin]] section of the package's Cargo.toml",
        }
    }
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
    build_directory: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact(Artifact),
    #[serde(other)]
    Other,
}

/// What a build gives.
#[derive(Debug)]
pub struct Built {
    /// The binary, with the list of its dependencies inside.
    pub binary: Vec<u8>,
    /// What it is made of.
    pub dependencies: Dependencies,
    /// How long cargo took.
    pub cargo: Duration,
}

impl Workspace {
    /// Asks cargo about the workspace around `directory`.
    ///
    /// # Errors
    /// cargo is missing, or `directory` is in no workspace.
    pub fn find(directory: &Path) -> Result<Self, CompileError> {
        Self::find_with(directory, Vec::new())
    }

    /// The same for a checkout that is built with a CARGO_HOME and a target folder of its own.
    ///
    /// # Errors
    /// As for [`Workspace::find`].
    pub fn find_apart(directory: &Path, cargo_home: &Path, target: &Path) -> Result<Self, CompileError> {
        let place = vec![
            ("CARGO_HOME", cargo_home.to_owned()),
            ("CARGO_TARGET_DIR", target.to_owned()),
            ("CARGO_BUILD_BUILD_DIR", target.to_owned()),
        ];
        Self::find_with(directory, place)
    }

    fn find_with(directory: &Path, place: Vec<(&'static str, PathBuf)>) -> Result<Self, CompileError> {
        let arguments = ["metadata", "--format-version=1", "--no-deps"];
        let output =
            cargo(directory, &place).args(arguments).stdin(Stdio::null()).output().map_err(CompileError::Start)?;
        if !output.status.success() {
            return Err(CompileError::Failed {
                arguments: arguments.join(" "),
                message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        Ok(Self { metadata: serde_json::from_slice(&output.stdout).map_err(CompileError::Answer)?, place })
    }

    /// Where finished things go.
    #[must_use]
    pub fn target_directory(&self) -> &Path {
        &self.metadata.target_directory
    }

    /// What the package says of itself.
    ///
    /// # Errors
    /// There is no such package.
    pub fn describe(&self, package: &str) -> Result<Description, CompileError> {
        let found = self.metadata.packages.iter().find(|candidate| candidate.name == package);
        let found = found.ok_or_else(|| CompileError::Package {
            root: self.metadata.workspace_root.clone(),
            package: package.to_owned(),
        })?;
        Ok(Description {
            version: Some(found.version.clone()),
            source: found.repository.clone(),
            licenses: found.license.clone(),
        })
    }

    /// Builds the program.
    ///
    /// # Errors
    /// The build fails.
    pub fn compile(
        &self,
        program: &Program,
        target: &Target,
        source: &Source,
        settings: &Settings,
        progress: Progress<'_>,
    ) -> Result<Built, Error> {
        let build = self.metadata.build_directory.as_ref().unwrap_or(&self.metadata.target_directory);
        fs::create_dir_all(build).map_err(Error::io("create", build))?;
        let lock_path = build.join(".image-build.lock");
        let lock = File::create(&lock_path).map_err(Error::io("create", &lock_path))?;
        // Held until the binary is read: between the check of the marker and that, no other build may replace anything.
        lock.lock().map_err(Error::io("lock", &lock_path))?;
        self.isolate(build, target, source, progress)?;

        progress(Step::Compiling { target: target.triple() });
        let root = &self.metadata.workspace_root;
        let mut flags = vec![OsString::from("-Ctarget-feature=+crt-static")];
        flags.extend(settings.cargo_home.as_ref().map(|home| remap(home, "/cargo")));
        flags.push(remap(build, "/build"));
        let mut command = cargo(root, &self.place);
        command
            .args(["rustc", "--locked", "--release", "--package", &program.package, "--bin", &program.binary])
            .args(["--features", &program.features.join(",")])
            .args(["--target", target.triple(), "--message-format=json-render-diagnostics", "--"])
            // The last remap that matches wins, and the build directory is often inside the checkout.
            .arg(remap(root, "/src"))
            .arg(remap(build, "/build"))
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join(std::ffi::OsStr::new("\x1f")))
            // A constant: the commit's own time would rebuild dependencies that look at it.
            .env("SOURCE_DATE_EPOCH", "0")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        // `--locked`: the lock file is the same afterwards, and can be read while cargo works.
        let (output, cargo, lock) = thread::scope(|scope| {
            let lock = scope.spawn(|| self.lock());
            let started = Instant::now();
            let output = command.output().map_err(CompileError::Start);
            (output, started.elapsed(), lock.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let output = output?;
        if !output.status.success() {
            return Err(CompileError::Failed {
                arguments: format!("rustc --release --package {}", program.package),
                message: output.status.to_string(),
            }
            .into());
        }
        let artifacts = artifacts(&output.stdout)?;
        let path = executable(&artifacts, program)?;
        let binary = fs::read(path).map_err(Error::io("read", path))?;
        let dependencies = self.dependencies(&artifacts, program, target.triple(), &lock?)?;
        Ok(Built { binary: auditable::embed(&binary, &dependencies)?, dependencies, cargo })
    }

    /// The workspace's lock file.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub(crate) fn lock(&self) -> Result<Lock, DependenciesError> {
        Lock::read(&self.metadata.workspace_root.join("Cargo.lock"))
    }

    /// What a program is made of whose build gave these artifacts.
    ///
    /// # Errors
    /// cargo's messages are not understood.
    pub(crate) fn dependencies(
        &self,
        artifacts: &[Artifact],
        program: &Program,
        triple: &str,
        lock: &Lock,
    ) -> Result<Dependencies, DependenciesError> {
        let mut dependencies = Dependencies::of_build(artifacts, &program.package, triple, lock)?;
        for member in &mut dependencies.packages {
            // A member's manifest may take its licence from the workspace; cargo has resolved that.
            let known = self.metadata.packages.iter().find(|package| package.name == member.name);
            if let Some(known) = known.filter(|_| member.origin == Origin::Local) {
                member.license.clone_from(&known.license);
            }
        }
        Ok(dependencies)
    }

    /// Makes sure that what cargo finds of the workspace's crates was built from this content.
    fn isolate(&self, build: &Path, target: &Target, source: &Source, progress: Progress<'_>) -> Result<(), Error> {
        let marker = build.join(format!(".image-build.{}", target.triple()));
        let tree = match (&source.dirty, &source.tree) {
            (None, Some(tree)) => tree.as_str(),
            _ => "",
        };
        let root = self.metadata.workspace_root.display().to_string();
        let last = fs::read_to_string(&marker).unwrap_or_default();
        let (last_root, last_tree) = last.trim_end().split_once('\n').unwrap_or((last.trim_end(), ""));
        let same = last_root == root || (!tree.is_empty() && last_tree == tree);
        if !same {
            progress(Step::Isolating);
            let mut command = cargo(&self.metadata.workspace_root, &self.place);
            command.args(["clean", "--quiet", "--release", "--target", target.triple()]);
            for package in &self.metadata.packages {
                command.args(["--package", &package.name]);
            }
            let output = command.stdin(Stdio::null()).output().map_err(CompileError::Start)?;
            if !output.status.success() {
                return Err(CompileError::Failed {
                    arguments: "clean".to_owned(),
                    message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                }
                .into());
            }
        }
        // Before the build: an interrupted one leaves artifacts of this checkout already.
        fs::write(&marker, format!("{root}\n{tree}\n")).map_err(Error::io("write", &marker))
    }
}

fn remap(from: &Path, to: &str) -> OsString {
    let mut flag = OsString::from("--remap-path-prefix=");
    flag.push(from);
    flag.push(format!("={to}"));
    flag
}

/// cargo without the variables that would change the binary or make dependencies look changed: flags and profiles of the
/// caller, and what an outer `cargo run` set for its own package.
fn cargo(directory: &Path, place: &[(&'static str, PathBuf)]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(directory);
    let exact = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_INCREMENTAL",
        "CARGO_BUILD_INCREMENTAL",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
        "OUT_DIR",
    ];
    let prefixes = ["CARGO_PROFILE_", "CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if exact.contains(&text.as_ref()) || prefixes.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.envs(place.iter().map(|(name, path)| (name, path)));
    command
}

/// The artifacts in cargo's messages.
///
/// # Errors
/// A message is not understood.
pub(crate) fn artifacts(stdout: &[u8]) -> Result<Vec<Artifact>, CompileError> {
    let mut artifacts = Vec::new();
    for line in stdout.split(|b| *b == b'\n').filter(|line| line.starts_with(b"{")) {
        match serde_json::from_slice(line).map_err(CompileError::Answer)? {
            Message::CompilerArtifact(artifact) => artifacts.push(artifact),
            Message::Other => {}
        }
    }
    Ok(artifacts)
}

fn executable<'a>(artifacts: &'a [Artifact], program: &Program) -> Result<&'a Path, CompileError> {
    let built = artifacts.iter().filter(|artifact| artifact.target_name() == program.binary);
    built
        .filter_map(|artifact| artifact.executable.as_deref())
        .next()
        .ok_or_else(|| CompileError::NoBinary { package: program.package.clone(), binary: program.binary.clone() })
}
