//! `validate FILE…`: our own checks on any templates.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use cloudformation::checks::{self, Document, Scope};
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Templates, JSON or YAML.
    #[arg(value_name = "FILE", required_unless_present = "rules")]
    files: Vec<PathBuf>,
    /// The files are all the stacks of a system: an import that none of them exports is an error.
    #[arg(long)]
    whole: bool,
    /// List the rules instead.
    #[arg(long)]
    rules: bool,
}

pub(super) fn run(arguments: &Arguments, as_json: bool) -> Result<bool> {
    let mut out = std::io::stdout();
    if arguments.rules {
        for rule in checks::rules() {
            writeln!(out, "{:<26}{}", rule.name, rule.finds)?;
        }
        return Ok(true);
    }
    let mut documents = Vec::new();
    for path in &arguments.files {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        documents.push(Document::parse(&path.display().to_string(), &text)?);
    }
    let scope = if arguments.whole { Scope::Whole } else { Scope::Part };
    let findings = checks::check(&documents, scope);
    if as_json {
        let document = json!({"schema": 1, "ok": findings.is_empty(), "files": documents.len(), "findings": findings});
        writeln!(out, "{document:#}")?;
    }
    for finding in &findings {
        eprintln!("error: {finding}");
    }
    let (files, rules) = (documents.len(), checks::rules().count());
    eprintln!("{files} files, {rules} rules, {} findings", findings.len());
    Ok(findings.is_empty())
}
