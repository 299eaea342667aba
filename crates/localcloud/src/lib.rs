//! The embedded AWS endpoint and its data plane.
