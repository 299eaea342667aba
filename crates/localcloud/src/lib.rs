//! The embedded AWS endpoint: the AWS wire protocols for the APIs that SmartAssist uses, with a real data plane.
//!
//! `http` takes a request, [`wire`] decodes it by AWS's own model, [`services`] answers it over one [`store`],
//! and [`engine`] moves the recorded state towards what was asked, on an injected [`clock`].
//! Services use one another only through [`Cloud::call`], that is through the AWS API itself.

pub mod blobs;
pub mod clock;
pub mod cloud;
pub mod dataplane;
pub mod engine;
pub mod error;
pub mod http;
pub mod ids;
mod output;
mod registry;
pub mod runtime;
pub mod services;
mod source;
pub mod store;
pub mod wire;

pub use cloud::{Cloud, Settings};
pub use error::ApiError;
