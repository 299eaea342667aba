//! Where an image comes from, and what is attached to it for that.

use super::Request;
use crate::assemble::{self, Description, Image};
use crate::attachments;
use crate::dependencies::Dependencies;
use crate::docker::Engine;
use crate::error::Error;
use crate::git::Source;
use crate::provenance;
use crate::registry::Artifact;
use crate::sbom::Subject;
use crate::settings::Settings;

/// How a binary was compiled.
pub(super) struct Compilation {
    pub(super) target: String,
    pub(super) compiler: String,
    /// The engine, if one built.
    pub(super) engine: Option<Engine>,
}

/// What is known of an image.
pub(super) struct Origin<'a> {
    pub(super) request: &'a Request,
    pub(super) source: &'a Source,
    pub(super) settings: &'a Settings,
    pub(super) description: &'a Description,
    pub(super) dependencies: &'a Dependencies,
    /// Not known of a binary that was given.
    pub(super) compilation: Option<&'a Compilation>,
}

impl Origin<'_> {
    /// Bills of materials, and provenance of what was compiled here and now.
    pub(super) fn artifacts(&self, image: &Image) -> Result<Vec<Artifact>, Error> {
        let (name, digest) = (self.request.program.binary.as_str(), image.digest());
        let subject = Subject { name, digest, created: &assemble::created(self.source)? };
        let mut artifacts = attachments::bills(image, self.dependencies, &subject)?;
        if let Some(compilation) = self.compilation {
            let build = provenance::Build {
                name,
                digest,
                repository: self.description.source.as_deref(),
                commit: self.source.commit.as_str(),
                revision: &self.source.revision(),
                package: &self.request.program.package,
                binary: name,
                target: &compilation.target,
                compiler: &compilation.compiler,
                engine: compilation.engine.as_ref(),
                codebuild: self.settings.codebuild_build_arn.as_deref(),
                dependencies: self.dependencies,
            };
            artifacts.push(attachments::provenance(image, &build)?);
        }
        Ok(artifacts)
    }
}
