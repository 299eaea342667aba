//! SmartBot: the SmartAssist chat service.
//!
//! `POST /v1/chat` answers from a knowledge file, in Japanese and English, and keeps the
//! conversation in a store that outlives the process. The rest serves whoever runs it: probes,
//! metrics, version, structured logs and a drain that loses no reply.
//!
//! From the inside out: [`text`] -> [`retrieval`] -> [`engine`] (pure), [`knowledge`] (the file),
//! [`conversation`] (the store, behind a trait), [`app`] (everything a request needs),
//! [`router`] (the route table), [`server`] (sockets, drain). Only [`config`] reads variables.

pub mod app;
#[cfg(any(feature = "bedrock", feature = "dynamodb"))]
pub mod aws;
pub mod config;
pub mod conversation;
pub mod drain;
pub mod engine;
pub mod healthcheck;
pub mod knowledge;
pub mod lexicon;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod problem;
pub mod retrieval;
pub mod router;
pub mod routes;
pub mod server;
pub mod stream;
pub mod text;
pub mod turn;
