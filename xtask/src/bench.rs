//! `bench`: the workspace's benchmarks, each beside a peer in the same run.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::workspace::{self, Target, Workspace};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The chatbot beside Flask + gunicorn: requests a CPU second, latency, memory, streams, start.
    #[command(disable_help_flag = true)]
    Chatbot {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The image builder beside `docker build` and `docker push`: rebuilds, size, an unchanged push.
    #[command(disable_help_flag = true)]
    Image {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Synthesis of all templates beside troposphere and the CDK: time a resource.
    Synth,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.what {
        What::Chatbot { arguments } => {
            let smartbot = workspace.build_release("chatbot", Target::Binary("smartbot"))?;
            let bench = workspace.build_release("chatbot", Target::Example("bench"))?;
            workspace::become_command(workspace.command(&bench).arg("--smartbot").arg(smartbot).args(arguments))
        }
        What::Image { arguments } => {
            // As people run it: the builder itself is not optimised, what it leaves to do is cargo's and zlib's.
            workspace.build_together(
                &[("image", Target::Binary("image")), ("image", Target::Example("image-bench"))],
                &[],
            )?;
            let image = workspace.built("image", "image")?;
            let bench = workspace.built("image", "image-bench")?;
            workspace::become_command(workspace.command(&bench).arg("--image").arg(image).args(arguments))
        }
        // The script installs the peers first.
        What::Synth => {
            let script = "crates/cloudformation/benches/synth.sh";
            workspace::become_command(Command::new("bash").arg(script).current_dir(workspace.root()))
        }
    }
}
