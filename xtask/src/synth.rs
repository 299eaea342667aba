//! `synth`, `print`: the generated files, and single values of the environment files.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{self, Workspace};

/// `print VALUE`, `validate FILE…`: what `synth` does beside.
pub(crate) fn subcommand(workspace: &Workspace, name: &str, arguments: &[OsString]) -> Result<ExitCode> {
    let synth = workspace.build("cloudformation", "synth")?;
    workspace::become_command(workspace.command(&synth).arg(name).args(arguments))
}

/// One value of the environment files.
pub(crate) fn value(workspace: &Workspace, what: &str) -> Result<String> {
    let synth = workspace.build("cloudformation", "synth")?;
    let text = workspace::output(workspace.command(&synth).args(["print", what]), false)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// One value of an environment's file.
pub(crate) fn value_of(workspace: &Workspace, what: &str, environment: &str) -> Result<String> {
    let synth = workspace.build("cloudformation", "synth")?;
    let mut command = workspace.command(&synth);
    let text = workspace::output(command.args(["print", what, "--environment", environment]), false)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}
