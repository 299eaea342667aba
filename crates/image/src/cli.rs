//! The command line.

mod trust;

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use image::build::{self, Builder, Destination, Report, Request, function};
use image::compile::Program;
use image::git::Commit;
use image::login::Login;
use image::progress::{Progress, Step};
use image::registry::{Options, Reference, Repository, Version};
use image::settings::Settings;
use image::tag::{Stage, Tag};
use image::target::Architecture;
use image::{Digest, Error, Registry, docker, layout};

use crate::terminal::{self, Terminal};

/// Builds the chatbot's OCI image without a container engine, and pushes it to ECR or any registry.
///
/// stdout is the result, stderr is for people. Exit codes: 0 done, 1 failed, 2 wrong usage, 64 wrong input or configuration,
/// 65 an image is not signed as it should be or did not pass the scan, 69 registry or AWS cannot be reached.
#[derive(Debug, Parser)]
#[command(name = "image", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the image of this checkout (or of a given binary), and push it if asked to.
    ///
    /// Tags: the commit's first seven digits (always seven), on a version tag also v1.2.3 and v1.2.3-<shortsha>; a tree
    /// with uncommitted changes gives <shortsha>-dirty-<hash>. The same commit gives the same digest in every directory.
    Build(Box<BuildArguments>),
    /// Build a program of this checkout (or take a given binary) into the archive of a Lambda function.
    Function(FunctionArguments),
    /// Push a layout that `image build` wrote, every byte checked.
    Push(PushArguments),
    /// Pull an image into a layout, every byte checked.
    Pull(PullArguments),
    /// Give an image that is in a registry one more tag, without an upload.
    Tag(TagArguments),
    #[command(flatten)]
    Trust(trust::Command),
}

#[derive(Debug, Args)]
struct BuildArguments {
    /// Push the image: without a value to the ECR repository named by --repository, otherwise to this repository.
    ///
    /// Credentials for a given registry come from REGISTRY_USERNAME and REGISTRY_PASSWORD, or from Docker's
    /// configuration. A registry on this machine is spoken to with plain HTTP, every other one with HTTPS.
    #[arg(long, value_name = "REGISTRY/REPO", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "absent, given without a value and given with one are three requests")]
    push: Option<Option<String>>,
    /// The repository's name, for --push without a value or with a registry's host alone.
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Sign what is pushed: a PEM file, or awskms:///ID in a build with the feature `kms`.
    #[arg(long = "sign", value_name = "KEY", env = "IMAGE_SIGNING_KEY", hide_env_values = true)]
    sign_with: Option<String>,
    /// Write {"ImageURI": "repository@sha256:…"} to this file after the push.
    #[arg(long, value_name = "FILE", requires = "push")]
    image_detail: Option<PathBuf>,
    /// Who builds: this program, which needs no engine, or Docker by the checkout's Dockerfile.
    #[arg(long, value_enum, default_value_t = BuilderName::Oci)]
    builder: BuilderName,
    /// Build the commit a second time, in another folder with another target folder and CARGO_HOME; fail, naming the first
    /// file that differs, if the image is not the same.
    #[arg(long, conflicts_with = "binary")]
    verify_reproducible: bool,
    /// Write one archive that `docker load`, `podman load` and `skopeo` (oci-archive: and docker-archive:) read.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where the OCI image layout goes [default: target/image/<tag>].
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// Take blobs from this repository of the same registry instead of sending them.
    #[arg(long, value_name = "NAME", requires = "push")]
    mount_from: Option<String>,
    /// With --builder docker, the image to compile in; resolved to its digest [default: rust:1.95-slim].
    #[arg(long, value_name = "IMAGE", env = "RUST_IMAGE")]
    base_image: Option<String>,
    /// With --builder docker, a secret for the Dockerfile's secret mounts: id=cargo-config or id=ca-certificates.
    #[arg(long = "secret", value_name = "id=ID,src=FILE")]
    secrets: Vec<String>,
    /// With --builder docker, the network of the build's steps, in Docker's words.
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    #[command(flatten)]
    binary: BinaryArguments,
    /// Also tag the image for an environment: staging-<shortsha> or prod-<shortsha>.
    #[arg(long = "for", value_name = "ENVIRONMENT", value_enum)]
    stages: Vec<Stage>,
    /// Push an image of uncommitted changes, marked -dirty-<hash>; never for production.
    #[arg(long)]
    allow_dirty: bool,
    /// Cargo features of the chatbot, such as bedrock,dynamodb.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "binary")]
    features: Vec<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BuilderName {
    Oci,
    Docker,
}

/// Where the binary comes from, and what it is for.
#[derive(Debug, Args)]
struct BinaryArguments {
    /// The processor it runs on: amd64 or arm64 [default: this machine's own].
    #[arg(long, value_name = "NAME", value_parser = |text: &str| text.parse::<Architecture>())]
    architecture: Option<Architecture>,
    /// The compiler target [default: this machine's own].
    #[arg(long, value_name = "TRIPLE", conflicts_with = "binary")]
    target: Option<String>,
    /// Package this static Linux binary instead of building one.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// The commit the given binary was built from [default: git's HEAD].
    #[arg(long, value_name = "SHA", requires = "binary", value_parser = parsed::<Commit>)]
    commit: Option<Commit>,
}

impl BinaryArguments {
    /// A request with what they say.
    fn request(&self) -> anyhow::Result<Request> {
        Ok(Request {
            directory: std::env::current_dir().context("cannot find the current directory")?,
            architecture: self.architecture,
            target: self.target.clone(),
            binary: self.binary.clone(),
            commit: self.commit.clone(),
            ..Request::default()
        })
    }
}

#[derive(Debug, Args)]
struct FunctionArguments {
    /// The package.
    #[arg(long, value_name = "NAME")]
    package: String,
    /// Its binary, which becomes `bootstrap` in the archive.
    #[arg(long, value_name = "NAME")]
    program: String,
    /// Where the archive goes [default: target/function/<tag>.zip].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    binary: BinaryArguments,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Whether a registry is ECR.
#[derive(Debug, Args)]
struct Ecr {
    /// The registry is ECR: ask AWS's API for a password. Known by itself for names under amazonaws.com.
    #[arg(long)]
    ecr: bool,
}

impl Ecr {
    fn is_meant(&self, repository: &Repository) -> bool {
        self.ecr || repository.is_ecr()
    }

