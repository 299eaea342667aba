//! `build-image`: `image build`, with this project's repository name.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::synth;
use crate::workspace::{self, Workspace};

pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let image = workspace.build("image", "image")?;
    let mut command = workspace.command(&image);
    command.arg("build").args(arguments);
    if !names_repository(arguments) {
        match std::env::var_os("IMAGE_REPOSITORY").filter(|name| !name.is_empty()) {
            Some(name) => command.arg("--repository").arg(name),
            None => command.args(["--repository", &synth::value(workspace, "repository")?]),
        };
    }
    workspace::become_command(&mut command)
}

/// True when `image` needs no name from us: it is given, or only help is asked for.
fn names_repository(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .any(|argument| matches!(argument, "--repository" | "--help" | "-h") || argument.starts_with("--repository="))
}
