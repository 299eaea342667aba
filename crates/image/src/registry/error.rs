//! What a registry can do wrong, or we at a registry.

use http::StatusCode;
use serde::Deserialize;

use super::repository::is_loopback;
use crate::digest::Digest;
use crate::ecr::EcrError;
use crate::error::Kind;
use crate::tag::Tag;

/// A failure at a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Not a repository's name.
    #[error("`{0}` is not a repository: it must be HOST[:PORT]/NAME, the name in lower case")]
    Repository(String),
    /// Not an image's address.
    #[error(
        "`{0}` is not an image: it must be HOST[:PORT]/NAME@sha256:… or HOST[:PORT]/NAME:TAG, the tag not `latest`"
    )]
    Reference(String),
    /// The tag names nothing.
    #[error("`{repository}` has no tag `{tag}`")]
    UnknownTag {
        /// The repository.
        repository: String,
        /// The tag.
        tag: String,
    },
    /// ECR gave no password.
    #[error(transparent)]
    Ecr(#[from] EcrError),
    /// No connection, or one that broke, after every try.
    #[error("cannot reach the registry for {action}: {reason}")]
    Unreachable {
        /// What was tried.
        action: String,
        /// Why not.
        reason: String,
    },
    /// It asks who we are, and nothing is configured.
    #[error("the registry {registry} asks for a password, and none is configured")]
    NoCredentials {
        /// The registry.
        registry: String,
    },
    /// It does not accept who we are.
    #[error("the registry {registry} refused the user name or password of `{username}`")]
    WrongCredentials {
        /// The registry.
        registry: String,
        /// The user.
        username: String,
    },
    /// It knows us and does not let us.
    #[error("the registry does not allow {action}: {message}")]
    Denied {
        /// What was tried.
        action: String,
        /// Its words.
        message: String,
    },
    /// It asks for a way of authentication that is not known, or not safe.
    #[error("the registry {registry} asks for authentication that is refused: {reason}")]
    Challenge {
        /// The registry.
        registry: String,
        /// Why.
        reason: String,
    },
    /// No such repository.
    #[error("the registry has no repository `{repository}`: {message}")]
    UnknownRepository {
        /// The repository.
        repository: String,
        /// Its words.
        message: String,
    },
    /// The manifest to tag is not there.
    #[error("`{repository}` has no image {digest}")]
    UnknownManifest {
        /// The repository.
        repository: String,
        /// The image.
        digest: Digest,
    },
    /// A blob that was sent is not there when the manifest comes.
    #[error("the registry refuses {action} because it misses a blob that it was sent: {message}")]
    BlobUnknown {
        /// What was tried.
        action: String,
        /// Its words.
        message: String,
    },
    /// The tag names another image and may not move.
    #[error("the tag `{tag}` names {existing} already and may not move to {ours}: {message}")]
    TagConflict {
        /// The tag.
        tag: Tag,
        /// What it names.
        existing: Digest,
        /// What it should name.
        ours: Digest,
        /// The registry's words.
        message: String,
    },
    /// An image of uncommitted changes is not promoted.
    #[error("{digest} was built of uncommitted changes and cannot be tagged `{tag}`")]
    Dirty {
        /// The tag.
        tag: Tag,
        /// The image.
        digest: Digest,
    },
    /// It stored or sent something else than it should.
    #[error("the registry answered {action} with digest {theirs}, but the content is {ours}")]
    DigestMismatch {
        /// What was tried.
        action: String,
        /// Of what was sent or received.
        ours: Digest,
        /// What it says.
        theirs: String,
    },
    /// What arrived is not what was asked for.
    #[error("{action} gave {received} instead of {expected}")]
    Corrupted {
        /// What was tried.
        action: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        received: Digest,
    },
    /// Any other refusal.
    #[error("the registry answered {action} with {status}: {message}")]
    Unexpected {
        /// What was tried.
        action: String,
        /// The status.
        status: StatusCode,
        /// Its words.
        message: String,
    },
    /// An answer that breaks the protocol.
    #[error("the registry's answer to {action} breaks the protocol: {reason}")]
    Protocol {
        /// What was tried.
        action: String,
        /// How.
        reason: String,
    },
}

impl RegistryError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Repository(_) => "for example `registry.example.com/smartassist/chatbot` or `127.0.0.1:5000/chatbot`",
            Self::Reference(_) => "give the digest that `image build` printed, as in `127.0.0.1:5000/chatbot@sha256:…`",
            Self::UnknownTag { .. } => "check the tag, or push the image first",
            Self::Ecr(error) => return Some(error.hint()),
            Self::Unreachable { .. } => {
                "check the host's name and port and the network; a registry that is not on this machine must speak HTTPS \
                 with a certificate this machine trusts"
            }
            Self::NoCredentials { registry } => {
                let own = "; the embedded endpoint gives one to `cargo xtask image … --environment NAME`";
                let own = if is_loopback(registry) { own } else { "" };
                return Some(format!(
                    "run `docker login {registry}`, or set REGISTRY_USERNAME and REGISTRY_PASSWORD{own}"
                ));
            }
            Self::WrongCredentials { registry, .. } => {
                return Some(format!(
                    "check REGISTRY_USERNAME and REGISTRY_PASSWORD, or run `docker login {registry}` again; an ECR token \
                     is valid for 12 hours"
                ));
            }
            Self::Denied { .. } => "ask for permission to push to this repository",
            Self::Challenge { .. } => "use a registry with Basic or Bearer authentication over HTTPS",
            Self::UnknownRepository { .. } => "check the name, or create the repository first",
            Self::UnknownManifest { .. } => "push the image first, or check the digest",
            Self::TagConflict { .. } => {
                "tags do not move: commit a change and build again, or deploy the image by its digest"
            }
            Self::Dirty { .. } => "commit the changes, build again, and promote that image",
            Self::DigestMismatch { .. } | Self::Corrupted { .. } => {
                "do not use this image; check the registry and whatever is between it and here"
            }
            Self::BlobUnknown { .. } | Self::Unexpected { .. } | Self::Protocol { .. } => {
                "look into the registry's own log"
            }
        };
        Some(text.to_owned())
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. } => Kind::Unreachable,
            Self::Ecr(error) => error.kind(),
            Self::Repository(_)
            | Self::Reference(_)
            | Self::NoCredentials { .. }
            | Self::WrongCredentials { .. }
            | Self::Challenge { .. }
            | Self::Dirty { .. }
            | Self::UnknownRepository { .. } => Kind::Configuration,
            Self::Denied { .. }
            | Self::UnknownManifest { .. }
            | Self::UnknownTag { .. }
            | Self::Corrupted { .. }
            | Self::BlobUnknown { .. }
            | Self::TagConflict { .. }
            | Self::DigestMismatch { .. }
            | Self::Unexpected { .. }
            | Self::Protocol { .. } => Kind::Failure,
        }
    }
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: String,
    #[serde(default)]
    message: String,
}

/// A registry's words in an error body, or the beginning of whatever it sent.
pub(super) fn message(body: &[u8]) -> String {
    if let Ok(parsed) = serde_json::from_slice::<Errors>(body)
        && !parsed.errors.is_empty()
    {
        let entries: Vec<String> =
            parsed.errors.iter().map(|entry| format!("{}: {}", entry.code, entry.message)).collect();
        return entries.join("; ");
    }
    let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
    if text.trim().is_empty() { "no message".to_owned() } else { text.trim().to_owned() }
}
