//! Integration tests of `cargo xtask`: the real binary, its exit codes and streams.
