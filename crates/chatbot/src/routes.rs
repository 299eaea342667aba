//! The handlers, by subject.

pub mod chat;
pub mod conversations;
pub mod handoff;
pub mod operations;
pub mod widget;
pub mod widget_assets;
