//! The other builder: Docker's BuildKit and the checkout's Dockerfile. What comes out goes the same way as our own: the same
//! layout, archive and push.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde::Deserialize;
use tar::EntryType;

use crate::assemble::{self, Description, Image};
use crate::digest::Digest;
use crate::error::{Error, Kind};
use crate::git::Source;
use crate::layer;
use crate::progress::{Progress, Step};
use crate::tag::Tag;
use crate::target::Architecture;

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
}

impl DockerError {
    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoClient(_) | Self::NoBuildKit(_) => Kind::Configuration,
            Self::NoEngine(_) | Self::NoBase { .. } => Kind::Unreachable,
            Self::Failed { .. } | Self::Saved(_) => Kind::Failure,
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
            Self::Saved(_) => "report this with the output of `docker version`",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

/// What the image is made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The commit.
    pub source: &'a Source,
    /// The program.
    pub description: &'a Description,
    /// The processor; the engine's own if not given.
    pub architecture: Option<Architecture>,
}

/// Builds the Dockerfile in `directory`, calls the image `name:tag` in the engine for each tag, and reads it back.
///
/// # Errors
/// There is no engine or no BuildKit, or the build fails.
pub fn build(
    directory: &Path,
    options: &Options,
    inputs: &Inputs<'_>,
    (name, tags): (&str, &[Tag]),
    progress: Progress<'_>,
) -> Result<Image, Error> {
    let Inputs { source, description, architecture } = *inputs;
    require_buildkit()?;
    let base = pin(options.base_image.as_deref().unwrap_or(BASE_IMAGE), progress)?;
    progress(Step::DockerBuild { base: &base });
    let scratch = directory.join("target").join("image");
    std::fs::create_dir_all(&scratch).map_err(Error::io("create", &scratch))?;
    let id_file = scratch.join(format!("docker.{}.id", std::process::id()));

    let mut command = docker();
    command.arg("build").arg("--iidfile").arg(&id_file).current_dir(directory).stdin(Stdio::null());
    let arguments = [
        ("RUST_IMAGE", base.as_str()),
        ("COMMIT", &source.revision()),
        ("COMMIT_TIME", &assemble::created(source)?),
        ("VERSION", description.version.as_deref().unwrap_or_default()),
        ("SOURCE", description.source.as_deref().unwrap_or_default()),
        ("LICENSES", description.licenses.as_deref().unwrap_or_default()),
    ];
    for (name, value) in arguments {
        command.arg("--build-arg").arg(format!("{name}={value}"));
    }
    for secret in &options.secrets {
        command.arg("--secret").arg(secret);
    }
    if let Some(network) = &options.network {
        command.arg("--network").arg(network);
    }
    if let Some(architecture) = architecture {
        command.arg("--platform").arg(format!("linux/{architecture}"));
    }
    for tag in tags {
        command.arg("--tag").arg(format!("{name}:{tag}"));
    }
    // stdout is the result's; Docker's progress goes to people.
    let status = command.arg(".").stdout(io::stderr()).status().map_err(DockerError::NoClient)?;
    if !status.success() {
        return Err(DockerError::Failed { command: "build".to_owned(), reason: status.to_string() }.into());
    }
    let id = std::fs::read_to_string(&id_file).map_err(Error::io("read", &id_file))?;
    // Nobody needs it any more; that it stays would harm nobody either.
    let _ = std::fs::remove_file(&id_file);
    read_back(id.trim())
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
fn pin(image: &str, progress: Progress<'_>) -> Result<String, DockerError> {
    if image.contains("@sha256:") {
        return Ok(image.to_owned());
    }
    let inspect = || run(&["image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}", image]);
    let mut found = inspect()?;
    if !found.status.success() {
        let pulled = run(&["pull", "--quiet", image])?;
        if !pulled.status.success() {
            return Err(DockerError::NoBase { image: image.to_owned(), reason: last_words(&pulled) });
        }
        found = inspect()?;
    }
    let digests = String::from_utf8_lossy(&found.stdout).into_owned();
    match digests.lines().find(|line| line.contains("@sha256:")) {
        Some(pinned) => Ok(pinned.to_owned()),
        None => {
            progress(Step::BaseUnpinned { image });
            Ok(image.to_owned())
        }
    }
}

/// `docker save`, with the layers compressed as our own are.
fn read_back(id: &str) -> Result<Image, Error> {
    let output = run(&["save", id])?;
    if !output.status.success() {
        return Err(DockerError::Failed { command: format!("save {id}"), reason: last_words(&output) }.into());
    }
    let mut files = saved_files(&output.stdout).map_err(|error| DockerError::Saved(error.to_string()))?;
    let mut take = |path: &str| files.remove(path).ok_or_else(|| DockerError::Saved(format!("no `{path}`")));
    let images: Vec<Saved> =
        serde_json::from_slice(&take("manifest.json")?).map_err(|error| DockerError::Saved(error.to_string()))?;
    let [image] = images.as_slice() else {
        return Err(DockerError::Saved(format!("{} images", images.len())).into());
    };
    let configuration = take(&image.config)?;
    let mut layers = Vec::new();
    for path in &image.layers {
        layers.push(layer::compress(&take(path)?).map_err(Error::Pack)?);
    }
    if Digest::of(&configuration).as_str() != id {
        return Err(DockerError::Saved(format!("the configuration is not {id}")).into());
    }
    assemble::of_parts(layers, configuration)
}

/// Every file of the archive by path; an old engine writes a layer it has written before as a link to it.
fn saved_files(archive: &[u8]) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        match entry.header().entry_type() {
            EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                files.insert(path, content);
            }
            EntryType::Symlink => {
                let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned()).unwrap_or_default();
                let target = target.trim_start_matches("../");
                if let Some(content) = files.get(target).cloned() {
                    files.insert(path, content);
                }
            }
            _ => {}
        }
    }
    Ok(files)
}
