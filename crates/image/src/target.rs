//! What the image runs on, and the compiler target that builds for it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::thread;

use serde::Serialize;

/// The processor an image runs on, in OCI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86-64
    Amd64,
    /// 64-bit Arm, Graviton among them
    Arm64,
}

impl Architecture {
    /// The word in a compiler target.
    fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The word in an image configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl FromStr for Architecture {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "amd64" | "x86_64" => Ok(Self::Amd64),
            "arm64" | "aarch64" => Ok(Self::Arm64),
            _ => Err("`amd64` (or `x86_64`) and `arm64` (or `aarch64`) are known".to_owned()),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A compiler target that this machine can build for.
#[derive(Debug, Clone)]
pub struct Target {
    triple: String,
    compiler: String,
}

/// Why a target cannot be built for.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// rustc does not start or answers strangely.
    #[error("cannot ask rustc for {what}: {reason}")]
    Rustc {
        /// What was asked.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// The machine is not Linux, so its own target is of no use.
    #[error("this machine builds for `{host}`, but the image needs a Linux binary")]
    NotLinux {
        /// The host's triple.
        host: String,
    },
    /// The target's standard library is not installed.
    #[error("the standard library for `{triple}` is not installed")]
    Missing {
        /// The target asked for.
        triple: String,
    },
    /// A target whose binaries no image of ours runs.
    #[error("`{triple}` is not a target for this image: x86_64 or aarch64 Linux is")]
    Unsupported {
        /// The target asked for.
        triple: String,
    },
}

impl TargetError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Rustc { .. } => "install the Rust toolchain and have rustc on PATH".to_owned(),
            Self::NotLinux { host } => {
                let arch = host.split('-').next().unwrap_or("x86_64");
                format!(
                    "`rustup target add {arch}-unknown-linux-musl`, a linker for it, and `--target {arch}-unknown-linux-musl`; \
                     or build on Linux"
                )
            }
            Self::Missing { triple } => format!(
                "run `rustup target add {triple}`, and have a linker for it \
                 (CARGO_TARGET_{}_LINKER names one to cargo)",
                triple.to_uppercase().replace('-', "_")
            ),
            Self::Unsupported { .. } => "for example `--target aarch64-unknown-linux-gnu`".to_owned(),
        }
    }
}

impl Target {
    /// The target asked for, or the host's own with the processor asked for; always an explicit one, because `crt-static`
    /// without `--target` would also be applied to procedural macros and break them.
    ///
    /// # Errors
    /// The target is none that an image can hold, or its standard library is not installed.
    pub fn resolve(requested: Option<&str>, architecture: Option<Architecture>) -> Result<Self, TargetError> {
        // rustc takes longer to start than to answer: both at once.
        let (compiler, sysroot) = thread::scope(|scope| {
            let sysroot = scope.spawn(|| rustc(&["--print", "sysroot"], "where its libraries are").map(PathBuf::from));
            (compiler(), sysroot.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (compiler, host) = compiler?;
        let triple = match requested {
            Some(triple) => triple.to_owned(),
            None => {
                if !host.contains("-linux-") {
                    return Err(TargetError::NotLinux { host });
                }
                match (architecture, host.split_once('-')) {
                    (Some(architecture), Some((_, rest))) => format!("{}-{rest}", architecture.machine()),
                    _ => host,
                }
            }
        };
        let known = ["x86_64-", "aarch64-"].iter().any(|prefix| triple.starts_with(prefix));
        if !known || !triple.contains("-linux-") {
            return Err(TargetError::Unsupported { triple });
        }
        if !has_standard_library(&sysroot?.join("lib/rustlib").join(&triple).join("lib")) {
            return Err(TargetError::Missing { triple });
        }
        Ok(Self { triple, compiler })
    }

    /// The triple.
    #[must_use]
    pub fn triple(&self) -> &str {
        &self.triple
    }

    /// The compiler, in its own words.
    #[must_use]
    pub fn compiler(&self) -> &str {
        &self.compiler
    }
}

/// The compiler's version line, and its machine's own target.
fn compiler() -> Result<(String, String), TargetError> {
    let text = rustc(&["-vV"], "its version")?;
    read_version(&text)
        .ok_or_else(|| TargetError::Rustc { what: "its version", reason: "`rustc -vV` names no host".to_owned() })
}

/// What `rustc -vV` says: its version line, and the machine's own target.
pub(crate) fn read_version(text: &str) -> Option<(String, String)> {
    let host = text.lines().find_map(|line| line.strip_prefix("host: "))?;
    Some((text.lines().next()?.to_owned(), host.to_owned()))
}

fn has_standard_library(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

fn rustc(arguments: &[&str], what: &'static str) -> Result<String, TargetError> {
    let output = Command::new("rustc")
        .args(arguments)
        .output()
        .map_err(|error| TargetError::Rustc { what, reason: error.to_string() })?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(TargetError::Rustc { what, reason });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
