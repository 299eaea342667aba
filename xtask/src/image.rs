//! `image`: signing, verifying, bills of materials and scans, with what an environment demands.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::build_image::{given, tool_features};
use crate::deploy;
use crate::problem::{CONFIGURATION, Problem};
use crate::synth;
use crate::workspace::{self, Target, Workspace};

/// `image COMMAND [args…] [--environment NAME]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let (environment, arguments) = take_environment(arguments)?;
    let verb = arguments.first().and_then(|verb| verb.to_str()).unwrap_or_default();
    workspace.build_together(&[("image", Target::Binary("image"))], tool_features(&arguments))?;
    let mut command = workspace.command(&workspace.built("image", "image")?);
    command.args(&arguments);
    let Some(environment) = environment else { return workspace::become_command(&mut command) };
    match verb {
        "scan" if !given(&arguments, &["--policy"]) => {
            command.arg("--policy").arg(scan_policy(workspace, &environment)?);
        }
        "verify" if !given(&arguments, &["--key"]) => {
            let keys = synth::value_of(workspace, "signature-keys", &environment)?;
            command.args(keys.lines().flat_map(|key| ["--key", key]));
        }
        "push" | "pull" | "tag" | "sign" | "verify" | "sbom" | "scan" => {}
        _ => return Err(no_environment(verb).into()),
    }
    // The images of an environment are in ECR, AWS's or the embedded endpoint's.
    command.arg("--ecr");
    deploy::point_at(workspace, &mut command, &environment)?;
    workspace::become_command(&mut command)
}

/// A file of what stops an image of an environment.
pub(crate) fn scan_policy(workspace: &Workspace, environment: &str) -> Result<PathBuf> {
    let policy = synth::value_of(workspace, "scan", environment)?;
    let file = workspace.root().join(format!("target/scan-policy.{environment}.json"));
    std::fs::write(&file, policy).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn no_environment(verb: &str) -> Problem {
    Problem::new(
        CONFIGURATION,
        format!("`image {verb}` has nothing to do with an environment"),
        "leave --environment out; push, pull, tag, sign, verify, sbom and scan take it",
    )
}

/// The value of `--environment`, and the other arguments.
pub(crate) fn take_environment(arguments: &[OsString]) -> Result<(Option<String>, Vec<OsString>)> {
    const NAME: &str = "--environment";
    let mut others = arguments.to_vec();
    let Some(at) = others.iter().position(|argument| argument.to_str().is_some_and(|text| text.starts_with(NAME)))
    else {
        return Ok((None, others));
    };
    let text = others.remove(at).to_string_lossy().into_owned();
    let value = match text[NAME.len()..].strip_prefix('=') {
        Some(value) => Some(value.to_owned()),
        None if at < others.len() => Some(others.remove(at).to_string_lossy().into_owned()),
        None => None,
    };
    match value.filter(|value| !value.is_empty()) {
        Some(value) => Ok((Some(value), others)),
        None => {
            Err(Problem::new(CONFIGURATION, "--environment names none", "--environment staging, or production").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_taken_out_of_the_arguments() {
        let take = |line: &str| take_environment(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let others = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in ["scan a/b:c --environment prod --json", "scan a/b:c --environment=prod --json"] {
            assert_eq!(take(line).expect("taken"), (Some("prod".to_owned()), others("scan a/b:c --json")), "{line}");
        }
        assert_eq!(take("sbom a/b:c").expect("taken"), (None, others("sbom a/b:c")));
        assert!(take("scan --environment").is_err());
        assert!(take("scan --environment=").is_err());
    }
}
