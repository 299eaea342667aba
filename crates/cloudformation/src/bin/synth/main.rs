//! `synth`: writes what is generated from `environments/`, or checks that it is up to date.

mod validate;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use cloudformation::budget::Budget;
use cloudformation::checks::{self, Document, Finding, Scope};
use cloudformation::{GeneratedFile, Stack, cloudformation_role, features, files, templates, variants};
use environment::{Architecture, Environment, EnvironmentName, Project};
use serde_json::json;

/// Writes the files generated from the environments: buildspec.yml, taskdef.json and appspec.yaml of each
/// environment; with --out the CloudFormation templates too. Prints how long deployments and rollbacks take.
#[derive(Debug, Parser)]
#[command(name = "synth", bin_name = "cargo xtask synth", version)]
struct Cli {
    /// Write nothing; fail if a generated file is stale.
    #[arg(long)]
    check: bool,
    /// Write the CloudFormation templates into this directory, one JSON file a stack.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Directory of project.yaml and the environments; generated files go to paths beside it.
    #[arg(long, value_name = "DIR", default_value = "environments", global = true)]
    environments: PathBuf,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print one value, for scripts.
    Print {
        /// Which one.
        what: Value,
        /// Of which environment, where each has its own.
        #[arg(long, value_name = "NAME")]
        environment: Option<EnvironmentName>,
    },
    /// Write the templates of a set of variants in which every two choices meet, a directory each; for validators.
    Variants {
        /// Where to.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Check templates, ours or not: JSON or YAML.
    Validate(validate::Arguments),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Value {
    /// Name of the image repository.
    Repository,
    /// Default region.
    Region,
    /// Address of the embedded endpoint.
    Endpoint,
    /// Name of the pipeline.
    Pipeline,
    /// The git repository behind the source connection, as `owner/name`.
    Source,
    /// The processor of the image: one for all environments, because they run the same image.
    Architecture,
    /// The processor of the functions of deployments.
    HookArchitecture,
    /// The cargo features that the image's program needs, with commas; empty for none.
    Features,
    /// The template of the role under which CloudFormation manages the stacks, for an administrator.
    CloudformationRole,
    /// What a scan may have found in an environment's image, as JSON.
    Scan,
    /// The environments that demand a scan of their image, one a line.
    ScanningEnvironments,
    /// Files of the keys that may have signed an environment's image, one a line.
    SignatureKeys,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads has enough, as `head` does.
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            // Bad configuration has an exit code of its own.
            let configuration = error.is::<environment::Error>() || error.is::<cloudformation::Unsupported>();
            if configuration { ExitCode::from(64) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    if let Some(Command::Validate(arguments)) = &cli.command {
        return validate::run(arguments, cli.json);
    }
    let project = Project::load(&cli.environments)?;
    if let Some(Command::Print { what, environment }) = cli.command {
        let own = || {
            let name = environment.context("that value is an environment's own: add --environment NAME")?;
            anyhow::Ok(Environment::load(&cli.environments, name)?)
        };
        let value = match what {
            Value::Repository => project.image_repository,
            Value::Region => project.region,
            Value::Endpoint => project.local.endpoint,
            Value::Pipeline => project.pipeline_name().to_owned(),
            Value::Source => project.source.repository,
            Value::Architecture => architecture(&Environment::load_all(&cli.environments)?)?.to_owned(),
            Value::HookArchitecture => hook_architecture(&Environment::load_all(&cli.environments)?)?.to_owned(),
            Value::Features => features(&Environment::load_all(&cli.environments)?),
            Value::CloudformationRole => {
                format!("{:#}", cloudformation_role(&project, &Environment::load_all(&cli.environments)?)?)
            }
            Value::Scan => {
                let environment = own()?;
                let scan = environment.image.scan.as_ref();
                serde_json::to_string(scan.with_context(|| lacks(&environment, "image.scan", "--policy"))?)?
            }
            Value::ScanningEnvironments => {
                let all = Environment::load_all(&cli.environments)?;
                let scanning = all.iter().filter(|environment| environment.image.scan.is_some());
                scanning.map(|environment| environment.name.as_str()).collect::<Vec<_>>().join("\n")
            }
            Value::SignatureKeys => keys(&cli.environments, &own()?)?.join("\n"),
        };
        writeln!(io::stdout(), "{value}")?;
        return Ok(true);
    }
    let environments = Environment::load_all(&cli.environments)?;
    if let Some(Command::Variants { directory }) = &cli.command {
        for variant in variants::covering(&project, &environments) {
            write_templates(&directory.join(&variant.name), &stacks(&variant.project, &variant.environments)?)?;
        }
        return Ok(true);
    }
    let root = cli.environments.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let generated = files(&project, &environments)?;
    let stacks = stacks(&project, &environments)?;
    let findings = checks::check(&documents(&stacks), Scope::Whole);
    let stale = stale(root, &generated)?;
    if !cli.check {
        for file in &stale {
            let path = root.join(&file.path);
            std::fs::write(&path, &file.text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if let Some(directory) = &cli.out {
        write_templates(directory, &stacks)?;
    }
    let budgets: Vec<_> = environments.iter().map(|environment| (environment.name, Budget::of(environment))).collect();
    report(cli, &stale, &findings, &budgets)
}

/// What to say of a setting that `image` needs, and takes from an option too.
fn lacks(environment: &Environment, setting: &str, option: &str) -> String {
    let name = environment.name;
    format!(
        "{name} has no `{setting}`\nhint: add it to environments/{name}/environment.yaml, or give `image` the option {option}"
    )
}

/// Where the public keys of an environment are.
fn keys(directory: &Path, environment: &Environment) -> Result<Vec<String>> {
    let settings = environment.image.signature.as_ref();
    let settings = settings.with_context(|| lacks(environment, "image.signature", "--key"))?;
    let path = |key: &PathBuf| directory.join(environment.name.as_str()).join(key).display().to_string();
    Ok(settings.keys.iter().map(path).collect())
}

/// The processor that all of them name; where none does, the default.
fn one_architecture(all: &[(EnvironmentName, Architecture)], differs: &str) -> Result<&'static str> {
    let named = |architecture: Architecture| match architecture {
        Architecture::X86_64 => "x86_64",
        Architecture::Arm64 => "arm64",
    };
    let first = all.first().map_or(Architecture::default(), |(_, architecture)| *architecture);
    if all.iter().any(|(_, architecture)| *architecture != first) {
        let list: Vec<_> = all.iter().map(|(name, architecture)| format!("{name}: {}", named(*architecture))).collect();
        anyhow::bail!("{differs} ({})", list.join(", "));
    }
    Ok(named(first))
}

/// The one image goes from staging to production, so its processor is the same everywhere.
fn architecture(environments: &[Environment]) -> Result<&'static str> {
    let all: Vec<_> = environments.iter().map(|of| (of.name, of.task.architecture)).collect();
    one_architecture(&all, "task.architecture differs, but all environments run one image")
}

/// The processor of the functions of deployments, where there are some.
fn hook_architecture(environments: &[Environment]) -> Result<&'static str> {
    let hooks = environments.iter().filter_map(|of| Some((of.name, of.deployment.hooks.as_ref()?.architecture)));
    let all: Vec<_> = hooks.collect();
    one_architecture(&all, "deployment.hooks.architecture differs: name one with --architecture")
}

/// The generated files whose text on disk differs.
fn stale<'a>(root: &Path, generated: &'a [GeneratedFile]) -> Result<Vec<&'a GeneratedFile>> {
    let mut stale = Vec::new();
    for file in generated {
        let path = root.join(&file.path);
        match std::fs::read_to_string(&path) {
            Ok(text) if text == file.text => {}
            Ok(_) => stale.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => stale.push(file),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    Ok(stale)
}

/// The stacks of all environments, each once: registry and delivery are the same for every environment.
fn stacks(project: &Project, environments: &[Environment]) -> Result<Vec<Stack>> {
    let mut stacks: Vec<Stack> = Vec::new();
    for environment in environments {
        for stack in templates(project, environment)? {
            if stacks.iter().all(|other| other.name != stack.name) {
                stacks.push(stack);
            }
        }
    }
    Ok(stacks)
}

fn documents(stacks: &[Stack]) -> Vec<Document> {
    stacks.iter().map(|stack| Document::new(stack.name.as_str(), stack.template.clone())).collect()
}

fn write_templates(directory: &Path, stacks: &[Stack]) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for Stack { name, template, .. } in stacks {
        let path = directory.join(format!("{name}.json"));
        std::fs::write(&path, format!("{template:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Prints what was done and how long deployments take; false if something is not as it should be.
fn report(
    cli: &Cli,
    stale: &[&GeneratedFile],
    findings: &[Finding],
    budgets: &[(EnvironmentName, Budget)],
) -> Result<bool> {
    let current = !cli.check || stale.is_empty();
    let in_time = budgets.iter().all(|(_, budget)| budget.broken().next().is_none());
    let mut out = io::stdout();
    if cli.json {
        let ok = current && in_time && findings.is_empty();
        writeln!(out, "{:#}", document(cli, stale, findings, budgets, ok))?;
    } else {
        for (name, budget) in budgets {
            write!(out, "{}", table(*name, budget))?;
        }
    }
    for file in stale {
        eprintln!("{}: {}", if cli.check { "stale" } else { "written" }, file.path);
    }
    if !current {
        eprintln!("error: generated files are stale\nhint: cargo xtask synth");
    }
    for finding in findings {
        eprintln!("error: {finding}");
    }
    for (name, budget) in budgets {
        for course in budget.broken() {
            eprintln!(
                "error: {name}: {} takes {}s, but its target is {}\nhint: shorten its longest phase, or raise \
                 deployment.targets in environments/{name}/environment.yaml",
                course.name,
                course.counted().as_seconds(),
                course.target,
            );
        }
    }
    Ok(current && in_time && findings.is_empty())
}

fn table(name: EnvironmentName, budget: &Budget) -> String {
    let mut text = String::new();
    for course in &budget.courses {
        let total = course.counted().as_seconds();
        text += &format!("{name}: {}: {total}s of {}s\n", course.name, course.target.as_seconds());
        for phase in &course.phases {
            let time = format!("{}s", phase.time.as_seconds());
            let note = if phase.counted { "" } else { ", not counted" };
            text += &format!("  {:<24}{time:>6}  {}{note}\n", phase.name, phase.because);
        }
    }
    text
}

fn document(
    cli: &Cli,
    stale: &[&GeneratedFile],
    findings: &[Finding],
    budgets: &[(EnvironmentName, Budget)],
    ok: bool,
) -> serde_json::Value {
    let courses = |budget: &Budget| -> Vec<_> {
        let course = |course: &cloudformation::budget::Course| {
            let phases: Vec<_> = course
                .phases
                .iter()
                .map(|phase| {
                    let (seconds, because) = (phase.time.as_seconds(), &phase.because);
                    json!({"name": phase.name, "seconds": seconds, "counted": phase.counted, "because": because})
                })
                .collect();
            json!({
                "name": course.name,
                "seconds": course.counted().as_seconds(),
                "target_seconds": course.target.as_seconds(),
                "phases": phases,
            })
        };
        budget.courses.iter().map(course).collect()
    };
    let key = if cli.check { "stale" } else { "written" };
    json!({
        "schema": 1,
        "ok": ok,
        key: stale.iter().map(|file| &file.path).collect::<Vec<_>>(),
        "findings": findings,
        "budgets": budgets
            .iter()
            .map(|(name, budget)| json!({"environment": name.as_str(), "courses": courses(budget)}))
            .collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
