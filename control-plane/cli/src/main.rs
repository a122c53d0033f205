//! The operator's command: culvert.
fn main() {}
