//! `check`: the gate, the same file as CI.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::workspace::{self, Workspace};

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    workspace::become_command(Command::new(workspace.root().join(".ci/run")).current_dir(workspace.root()))
}
