//! Culvert's benchmarks: ratios against peers in one run.
fn main() {}
