//! Tests of the environment files as a user meets them.

mod committed;
mod errors;
