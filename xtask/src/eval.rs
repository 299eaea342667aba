//! `eval`: how good the chatbot's answers are.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{self, Target, Workspace};

pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let evaluate = workspace.build_release("chatbot", Target::Example("evaluate"))?;
    workspace::become_command(workspace.command(&evaluate).args(arguments))
}
