//! Tests of the generated templates and files, and of the `synth` command.

mod command;
mod cost;
mod defects;
mod generations;
mod hardened;
mod mutations;
mod properties;
mod references;
mod snapshots;
mod task_definition;
mod variants;
