//! From layers and their source to an image: configuration, manifest.

use std::collections::BTreeMap;

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::digest::Digest;
use crate::error::Error;
use crate::git::Source;
use crate::layer::Layer;
use crate::oci::{
    CONFIG, Configuration, Descriptor, Empty, Execution, Healthcheck, History, LAYER, MANIFEST, Manifest, RootFs,
};
use crate::registry::Artifact;
use crate::rootfs::USER_ID;
use crate::target::Architecture;

/// What the package's Cargo.toml says of the program. Read from the commit, never from the clone (a remote's URL or a git
/// tag can differ between two clones of one commit, and the digest must not).
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// `org.opencontainers.image.version`
    pub version: Option<String>,
    /// `org.opencontainers.image.source`
    pub source: Option<String>,
    /// `org.opencontainers.image.licenses`
    pub licenses: Option<String>,
}

/// Content with its type and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The content.
    pub bytes: Bytes,
    /// How a manifest or an index points at it.
    pub descriptor: Descriptor,
}

/// An image, complete and in memory.
#[derive(Debug, Clone)]
pub struct Image {
    /// The manifest; its digest is the image's.
    pub manifest: Blob,
    /// Layers, lowest first, and the configuration last.
    pub blobs: Vec<Blob>,
    /// What is attached to it: pushed with it, and no part of its digest.
    pub artifacts: Vec<Artifact>,
}

impl Blob {
    /// Wraps content.
    #[must_use]
    pub fn new(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let descriptor = Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        };
        Self { bytes, descriptor }
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }
}

impl Image {
    /// The digest that identifies the image.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        self.manifest.digest()
    }

    /// The layers, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[Blob] {
        self.blobs.split_last().map_or(&[], |(_, layers)| layers)
    }

    /// Compressed bytes of configuration and layers: what a pull transfers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.descriptor.size).sum()
    }
}

/// Makes the image of these layers, lowest first.
///
/// # Errors
/// The commit's time is out of every calendar.
pub fn assemble(
    layers: Vec<Layer>,
    architecture: Architecture,
    source: &Source,
    description: &Description,
) -> Result<Image, Error> {
    let created = created(source)?;
    let history = History { created: created.clone(), created_by: "smartassist image".to_owned() };
    let configuration = Configuration {
        created: created.clone(),
        architecture: architecture.as_str().to_owned(),
        os: "linux",
        config: execution(source, &created, description),
        history: vec![history; layers.len()],
        rootfs: RootFs { kind: "layers", diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect() },
    };
    of_parts(layers, serde_json::to_vec(&configuration).map_err(Error::Serialize)?)
}

/// Makes the image of layers and a finished configuration.
pub(crate) fn of_parts(layers: Vec<Layer>, configuration: Vec<u8>) -> Result<Image, Error> {
    let config = Blob::new(CONFIG, configuration);
    let layers: Vec<Blob> = layers.into_iter().map(|layer| Blob::new(LAYER, layer.blob)).collect();
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type: None,
        config: config.descriptor.clone(),
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        subject: None,
        annotations: BTreeMap::new(),
    };
    let manifest = Blob::new(MANIFEST, serde_json::to_vec(&manifest).map_err(Error::Serialize)?);
    Ok(Image { manifest, blobs: layers.into_iter().chain([config]).collect(), artifacts: Vec::new() })
}

/// When the commit was made, as every label and the configuration say it.
pub(crate) fn created(source: &Source) -> Result<String, Error> {
    OffsetDateTime::from_unix_timestamp(source.time)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .ok_or(Error::CommitTime(source.time))
}

fn execution(source: &Source, created: &str, description: &Description) -> Execution {
    let revision = source.revision();
    let mut labels = BTreeMap::new();
    let mut label = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            labels.insert(format!("org.opencontainers.image.{name}"), value.to_owned());
        }
    };
    label("title", Some("smartbot"));
    label("revision", Some(&revision));
    label("created", Some(created));
    label("version", description.version.as_deref());
    label("source", description.source.as_deref());
    label("licenses", description.licenses.as_deref());
    let seconds = |count: u64| count * 1_000_000_000;
    Execution {
        user: format!("{USER_ID}:{USER_ID}"),
        exposed_ports: BTreeMap::from([("8080/tcp".to_owned(), Empty {})]),
        volumes: BTreeMap::from([("/data".to_owned(), Empty {})]),
        env: vec![
            "LISTEN=0.0.0.0:8080".to_owned(),
            format!("SMARTBOT_COMMIT={revision}"),
            format!("SMARTBOT_COMMIT_TIME={created}"),
        ],
        entrypoint: vec!["/smartbot".to_owned()],
        working_dir: "/".to_owned(),
        labels,
        stop_signal: "SIGTERM".to_owned(),
        healthcheck: Healthcheck {
            test: ["CMD", "/smartbot", "--healthcheck"].map(str::to_owned).to_vec(),
            interval: seconds(10),
            timeout: seconds(3),
            start_period: seconds(5),
            retries: 3,
        },
    }
}
