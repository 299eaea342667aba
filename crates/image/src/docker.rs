//! The other builder: Docker's BuildKit and the checkout's Dockerfile. What comes out goes the same way as our own: the same
//! layout, documents, archive and push.

mod list;
mod saved;

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::assemble::{self, Description, Image};
use crate::auditable;
use crate::compile::{Program, Workspace};
use crate::dependencies::Dependencies;
use crate::digest::Digest;
use crate::error::{Error, Kind};
use crate::git::Source;
use crate::progress::{Progress, Step};
use crate::tag::Tag;
use crate::target::Architecture;
use list::List;

/// The image that the Dockerfile compiles in, if no other is asked for.
pub const BASE_IMAGE: &str = "rust:1.95-slim";

/// What goes into a build beside the checkout.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The image to compile in; [`BASE_IMAGE`] if not given.
    pub base_image: Option<String>,
    /// Secrets for the Dockerfile's secret mounts, in Docker's words: `id=cargo-config,src=FILE`.
    pub secrets: Vec<String>,
    /// The network of the build's own steps, in Docker's words.
    pub network: Option<String>,
}

/// What went wrong with Docker.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No `docker` on PATH.
    #[error("cannot run `docker`")]
    NoClient(#[source] io::Error),
    /// No engine answers.
    #[error("no Docker engine answers: {0}")]
    NoEngine(String),
    /// The client cannot drive BuildKit.
    #[error("Docker's client {0} has no BuildKit: its buildx plug-in is missing")]
    NoBuildKit(String),
    /// The base image cannot be had.
    #[error("the base image `{image}` is not here and cannot be pulled: {reason}")]
    NoBase {
        /// The image.
        image: String,
        /// Why not.
        reason: String,
    },
    /// A step failed; Docker's own words are on stderr already.
    #[error("`docker {command}` failed: {reason}")]
    Failed {
        /// The step.
        command: String,
        /// Its status or last words.
        reason: String,
    },
    /// What `docker save` wrote is not understood.
    #[error("what `docker save` wrote is not understood: {0}")]
    Saved(String),
    /// What the Dockerfile says of its build is not understood.
    #[error("the list of what the build is made of is not understood: {0}")]
    List(String),
}

impl DockerError {
    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoClient(_) | Self::NoBuildKit(_) => Kind::Configuration,
            Self::NoEngine(_) | Self::NoBase { .. } => Kind::Unreachable,
            Self::Failed { .. } | Self::Saved(_) | Self::List(_) => Kind::Failure,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoClient(_) => {
                "install Docker (Debian: `apt-get install docker.io`), or build without it: `--builder oci`"
            }
            Self::NoEngine(_) => {
                "start the engine (`systemctl start docker`), or name it in DOCKER_HOST; `--builder oci` needs none"
            }
            Self::NoBuildKit(_) => {
                "install the plug-in (Debian: `apt-get install docker-buildx`; elsewhere docker-buildx-plugin), or build \
                 without Docker: `--builder oci`"
            }
            Self::NoBase { .. } => "check its name and the network, or give another one with `--base-image`",
            Self::Failed { .. } => "Docker's own messages are above",
            Self::List(_) => "compare the Dockerfile's stage `list` with the one that this builder came with",
            Self::Saved(_) => "report this with the output of `docker version`",
        }
    }
}

/// What is built.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The checkout.
    pub workspace: &'a Workspace,
    /// The program.
    pub program: &'a Program,
    /// What the package says of itself.
    pub description: &'a Description,
    /// The commit.
    pub source: &'a Source,
    /// The processor; the engine's own if not given.
    pub architecture: Option<Architecture>,
}

/// What a build gives.
#[derive(Debug)]
pub struct Built {
    /// The image, with the list of its dependencies in the binary.
    pub image: Image,
    /// What the binary is made of.
    pub dependencies: Dependencies,
    /// What it was compiled for.
    pub target: String,
    /// The compiler.
    pub compiler: String,
    /// Who built.
    pub engine: Engine,
}

/// A Docker engine that built by the checkout's Dockerfile.
#[derive(Debug)]
pub struct Engine {
    /// Its version.
    pub version: String,
    /// The image that was compiled in.
    pub base: Base,
}

/// An image to compile in.
#[derive(Debug)]
pub struct Base {
    /// As the engine finds it; with its digest if a registry has it.
    pub name: String,
    /// That digest, or the engine's own of an image of no registry.
    pub digest: Digest,
}

