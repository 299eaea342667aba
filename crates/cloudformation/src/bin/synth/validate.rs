//! `validate FILE…`: our own checks on any templates.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use cloudformation::checks::{self, Document, Malformed, Rule, Scope};
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
    let rules: Vec<&Rule> = checks::rules().collect();
    if arguments.rules {
        if as_json {
            writeln!(out, "{:#}", json!({"schema": 1, "rules": rules}))?;
            return Ok(true);
        }
        for rule in rules {
            writeln!(out, "{:<26}{}", rule.name, rule.finds)?;
        }
        return Ok(true);
    }
    let mut documents = Vec::new();
    let mut malformed = Vec::new();
    for path in &arguments.files {
        match read(path) {
            Ok(document) => documents.push(document),
            Err(problem) => malformed.push(problem),
        }
    }
    let scope = if arguments.whole { Scope::Whole } else { Scope::Part };
    let findings = checks::check(&documents, scope);
    let ok = findings.is_empty() && malformed.is_empty();
    let files = arguments.files.len();
    if as_json {
        let document = json!({"schema": 1, "ok": ok, "files": files, "malformed": malformed, "findings": findings});
        writeln!(out, "{document:#}")?;
    }
    for problem in &malformed {
        eprintln!("error: {problem}");
    }
    for finding in &findings {
        eprintln!("error: {finding}");
    }
    let unread = if malformed.is_empty() { String::new() } else { format!(" ({} no template)", malformed.len()) };
    eprintln!("{files} files{unread}, {} rules, {} findings", rules.len(), findings.len());
    Ok(ok)
}

fn read(path: &Path) -> Result<Document, Malformed> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Malformed {
        file: file.clone(),
        problem: format!("cannot be read: {error}"),
        hint: "name CloudFormation templates, JSON or YAML",
    })?;
    Document::parse(&file, &text)
}
