//! The functions as Lambda runs them: the real binary, a runtime API, a chatbot and an AWS endpoint on loopback.

mod agreement;
mod monitor;
mod settings;
mod validate;
mod world;
