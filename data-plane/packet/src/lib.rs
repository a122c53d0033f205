//! Packets as bytes: the [`Buffer`] trait and views of Ethernet, IPv4, UDP and ESP headers.
//!
//! A view is made by a `parse` function that checks lengths once; afterwards its fields cannot fail. Parsing is total: any octets whatever give a
//! view or an error, never a panic. Writing goes the other way: a value, or the arguments of a `write` function, become a fixed array of octets.
//!
//! Multi-octet fields are in host byte order on the Rust side and big-endian on the wire.
#![no_std]

extern crate alloc;

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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    proptest! {
        /// No octets make a parser panic, nor do they at any cut.
        #[test]
        fn parsing_is_total(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for cut in 0..=bytes.len() {
                let bytes = &bytes[..cut];
                let _ = crate::ethernet::EthernetHeader::parse(bytes);
                let _ = crate::ipv4::Ipv4::parse(bytes).map(|packet| packet.flow());
                let _ = crate::udp::Udp::parse(bytes).map(|udp| udp.checksum_ok([10, 0, 0, 1].into(), [10, 0, 0, 2].into()));
                let _ = crate::udp::NatTraversal::parse(bytes);
                let _ = crate::esp::EspHeader::parse(bytes);
                let mut copy: Vec<u8> = bytes.to_vec();
                let _ = crate::ipv4::decrement_ttl(&mut copy);
                crate::ipv4::replace_traffic_class(&mut copy, 1);
            }
        }
    }
}
