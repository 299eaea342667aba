//! A client for the OCI distribution API: blobs first, the manifest last, tags by putting the manifest once more.

mod authentication;
mod bills;
mod client;
mod error;
mod pull;
mod push;
mod reference;
mod referrers;
mod repository;
mod retry;
mod signatures;
mod transport;
mod upload;

pub use client::{Options, Registry};
pub use error::RegistryError;
pub use push::Pushed;
pub use reference::{Reference, Version};
pub use referrers::{Artifact, fallback_tag};
pub use repository::Repository;
pub use retry::RetryPolicy;
pub use signatures::Signed;
pub use upload::Sent;
