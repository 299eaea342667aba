//! `image build` from end to end: source, binary, image, layout, push.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::assemble::{self, Description, Image};
use crate::compile::{Program, Workspace};
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::ecr;
use crate::elf;
use crate::error::Error;
use crate::git::{Commit, Source};
use crate::layout;
use crate::login::Login;
use crate::progress::{Progress, Step};
use crate::registry::{Options, Registry, Repository};
use crate::settings::Settings;
use crate::tag::{self, Stage, Tag};
use crate::target::Target;

/// What is to be built, and where it goes.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The checkout.
    pub directory: PathBuf,
    /// What cargo builds.
    pub program: Program,
    /// The compiler target; the host's own if not given.
    pub target: Option<String>,
    /// A static binary to package instead of building one.
    pub binary: Option<PathBuf>,
    /// The commit of that binary; read from git if not given.
    pub commit: Option<Commit>,
    /// Environments to name in tags.
    pub stages: Vec<Stage>,
    /// Where the layout goes; `target/image/<tag>` if not given.
    pub output: Option<PathBuf>,
    /// Where to push.
    pub destination: Destination,
    /// A file for `imageDetail.json`, which CodePipeline's deploy action reads.
    pub image_detail: Option<PathBuf>,
    /// Whether an image of uncommitted changes may be pushed.
    pub allow_dirty: bool,
}

/// Where an image is pushed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Destination {
    /// Nowhere: the layout is the result.
    #[default]
    Nowhere,
    /// The ECR repository of this name, found through AWS's API.
    Ecr(String),
    /// Any registry.
    Registry(Repository),
}

/// The result, as `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this document.
    pub schema: u32,
    /// The image.
    pub digest: Digest,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Compressed bytes of configuration and layers.
    pub size: u64,
    /// The commit.
    pub commit: String,
    /// The repository it was pushed to.
    pub repository: Option<String>,
    /// Whether it was pushed.
    pub pushed: bool,
    /// Whether the tree had uncommitted changes.
    pub dirty: bool,
    /// The layout on disk.
    pub layout: PathBuf,
}

/// Builds, and pushes if asked to.
///
/// # Errors
/// Whatever can go wrong on the way; nothing is pushed unless the image is complete on disk.
pub async fn run(request: &Request, settings: &Settings, progress: Progress<'_>) -> Result<Report, Error> {
    let source = source(request, settings)?;
    // Refusals that need no build come before it.
    let tags = tag::of_build(&source, &request.stages)?;
    if source.dirty.is_some() {
        if request.destination != Destination::Nowhere && !request.allow_dirty {
            return Err(Error::DirtyPush);
        }
        progress(Step::Dirty);
    }
    // A missing repository or password is worth knowing before minutes of compiling.
    let place = locate(&request.destination, settings).await?;
    let (image, images) = make(request, &source, settings, progress)?;
    let output = match &request.output {
        Some(output) => request.directory.join(output),
        None => {
            std::fs::create_dir_all(&images).map_err(Error::io("create", &images))?;
            images.join(tags[0].as_str())
        }
    };
    if let Some(parent) = output.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    layout::write(&output, &image, &tags)?;
    progress(Step::Built { digest: image.digest(), size: image.size(), layout: &output });

    let repository = match place {
        Some((repository, login)) => {
            let registry = Registry::new(repository.clone(), login, Options::default(), progress)?;
            registry.push(&image, &tags).await?;
            Some(repository)
        }
        None => None,
    };
    if let (Some(file), Some(repository)) = (&request.image_detail, &repository) {
        let detail = serde_json::json!({ "ImageURI": format!("{repository}@{}", image.digest()) });
        let file = request.directory.join(file);
        std::fs::write(&file, format!("{detail}\n")).map_err(Error::io("write", &file))?;
    }
    Ok(Report {
        schema: 1,
        digest: image.digest().clone(),
        tags,
        size: image.size(),
        commit: source.commit.to_string(),
        pushed: repository.is_some(),
        repository: repository.map(|repository| repository.to_string()),
        dirty: source.dirty.is_some(),
        layout: output,
    })
}

/// The repository and who we are there.
///
/// # Errors
/// ECR cannot be asked, or configured credentials cannot be used.
pub async fn locate(destination: &Destination, settings: &Settings) -> Result<Option<(Repository, Login)>, Error> {
    match destination {
        Destination::Nowhere => Ok(None),
        Destination::Ecr(name) => {
            let (repository, session) = ecr::resolve(name).await?;
            Ok(Some((repository, Login::Ecr(session))))
        }
        Destination::Registry(repository) => {
            let credentials = Credentials::find(repository.registry(), settings)?;
            Ok(Some((repository.clone(), credentials.into())))
        }
    }
}

fn source(request: &Request, settings: &Settings) -> Result<Source, Error> {
    let Some(commit) = &request.commit else {
        return Ok(Source::read(&request.directory, request.image_detail.as_deref())?);
    };
    let time = match &settings.source_date_epoch {
        None => 0,
        Some(text) => text.parse().map_err(|_| Error::SourceDateEpoch(text.clone()))?,
    };
    Ok(Source::given(commit.clone(), time))
}

/// The image, and the directory its layout goes to by default.
fn make(
    request: &Request,
    source: &Source,
    settings: &Settings,
    progress: Progress<'_>,
) -> Result<(Image, PathBuf), Error> {
    let (binary, path, description, target_directory) = match &request.binary {
        Some(path) => {
            let path = request.directory.join(path);
            let binary = std::fs::read(&path).map_err(Error::io("read", &path))?;
            (binary, path, Description::default(), request.directory.join("target"))
        }
        None => {
            let workspace = Workspace::find(&request.directory)?;
            let description = workspace.describe(&request.program.package)?;
            let target = Target::resolve(request.target.as_deref())?;
            let binary = workspace.compile(&request.program, &target, source, settings, progress)?;
            (binary, PathBuf::from(&request.program.binary), description, workspace.target_directory().to_owned())
        }
    };
    let architecture = architecture(&binary, &path)?;
    let image = assemble::assemble(binary, architecture, source, &description)?;
    Ok((image, target_directory.join("image")))
}

fn architecture(binary: &[u8], path: &Path) -> Result<crate::target::Architecture, Error> {
    elf::inspect(binary).map_err(|reason| Error::Binary { path: path.to_owned(), reason })
}
