//! The process environment, read in this one place.

use std::path::PathBuf;

/// The variables this builder reads.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `REGISTRY_USERNAME`: the user at a registry given to `--push`.
    pub registry_username: Option<String>,
    /// `REGISTRY_PASSWORD`: the password at that registry.
    pub registry_password: Option<String>,
    /// `DOCKER_CONFIG`, default `~/.docker`: the directory of Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// `SOURCE_DATE_EPOCH`: the creation time of an image whose commit is given by hand, seconds since 1970; default 0.
    pub source_date_epoch: Option<String>,
    /// `CODEBUILD_BUILD_ARN`: the build this is part of, for its provenance.
    pub codebuild_build_arn: Option<String>,
    /// `CARGO_HOME`, default `~/.cargo`: remapped in the binary.
    pub cargo_home: Option<PathBuf>,
}

impl Settings {
    /// Reads the process environment.
    #[must_use]
    pub fn from_process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads any source of variables; empty ones count as absent.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let home = lookup("HOME").map(PathBuf::from);
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        Self {
            registry_username: lookup("REGISTRY_USERNAME"),
            registry_password: lookup("REGISTRY_PASSWORD"),
            docker_config: lookup("DOCKER_CONFIG").map(PathBuf::from).or_else(|| in_home(".docker")),
            source_date_epoch: lookup("SOURCE_DATE_EPOCH"),
            codebuild_build_arn: lookup("CODEBUILD_BUILD_ARN"),
            cargo_home: lookup("CARGO_HOME").map(PathBuf::from).or_else(|| in_home(".cargo")),
        }
    }
}
