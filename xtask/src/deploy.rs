//! `deploy`, `promote` and their kin: the endpoint is up, on an empty account there is a first image, then `deploy` takes over.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::workspace::{self, Workspace};
use crate::{build_image, image, local, synth};

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
            // What `deploy` takes by default begins with these.
            Self::Status => Some(named.unwrap_or("staging").to_owned()),
            Self::History => Some(named.unwrap_or("production").to_owned()),
            _ => named.map(str::to_owned),
        }
    }
}

pub(crate) fn run(workspace: &Workspace, verb: Verb, arguments: &[OsString]) -> Result<ExitCode> {
    let binary = workspace.build("deploy", "deploy")?;
    let mut command = workspace.command(&binary);
    command.arg(verb.name()).args(arguments);
    if let Some(environment) = verb.environment(arguments) {
        let client = Client { workspace, binary: &binary, environment: &environment, arguments };
        let ours = client.reach()?;
        // Deploying to production is refused by `deploy`, before anything is built for it.
        if verb == Verb::Deploy
            && environment == "staging"
            && client.value("--image").is_none()
            && let Some(image) = client.first_image(ours.as_ref())?
        {
            command.arg("--image").arg(image);
        }
    }
    workspace::become_command(&mut command)
}

/// The `deploy` binary, asked before it takes over.
struct Client<'a> {
    workspace: &'a Workspace,
    binary: &'a Path,
    environment: &'a str,
    /// What the person typed: some of it holds for these questions too.
    arguments: &'a [OsString],
}

impl Client<'_> {
    /// Starts the endpoint that the environment needs if it is ours and silent; `None` for AWS.
    fn reach(&self) -> Result<Option<Endpoint>> {
        let document = self.ask("endpoint", None)?;
        if document["ours"] != true {
            return Ok(None);
        }
        let url = document["endpoint"].as_str().context("`deploy endpoint` does not say which endpoint")?;
        let endpoint = Endpoint::parse(url)?;
        local::ensure(self.workspace, &endpoint)?;
        Ok(Some(endpoint))
    }

    /// On an empty account the service cannot be created without an image: builds and pushes it, and returns its address.
    fn first_image(&self, ours: Option<&Endpoint>) -> Result<Option<String>> {
        let document = self.ask("bootstrap", self.value("--commit"))?;
        if document["first_image_needed"] != true {
            return Ok(None);
        }
        eprintln!("no image yet: building and pushing the first one");
        let mut command = self.image(ours)?;
        command.args(["build", "--push", "--json", "--repository", &synth::value(self.workspace, "repository")?]);
        command.args(build_image::architecture(self.workspace)?).args(build_image::features(self.workspace)?);
        let report = parse(&workspace::output(&mut command, false)?, "image build")?;
        let (repository, digest) = (report["repository"].as_str(), report["digest"].as_str());
        let (repository, digest) = repository.zip(digest).context("`image build` names no pushed image")?;
        let reference = format!("{repository}@{digest}");
        // The pipeline's build scans all others.
        for environment in synth::value(self.workspace, "scanning-environments")?.lines() {
            let mut scan = self.image(ours)?;
            scan.args(["scan", &reference, "--ecr", "--policy"]).arg(image::scan_policy(self.workspace, environment)?);
            eprintln!("scanning it as {environment} demands");
            workspace::succeed(scan.stdout(std::io::stderr()))?;
        }
        Ok(Some(reference))
    }

    /// The `image` binary, at the endpoint.
    fn image(&self, ours: Option<&Endpoint>) -> Result<Command> {
        let mut command = self.workspace.command(&self.workspace.build("image", "image")?);
        if let Some(endpoint) = ours {
            play_aws(&mut command, endpoint, &synth::value(self.workspace, "region")?);
        }
        Ok(command)
    }

    fn ask(&self, question: &str, commit: Option<&OsStr>) -> Result<Value> {
        let mut command = self.workspace.command(self.binary);
        command.args([question, self.environment, "--json"]);
        for (name, value) in [("--commit", commit), ("--environments", self.value("--environments"))] {
            if let Some(value) = value {
                command.arg(name).arg(value);
            }
        }
        // A failure's document is the answer to somebody who asked for JSON.
        let asked_json = self.arguments.iter().any(|argument| argument == "--json");
        parse(&workspace::output(&mut command, asked_json)?, "deploy")
    }

    /// The value of an option among the arguments, as `--name value` or `--name=value`.
    fn value(&self, name: &str) -> Option<&OsStr> {
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == name {
                return arguments.next().map(OsString::as_os_str);
            }
            if let Some(value) = argument.to_str().and_then(|text| text.strip_prefix(name)?.strip_prefix('=')) {
                return Some(OsStr::new(value));
            }
        }
        None
    }
}

/// Has a command reach AWS, or the embedded endpoint, for an environment. Where the address is given already, as in a build of
/// the pipeline, it stands.
pub(crate) fn point_at(workspace: &Workspace, command: &mut Command, environment: &str) -> Result<()> {
    if std::env::var_os("AWS_ENDPOINT_URL").is_some_and(|url| !url.is_empty())
        || std::env::var_os("CODEBUILD_BUILD_ARN").is_some()
    {
        return Ok(());
    }
    let binary = workspace.build("deploy", "deploy")?;
    let client = Client { workspace, binary: &binary, environment, arguments: &[] };
    if let Some(endpoint) = client.reach()? {
        play_aws(command, &endpoint, &synth::value(workspace, "region")?);
    }
    Ok(())
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
