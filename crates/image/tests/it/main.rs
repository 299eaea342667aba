//! Integration tests of the image builder.

mod archive;
mod attestation;
mod build;
mod builders;
mod content;
mod credentials;
mod docker;
mod docker_registry;
mod ecr_scan;
mod fake;
mod fixture;
mod function;
mod hostile;
#[cfg(feature = "kms")]
mod kms;
mod proxy;
mod push;
mod sbom;
mod scan;
mod server;
mod signature;
mod source;
mod trust;
