//! Tests of the generated templates and files, and of the `synth` command.

mod command;
mod properties;
mod references;
mod snapshots;
mod task_definition;
mod variants;
