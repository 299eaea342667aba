//! `local up | down | status | reset`: the embedded endpoint's life on this machine.
//!
//! Address: AWS_ENDPOINT_URL, otherwise `local.endpoint` of environments/project.yaml. State: `.localcloud/` at the checkout's
//! root; SMARTASSIST_DATA_DIR moves it (for tests, which must not touch the checkout's own).

mod start;
mod stop;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

pub(crate) use start::ensure;

use crate::endpoint::{Endpoint, Status};
use crate::problem::{CONFIGURATION, Problem, UNEXPECTED};
use crate::synth;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the endpoint in the background; its state and its tasks are those of the last time.
    Up {
        /// How many times faster than on AWS model waits pass (canary minutes, bake, health-check intervals): 1 to 1000.
        #[arg(long, value_name = "N", value_parser = time_scale)]
        time_scale: Option<f64>,
        /// What runs tasks: a Docker engine if one answers (auto), processes that unpack the image, or containers.
        #[arg(long, value_name = "RUNTIME", value_parser = ["auto", "process", "docker"])]
        runtime: Option<String>,
    },
    /// Stop the endpoint and its tasks; the state stays.
    Down,
    /// Show where the endpoint is; exit code 1 when it is down.
    Status,
    /// Stop the endpoint and remove everything it keeps.
    Reset,
}

/// The place of the endpoint's state.
pub(crate) fn data_directory(workspace: &Workspace) -> PathBuf {
    std::env::var_os("SMARTASSIST_DATA_DIR").map_or_else(|| workspace.root().join(".localcloud"), PathBuf::from)
}

/// The endpoint of this checkout.
pub(crate) fn endpoint(workspace: &Workspace) -> Result<Endpoint> {
    match std::env::var("AWS_ENDPOINT_URL") {
        Ok(url) if !url.is_empty() => Endpoint::parse(&url),
        _ => Endpoint::parse(&synth::value(workspace, "endpoint")?),
    }
}

/// The running endpoint's status, if it is this checkout's: another one's would deploy that checkout's commits.
/// AWS_ENDPOINT_URL is a choice, and is taken as it is.
fn own_status(workspace: &Workspace, endpoint: &Endpoint) -> Result<Option<Status>> {
    let Some(status) = endpoint.status()? else { return Ok(None) };
    let chosen = std::env::var_os("AWS_ENDPOINT_URL").is_some_and(|url| !url.is_empty());
    let theirs = status.document["data_dir"].as_str().unwrap_or_default();
    if chosen || same(&data_directory(workspace), Path::new(theirs)) {
        return Ok(Some(status));
    }
    Err(Problem::new(
        CONFIGURATION,
        format!("the endpoint on {} is another checkout's: its state is in {theirs}", endpoint.url()),
        "stop it there (cargo xtask local down), or give this checkout a port of its own: AWS_ENDPOINT_URL=http://127.0.0.1:PORT",
    )
    .into())
}

fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    real(one) == real(other)
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    let endpoint = endpoint(workspace)?;
    match &arguments.command {
        Command::Up { time_scale, runtime } => {
            let asked = start::Options { time_scale: *time_scale, runtime: runtime.as_deref() };
            let status = start::up(workspace, &endpoint, asked)?;
            print(arguments.json, &status.document, &human(&status))?;
        }
        Command::Down => {
            let stopped = stop::down(workspace, &endpoint)?;
            let text = if stopped { "the endpoint is down; its state stays" } else { "the endpoint was down already" };
            print(arguments.json, &json!({"schema": 1, "endpoint": endpoint.url(), "stopped": stopped}), text)?;
        }
        Command::Status => match own_status(workspace, &endpoint)? {
            Some(status) => print(arguments.json, &status.document, &human(&status))?,
            None => {
                let what = format!("the endpoint {} is down", endpoint.url());
                return Err(Problem::new(UNEXPECTED, what, "cargo xtask local up").into());
            }
        },
        Command::Reset => {
            let stopped = stop::down(workspace, &endpoint)?;
            stop::remove_volumes(&data_directory(workspace))?;
            let directory = data_directory(workspace);
            let removed = stop::remove(&directory)?;
            let text = match removed {
                true => format!("removed {}", directory.display()),
                false => format!("nothing to remove: {} does not exist", directory.display()),
            };
            let removed = removed.then_some(&directory);
            let document = json!({"schema": 1, "endpoint": endpoint.url(), "stopped": stopped, "removed": removed});
            print(arguments.json, &document, &text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn time_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (1.0..=1000.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 1 to 1000 is expected".to_owned()),
    }
}

fn human(status: &Status) -> String {
    let of = |name: &str| status.document[name].as_str().unwrap_or("?").to_owned();
    let mut text = format!("endpoint    {}\ntime scale  {}\n", of("endpoint"), status.time_scale());
    text += &format!("runtime     {}\nregion      {}\nstate       {}", of("runtime"), of("region"), of("data_dir"));
    text
}

fn print(json: bool, document: &Value, text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    if json { writeln!(out, "{document}") } else { writeln!(out, "{text}") }.context("cannot write the result")
}
