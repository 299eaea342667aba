//! SmartBot: the SmartAssist chat service.
//!
//! `POST /v1/chat` answers a tenant's customers from its knowledge, in Japanese and English, and
//! keeps the conversation in a store that outlives the process. The rest serves whoever runs it:
//! probes, metrics, version, structured logs and a drain that loses no reply.
//!
//! From the inside out: [`text`] -> [`retrieval`] -> [`engine`] (pure), [`knowledge`] (the file),
//! [`conversation`] (the store, behind a trait), [`tenant`] (who is served), [`access`] (who asks),
//! [`turn`] -> [`generation`] -> [`stream`] (a question becomes a reply), [`app`] (everything a
//! request needs), [`router`] (the route table), [`server`] (sockets, drain). Only [`config`] reads
//! variables.

pub mod access;
pub mod answer;
pub mod app;
#[cfg(any(feature = "bedrock", feature = "dynamodb"))]
pub mod aws;
pub mod body;
pub mod causes;
pub mod clock;
pub mod config;
pub mod conversation;
pub mod cors;
pub mod disk;
pub mod drain;
pub mod emf;
pub mod engine;
pub mod evaluation;
pub mod generation;
pub mod handoff;
pub mod healthcheck;
pub mod idempotency;
pub mod knowledge;
pub mod ledger;
pub mod lexicon;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod openapi;
pub mod outbound;
pub mod privacy;
pub mod problem;
pub mod random;
pub mod retrieval;
pub mod router;
pub mod routes;
pub mod server;
pub mod session;
pub mod stream;
pub mod tenant;
pub mod text;
pub mod trace;
pub mod turn;
pub mod webhook;
