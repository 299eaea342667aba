//! The service as its callers and its operators meet it: real sockets, the real program.

mod administration;
mod answers;
mod assets;
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
