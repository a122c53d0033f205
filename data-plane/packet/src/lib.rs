//! Packets as bytes: the [`Buffer`] trait and views of Ethernet, ARP, IPv4, UDP and ESP headers.
#![no_std]

mod buffer;

pub use buffer::Buffer;