/// Builds the Dockerfile in `directory`, calls the image by the program's name and each tag in the engine, and reads it back.
///
/// # Errors
/// There is no engine or no BuildKit, or the build fails.
pub fn build(
    directory: &Path,
    options: &Options,
    inputs: &Inputs<'_>,
    tags: &[Tag],
    progress: Progress<'_>,
) -> Result<Built, Error> {
    let Inputs { workspace, program, description, source, architecture } = *inputs;
    require_buildkit()?;
    let base = pin(options.base_image.as_deref().unwrap_or(BASE_IMAGE), progress)?;
    progress(Step::DockerBuild { base: &base.name });
    let scratch = directory.join("target").join("image").join(format!("docker.{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(Error::io("create", &scratch))?;
    let scratch = Scratch(scratch);
    // What both calls below say, so that the second finds compiled what the first compiled.
    let call = || {
        let mut command = docker();
        command.arg("build").arg("--build-arg").arg(format!("RUST_IMAGE={}", base.name)).current_dir(directory);
        command.arg("--build-arg").arg(format!("FEATURES={}", program.features.join(",")));
        command.args(options.secrets.iter().flat_map(|secret| ["--secret", secret]));
        command.args(options.network.iter().flat_map(|network| ["--network", network]));
        if let Some(architecture) = architecture {
            command.arg("--platform").arg(format!("linux/{architecture}"));
        }
        command
    };

    let listed = scratch.0.join("list");
    let mut command = call();
    command.args(["--target", "list", "--output"]).arg(format!("type=local,dest={}", listed.display()));
    finish(command)?;
    let List { artifacts, target, compiler } = List::read(&listed)?;
    let dependencies = workspace.dependencies(&artifacts, program, &target, &workspace.lock()?)?;

    let id_file = scratch.0.join("id");
    let mut command = call();
    command.arg("--iidfile").arg(&id_file);
    let arguments = [
        ("COMMIT", source.revision()),
        ("COMMIT_TIME", assemble::created(source)?),
        ("VERSION", description.version.clone().unwrap_or_default()),
        ("SOURCE", description.source.clone().unwrap_or_default()),
        ("LICENSES", description.licenses.clone().unwrap_or_default()),
        ("DEPENDENCIES", STANDARD.encode(auditable::section(&dependencies)?)),
    ];
    for (name, value) in arguments {
        command.arg("--build-arg").arg(format!("{name}={value}"));
    }
    for tag in tags {
        command.arg("--tag").arg(format!("{}:{tag}", program.binary));
    }
    finish(command)?;
    let id = std::fs::read_to_string(&id_file).map_err(Error::io("read", &id_file))?;
    let image = saved::read_back(id.trim())?;
    Ok(Built { image, dependencies, target, compiler, engine: Engine { version: engine_version()?, base } })
}

/// A folder that goes with the build.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // That it stays would harm nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `docker build` to its end.
fn finish(mut command: Command) -> Result<(), DockerError> {
    // stdout is the result's; Docker's progress goes to people.
    let status = command.arg(".").stdin(Stdio::null()).stdout(io::stderr()).status().map_err(DockerError::NoClient)?;
    if status.success() {
        return Ok(());
    }
    Err(DockerError::Failed { command: "build".to_owned(), reason: status.to_string() })
}

fn engine_version() -> Result<String, DockerError> {
    let output = run(&["version", "--format", "{{.Server.Version}}"])?;
    if !output.status.success() {
        return Err(DockerError::NoEngine(last_words(&output)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn docker() -> Command {
    let mut command = Command::new("docker");
    command.env("DOCKER_BUILDKIT", "1");
    command
}

fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Result<Output, DockerError> {
    docker().args(arguments).stdin(Stdio::null()).output().map_err(DockerError::NoClient)
}

fn last_words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or("it said nothing").to_owned()
}

/// Clients before 23 have BuildKit built in; later ones drive it through a plug-in that may be missing.
fn require_buildkit() -> Result<(), DockerError> {
    let client = run(&["version", "--format", "{{.Client.Version}}"])?;
    let version = String::from_utf8_lossy(&client.stdout).trim().to_owned();
    if !client.status.success() {
        return Err(DockerError::NoEngine(last_words(&client)));
    }
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major >= 23) && !run(&["buildx", "version"])?.status.success() {
        return Err(DockerError::NoBuildKit(version));
    }
    Ok(())
}

/// The base image by digest, so that what was built from is known whatever the tag names tomorrow. An image that exists in
/// this engine alone has no digest of a registry.
fn pin(image: &str, progress: Progress<'_>) -> Result<Base, DockerError> {
    let inspect = |format: &str| run(&["image", "inspect", "--format", format, image]);
    let digests = || inspect("{{range .RepoDigests}}{{println .}}{{end}}");
    if let Some(base) = Base::pinned(image) {
        return Ok(base);
    }
    let mut found = digests()?;
    if !found.status.success() {
        let pulled = run(&["pull", "--quiet", image])?;
        if !pulled.status.success() {
            return Err(DockerError::NoBase { image: image.to_owned(), reason: last_words(&pulled) });
        }
        found = digests()?;
    }
    if let Some(base) = String::from_utf8_lossy(&found.stdout).lines().find_map(Base::pinned) {
        return Ok(base);
    }
    progress(Step::BaseUnpinned { image });
    let id = String::from_utf8_lossy(&inspect("{{.Id}}")?.stdout).trim().to_owned();
    let digest =
        id.parse().map_err(|_| DockerError::NoBase { image: image.to_owned(), reason: format!("its id is `{id}`") })?;
    Ok(Base { name: image.to_owned(), digest })
}

impl Base {
    /// An image that is named by its digest.
    fn pinned(name: &str) -> Option<Self> {
        let (_, digest) = name.split_once('@')?;
        Some(Self { name: name.to_owned(), digest: digest.parse().ok()? })
    }
}
