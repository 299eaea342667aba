//! Documents that AWS takes as text inside a property, typed, so that none of them can be malformed.

pub(crate) mod appspec;
pub(crate) mod buildspec;
pub(crate) mod dashboard;
pub(crate) mod lifecycle;
pub(crate) mod masking;
pub(crate) mod workflow;