    /// A client for the repository, with a password where one is configured or ECR gives one.
    async fn open<'a>(
        &self,
        repository: &Repository,
        settings: &Settings,
        progress: Progress<'a>,
    ) -> Result<Registry<'a>, Error> {
        let login = Login::find(repository, self.ecr, settings).await?;
        Ok(Registry::new(repository.clone(), login, Options::default(), progress)?)
    }
}

#[derive(Debug, Args)]
struct PullArguments {
    /// The image, as in registry.example.com/smartassist/chatbot@sha256:… or …:v1.2.3.
    #[arg(value_name = "IMAGE", value_parser = parsed::<Reference>)]
    reference: Reference,
    /// The layout's directory.
    layout: PathBuf,
    #[command(flatten)]
    ecr: Ecr,
}

#[derive(Debug, Args)]
struct PushArguments {
    /// The layout's directory.
    layout: PathBuf,
    /// Where to, as in registry.example.com/smartassist/chatbot.
    #[arg(value_name = "REGISTRY/REPO", value_parser = parsed::<Repository>)]
    repository: Repository,
    #[command(flatten)]
    ecr: Ecr,
}

#[derive(Debug, Args)]
struct TagArguments {
    /// The repository, as in registry.example.com/smartassist/chatbot.
    #[arg(value_name = "REGISTRY/REPO", value_parser = parsed::<Repository>)]
    repository: Repository,
    /// The image, as in sha256:….
    #[arg(value_parser = parsed::<Digest>)]
    digest: Digest,
    /// The new tag; `latest` is refused.
    #[arg(value_parser = parsed::<Tag>)]
    tag: Tag,
    #[command(flatten)]
    ecr: Ecr,
}

/// Reads an argument; what is wrong with it comes with what to do about it.
fn parsed<T>(text: &str) -> Result<T, String>
where
    T: FromStr,
    Error: From<T::Err>,
{
    text.parse().map_err(|error| {
        let error = Error::from(error);
        let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        format!("{error}{hint}")
    })
}

pub(crate) fn run(arguments: &Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let settings = Settings::from_process();
    let terminal = Terminal::new();
    let progress = |step: Step<'_>| terminal.show(&step);
    match &arguments.command {
        Command::Build(arguments) => {
            let request = request(arguments)?;
            let report = runtime.block_on(build::run(&request, &settings, &progress))?;
            print(&report, arguments.json)
        }
        Command::Function(arguments) => {
            let report = function::run(&program(arguments)?, arguments.output.as_deref(), &settings, &progress)?;
            print_function(&report, arguments.json)
        }
        Command::Push(arguments) => runtime.block_on(push(arguments, &settings, &progress)),
        Command::Pull(arguments) => runtime.block_on(pull(arguments, &settings, &progress)),
        Command::Tag(arguments) => runtime.block_on(tag(arguments, &settings, &progress)),
        Command::Trust(command) => runtime.block_on(trust::run(command, &settings, &progress)),
    }
}

