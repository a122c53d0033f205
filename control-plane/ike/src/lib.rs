//! The IKE protocol as a pure function of bytes, time, randomness and commands.
#![no_std]

extern crate alloc;

pub mod config;
pub mod error;
pub mod io;
pub mod provider;
