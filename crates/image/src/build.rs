//! `image build` from end to end: source, binary, image, layout, push.

pub mod function;
mod input;
mod origin;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::archive;
use crate::assemble::{self, Image};
use crate::attachments;
use crate::compile::{Program, Workspace};
use crate::digest::Digest;
use crate::docker;
use crate::ecr;
use crate::elf;
use crate::error::Error;
use crate::git::{Commit, Source};
use crate::layer;
use crate::layout;
use crate::login::Login;
use crate::progress::{Progress, Step};
use crate::registry::{Options, Registry, Repository};
use crate::settings::Settings;
use crate::signer::Signer;
use crate::tag::{self, Stage, Tag};
use crate::target::{Architecture, Target};
use crate::verify::{self, Elsewhere};
use input::Input;
use origin::{Compilation, Origin};

/// What is to be built, and where it goes.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The checkout.
    pub directory: PathBuf,
    /// Who builds.
    pub builder: Builder,
    /// What cargo builds.
    pub program: Program,
    /// The compiler target; the host's own if not given.
    pub target: Option<String>,
    /// The processor that the image is for; the host's own, or the target's, if not given.
    pub architecture: Option<Architecture>,
    /// A static binary to package instead of building one.
    pub binary: Option<PathBuf>,
    /// The commit of that binary; read from git if not given.
    pub commit: Option<Commit>,
    /// Whether the image is built a second time elsewhere, and must be the same.
    pub verify: bool,
    /// Environments to name in tags.
    pub stages: Vec<Stage>,
    /// Where the layout goes; `target/image/<tag>` if not given.
    pub layout: Option<PathBuf>,
    /// A file for the archive that `docker load`, `podman load` and `skopeo` read.
    pub archive: Option<PathBuf>,
    /// Where to push.
    pub destination: Destination,
    /// Another repository of the registry, to take blobs from.
    pub mount_from: Option<String>,
    /// The private key that signs what is pushed.
    pub sign_with: Option<String>,
    /// A file for `imageDetail.json`, which CodePipeline's deploy action reads.
    pub image_detail: Option<PathBuf>,
    /// Whether an image of uncommitted changes may be pushed.
    pub allow_dirty: bool,
}

/// Who builds the image.
#[derive(Debug, Clone, Default)]
pub enum Builder {
    /// This program.
    #[default]
    Oci,
    /// A Docker engine, by the checkout's Dockerfile.
    Docker(docker::Options),
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
    /// The archive, if one was asked for.
    pub archive: Option<PathBuf>,
    /// How long it took.
    pub seconds: Seconds,
}

/// Where the time of a build went.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Seconds {
    /// The one call of cargo that makes the binary.
    pub cargo: f64,
    /// All of it, without a push.
    pub build: f64,
}

