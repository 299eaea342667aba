//! `image`: signing, verifying, bills of materials and scans, with what an environment demands.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::build_image::tool_features;
use crate::deploy;
use crate::problem::{CONFIGURATION, Problem};
use crate::synth;
use crate::workspace::{self, Target, Workspace};

/// `image COMMAND [args…] [--environment NAME]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let (environment, arguments) = take_environment(arguments)?;
    workspace.build_together(&[("image", Target::Binary("image"))], tool_features(&arguments))?;
    let mut command = workspace.command(&workspace.built("image", "image")?);
    command.args(&arguments);
    let Some(environment) = environment else { return workspace::become_command(&mut command) };
    // The images of an environment are in ECR, AWS's or the embedded endpoint's.
    command.arg("--ecr");
    match arguments.first().and_then(|verb| verb.to_str()) {
        Some("scan") => {
            let policy = workspace.root().join(format!("target/scan-policy.{environment}.json"));
            std::fs::write(&policy, synth::value_of(workspace, "scan", &environment)?)
                .with_context(|| format!("cannot write {}", policy.display()))?;
            command.arg("--policy").arg(policy);
        }
        Some("verify") => {
            for key in synth::value_of(workspace, "signature-keys", &environment)?.lines() {
                command.args(["--key", key]);
            }
        }
        _ => {}
    }
    deploy::point_at(workspace, &mut command, &environment)?;
    workspace::become_command(&mut command)
}

/// The value of `--environment`, and the other arguments.
fn take_environment(arguments: &[OsString]) -> Result<(Option<String>, Vec<OsString>)> {
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
