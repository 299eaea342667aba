//! The SmartBot chat service.

fn main() {}
