//! The binary that becomes an image, and what is known of it.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::Request;
use super::origin::Compilation;
use crate::assemble::Description;
use crate::auditable;
use crate::compile::Workspace;
use crate::dependencies::Dependencies;
use crate::error::Error;
use crate::git::Source;
use crate::progress::Progress;
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
    pub(super) dependencies: Option<Dependencies>,
    /// How it was compiled, if that was here and now.
    pub(super) compilation: Option<Compilation>,
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
                compilation: None,
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
            compilation: Some(Compilation {
                target: target.triple().to_owned(),
                compiler: target.compiler().to_owned(),
                engine: None,
            }),
        })
    }
}
