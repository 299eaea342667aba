//! What a build or a push is doing, as values; the binary decides how people see them.

use std::path::Path;
use std::time::Duration;

use crate::digest::Digest;
use crate::tag::Tag;

/// One step.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// The tree has uncommitted changes and the image is marked with them.
    Dirty,
    /// Another checkout used the same build directory last: the workspace's own crates are compiled anew.
    Isolating,
    /// cargo runs.
    Compiling {
        /// The compiler target.
        target: &'a str,
    },
    /// Docker builds.
    DockerBuild {
        /// The image that is compiled in.
        base: &'a str,
    },
    /// The image that is compiled in has no digest of a registry.
    BaseUnpinned {
        /// The image.
        image: &'a str,
    },
    /// The same commit is built a second time.
    BuildingAgain {
        /// Where.
        directory: &'a Path,
    },
    /// The second build is the first one again.
    Reproduced {
        /// The image.
        digest: &'a Digest,
    },
    /// The layout is on disk.
    Built {
        /// The image.
        digest: &'a Digest,
        /// Compressed bytes.
        size: u64,
        /// Where.
        layout: &'a Path,
    },
    /// The registry has the blob already.
    BlobPresent {
        /// The blob.
        digest: &'a Digest,
    },
    /// A blob is sent.
    Uploading {
        /// The blob.
        digest: &'a Digest,
        /// Bytes.
        size: u64,
    },
    /// The registry took the blob from another repository.
    BlobMounted {
        /// The blob.
        digest: &'a Digest,
    },
    /// So much of a blob is on its way.
    Sent {
        /// The blob.
        digest: &'a Digest,
        /// Bytes that were handed to the connection or are acknowledged.
        sent: u64,
        /// Bytes altogether.
        size: u64,
    },
    /// An upload goes on after a failure.
    Resuming {
        /// The blob.
        digest: &'a Digest,
        /// Bytes that the registry has.
        offset: u64,
    },
    /// A blob is there, whole.
    Uploaded {
        /// The blob.
        digest: &'a Digest,
        /// Bytes.
        size: u64,
        /// How long that took.
        time: Duration,
    },
    /// The tag names the image already.
    TagPresent {
        /// The tag.
        tag: &'a Tag,
    },
    /// The tag names the image now.
    Tagged {
        /// The tag.
        tag: &'a Tag,
        /// What it named before, if anything.
        moved_from: Option<&'a Digest>,
    },
    /// The image is signed.
    Signed {
        /// The image.
        digest: &'a Digest,
        /// The key's id.
        key: &'a Digest,
    },
    /// The same signature was there already.
    SignaturePresent {
        /// The image.
        digest: &'a Digest,
    },
    /// Somebody with a key that is asked for says where the image comes from.
    Provenance {
        /// The commit it was built from.
        revision: &'a str,
        /// Who built it.
        builder: &'a str,
    },
    /// Nobody says so with a signature.
    NoProvenance,
    /// No bill of materials is attached; one is made from the list in the binary.
    BillFromBinary,
    /// A request failed in a way that may pass.
    Retrying {
        /// Why.
        reason: &'a str,
        /// The pause before the next try.
        pause: Duration,
    },
}

/// Where steps go.
pub type Progress<'a> = &'a (dyn Fn(Step<'_>) + Send + Sync);
