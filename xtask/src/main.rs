//! Task runner: thin dispatch, executes the workspace's binaries.

fn main() {}
