//! Culvert's control plane daemon.
fn main() {}
