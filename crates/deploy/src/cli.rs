//! The command line: parses, runs, prints one document, and turns the result into an exit code.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use environment::{Engine, EnvironmentName, Span};
use serde_json::{Value, json};

use crate::context::{self, Context};
use crate::error::{Error, Message};
use crate::report::Outcome;
use crate::{bootstrap, clients, follow, git, history, infra, logs, preflight, promote, release, rollback, status};

/// Deploys, promotes, rolls back and observes. Data on stdout, progress on stderr.
///
/// Exit codes: 0 done; 1 unexpected; 2 usage; 64 bad configuration; 65 preflight refused; 66 failed, the version before
/// serves; 67 failed and rolled back; 68 rejected; 69 endpoint or AWS unreachable; 70 still running; 75 not approved.
#[derive(Debug, Parser)]
#[command(name = "deploy", version)]
pub struct Cli {
    /// Directory of project.yaml and the environments.
    #[arg(long, global = true, value_name = "DIR", default_value = "environments")]
    environments: PathBuf,
    /// Print the result as one JSON document.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print which endpoint an environment needs, and whether it is ours to start.
    Endpoint { environment: String },
    /// Create the image registry if it is missing, and say whether a first image is needed.
    Bootstrap {
        environment: String,
        /// Commit of the first image.
        #[arg(long, default_value = "HEAD")]
        commit: String,
    },
    /// Send a commit through the pipeline: build, staging, tests; stops at the approval.
    Deploy {
        environment: String,
        /// First image, by digest, for services that do not exist yet.
        #[arg(long, value_name = "REPOSITORY@DIGEST")]
        image: Option<String>,
        /// The commit to deploy.
        #[arg(long, default_value = "HEAD")]
        commit: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Approve what passed staging and follow production to its verdict.
    Promote {
        environment: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// Turn down what waits for approval.
    Reject {
        environment: String,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Bring the last successful version back.
    Rollback { environment: String },
    /// Show what serves, and what waits.
    Status {
        /// One environment; default: both.
        environment: Option<String>,
    },
    /// Show who deployed what, and how it ended.
    History {
        /// One environment; default: production.
        #[arg(default_value = "production")]
        environment: String,
        /// How many deployments.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Print what the containers print.
    Logs {
        environment: String,
        /// Go on until interrupted.
        #[arg(long)]
        follow: bool,
        /// How far back.
        #[arg(long, default_value = "10m", value_name = "SPAN")]
        since: Span,
    },
    /// Review and apply changes to the stacks.
    #[command(subcommand)]
    Infra(Infra),
}

#[derive(Debug, Subcommand)]
enum Infra {
    /// Show what would change.
    Plan { environment: String },
    /// Change it.
    Apply {
        environment: String,
        /// Allow changes that may move versions or traffic of a live service.
        #[arg(long)]
        allow_live_changes: bool,
    },
}

#[derive(Debug, Clone, Copy, Args)]
struct Patience {
    /// Stop and roll back after this many failed tasks.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_failed_tasks: u16,
    /// Stop and roll back after this long without progress of a deployment; the pipeline's builds get three times as long.
    #[arg(long, default_value = "20m", value_name = "SPAN")]
    timeout: Span,
}

/// What a command found, for stdout.
enum Answer {
    Document { json: Value, text: String, exit: u8 },
    Printed,
}

/// Runs a command and returns the process's exit code.
pub async fn main(cli: Cli) -> u8 {
    let as_json = cli.json;
    match run(cli).await {
        Ok(Answer::Printed) => 0,
        Ok(Answer::Document { json, text, exit }) => {
            let text = if as_json { format!("{json:#}\n") } else { text };
            // Nobody may read any more; the verdict stands nevertheless.
            let _ = std::io::stdout().write_all(text.as_bytes());
            exit
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            let exit = error.exit_code();
            if as_json {
                let document = json!({"schema": 1, "error": error.to_string(), "exit_code": exit});
                let _ = writeln!(std::io::stdout(), "{document:#}");
            }
            exit
        }
    }
}

async fn run(cli: Cli) -> Result<Answer, Error> {
    let load = async |name: &str| Context::load(&cli.environments, parse(name)?).await;
    let load_movable = async |name: &str| movable(load(name).await?);
    match &cli.command {
        Command::Endpoint { environment } => {
            let (project, environment) = context::load(&cli.environments, parse(environment)?)?;
            let endpoint = clients::endpoint(&project, &environment);
            let ours = environment.location.account.is_none();
            let text = format!("{}\n", endpoint.as_deref().unwrap_or("aws"));
            Ok(document(json!({"schema": 1, "endpoint": endpoint, "ours": ours}), text))
        }
        Command::Bootstrap { environment, commit } => {
            let context = load_movable(environment).await?;
            let commit = git::commit(context.root(), commit)?;
            preflight::identity(&context).await?;
            let registry = bootstrap::registry(&context, &commit).await?;
            let first =
                if registry.first_image_needed { "a first image is needed" } else { "no first image is needed" };
            let text = format!("{}\n{first}\n", registry.repository_uri);
            Ok(document(json!(registry), text))
        }
        Command::Deploy { environment, image, commit, patience } => {
            let name = parse(environment)?;
            if name == EnvironmentName::Production {
                return Err(Error::Usage(Message::new(
                    "production is not deployed to",
                    "it takes exactly what passed staging and was approved",
                    "`cargo xtask deploy staging`, then `cargo xtask promote production`",
                )));
            }
            if image.as_deref().is_some_and(|image| !image.contains("@sha256:")) {
                return Err(Error::Usage(Message::new(
                    "--image names no digest",
                    "tags can move",
                    "use REPOSITORY@sha256:…",
                )));
            }
            let context = load_movable(environment).await?;
            let request = release::Request {
                image: image.as_deref(),
                commit,
                limits: limits(&context, *patience),
                pipeline_patience: patience.timeout.as_duration() * 3,
            };
            Ok(outcome(&release::run(&context, request).await?))
        }
        Command::Promote { environment, yes, patience } => {
            let context = production(load_movable(environment).await?)?;
            let request = promote::Request {
                yes: *yes,
                limits: limits(&context, *patience),
                pipeline_patience: patience.timeout.as_duration() * 3,
            };
            Ok(outcome(&promote::run(&context, request).await?))
        }
        Command::Reject { environment, reason } => {
            let context = production(load(environment).await?)?;
            Ok(outcome(&promote::reject(&context, reason.as_deref()).await?))
        }
        Command::Rollback { environment } => {
            let context = load_movable(environment).await?;
            Ok(outcome(&rollback::run(&context).await?))
        }
        Command::Status { environment: Some(environment) } => {
            let context = load_movable(environment).await?;
            preflight::identity(&context).await?;
            let json = status::read(&context).await?;
            let text = status::summary(&json);
            Ok(document(json, text))
        }
        Command::Status { environment: None } => {
            let mut all = Vec::new();
            for name in EnvironmentName::ALL {
                let context = load_movable(name.as_str()).await?;
                preflight::identity(&context).await?;
                all.push(status::read(&context).await?);
            }
            let text = all.iter().map(status::summary).collect::<Vec<_>>().join("\n");
            Ok(document(json!({"schema": 1, "environments": all}), text))
        }
        Command::History { environment, limit } => {
            let context = load_movable(environment).await?;
            preflight::identity(&context).await?;
            let json = history::read(&context, *limit).await?;
            let text = history::summary(&json);
            Ok(document(json, text))
        }
        Command::Logs { environment, follow, since } => {
            let context = load(environment).await?;
            preflight::identity(&context).await?;
            logs::run(&context, *since, *follow, cli.json).await?;
            Ok(Answer::Printed)
        }
        Command::Infra(command) => {
            let (environment, mode) = match command {
                Infra::Plan { environment } => (environment, infra::Mode::Plan),
                Infra::Apply { environment, allow_live_changes } => {
                    (environment, infra::Mode::Apply { allow_live_changes: *allow_live_changes })
                }
            };
            let context = load(environment).await?;
            preflight::identity(&context).await?;
            let json = infra::run(&context, mode).await?;
            let text = infra::summary(&json);
            Ok(document(json, text))
        }
    }
}

fn parse(name: &str) -> Result<EnvironmentName, Error> {
    name.parse().map_err(Error::from)
}

/// This client moves and follows versions through CodeDeploy; what ECS does by itself the pipeline starts.
fn movable(context: Context) -> Result<Context, Error> {
    match context.environment.deployment.engine {
        Engine::Codedeploy => Ok(context),
        Engine::Ecs => Err(Error::Configuration(
            Message::new(
                format!("{} is deployed by ECS itself (deployment.engine: ecs)", context.environment.name),
                "this client moves and follows versions through CodeDeploy only; nothing was changed",
                format!(
                    "start, approve and roll back in CodePipeline (`aws codepipeline start-pipeline-execution --name {}`), \
                     or set deployment.engine to codedeploy; infra and logs work with both",
                    context.project.pipeline_name()
                ),
            )
            .to_string(),
        )),
    }
}

/// Only production is behind an approval.
fn production(context: Context) -> Result<Context, Error> {
    match context.environment.name {
        EnvironmentName::Production => Ok(context),
        EnvironmentName::Staging => Err(Error::Usage(Message::new(
            "staging is not behind an approval",
            "every commit goes there by itself",
            "`cargo xtask deploy staging`, or name production",
        ))),
    }
}

fn limits(context: &Context, patience: Patience) -> crate::watchdog::Limits {
    follow::limits(context, usize::from(patience.max_failed_tasks), patience.timeout.as_duration())
}

fn document(json: Value, text: String) -> Answer {
    Answer::Document { json, text, exit: 0 }
}

fn outcome(outcome: &Outcome) -> Answer {
    Answer::Document { json: json!(outcome), text: outcome.summary(), exit: outcome.exit_code() }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
