//! The handlers, by subject.

pub mod chat;
pub mod completions;
pub mod conversations;
pub mod handoff;
pub mod insights;
pub mod keys;
pub mod knowledge;
pub mod operations;
pub mod tenants;
pub mod widget;
pub mod widget_assets;
