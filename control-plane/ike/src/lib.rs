//! The IKE protocol as a pure function of bytes, time, randomness and commands.
//!
//! [`Endpoint::handle`] takes an [`io::Input`] with the time, [`Endpoint::poll_output`] gives back what is to be done, in order, and
//! [`Endpoint::next_timeout`] says when to come again. Nothing in here reads a clock, a socket or a random number generator.
#![no_std]
// A packet from the network never panics: what could is not compiled.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod assigned;
mod child;
pub mod config;
mod context;
mod diagnosis;
mod endpoint;
pub mod error;
mod holdings;
pub mod io;
mod negotiate;
mod orphan;
mod peers;
mod policy;
mod pool;
pub mod provider;
mod trace;
mod v1;
mod v2;
mod waiting;
mod want;
mod window;

pub use endpoint::Endpoint;
