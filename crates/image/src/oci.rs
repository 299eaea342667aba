//! The OCI documents this builder writes and reads (image specification 1.1), with Docker's health check.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a gzip-compressed layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
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
    /// Names and notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Always [`MANIFEST`].
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// A layout's `index.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Always [`INDEX`].
    pub media_type: String,
    /// The images, one entry for each tag.
    pub manifests: Vec<Descriptor>,
}

/// A layout's `oci-layout` file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutVersion {
    /// Always `1.0.0`.
    pub image_layout_version: String,
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

/// How a container of this image runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// `uid:gid`
    pub user: String,
    /// Ports the service listens on.
    pub exposed_ports: BTreeMap<String, Empty>,
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
