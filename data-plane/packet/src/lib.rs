//! Packets as bytes: the [`Buffer`] trait and views of Ethernet, ARP, IPv4, UDP and ESP headers.
//!
//! A view is made by a `parse` function that checks lengths once; afterwards its fields cannot fail. Parsing is total: any octets whatever give a
//! view or an error, never a panic. Writing goes the other way: a value, or the arguments of a `write` function, become a fixed array of octets.
//!
//! Multi-octet fields are in host byte order on the Rust side and big-endian on the wire.
#![no_std]

extern crate alloc;

pub mod arp;
mod buffer;
pub mod checksum;
pub mod esp;
pub mod ethernet;
pub mod ipv4;
pub mod udp;
mod vec_buffer;

pub use buffer::Buffer;
pub use vec_buffer::VecBuffer;

/// `N` octets at `at`, where they exist.
#[inline]
fn octets<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The big-endian number at `at`, where it exists.
#[inline]
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    octets(bytes, at).map(u16::from_be_bytes)
}
