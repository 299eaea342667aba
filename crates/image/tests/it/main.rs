//! Integration tests of the image builder.

mod build;
mod content;
mod credentials;
mod docker_registry;
mod fake;
mod fixture;
mod push;
mod source;
