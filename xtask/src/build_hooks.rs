//! `build-hooks`: the archive of ValidateCanary and MonitorCanary, for the processor that the environments' hooks name.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::build_image::given;
use crate::synth;
use crate::workspace::{self, Target, Workspace};

pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let asks_architecture = !given(arguments, &["--help", "-h", "--architecture", "--target"]);
    if asks_architecture {
        let synth = ("cloudformation", Target::Binary("synth"));
        workspace.build_together(&[("image", Target::Binary("image")), synth], &[])?;
    }
    let mut command = workspace.command(&workspace.build("image", "image")?);
    command.args(["function", "--package", "canary", "--program", "bootstrap"]).args(arguments);
    if asks_architecture {
        command.args(["--architecture", &synth::value(workspace, "hook-architecture")?]);
    }
    workspace::become_command(&mut command)
}
