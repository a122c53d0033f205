//! Packets as bytes: the [`Buffer`] trait and views of Ethernet, IPv4, IPv6, UDP, TCP, ESP and AH headers.
//!
//! A view is made by a `parse` function that checks lengths once; afterwards its fields cannot fail. Parsing is total: any octets whatever give a
//! view or an error, never a panic. Writing goes the other way: a value, or the arguments of a `write` function, become a fixed array of octets.
//!
//! Multi-octet fields are in host byte order on the Rust side and big-endian on the wire.
#![no_std]
// A packet from the network never panics: what could is not compiled.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

extern crate alloc;

pub mod ah;
mod buffer;
pub mod checksum;
pub mod esp;
pub mod ethernet;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
mod ipv6_extension;
pub mod plain;
pub mod tcp;
pub mod udp;
mod vec_buffer;

use core::net::IpAddr;

use ipsec_types::Flow;

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

/// The selector fields (RFC 4301 section 4.4.1.1). There are no ports without the upper-layer header, in other protocols, and where a packet ends before
/// them.
#[inline]
fn flow(source: IpAddr, destination: IpAddr, protocol: u8, upper: Option<&[u8]>) -> Flow {
    let (source_port, destination_port) = upper.and_then(|upper| ports(protocol, upper)).unzip();
    Flow { source, destination, protocol, source_port, destination_port }
}

/// Ports where the protocol has them. ICMP has type * 256 + code on both sides, the Mobility Header (RFC 6275) its type * 256 (RFC 4301
/// section 4.4.1.1, RFC 7296 section 3.13.1).
#[inline]
fn ports(protocol: u8, upper: &[u8]) -> Option<(u16, u16)> {
    // Most packets are one of these: a jump table for all would cost more than both comparisons.
    if protocol == ipv4::PROTOCOL_TCP || protocol == ipv4::PROTOCOL_UDP { both_ports(upper) } else { other_ports(protocol, upper) }
}

#[inline]
fn both_ports(upper: &[u8]) -> Option<(u16, u16)> {
    octets(upper, 0).map(|[a, b, c, d]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[inline(never)]
fn other_ports(protocol: u8, upper: &[u8]) -> Option<(u16, u16)> {
    const DCCP: u8 = 33;
    const SCTP: u8 = 132;
    const MOBILITY: u8 = 135;
    const UDP_LITE: u8 = 136;
    match protocol {
        DCCP | SCTP | UDP_LITE => both_ports(upper),
        ipv4::PROTOCOL_ICMP | ipv6::PROTOCOL_ICMPV6 => be16(upper, 0).map(|type_and_code| (type_and_code, type_and_code)),
        MOBILITY => be16(upper, 2).map(|word| (word & 0xff00, word & 0xff00)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    /// A packet of either version, whole as such, with few extension headers and options.
    fn nearly_plain() -> impl Strategy<Value = Vec<u8>> {
        let next = prop::sample::select(&[0_u8, 4, 6, 17, 43, 44, 50, 60][..]);
        let first = prop_oneof![4 => Just(0x45_u8), 4 => Just(0x60), 1 => Just(0x46), 1 => any::<u8>()];
        (first, next, prop::collection::vec(any::<u8>(), 60..100), -2_i16..3, any::<bool>()).prop_map(
            |(first, next, mut bytes, off, right)| {
                bytes[0] = first;
                let len = |len: usize| u16::try_from(len).unwrap().saturating_add_signed(off).to_be_bytes();
                if first >> 4 == 6 {
                    bytes[6] = next;
                    let len = len(bytes.len() - crate::ipv6::HEADER_LEN);
                    bytes[4..6].copy_from_slice(&len);
                } else {
                    bytes[9] = next;
                    let len = len(bytes.len());
                    bytes[2..4].copy_from_slice(&len);
                    let header_len = usize::from(first & 0xf) * 4;
                    bytes[10..12].fill(0);
                    let checksum = crate::checksum::internet(&bytes[..header_len.min(60)]) ^ u16::from(!right);
                    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
                }
                bytes
            },
        )
    }

    proptest! {
        /// What is read in fewer steps is what the parsers say, and all of it.
        #[test]
        fn plain_packets_are_read_as_others_are(bytes in nearly_plain(), cut in prop_oneof![3 => Just(100_usize), 1 => 0..100_usize]) {
            let bytes = bytes.get(..cut).unwrap_or(&bytes);
            let ipv4 = crate::ipv4::Ipv4::parse(bytes).ok().filter(|packet| packet.options().is_empty());
            prop_assert_eq!(crate::ipv4::Ipv4::parse_plain(bytes), ipv4);
            let ipv6 = crate::ipv6::Ipv6::parse(bytes).ok().filter(|packet| packet.header_len() == crate::ipv6::HEADER_LEN);
            prop_assert_eq!(crate::ipv6::Ipv6::parse_plain(bytes), ipv6);
        }

        /// No octets make a parser panic, nor do they at any cut.
        #[test]
        fn parsing_is_total(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for cut in 0..=bytes.len() {
                let bytes = &bytes[..cut];
                let _ = crate::ethernet::EthernetHeader::parse(bytes);
                let _ = crate::ipv4::Ipv4::parse(bytes).map(|packet| packet.flow());
                let _ = crate::udp::Udp::parse(bytes).map(|udp| udp.checksum_ok([10, 0, 0, 1].into(), [10, 0, 0, 2].into()));
                let _ = crate::ipv6::Ipv6::parse(bytes).map(|packet| packet.flow());
                let _ = crate::ip::Ip::parse(bytes).map(|packet| packet.flow());
                let _ = crate::udp::NatTraversal::parse(bytes);
                let _ = crate::esp::EspHeader::parse(bytes);
                let _ = crate::ah::AhHeader::parse(bytes);
                let _ = crate::tcp::is_syn(bytes);
                let mut copy: Vec<u8> = bytes.to_vec();
                let _ = crate::ipv4::decrement_ttl(&mut copy);
                crate::ipv4::replace_traffic_class(&mut copy, 1);
                let _ = crate::ip::decrement_hop_limit(&mut copy);
                crate::ip::replace_traffic_class(&mut copy, 1);
                crate::udp::fill_checksum([0; 16].into(), [0; 16].into(), &mut copy);
                let _ = crate::ip::fix_checksum(&mut copy);
                let _ = crate::ip::set_payload(&mut copy, 50, 100);
                let _ = crate::ah::zero_mutable(&mut copy);
            }
        }
    }
}
