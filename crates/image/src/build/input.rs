//! The binary that becomes an image, and what is known of it.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::Request;
use crate::assemble::{self, Description, Image};
use crate::attachments;
use crate::auditable;
use crate::compile::Workspace;
use crate::dependencies::Dependencies;
use crate::error::Error;
use crate::git::Source;
use crate::progress::Progress;
use crate::provenance;
use crate::registry::Artifact;
use crate::sbom::Subject;
use crate::settings::Settings;
use crate::target::Target;

/// What an image is made of.
pub(super) struct Input {
    pub(super) binary: Vec<u8>,
    /// What the binary is called in messages.
    pub(super) path: PathBuf,
    pub(super) description: Description,
    pub(super) target_directory: PathBuf,
    /// How long cargo took.
    pub(super) cargo: Duration,
    /// What the binary is made of, if it says so.
    dependencies: Option<Dependencies>,
    /// What it was compiled for, if that was here and now.
    target: Option<Target>,
}

impl Input {
    /// Reads the binary that was given, or compiles it.
    pub(super) fn prepare(
        request: &Request,
        source: &Source,
        settings: &Settings,
        progress: Progress<'_>,
    ) -> Result<Self, Error> {
        if let Some(path) = &request.binary {
            let path = request.directory.join(path);
            let binary = std::fs::read(&path).map_err(Error::io("read", &path))?;
            return Ok(Self {
                dependencies: auditable::extract(&binary)?,
                binary,
                path,
                description: Description::default(),
                target_directory: request.directory.join("target"),
                cargo: Duration::ZERO,
                target: None,
            });
        }
        // cargo and rustc take a moment to start: at the same time, then.
        let (workspace, target) = thread::scope(|scope| {
            let target = scope.spawn(|| Target::resolve(request.target.as_deref(), request.architecture));
            let workspace = Workspace::find(&request.directory);
            (workspace, target.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (workspace, target) = (workspace?, target?);
        let description = workspace.describe(&request.program.package)?;
        let built = workspace.compile(&request.program, &target, source, settings, progress)?;
        Ok(Self {
            binary: built.binary,
            path: PathBuf::from(&request.program.binary),
            description,
            target_directory: workspace.target_directory().to_owned(),
            cargo: built.cargo,
            dependencies: Some(built.dependencies),
            target: Some(target),
        })
    }

    /// What is known of an image: bills of materials if the binary says what it is made of, and provenance of what was compiled
    /// here and now.
    pub(super) fn artifacts(
        &self,
        image: &Image,
        request: &Request,
        source: &Source,
        settings: &Settings,
    ) -> Result<Vec<Artifact>, Error> {
        let Some(dependencies) = &self.dependencies else { return Ok(Vec::new()) };
        let (name, digest) = (request.program.binary.as_str(), image.digest());
        let subject = Subject { name, digest, created: &assemble::created(source)? };
        let mut artifacts = attachments::bills(image, dependencies, &subject)?;
        if let Some(target) = &self.target {
            let build = provenance::Build {
                name,
                digest,
                repository: self.description.source.as_deref(),
                commit: source.commit.as_str(),
                revision: &source.revision(),
                package: &request.program.package,
                binary: name,
                target: target.triple(),
                compiler: target.compiler(),
                codebuild: settings.codebuild_build_arn.as_deref(),
                dependencies,
            };
            artifacts.push(attachments::provenance(image, &build)?);
        }
        Ok(artifacts)
    }
}
