//! ICMP errors: Fragmentation Needed with the MTU (RFC 792, RFC 1191 section 4), Packet Too Big (RFC 4443 section 3.2), Time Exceeded (RFC 792, RFC 4443
//! section 3.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::checksum;
use packet::ipv4::{self, Ipv4Header, PROTOCOL_ICMP};
use packet::ipv6::{Ipv6Header, PROTOCOL_ICMPV6};

use super::HOP_LIMIT;
use crate::command::Refusal;

/// Octets in front of what is quoted.
const ICMP_HEADER_LEN: usize = 8;
/// The longest ICMP error of IPv4 (RFC 1812 section 4.3.2.3).
const IPV4_ERROR_LEN: usize = 576;
/// Precedence 6, internetwork control (RFC 1812 section 4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// The IP packet that tells the sender of a refused one, which starts with `quoted`, why it was refused. `None` where the addresses are of two
/// versions.
pub fn icmp_error(refusal: Refusal, quoted: &[u8], from: IpAddr, to: IpAddr, identification: u32) -> Option<Vec<u8>> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => icmpv4(refusal, quoted, from, to, identification),
        (IpAddr::V6(from), IpAddr::V6(to)) => icmpv6(refusal, quoted, from, to),
        _ => None,
    }
}

fn icmpv4(refusal: Refusal, quoted: &[u8], source: Ipv4Addr, destination: Ipv4Addr, identification: u32) -> Option<Vec<u8>> {
    let [high, low] = mtu(refusal).to_be_bytes();
    let (kind, code) = match refusal {
        Refusal::TooBig { .. } => (3, 4),
        Refusal::HopLimitExceeded => (11, 0),
    };
    let quoted = quoted.get(..IPV4_ERROR_LEN - ipv4::HEADER_LEN - ICMP_HEADER_LEN).unwrap_or(quoted);
    let mut message = [&[kind, code, 0, 0, 0, 0, high, low][..], quoted].concat();
    let sum = checksum::internet(&message);
    set_checksum(&mut message, sum);
    let header = Ipv4Header {
        traffic_class: INTERNETWORK_CONTROL,
        identification: ipv4::identification(identification),
        dont_fragment: false,
        ttl: HOP_LIMIT,
        protocol: PROTOCOL_ICMP,
        source,
        destination,
    };
    Some([&header.to_octets(message.len())?[..], &message].concat())
}

/// What is quoted is as long as fits already: the worker copied no more.
fn icmpv6(refusal: Refusal, quoted: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Option<Vec<u8>> {
    let [high, low] = mtu(refusal).to_be_bytes();
    let kind = match refusal {
        Refusal::TooBig { .. } => 2,
        Refusal::HopLimitExceeded => 3,
    };
    let mut message = [&[kind, 0, 0, 0, 0, 0, high, low][..], quoted].concat();
    let sum = checksum::pseudo(source.into(), destination.into(), PROTOCOL_ICMPV6, &message);
    set_checksum(&mut message, sum);
    let header = Ipv6Header { traffic_class: 0, next_header: PROTOCOL_ICMPV6, hop_limit: HOP_LIMIT, source, destination };
    Some([&header.to_octets(message.len())?[..], &message].concat())
}

const fn mtu(refusal: Refusal) -> u16 {
    match refusal {
        Refusal::TooBig { mtu } => mtu,
        Refusal::HopLimitExceeded => 0,
    }
}

fn set_checksum(message: &mut [u8], sum: u16) {
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, Ipv4Packet, Ipv6Packet};

    use super::*;

    fn ipv4(len: usize) -> Vec<u8> {
        let header = Ipv4Header {
            traffic_class: 0,
            identification: 1,
            dont_fragment: true,
            ttl: 64,
            protocol: 17,
            source: [10, 1, 0, 2].into(),
            destination: [10, 2, 0, 2].into(),
        };
        [&header.to_octets(len - 20).unwrap()[..], &vec![7; len - 20]].concat()
    }

    #[test]
    fn an_ipv4_error_is_what_another_parser_reads() {
        // The other parser wants to see all of the packet that is quoted.
        let packet = ipv4(548);
        for (refusal, mtu) in [(Refusal::TooBig { mtu: 1438 }, [5, 158]), (Refusal::HopLimitExceeded, [0, 0])] {
            let error = icmp_error(refusal, &packet, [10, 1, 0, 1].into(), [10, 1, 0, 2].into(), 9).unwrap();
            assert_eq!((error.len(), &error[26..28]), (576, &mtu[..]));
            let ip = Ipv4Packet::new_checked(&error).unwrap();
            assert!(ip.verify_checksum());
            let message = Icmpv4Packet::new_checked(ip.payload()).unwrap();
            match (refusal, Icmpv4Repr::parse(&message, &ChecksumCapabilities::default()).unwrap()) {
                (Refusal::TooBig { .. }, Icmpv4Repr::DstUnreachable { reason: Icmpv4DstUnreachable::FragRequired, header, .. })
                | (Refusal::HopLimitExceeded, Icmpv4Repr::TimeExceeded { header, .. }) => {
                    assert_eq!(header.src_addr, Ipv4Addr::new(10, 1, 0, 2));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(&error[28..], packet);
        }
        let long = ipv4(1500);
        let error = icmp_error(Refusal::HopLimitExceeded, &long[..1232], [10, 1, 0, 1].into(), [10, 1, 0, 2].into(), 9).unwrap();
        assert_eq!((error.len(), &error[28..]), (576, &long[..548]));
        assert_eq!(icmp_error(Refusal::HopLimitExceeded, &packet, [10, 1, 0, 1].into(), Ipv6Addr::LOCALHOST.into(), 9), None);
    }

    #[test]
    fn an_ipv6_error_is_what_another_parser_reads() {
        let (from, to): (Ipv6Addr, Ipv6Addr) = ("fd00:1::1".parse().unwrap(), "fd00:1::2".parse().unwrap());
        let header = Ipv6Header { traffic_class: 0, next_header: 17, hop_limit: 1, source: to, destination: "fd00:2::2".parse().unwrap() };
        let packet = [&header.to_octets(1192).unwrap()[..], &[7; 1192]].concat();
        for refusal in [Refusal::TooBig { mtu: 1418 }, Refusal::HopLimitExceeded] {
            let error = icmp_error(refusal, &packet, from.into(), to.into(), 9).unwrap();
            assert_eq!((error.len(), &error[48..]), (1280, &packet[..]));
            let ip = Ipv6Packet::new_checked(&error).unwrap();
            let message = Icmpv6Packet::new_checked(ip.payload()).unwrap();
            match (refusal, Icmpv6Repr::parse(&from, &to, &message, &ChecksumCapabilities::default()).unwrap()) {
                (Refusal::TooBig { .. }, Icmpv6Repr::PktTooBig { mtu: 1418, .. })
                | (Refusal::HopLimitExceeded, Icmpv6Repr::TimeExceeded { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
