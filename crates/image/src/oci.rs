//! The OCI documents this builder writes and reads (image specification 1.1), with Docker's health check.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image manifest as `docker push` writes it.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a gzip-compressed layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of the configuration of what is no image: the two bytes `{}`.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// What containerd, podman and Docker with containerd's store call an image that they load.
pub const ENGINE_NAME: &str = "io.containerd.image.name";
/// The annotation that names a manifest inside a layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A pointer to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// In a list of referrers: what kind of artifact the manifest is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Names and notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The manifest of an image, or of an artifact about one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// [`MANIFEST`]; Docker's own type in what `docker push` wrote. OCI 1.0 did not ask for it.
    #[serde(default)]
    pub media_type: String,
    /// What kind of artifact it is; none for an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The image that an artifact is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Names and notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests: a layout's `index.json`, or what refers to an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`INDEX`]; OCI 1.0 did not ask for it.
    #[serde(default)]
    pub media_type: String,
    /// In a layout one entry for each tag.
    pub manifests: Vec<Descriptor>,
}

/// A layout's `oci-layout` file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutVersion {
    /// Always `1.0.0`.
    pub image_layout_version: String,
}

/// A document that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, or without what it must have.
    #[error("it is not understood")]
    Json(#[from] serde_json::Error),
    /// Another version of the format.
    #[error("its schemaVersion is {0}, not 2")]
    Version(u32),
    /// Something else.
    #[error("it is of type `{0}`")]
    Type(String),
    /// More than any image has.
    #[error("it lists {0} parts")]
    TooMany(usize),
}

/// More parts than this are no image of anybody.
const MOST_PARTS: usize = 1000;

impl Manifest {
    /// Reads the manifest of one image or artifact; a list of images is refused.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        check(manifest.schema_version, &manifest.media_type, &["", MANIFEST, DOCKER_MANIFEST], manifest.layers.len())?;
        Ok(manifest)
    }
}

fn check(version: u32, media_type: &str, allowed: &[&str], parts: usize) -> Result<(), DocumentError> {
    if version != 2 {
        return Err(DocumentError::Version(version));
    }
    if !allowed.contains(&media_type) {
        return Err(DocumentError::Type(media_type.to_owned()));
    }
    if parts > MOST_PARTS {
        return Err(DocumentError::TooMany(parts));
    }
    Ok(())
}

impl Index {
    /// Reads a list of manifests.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let index: Self = serde_json::from_slice(bytes)?;
        check(index.schema_version, &index.media_type, &["", INDEX], index.manifests.len())?;
        Ok(index)
    }

    /// An index of these manifests.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: INDEX.to_owned(), manifests }
    }
}

/// An image configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Configuration {
    /// When the commit was made, RFC 3339.
    pub created: String,
    /// The processor.
    pub architecture: String,
    /// Always `linux`.
    pub os: &'static str,
    /// How to run it.
    pub config: Execution,
    /// The layers before compression.
    pub rootfs: RootFs,
    /// One entry for each layer.
    pub history: Vec<History>,
}

/// What is read of a configuration that came from a registry.
#[derive(Debug, Default, Deserialize)]
pub struct Labelled {
    #[serde(default)]
    config: Labels,
}

#[derive(Debug, Default, Deserialize)]
struct Labels {
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

impl Labelled {
    /// The commit that the image was built from, with its mark if the tree had other content.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.config.labels.as_ref()?.get("org.opencontainers.image.revision").map(String::as_str)
    }
}

/// How a container of this image runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// `uid:gid`
    pub user: String,
    /// Ports the service listens on.
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Directories that stay writable on a read-only root.
    pub volumes: BTreeMap<String, Empty>,
    /// `NAME=value`
    pub env: Vec<String>,
    /// The program.
    pub entrypoint: Vec<String>,
    /// Where it starts.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The signal that begins a drain.
    pub stop_signal: String,
    /// Docker's health check; OCI's own specification has none, and engines read it all the same.
    pub healthcheck: Healthcheck,
}

/// Docker's health check; durations are nanoseconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `CMD` and the program.
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval: u64,
    /// Time a check may take.
    pub timeout: u64,
    /// Time in which failures do not count.
    pub start_period: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

/// `{}`
#[derive(Debug, Clone, Serialize)]
pub struct Empty {}

/// The layers before compression.
#[derive(Debug, Clone, Serialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Digests of the uncompressed archives.
    pub diff_ids: Vec<Digest>,
}

/// What made a layer.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// When the commit was made.
    pub created: String,
    /// In words.
    pub created_by: String,
}
