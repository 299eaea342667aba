//! Every failure of this crate: what failed, why, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::auditable::AuditableError;
use crate::compile::CompileError;
use crate::contents::LayerError;
use crate::credentials::CredentialError;
use crate::dependencies::DependenciesError;
use crate::digest::{Digest, DigestError};
use crate::docker::DockerError;
use crate::ecr::EcrError;
use crate::elf::ElfError;
use crate::git::GitError;
use crate::key::KeyError;
use crate::oci::DocumentError;
use crate::registry::RegistryError;
use crate::scan::advisories::AdvisoriesError;
use crate::signature::SignatureError;
use crate::tag::TagError;
use crate::target::{Architecture, TargetError};
use crate::verify::Difference;

/// A failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The layer.
    #[error("cannot pack the layer")]
    Pack(#[source] io::Error),
    /// A document of ours.
    #[error("cannot write a JSON document")]
    Serialize(#[source] serde_json::Error),
    /// A document that was read.
    #[error("{} is not what an image layout holds there", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DocumentError,
    },
    /// A blob of a layout has other bytes than its name says.
    #[error("{} is damaged: its content is {actual}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digest of what it holds.
        actual: Digest,
    },
    /// A layout without exactly one image.
    #[error("{} lists {count} images, and exactly one can be pushed", path.display())]
    ImageCount {
        /// The index.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The output directory holds something else.
    #[error("{} is not empty and not an image layout: it is left alone", .0.display())]
    NotALayout(PathBuf),
    /// A time no calendar has.
    #[error("{0} is not a time, in seconds since 1970")]
    CommitTime(i64),
    /// SOURCE_DATE_EPOCH is no number.
    #[error("SOURCE_DATE_EPOCH is `{0}`, not a number of seconds since 1970")]
    SourceDateEpoch(String),
    /// A push of uncommitted changes that was not asked for.
    #[error("the working tree has uncommitted changes, and pushing an image of it was not allowed")]
    DirtyPush,
    /// `--push` without a value needs to know the ECR repository.
    #[error("`--push` without a value needs `--repository NAME`")]
    RepositoryMissing,
    /// A binary that an image from scratch cannot run.
    #[error("{} cannot be packaged: {reason}", path.display())]
    Binary {
        /// The binary.
        path: PathBuf,
        /// Why.
        reason: ElfError,
    },
    /// The binary is for another processor than the image.
    #[error("{} is for {actual}, and the image should be for {wanted}", path.display())]
    OtherArchitecture {
        /// The binary.
        path: PathBuf,
        /// Asked for.
        wanted: Architecture,
        /// Found.
        actual: Architecture,
    },
    /// A second build of uncommitted changes would be a build of something else.
    #[error("the working tree has uncommitted changes, so there is no commit to build a second time")]
    DirtyVerify,
    /// A given binary, or one that Docker built, is not built a second time.
    #[error("only what this builder compiles can be built a second time and compared")]
    NothingToVerify,
    /// Two builds of one commit differ.
    #[error("the build is not reproducible: {one} here, {other} elsewhere; the first difference: {difference}")]
    NotReproducible {
        /// The first build.
        one: Digest,
        /// The second build.
        other: Digest,
        /// Where they differ.
        difference: Difference,
    },
    /// A layer that nobody should unpack.
    #[error("a layer is refused")]
    Layer(#[from] LayerError),
    /// Docker.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// Tags.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// Digests.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The compiler target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// cargo.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// What the binary is made of.
    #[error(transparent)]
    Dependencies(#[from] DependenciesError),
    /// The list of that inside of it.
    #[error(transparent)]
    Auditable(#[from] AuditableError),
    /// Signing keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An image that is not signed as it should be.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The file that names an image.
    #[error("{} names no image", path.display())]
    ImageDetail {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// What stops an image.
    #[error("{} is no policy for scans", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The scan gate is closed; the verdict says why.
    #[error("{0} did not pass the scan")]
    ScanRefused(Digest),
    /// The scan gate is closed to what nobody could scan; the verdict says why nobody could.
    #[error("nobody has scanned {0}")]
    NotScanned(Digest),
    /// Not a directory with an image.
    #[error("{} is no image layout: it has no `oci-layout`", .0.display())]
    NoLayout(PathBuf),
    /// No bill of materials, and nothing to make one from.
    #[error("nothing says what {0} is made of")]
    NoBill(Digest),
    /// What an image holds cannot be read.
    #[error("{digest} cannot be read: {reason}")]
    Unreadable {
        /// The image.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// The advisory database.
    #[error(transparent)]
    Advisories(#[from] AdvisoriesError),
    /// Credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// ECR's API.
    #[error(transparent)]
    Ecr(#[from] EcrError),
}

/// What kind of failure it is, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something failed.
    Failure,
    /// The input or the configuration is wrong.
    Configuration,
    /// A gate is closed to the image: it is not signed as it should be, or did not pass the scan.
    Refused,
    /// The other side cannot be reached.
    Unreachable,
}

impl Error {
    /// For `map_err` on file operations.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotALayout(_)
            | Self::NoLayout(_)
            | Self::SourceDateEpoch(_)
            | Self::DirtyPush
            | Self::RepositoryMissing
            | Self::Binary { .. }
            | Self::OtherArchitecture { .. }
            | Self::DirtyVerify
            | Self::NothingToVerify
            | Self::Tag(_)
            | Self::Digest(_)
            | Self::Target(_)
            | Self::Key(_)
            | Self::Advisories(_)
            | Self::Policy { .. }
            | Self::ImageDetail { .. }
            | Self::Credentials(_) => Kind::Configuration,
            Self::Docker(error) => error.kind(),
            Self::Signature(_) | Self::ScanRefused(_) | Self::NotScanned(_) => Kind::Refused,
            Self::Registry(error) => error.kind(),
            Self::Ecr(error) => error.kind(),
            Self::Io { .. }
            | Self::Pack(_)
            | Self::Serialize(_)
            | Self::Document { .. }
            | Self::Damaged { .. }
            | Self::ImageCount { .. }
            | Self::CommitTime(_)
            | Self::NotReproducible { .. }
            | Self::Layer(_)
            | Self::Git(_)
            | Self::Compile(_)
            | Self::Dependencies(_)
            | Self::NoBill(_)
            | Self::Unreadable { .. }
            | Self::Auditable(_) => Kind::Failure,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Pack(_) | Self::Serialize(_) => return None,
            Self::Io { .. } => "check that the path exists, that you may use it, and that the disk has room",
            Self::Document { .. } | Self::Damaged { .. } => "build the image again with `image build`",
            Self::ImageCount { .. } | Self::NoLayout(_) => "give the directory that `image build` printed",
            Self::NotALayout(_) => "give another `--layout`, or empty that directory yourself",
            Self::CommitTime(_) => "check the commit with `git log -1 --format=%ct`",
            Self::SourceDateEpoch(_) => "unset it, or give a number",
            Self::DirtyPush => "commit the changes, or push an image marked `-dirty-…` with `--allow-dirty`",
            Self::RepositoryMissing => {
                "for example `--push --repository smartassist/chatbot`, or `--push HOST/REPOSITORY`"
            }
            Self::Binary { reason: ElfError::Dynamic, .. } => {
                "build it with `-C target-feature=+crt-static` and an explicit `--target`"
            }
            Self::Binary { .. } => "give a static Linux binary for x86-64 or 64-bit Arm",
            Self::OtherArchitecture { .. } => {
                "build for the processor that the environment files name (`task.architecture`), or give another `--architecture`"
            }
            Self::DirtyVerify => "commit the changes, then verify",
            Self::NothingToVerify => "leave `--binary` and `--builder docker` out",
            Self::NotReproducible { .. } => {
                "find what the text comes from: a path (`env!(\"CARGO_MANIFEST_DIR\")`), a time, or a build script's output"
            }
            Self::Layer(_) => "do not use this image",
            Self::Docker(error) => error.hint(),
            Self::Tag(error) => error.hint(),
            Self::Digest(_) => "copy it whole, as `image build` printed it",
            Self::Git(error) => error.hint(),
            Self::Target(error) => return Some(error.hint()),
            Self::Compile(error) => error.hint(),
            Self::Dependencies(DependenciesError::Lock { .. }) => "restore Cargo.lock with `git checkout Cargo.lock`",
            Self::Dependencies(_) | Self::Auditable(_) => {
                "use the toolchain named by the workspace's rust-version; the binary comes from cargo as it is"
            }
            Self::ImageDetail { .. } => "give the file that `image build --image-detail` wrote, or the image itself",
            Self::Policy { .. } => "`cargo xtask image scan --environment NAME` writes it from the environment file",
            Self::ScanRefused(_) => {
                "update what was found and build again; or take responsibility for it, dated, in the environment file's \
                 `image.scan.exceptions`"
            }
            Self::NotScanned(_) => {
                "give a copy of RustSec's advisory database (`--advisories DIR`, or ADVISORY_DB); or let such images pass, with \
                 `unscanned: allow` in the environment file's `image.scan`"
            }
            Self::NoBill(_) => "build it with `image build`, which lists its dependencies in the binary",
            Self::Unreadable { .. } => "build and push the image again",
            Self::Key(error) => error.hint(),
            Self::Advisories(_) => "give a checkout of https://github.com/rustsec/advisory-db",
            Self::Signature(error) => error.hint(),
            Self::Credentials(error) => error.hint(),
            Self::Registry(error) => return error.hint(),
            Self::Ecr(error) => return Some(error.hint()),
        };
        Some(text.to_owned())
    }
}

/// An error with its causes on one line: a client's own message is only the outermost one, and what helps (refused,
/// unknown host, certificate) is deeper.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
