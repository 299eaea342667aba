//! Buildspecs, version 0.2.
//!
//! <https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html>

use std::collections::BTreeMap;

use serde::Deserialize;

/// A parsed buildspec. What the endpoint does not run is refused, not passed over.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Buildspec {
    version: serde_yaml::Value,
    #[serde(default)]
    pub(super) env: Environment,
    #[serde(default)]
    pub(super) phases: Phases,
    #[serde(default)]
    pub(super) artifacts: Artifacts,
    /// Kept in S3 on AWS; builds here share this machine's cargo folders through `--build-env`.
    #[serde(default)]
    #[expect(dead_code, reason = "accepted, because the same buildspec runs on AWS")]
    cache: serde_yaml::Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Environment {
    pub(super) shell: Option<String>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) parameter_store: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) secrets_manager: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) exported_variables: Vec<String>,
    #[serde(default)]
    pub(super) git_credential_helper: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Phases {
    pub(super) install: Option<PhaseSpec>,
    pub(super) pre_build: Option<PhaseSpec>,
    pub(super) build: Option<PhaseSpec>,
    pub(super) post_build: Option<PhaseSpec>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct PhaseSpec {
    #[serde(default)]
    pub(super) commands: Vec<String>,
    #[serde(default)]
    pub(super) finally: Vec<String>,
    /// Versions that the build image would install; inert here.
    #[serde(default)]
    #[expect(dead_code, reason = "accepted, because the same buildspec runs on AWS")]
    pub(super) runtime_versions: Option<serde_yaml::Value>,
    #[serde(default)]
    pub(super) on_failure: OnFailure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum OnFailure {
    #[default]
    Abort,
    Continue,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Artifacts {
    #[serde(default)]
    pub(super) files: Vec<String>,
    pub(super) base_directory: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "names the archive on AWS; here artifacts stay files")]
    pub(super) name: Option<String>,
}

impl Buildspec {
    /// Parses a buildspec; the error says where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let spec: Self = serde_yaml::from_str(text).map_err(|error| format!("YAML_FILE_ERROR: {error}"))?;
        let version = match &spec.version {
            serde_yaml::Value::String(version) => version.clone(),
            serde_yaml::Value::Number(version) => version.to_string(),
            _ => String::new(),
        };
        if version != "0.2" {
            return Err(format!(
                "YAML_FILE_ERROR: version {version:?} is not supported by the embedded endpoint, only 0.2"
            ));
        }
        if spec.env.shell.as_deref().is_some_and(|shell| shell != "bash") {
            return Err("YAML_FILE_ERROR: only the shell bash is supported by the embedded endpoint".to_owned());
        }
        if spec.env.git_credential_helper.is_some() {
            return Err("YAML_FILE_ERROR: git-credential-helper is not supported by the embedded endpoint".to_owned());
        }
        Ok(spec)
    }

    /// The phases in their order, by their keys.
    pub(super) fn phases(&self) -> impl Iterator<Item = (&'static str, &PhaseSpec)> {
        let phases = &self.phases;
        [
            ("install", &phases.install),
            ("pre_build", &phases.pre_build),
            ("build", &phases.build),
            ("post_build", &phases.post_build),
        ]
        .into_iter()
        .filter_map(|(name, phase)| Some((name, phase.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_versions_are_refused() {
        assert!(Buildspec::parse("version: 0.2\nphases:\n  build:\n    commands: [make]\n").is_ok());
        assert!(Buildspec::parse("version: 0.1\n").unwrap_err().contains("0.2"));
        assert!(Buildspec::parse("version: 0.2\nreports: {}\n").unwrap_err().contains("reports"));
    }
}
