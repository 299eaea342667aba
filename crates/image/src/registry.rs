//! A client for the OCI distribution API: blobs first, the manifest last, tags by putting the manifest once more.

mod authentication;
mod client;
mod error;
mod push;
mod repository;
mod retry;
mod transport;

pub use client::{Options, Registry};
pub use error::RegistryError;
pub use push::Pushed;
pub use repository::Repository;
pub use retry::RetryPolicy;
