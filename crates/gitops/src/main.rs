//! `gitops`: writes `argocd/` from `environments/`, or checks that it is up to date.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Parser, Subcommand};
use environment::{Environment, EnvironmentName, Project};
use gitops::checks::{self, Finding, check};
use gitops::{Image, files, rendered};
use serde::Deserialize as _;
use serde_json::{Value as Json, json};

/// Writes ArgoCD applications, Kubernetes manifests and kustomize overlays to argocd/.
#[derive(Debug, Parser)]
#[command(name = "gitops", bin_name = "cargo xtask gitops", version)]
struct Cli {
    /// Write nothing; fail if a generated file is stale.
    #[arg(long)]
    check: bool,
    /// Let an environment run an image, by digest: production=REGISTRY/REPOSITORY@sha256:…
    #[arg(long, value_name = "ENVIRONMENT=IMAGE", conflicts_with = "check")]
    image: Option<String>,
    /// Directory of project.yaml and the environments; argocd/ is beside it.
    #[arg(long, value_name = "DIR", default_value = "environments")]
    environments: PathBuf,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check Kubernetes manifests, ours or not, for what only makes sense together: `kustomize build DIR | gitops validate -`.
    Validate {
        /// Files of one overlay, YAML or JSON; `-` is the standard input.
        #[arg(value_name = "FILE", required_unless_present = "rules")]
        files: Vec<PathBuf>,
        /// List the rules instead.
        #[arg(long)]
        rules: bool,
    },
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
            let configuration = error.is::<environment::Error>() || error.is::<gitops::Error>();
            if configuration { ExitCode::from(64) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    if let Some(Command::Validate { files, rules }) = &cli.command {
        return if *rules { list_rules(cli.json) } else { validate(files, cli.json) };
    }
    let project = Project::load(&cli.environments)?;
    let environments = Environment::load_all(&cli.environments)?;
    let root = cli.environments.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let promoted = cli.image.as_deref().map(promotion).transpose()?;

    let mut findings = Vec::new();
    for environment in &environments {
        findings.extend(check(&rendered(&project, environment, &Image::none(&project))?));
    }
    if !findings.is_empty() {
        report(&findings);
        return Ok(false);
    }
    let mut wanted = files(&project, &environments)?;
    for name in EnvironmentName::ALL {
        let image = promoted.as_ref().filter(|(of, _)| *of == name).map(|(_, image)| image.clone());
        let file = image.clone().unwrap_or_else(|| Image::none(&project)).file(&project, name);
        // What runs is not ours to say: only its absence is repaired.
        if image.is_some() || !root.join(&file.path).exists() {
            wanted.push(file);
        }
    }
    let stale: Vec<_> = wanted
        .iter()
        .filter(|file| std::fs::read_to_string(root.join(&file.path)).ok().as_ref() != Some(&file.text))
        .collect();
    if !cli.check {
        for file in &stale {
            let path = root.join(&file.path);
            let parent = path.parent().unwrap_or(root);
            std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
            std::fs::write(&path, &file.text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let current = !cli.check || stale.is_empty();
    if cli.json {
        let key = if cli.check { "stale" } else { "written" };
        let paths: Vec<_> = stale.iter().map(|file| &file.path).collect();
        let document = json!({"schema": 1, "ok": current, "files": wanted.len(), key: paths});
        writeln!(io::stdout(), "{document:#}")?;
    }
    for file in &stale {
        eprintln!("{}: {}", if cli.check { "stale" } else { "written" }, file.path);
    }
    if !current {
        eprintln!("error: generated files are stale\nhint: cargo xtask gitops");
    }
    Ok(current)
}

fn list_rules(as_json: bool) -> Result<bool> {
    let mut out = io::stdout();
    if as_json {
        let rules: Vec<_> = checks::rules().collect();
        writeln!(out, "{:#}", json!({"schema": 1, "rules": rules}))?;
        return Ok(true);
    }
    for rule in checks::rules() {
        writeln!(out, "{:<20}{}", rule.name, rule.finds)?;
    }
    Ok(true)
}

/// The documents of all files together.
fn validate(files: &[PathBuf], as_json: bool) -> Result<bool> {
    let mut documents = Vec::new();
    for path in files {
        documents.extend(manifests(path)?);
    }
    let findings = check(&documents);
    if as_json {
        let result =
            json!({"schema": 1, "ok": findings.is_empty(), "documents": documents.len(), "findings": findings});
        writeln!(io::stdout(), "{result:#}")?;
    }
    report(&findings);
    let rules = checks::rules().count();
    eprintln!("{} documents, {rules} rules, {} findings", documents.len(), findings.len());
    Ok(findings.is_empty())
}

/// The documents of a file; one without any is a mistake, and not free of findings.
fn manifests(path: &Path) -> Result<Vec<Json>> {
    let file = path.display();
    let text = if path.as_os_str() == "-" {
        io::read_to_string(io::stdin()).context("cannot read the standard input")?
    } else {
        std::fs::read_to_string(path)
            .map_err(|error| anyhow!("cannot read {file}: {error}\n  hint: name Kubernetes manifests, YAML or JSON"))?
    };
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let document = Json::deserialize(document)
            .map_err(|error| anyhow!("{file} is no YAML: {error}\n  hint: name Kubernetes manifests, YAML or JSON"))?;
        documents.extend((!document.is_null()).then_some(document));
    }
    let whole = |document: &Json| ["apiVersion", "kind"].iter().all(|field| document[field].is_string());
    if documents.is_empty() || !documents.iter().all(whole) {
        bail!(
            "{file} has something else than Kubernetes documents, or nothing\n  hint: each has an apiVersion and a kind"
        );
    }
    Ok(documents)
}

fn report(findings: &[Finding]) {
    for finding in findings {
        eprintln!("error: {finding}");
    }
}

fn promotion(text: &str) -> Result<(EnvironmentName, Image)> {
    let (environment, image) = text
        .split_once('=')
        .ok_or_else(|| anyhow!("`{text}` is no promotion\n  hint: production=REPOSITORY@sha256:…"))?;
    let environment = environment.parse().map_err(|error| anyhow!("{error}"))?;
    Ok((environment, Image::parse(image)?))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
