//! Culvert's data plane daemon.
fn main() {}
