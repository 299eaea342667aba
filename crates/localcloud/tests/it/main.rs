//! The endpoint through its public surfaces: a real server on a loopback port.

mod client;
mod codepipeline;
mod elbv2;
mod logs;
mod registry;
mod server;
