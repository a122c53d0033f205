//! Culvert's data plane: workers that forward, seal and open packets, and what they share with the server thread.
//!
//! A packet's way: [`worker`] receives a burst, [`pipeline`] takes it through its stages with the help of the [`table`]s, and each packet
//! ends in exactly one [`verdict::Verdict`]. [`command`] is the whole of what a worker and the server thread say to each other.

pub mod clock;
pub mod command;
pub mod config;
pub mod neighbor;
pub mod pipeline;
pub mod punt;
pub mod reassembly;
pub mod server;
pub mod slow_path;
pub mod stats;
pub mod table;
pub mod verdict;
pub mod worker;
