//! The daemonless image builder: a static binary becomes one deterministic layer, an OCI image layout, and a manifest in
//! a registry. No Docker engine takes part.
//!
//! The same commit gives the same digest wherever it is built: the compiler sees no path of the machine ([`compile`]),
//! the layer holds no time and no owner of the machine ([`layer`]), and the configuration holds nothing that a clone
//! could have and another lack ([`assemble`]). What a commit does not decide (tags, the registry) is outside the digest.

pub mod assemble;
pub mod build;
pub mod compile;
pub mod credentials;
pub mod digest;
pub mod ecr;
pub mod elf;
pub mod error;
pub mod git;
pub mod layer;
pub mod layout;
pub mod login;
pub mod oci;
pub mod progress;
pub mod registry;
pub mod rootfs;
pub mod settings;
pub mod tag;
pub mod target;

pub use digest::Digest;
pub use error::{Error, Kind};
pub use registry::Registry;
pub use tag::Tag;
