//! Task runner: thin dispatch, executes the workspace's binaries. `cargo xtask --help` lists the commands.

mod bench;
mod build_hooks;
mod build_image;
mod check;
mod deploy;
mod endpoint;
mod eval;
mod image;
mod local;
mod problem;
mod smoke;
mod synth;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::deploy::Verb;
use crate::problem::{Problem, Reported};
use crate::workspace::Workspace;

/// SmartAssist: builds the chatbot's image, deploys it, promotes it, brings it back.
///
/// stdout is the result, stderr is for people. Exit codes: crates/deploy/README.md.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the chatbot's image, and push it if asked to.
    #[command(disable_help_flag = true)]
    BuildImage(Passed),
    /// Build the archive of the functions that judge a new version, ValidateCanary and MonitorCanary.
    #[command(disable_help_flag = true)]
    BuildHooks(Passed),
    /// Sign an image, verify it, print what it is made of, scan it; with --environment NAME as that environment demands.
    #[command(disable_help_flag = true)]
    Image(Passed),
    /// Take the current commit through the pipeline, up to the approval.
    #[command(disable_help_flag = true)]
    Deploy(Passed),
    /// Approve what passed staging: production moves to it.
    #[command(disable_help_flag = true)]
    Promote(Passed),
    /// Turn down what waits for approval.
    #[command(disable_help_flag = true)]
    Reject(Passed),
    /// Bring the last successful version back.
    #[command(disable_help_flag = true)]
    Rollback(Passed),
    /// Show what runs where.
    #[command(disable_help_flag = true)]
    Status(Passed),
    /// Show who deployed what, and how it ended.
    #[command(disable_help_flag = true)]
    History(Passed),
    /// Show what the containers print.
    #[command(disable_help_flag = true)]
    Logs(Passed),
    /// Show a change set of the infrastructure, or run it.
    #[command(disable_help_flag = true)]
    Infra(Passed),
    /// Write the generated files, or check them; `synth --help` shows the options.
    #[command(disable_help_flag = true)]
    Synth(Passed),
    /// Check CloudFormation templates, ours or not, for what only makes sense together.
    #[command(disable_help_flag = true)]
    Validate(Passed),
    /// Show what a month costs, and what other settings would save.
    #[command(disable_help_flag = true)]
    Cost(Passed),
    /// Write ArgoCD applications, Kubernetes manifests and kustomize overlays, or check them.
    #[command(disable_help_flag = true)]
    Gitops(Passed),
    /// Print one value of the environment files, for scripts.
    #[command(disable_help_flag = true)]
    Print(Passed),
    /// The embedded AWS endpoint on this machine.
    Local(local::Arguments),
    /// Test a deployed chatbot: the right commit serves, and it answers.
    Smoke(smoke::Arguments),
    /// Measure how good the chatbot's answers are; `eval --help` shows the options.
    #[command(disable_help_flag = true)]
    Eval(Passed),
    /// Measure a part of the system beside its peer.
    Bench(bench::Arguments),
    /// Run the gate, the same as CI.
    Check,
}

/// Arguments that go to another program as they are.
#[derive(Debug, Args)]
struct Passed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    match &cli.command {
        Command::Synth(passed) => workspace.execute("cloudformation", "synth", &passed.arguments),
        Command::Validate(passed) => synth::subcommand(&workspace, "validate", &passed.arguments),
        Command::Cost(passed) => workspace.execute("cloudformation", "cost", &passed.arguments),
        Command::Gitops(passed) => workspace.execute("gitops", "gitops", &passed.arguments),
        Command::Print(passed) => synth::subcommand(&workspace, "print", &passed.arguments),
        Command::BuildImage(passed) => build_image::run(&workspace, &passed.arguments),
        Command::BuildHooks(passed) => build_hooks::run(&workspace, &passed.arguments),
        Command::Image(passed) => image::run(&workspace, &passed.arguments),
        Command::Deploy(passed) => deploy::run(&workspace, Verb::Deploy, &passed.arguments),
        Command::Promote(passed) => deploy::run(&workspace, Verb::Promote, &passed.arguments),
        Command::Reject(passed) => deploy::run(&workspace, Verb::Reject, &passed.arguments),
        Command::Rollback(passed) => deploy::run(&workspace, Verb::Rollback, &passed.arguments),
        Command::Status(passed) => deploy::run(&workspace, Verb::Status, &passed.arguments),
        Command::History(passed) => deploy::run(&workspace, Verb::History, &passed.arguments),
        Command::Logs(passed) => deploy::run(&workspace, Verb::Logs, &passed.arguments),
        Command::Infra(passed) => deploy::run(&workspace, Verb::Infra, &passed.arguments),
        Command::Smoke(arguments) => smoke::run(arguments),
        Command::Eval(passed) => eval::run(&workspace, &passed.arguments),
        Command::Bench(arguments) => bench::run(&workspace, arguments),
        Command::Check => check::run(&workspace),
        Command::Local(arguments) => local::run(&workspace, arguments),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(Reported(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    eprintln!("error: {error:#}");
    let Some(problem) = error.downcast_ref::<Problem>() else { return ExitCode::FAILURE };
    eprintln!("hint: {}", problem.hint);
    ExitCode::from(problem.code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
