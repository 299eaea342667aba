//! Environment files to CloudFormation templates, task definitions, appspecs and buildspecs.
//!
//! The library does no I/O: the same project and environment give the same bytes. [`templates`] returns the
//! stacks of an environment in the order in which they are created, [`files`] what is committed beside them,
//! [`budget::Budget`] the time a deployment and a rollback take.

mod access;
mod buckets;
pub mod budget;
pub mod checks;
pub mod cost;
mod cron;
mod data;
mod delivery;
mod documents;
mod files;
mod generations;
mod keys;
mod logs;
mod metrics;
mod names;
mod network;
mod observability;
mod policy;
mod registry;
pub mod resources;
mod service;
mod stack;
mod task;
pub mod template;
mod topics;
pub mod value;
pub mod variants;

pub use access::cloudformation_role;
pub use files::{GeneratedFile, features, files};
pub use generations::{Replacement, replacements};
pub use names::Names;
pub use stack::{Stack, StackKind, StackParameter, TEMPLATE_LIMIT, Unsupported, deployment_alarms, templates};