async fn push(arguments: &PushArguments, settings: &Settings, progress: Progress<'_>) -> anyhow::Result<()> {
    let PushArguments { layout, repository, ecr } = arguments;
    let (image, tags) = layout::read(layout)?;
    let registry = ecr.open(repository, settings, progress).await?;
    registry.push(&image, &tags).await.map_err(Error::from)?;
    terminal::line(&format!("{repository}@{}", image.digest()))
}

async fn pull(arguments: &PullArguments, settings: &Settings, progress: Progress<'_>) -> anyhow::Result<()> {
    let PullArguments { reference: Reference { repository, version }, layout, ecr } = arguments;
    let registry = ecr.open(repository, settings, progress).await?;
    let digest = registry.resolve(version).await.map_err(Error::from)?;
    let image = registry.pull(&digest).await.map_err(Error::from)?;
    let tags = match version {
        Version::Tag(tag) => vec![tag.clone()],
        Version::Digest(_) => Vec::new(),
    };
    layout::write(layout, &image, &tags)?;
    terminal::line(&format!("{repository}@{digest}"))
}

async fn tag(arguments: &TagArguments, settings: &Settings, progress: Progress<'_>) -> anyhow::Result<()> {
    let TagArguments { repository, digest, tag, ecr } = arguments;
    let registry = ecr.open(repository, settings, progress).await?;
    registry.add_tag(digest, tag).await.map_err(Error::from)?;
    terminal::line(&format!("{repository}:{tag}@{digest}"))
}

fn request(arguments: &BuildArguments) -> anyhow::Result<Request> {
    Ok(Request {
        program: Program { features: arguments.features.clone(), ..Program::default() },
        stages: arguments.stages.clone(),
        builder: match arguments.builder {
            BuilderName::Oci => Builder::Oci,
            BuilderName::Docker => Builder::Docker(docker::Options {
                base_image: arguments.base_image.clone(),
                secrets: arguments.secrets.clone(),
                network: arguments.network.clone(),
            }),
        },
        verify: arguments.verify_reproducible,
        archive: arguments.output.clone(),
        layout: arguments.layout.clone(),
        mount_from: arguments.mount_from.clone(),
        destination: destination(arguments)?,
        image_detail: arguments.image_detail.clone(),
        sign_with: arguments.sign_with.clone(),
        allow_dirty: arguments.allow_dirty,
        ..arguments.binary.request()?
    })
}

fn program(arguments: &FunctionArguments) -> anyhow::Result<Request> {
    let (package, binary) = (arguments.package.clone(), arguments.program.clone());
    let program = Program { package, binary, ..Program::default() };
    Ok(Request { program, ..arguments.binary.request()? })
}

fn print_function(report: &function::Report, json: bool) -> anyhow::Result<()> {
    if json {
        return terminal::line(&serde_json::to_string(report).context("cannot write the result")?);
    }
    let function::Report { archive, sha256, size, architecture, .. } = report;
    let size = terminal::bytes(*size);
    terminal::line(&format!("archive {}\nsha256  {sha256}\nsize    {size}\nfor     {architecture}", archive.display()))
}

fn destination(arguments: &BuildArguments) -> Result<Destination, Error> {
    match (&arguments.push, &arguments.repository) {
        (None, _) => Ok(Destination::Nowhere),
        (Some(None), Some(name)) => Ok(Destination::Ecr(name.clone())),
        (Some(None), None) => Err(Error::RepositoryMissing),
        // A host alone is completed; a full address stands as it is.
        (Some(Some(host)), Some(name)) if !host.contains('/') => {
            Ok(Destination::Registry(format!("{host}/{name}").parse()?))
        }
        (Some(Some(address)), _) => Ok(Destination::Registry(address.parse()?)),
    }
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        return terminal::line(&serde_json::to_string(report).context("cannot write the result")?);
    }
    let mut lines = vec![format!("image   {}", report.digest)];
    let tags: Vec<&str> = report.tags.iter().map(Tag::as_str).collect();
    lines.push(format!("tags    {}", tags.join(" ")));
    lines.push(format!("size    {}", terminal::bytes(report.size)));
    match &report.repository {
        Some(repository) => lines.push(format!("pushed  {repository}@{}", report.digest)),
        None => lines.push(format!("layout  {}", report.layout.display())),
    }
    if let Some(archive) = &report.archive {
        lines.push(format!("archive {}", archive.display()));
    }
    terminal::line(&lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn push_without_a_value_leaves_the_next_flag_alone() {
        let cli = Cli::try_parse_from(["image", "build", "--push", "--repository", "smartassist/chatbot"]);
        let Ok(Cli { command: Command::Build(arguments) }) = cli else { panic!("refused: {cli:?}") };
        assert_eq!(arguments.push, Some(None));
        assert!(matches!(destination(&arguments), Ok(Destination::Ecr(name)) if name == "smartassist/chatbot"));
    }
}
