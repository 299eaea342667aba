//! What the Dockerfile's stage `list` says of its build: cargo's messages, the manifests they name, and the compiler.

use std::fs;
use std::path::Path;

use super::DockerError;
use crate::compile;
use crate::dependencies::Artifact;
use crate::error::Error;
use crate::target;

/// A build, as it describes itself.
pub(super) struct List {
    pub(super) artifacts: Vec<Artifact>,
    pub(super) target: String,
    pub(super) compiler: String,
}

impl List {
    /// Reads the stage's files.
    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(Error::io("read", &path))
        };
        let mut artifacts = compile::artifacts(&read("messages")?)?;
        for artifact in &mut artifacts {
            artifact.copied_to(&folder.join("manifests"));
        }
        let (compiler, target) = target::read_version(&String::from_utf8_lossy(&read("rustc")?))
            .ok_or_else(|| DockerError::List("`rustc` names no host".to_owned()))?;
        Ok(Self { artifacts, target, compiler })
    }
}
