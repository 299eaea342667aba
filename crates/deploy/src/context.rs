//! What every command works with: parsed files, clients, names.

use std::path::{Path, PathBuf};

use cloudformation::Names;
use environment::{Environment, EnvironmentName, Project};

use crate::clients::Clients;
use crate::error::Error;
use crate::progress::Progress;

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) project: Project,
    pub(crate) environment: Environment,
    pub(crate) clients: Clients,
    pub(crate) progress: Progress,
    directory: PathBuf,
}

impl Context {
    /// Parses everything before the first call is made.
    pub(crate) async fn load(directory: &Path, name: EnvironmentName) -> Result<Self, Error> {
        let (project, environment) = load(directory, name)?;
        let clients = Clients::new(&project, &environment).await;
        Ok(Context { project, environment, clients, progress: Progress::new(), directory: directory.to_owned() })
    }

    /// Names of this environment's resources.
    pub(crate) fn names(&self) -> Names<'_> {
        Names::new(&self.project, self.environment.name)
    }

    /// All environments' files; the pipeline needs both.
    pub(crate) fn environments(&self) -> Result<Vec<Environment>, Error> {
        Ok(Environment::load_all(&self.directory)?)
    }

    /// The directory of the environments.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The root of the checkout.
    pub(crate) fn root(&self) -> &Path {
        match self.directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }
}

/// The project and one environment.
pub(crate) fn load(directory: &Path, name: EnvironmentName) -> Result<(Project, Environment), Error> {
    Ok((Project::load(directory)?, Environment::load(directory, name)?))
}
