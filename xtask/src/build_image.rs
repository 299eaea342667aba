//! `build-image`: `image build`, with what the environment files say: the repository's name, the processor and the program's features.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::image::take_environment;
use crate::workspace::{self, Target, Workspace};
use crate::{deploy, synth};

/// `build-image [args…] [--environment NAME]`: with an environment, `--push` goes to where that environment's images are.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let (environment, arguments) = take_environment(arguments)?;
    let arguments = arguments.as_slice();
    let help = given(arguments, &["--help", "-h"]);
    let repository = std::env::var_os("IMAGE_REPOSITORY").filter(|name| !name.is_empty());
    let asks_repository = !help && given(arguments, &["--push"]) && !given(arguments, &["--repository"]);
    let asks_features = !help && !given(arguments, &["--features", "--binary"]);
    let asks_architecture = !help && !given(arguments, &["--architecture", "--target"]);
    let mut programs = vec![("image", Target::Binary("image"))];
    if asks_architecture || asks_features || (asks_repository && repository.is_none()) {
        programs.push(("cloudformation", Target::Binary("synth")));
    }
    workspace.build_together(&programs, tool_features(arguments))?;
    let mut command = workspace.command(&workspace.built("image", "image")?);
    command.arg("build").args(arguments);
    if asks_repository {
        match repository {
            Some(name) => command.arg("--repository").arg(name),
            None => command.args(["--repository", &synth::value(workspace, "repository")?]),
        };
    }
    if asks_architecture {
        command.args(architecture(workspace)?);
    }
    if asks_features {
        command.args(features(workspace)?);
    }
    if let Some(environment) = environment {
        deploy::point_at(workspace, &mut command, &environment)?;
    }
    workspace::become_command(&mut command)
}

/// The option that names the processor which the environment files ask for.
pub(crate) fn architecture(workspace: &Workspace) -> Result<[String; 2]> {
    Ok(["--architecture".to_owned(), synth::value(workspace, "architecture")?])
}

/// The option that names the features which the environment files ask for; nothing if they ask for none.
pub(crate) fn features(workspace: &Workspace) -> Result<Vec<String>> {
    let features = synth::value(workspace, "features")?;
    Ok(if features.is_empty() { Vec::new() } else { vec!["--features".to_owned(), features] })
}

/// What the image builder must be able to do beside what it always can: a key in KMS takes an SDK that nobody else needs.
pub(crate) fn tool_features(arguments: &[OsString]) -> &'static [&'static str] {
    let key = std::env::var_os("IMAGE_SIGNING_KEY");
    let kms = |text: &OsString| text.to_str().is_some_and(|text| text.contains("awskms:///"));
    if arguments.iter().chain(&key).any(kms) { &["--features", "image/kms"] } else { &[] }
}

/// Whether one of these options is among the arguments, as `--name` or `--name=value`.
pub(crate) fn given(arguments: &[OsString], names: &[&str]) -> bool {
    arguments.iter().filter_map(|argument| argument.to_str()).any(|argument| {
        let name = argument.split_once('=').map_or(argument, |(name, _)| name);
        names.contains(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_kms_is_noticed_however_it_is_written() {
        let asked = |line: &str| tool_features(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in
            ["--push --sign awskms:///alias/images", "--sign=awskms:///alias/images", "sign a/b:c --key awskms:///1"]
        {
            assert_eq!(asked(line), ["--features", "image/kms"], "{line}");
        }
        assert!(asked("--push --sign release.key").is_empty());
    }
}
