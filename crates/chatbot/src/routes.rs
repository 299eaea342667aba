//! The handlers, by subject.

pub mod chat;
pub mod conversations;
pub mod operations;
pub mod widget;
