//! The daemonless image builder: a static binary becomes a deterministic layer on one that rarely changes, an OCI image
//! layout, and a manifest in a registry. A Docker engine takes part only where it is asked to ([`docker`]).
//!
//! The same commit gives the same digest wherever it is built: the compiler sees no path of the machine ([`compile`]),
//! the layer holds no time and no owner of the machine ([`layer`]), and the configuration holds nothing that a clone
//! could have and another lack ([`assemble`]). What a commit does not decide (tags, the registry) is outside the digest.

pub mod archive;
pub mod assemble;
pub mod attachments;
pub mod attestation;
pub mod auditable;
mod aws;
pub mod build;
pub mod compile;
pub mod contents;
pub mod credentials;
pub mod dependencies;
pub mod digest;
pub mod docker;
pub mod ecr;
pub mod elf;
pub mod error;
pub mod git;
pub mod key;
#[cfg(feature = "kms")]
pub mod kms;
pub mod layer;
pub mod layout;
pub mod login;
pub mod oci;
pub mod progress;
pub mod provenance;
pub mod registry;
pub mod rootfs;
pub mod sbom;
pub mod scan;
pub mod settings;
pub mod signature;
pub mod signer;
pub mod tag;
pub mod target;
pub mod verify;

pub use digest::Digest;
pub use error::{Error, Kind};
pub use registry::Registry;
pub use tag::Tag;
