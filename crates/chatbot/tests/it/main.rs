//! The service as its callers and its operators meet it: real sockets, the real program.

mod administration;
mod answers;
mod assets;
#[cfg(all(feature = "bedrock", feature = "dynamodb"))]
mod aws;
mod client;
mod durability;
mod evaluation;
mod handoff;
mod http;
mod limits;
mod model;
mod process;
mod program;
mod tenancy;
mod tenants;
