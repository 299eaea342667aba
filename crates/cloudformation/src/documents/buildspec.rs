//! What CodeBuild runs.

use std::collections::BTreeMap;

use serde::Serialize;

/// A buildspec.
#[derive(Debug, Serialize)]
pub(crate) struct Buildspec {
    version: f64,
    env: Env,
    phases: Phases,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifacts: Option<Artifacts>,
    cache: Cache,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Env {
    shell: &'static str,
    variables: BTreeMap<&'static str, &'static str>,
    /// Variable -> `secret:key`. CodeBuild masks their values in the log.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secrets_manager: BTreeMap<&'static str, String>,
}

#[derive(Debug, Default, Serialize)]
struct Phases {
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_build: Option<Phase>,
    build: Phase,
}

#[derive(Debug, Default, Serialize)]
struct Phase {
    commands: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Artifacts {
    files: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Cache {
    paths: [&'static str; 3],
}

/// Where cargo keeps what a build can use again, in the container of CodeBuild.
const CACHE: [&str; 3] =
    ["/usr/local/cargo/registry/cache/**/*", "/usr/local/cargo/registry/index/**/*", "target/**/*"];

impl Buildspec {
    /// Runs these commands.
    pub(crate) fn new(commands: impl IntoIterator<Item = String>) -> Self {
        Buildspec {
            version: 0.2,
            env: Env {
                shell: "bash",
                variables: BTreeMap::from([("CARGO_TERM_COLOR", "never")]),
                secrets_manager: BTreeMap::new(),
            },
            phases: Phases { pre_build: None, build: Phase { commands: commands.into_iter().collect() } },
            artifacts: None,
            cache: Cache { paths: CACHE },
        }
    }

    /// First runs these.
    pub(crate) fn before(mut self, commands: impl IntoIterator<Item = String>) -> Self {
        self.phases.pre_build = Some(Phase { commands: commands.into_iter().collect() });
        self
    }

    /// With a value of a secret in a variable.
    pub(crate) fn secret(mut self, variable: &'static str, secret: &str, key: &str) -> Self {
        self.env.secrets_manager.insert(variable, format!("{secret}:{key}"));
        self
    }

    /// Gives these files to the pipeline.
    pub(crate) fn artifacts(mut self, files: impl IntoIterator<Item = &'static str>) -> Self {
        self.artifacts = Some(Artifacts { files: files.into_iter().collect() });
        self
    }
}
