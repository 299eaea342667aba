//! `synth`, `print`: the generated files, and single values of the environment files.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{self, Workspace};

/// `synth [args…]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let synth = workspace.build("cloudformation", "synth")?;
    workspace::become_command(workspace.command(&synth).args(arguments))
}

/// `print VALUE`.
pub(crate) fn print(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let synth = workspace.build("cloudformation", "synth")?;
    workspace::become_command(workspace.command(&synth).arg("print").args(arguments))
}

/// One value of the environment files.
pub(crate) fn value(workspace: &Workspace, what: &str) -> Result<String> {
    let synth = workspace.build("cloudformation", "synth")?;
    let text = workspace::output(workspace.command(&synth).args(["print", what]), false)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}
