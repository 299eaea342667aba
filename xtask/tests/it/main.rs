//! Integration tests of `cargo xtask`: the real binary, its exit codes and streams.

mod local;
mod smoke;

use std::process::{Command, Output};

/// The binary under test, away from the user's own endpoint.
fn xtask() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.env_remove("AWS_ENDPOINT_URL").env_remove("SMARTASSIST_DATA_DIR");
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