/// Builds, and pushes if asked to.
///
/// # Errors
/// Whatever can go wrong on the way; nothing is pushed unless the image is complete on disk.
pub async fn run(request: &Request, settings: &Settings, progress: Progress<'_>) -> Result<Report, Error> {
    let started = Instant::now();
    let source = source(request, settings)?;
    // Refusals that need no build come before it.
    if request.verify && source.dirty.is_some() {
        return Err(Error::DirtyVerify);
    }
    let tags = tag::of_build(&source, &request.stages)?;
    if source.dirty.is_some() {
        if request.destination != Destination::Nowhere && !request.allow_dirty {
            return Err(Error::DirtyPush);
        }
        progress(Step::Dirty);
    }
    // A missing repository, password or key is worth knowing before minutes of compiling.
    let place = locate(&request.destination, settings).await?;
    let signer = match (&request.sign_with, &place) {
        (Some(key), Some(_)) => Some(Signer::open(key).await?),
        _ => None,
    };
    let made = make(request, &source, &tags, settings, progress)?;
    let image = &made.image;
    if request.verify {
        verify_reproducible(request, &made, &source, settings, progress)?;
    }
    let layout = match &request.layout {
        Some(layout) => request.directory.join(layout),
        None => made.images.join(tags[0].as_str()),
    };
    if let Some(parent) = layout.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    layout::write(&layout, image, &tags)?;
    progress(Step::Built { digest: image.digest(), size: image.size(), layout: &layout });
    let archive = request.archive.as_ref().map(|file| request.directory.join(file));
    if let Some(file) = &archive {
        archive::write(file, image, &request.program.binary, &tags)?;
    }
    let seconds = Seconds { cargo: made.cargo.as_secs_f64(), build: started.elapsed().as_secs_f64() };

    let repository = match place {
        Some((repository, login)) => {
            let options = Options { mount_from: request.mount_from.clone(), ..Options::default() };
            let registry = Registry::new(repository.clone(), login, options, progress)?;
            registry.push(image, &tags).await?;
            if let Some(signer) = &signer {
                registry.sign(image.digest(), signer).await?;
                if let Some(statement) = attachments::statement(image) {
                    registry.attest(image.digest(), statement, signer).await?;
                }
                progress(Step::Signed { digest: image.digest(), key: &signer.public().await?.id()? });
            }
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
        layout,
        archive,
        seconds,
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
            Ok(Some((repository.clone(), Login::find(repository, false, settings).await?)))
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

struct Made {
    image: Image,
    /// The program in it; not known where Docker built.
    binary: Option<Vec<u8>>,
    /// The directory for layouts.
    images: PathBuf,
    /// How long cargo took.
    cargo: Duration,
}

fn make(
    request: &Request,
    source: &Source,
    tags: &[Tag],
    settings: &Settings,
    progress: Progress<'_>,
) -> Result<Made, Error> {
    if let Builder::Docker(options) = &request.builder {
        return make_with_docker(options, request, source, tags, settings, progress);
    }
    let input = Input::prepare(request, source, settings, progress)?;
    let Input { binary, description, .. } = &input;
    let architecture = architecture_of(&input, request)?;
    let images = input.target_directory.join("image");
    let layers = layer::of_binary(binary.clone(), Some(&images.join("layers")))?;
    let mut image = assemble::assemble(layers, architecture, source, description)?;
    if let Some(dependencies) = &input.dependencies {
        let compilation = input.compilation.as_ref();
        image.artifacts =
            Origin { request, source, settings, description, dependencies, compilation }.artifacts(&image)?;
    }
    Ok(Made { image, binary: Some(input.binary), images, cargo: input.cargo })
}

fn make_with_docker(
    options: &docker::Options,
    request: &Request,
    source: &Source,
    tags: &[Tag],
    settings: &Settings,
    progress: Progress<'_>,
) -> Result<Made, Error> {
    let workspace = Workspace::find(&request.directory)?;
    let description = workspace.describe(&request.program.package)?;
    let inputs = docker::Inputs {
        workspace: &workspace,
        program: &request.program,
        description: &description,
        source,
        architecture: request.architecture,
    };
    let docker::Built { mut image, dependencies, target, compiler, engine } =
        docker::build(&request.directory, options, &inputs, tags, progress)?;
    let compilation = Compilation { target, compiler, engine: Some(engine) };
    let origin = Origin {
        request,
        source,
        settings,
        description: &description,
        dependencies: &dependencies,
        compilation: Some(&compilation),
    };
    image.artifacts = origin.artifacts(&image)?;
    Ok(Made { image, binary: None, images: workspace.target_directory().join("image"), cargo: Duration::ZERO })
}

/// The processor that the binary is for, which must be the one asked for.
fn architecture_of(input: &Input, request: &Request) -> Result<Architecture, Error> {
    let Input { binary, path, .. } = input;
    let actual = elf::inspect(binary).map_err(|reason| Error::Binary { path: path.clone(), reason })?;
    match request.architecture.filter(|wanted| *wanted != actual) {
        Some(wanted) => Err(Error::OtherArchitecture { path: path.clone(), wanted, actual }),
        None => Ok(actual),
    }
}

/// Builds the commit once more, elsewhere, and compares.
fn verify_reproducible(
    request: &Request,
    made: &Made,
    source: &Source,
    settings: &Settings,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let Some(binary) = made.binary.as_ref().filter(|_| request.binary.is_none()) else {
        return Err(Error::NothingToVerify);
    };
    let directory = made.images.join(format!("verify.{}", std::process::id()));
    let elsewhere = Elsewhere::prepare(&request.directory, &source.commit, directory, settings)?;
    progress(Step::BuildingAgain { directory: &elsewhere.checkout() });
    let (home, target) = (elsewhere.cargo_home(), elsewhere.target());
    let workspace = Workspace::find_apart(&elsewhere.checkout(), &home, &target)?;
    let settings = Settings { cargo_home: Some(home), ..settings.clone() };
    let triple = Target::resolve(request.target.as_deref(), request.architecture)?;
    let twin = workspace.compile(&request.program, &triple, source, &settings, progress)?.binary;
    let architecture = elf::inspect(&twin).map_err(|reason| Error::Binary { path: elsewhere.checkout(), reason })?;
    let description = workspace.describe(&request.program.package)?;
    let image = assemble::assemble(layer::of_binary(twin.clone(), None)?, architecture, source, &description)?;
    match verify::compare(&made.image, &image, [binary, &twin])? {
        None => {
            progress(Step::Reproduced { digest: image.digest() });
            Ok(())
        }
        Some(difference) => {
            Err(Error::NotReproducible { one: made.image.digest().clone(), other: image.digest().clone(), difference })
        }
    }
}
