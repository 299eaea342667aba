//! The deploy client: preflight, deploy, promote, roll back, observe. It speaks AWS APIs only; whether AWS or the
//! embedded endpoint answers is decided by the address in `clients` and nowhere else.

mod bootstrap;
mod build;
mod call;
mod cause;
mod change_set;
pub mod cli;
mod clients;
mod codedeploy;
mod context;
mod download;
mod error;
mod follow;
mod git;
mod history;
mod image;
mod infra;
mod live;
mod logs;
mod pipeline;
mod preflight;
mod probe;
mod progress;
mod promote;
mod release;
mod report;
mod rollback;
mod signature;
mod status;
mod tasks;
mod watchdog;

pub use error::Error;
pub use report::{Outcome, Phase, Verdict};
