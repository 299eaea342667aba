//! `deploy`, `promote` and their kin: the endpoint is up, on an empty account there is a first image, then `deploy` takes over.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::workspace::{self, Workspace};
use crate::{local, synth};

/// How people call the environments.
const ENVIRONMENTS: [&str; 3] = ["staging", "production", "prod"];

/// The commands of the `deploy` binary that people use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Deploy,
    Promote,
    Reject,
    Rollback,
    Status,
    History,
    Logs,
    Infra,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Promote => "promote",
            Self::Reject => "reject",
            Self::Rollback => "rollback",
            Self::Status => "status",
            Self::History => "history",
            Self::Logs => "logs",
            Self::Infra => "infra",
        }
    }

    /// The environment whose endpoint the command needs. `None` leaves the arguments to `deploy`, which explains itself.
    fn environment(self, arguments: &[OsString]) -> Option<String> {
        if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
            return None;
        }
        let named = arguments.iter().filter_map(|argument| argument.to_str()).find(|name| ENVIRONMENTS.contains(name));
        match self {
            // Both environments are on the same endpoint, or the answer says so.
            Self::Status | Self::History => Some(named.unwrap_or("staging").to_owned()),
            _ => named.map(str::to_owned),
        }
    }
}

pub(crate) fn run(workspace: &Workspace, verb: Verb, arguments: &[OsString]) -> Result<ExitCode> {
    let binary = workspace.build("deploy", "deploy")?;
    let mut command = workspace.command(&binary);
    command.arg(verb.name()).args(arguments);
    if let Some(environment) = verb.environment(arguments) {
        let ours = reach(workspace, &binary, &environment)?;
        if verb == Verb::Deploy
            && let Some(image) = first_image(workspace, &binary, &environment, ours.as_ref())?
        {
            command.arg("--image").arg(image);
        }
    }
    workspace::become_command(&mut command)
}

/// Starts the endpoint that the environment needs if it is ours and silent; `None` for AWS.
fn reach(workspace: &Workspace, binary: &Path, environment: &str) -> Result<Option<Endpoint>> {
    let document = ask(workspace, binary, ["endpoint", environment, "--json"])?;
    if document["ours"] != true {
        return Ok(None);
    }
    let url = document["endpoint"].as_str().context("`deploy endpoint` does not say which endpoint")?;
    let endpoint = Endpoint::parse(url)?;
    local::ensure(workspace, &endpoint)?;
    Ok(Some(endpoint))
}

/// On an empty account the service cannot be created without an image: builds and pushes it, and returns its address.
fn first_image(
    workspace: &Workspace,
    binary: &Path,
    environment: &str,
    ours: Option<&Endpoint>,
) -> Result<Option<String>> {
    let document = ask(workspace, binary, ["bootstrap", environment, "--json"])?;
    if document["first_image_needed"] != true {
        return Ok(None);
    }
    eprintln!("no image yet: building and pushing the first one");
    let image = workspace.build("image", "image")?;
    let mut command = workspace.command(&image);
    command.args(["build", "--push", "--json", "--repository", &synth::value(workspace, "repository")?]);
    if let Some(endpoint) = ours {
        play_aws(&mut command, endpoint, &synth::value(workspace, "region")?);
    }
    let report = parse(&workspace::output(&mut command)?, "image build")?;
    let (repository, digest) = (report["repository"].as_str(), report["digest"].as_str());
    let (repository, digest) = repository.zip(digest).context("`image build` names no pushed image")?;
    Ok(Some(format!("{repository}@{digest}")))
}

/// The embedded endpoint takes any credentials; the user's own must not even be looked at for it.
fn play_aws(command: &mut Command, endpoint: &Endpoint, region: &str) {
    command
        .env("AWS_ENDPOINT_URL", endpoint.url())
        .env("AWS_REGION", region)
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_PROFILE");
}

fn ask<I: AsRef<OsStr>>(workspace: &Workspace, binary: &Path, arguments: [I; 3]) -> Result<Value> {
    parse(&workspace::output(workspace.command(binary).args(arguments))?, "deploy")
}

fn parse(text: &[u8], program: &str) -> Result<Value> {
    let document: Value = serde_json::from_slice(text).with_context(|| format!("`{program}` did not print JSON"))?;
    ensure!(document["schema"] == 1, "`{program}` printed a document of schema {}, not 1", document["schema"]);
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_found_among_the_arguments() {
        let find =
            |verb: Verb, line: &str| verb.environment(&line.split_whitespace().map(Into::into).collect::<Vec<_>>());
        assert_eq!(find(Verb::Infra, "plan production --json").as_deref(), Some("production"));
        assert_eq!(find(Verb::Promote, "--yes prod").as_deref(), Some("prod"));
        assert_eq!(find(Verb::Status, "--json").as_deref(), Some("staging"));
        assert_eq!(find(Verb::Deploy, "qa"), None);
        assert_eq!(find(Verb::Deploy, "staging --help"), None);
    }
}
