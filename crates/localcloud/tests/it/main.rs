//! The endpoint through its public surfaces: a real server on a loopback port.

mod client;
mod codepipeline;
mod registry;
mod server;
