//! Culvert's data plane: workers that forward, seal and open packets, and what they share with the server thread.
//!
//! A packet's way: [`worker`] receives a burst, [`pipeline`] takes it through its stages with the help of the [`table`]s, and each packet
//! ends in exactly one [`verdict::Verdict`]. [`command`] is the whole of what a worker and the server thread say to each other.

// A packet from the network never panics: what could is not compiled.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

pub mod clock;
pub mod command;
pub mod config;
pub mod fragmentation;
mod installed_sa;
pub mod neighbor;
pub mod pipeline;
pub mod punt;
pub mod reassembly;
pub mod server;
pub mod slow_path;
pub mod stage;
pub mod stats;
pub mod table;
pub mod verdict;
pub mod worker;
