use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::ip::{self, Ip, IpError};
use crate::udp::Udp;

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
const HEADER: Ipv6Header = Ipv6Header { traffic_class: 0xb9, next_header: 17, hop_limit: 63, source: A, destination: B };

// Made by scapy 2.5 between 2001:db8:1::2 and 2001:db8:2::2 with traffic class 0xb9, flow label 0x12345 and hop limit 63.
// UDP(sport=1000, dport=53)/b"hi"
const PLAIN: &str = "6b912345000a113f20010db800010000000000000000000220010db800020000000000000000000203e80035000a37db6869";
// HopByHop(RouterAlert)/DestOpt(PadN of 14)/Routing(one address, segleft=0)/DestOpt/TCP(sport=80, dport=443)
const CHAIN: &str = "6b912345004c003f20010db800010000000000000000000220010db80002000000000000000000023c000502000001002b01010c00000000000000\
    00000000003c0200000000000020010db80009000000000000000000090600010400000000005001bb000000000000000050022000325f0000";
// HopByHop/Fragment(id=0x01020304)/DestOpt/UDP(sport=1000, dport=53)/200 octets, as fragment6() cuts it at 150; the data of each cut to eight octets.
const FIRST: &str = "6b9123450028003f20010db800010000000000000000000220010db80002000000000000000000022c000104000000003c0000010102030411000104\
    0000000003e8003500d08fa97878787878787878";
const LATER: [&str; 2] = [
    "6b9123450018003f20010db800010000000000000000000220010db80002000000000000000000022c000104000000003c000059010203047878787878787878",
    "6b9123450018003f20010db800010000000000000000000220010db80002000000000000000000022c000104000000003c0000b0010203047878787878787878",
];
// IPv6()/ICMPv6EchoRequest(id=1, seq=2)
const ECHO: &str = "6000000000083a4020010db800010000000000000000000220010db80002000000000000000000028000244100010002";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
    [&Ipv6Header { next_header, ..HEADER }.to_octets(payload.len()).unwrap()[..], payload].concat()
}

/// An extension header of `units` * 8 octets.
fn extension(next: u8, units: usize) -> Vec<u8> {
    let mut header = vec![0; units * 8];
    header[..2].copy_from_slice(&[next, u8::try_from(units - 1).unwrap()]);
    header
}

fn fragment(next: u8, offset: u16, more: bool) -> Vec<u8> {
    let [high, low] = (offset | u16::from(more)).to_be_bytes();
    vec![next, 0, high, low, 1, 2, 3, 4]
}

#[test]
fn a_packet_of_scapy_is_read_and_written_back() {
    let bytes = hex(PLAIN);
    let ip = Ipv6::parse(&bytes).unwrap();
    assert_eq!((ip.traffic_class(), ip.flow_label(), ip.hop_limit(), ip.next_header()), (0xb9, 0x12345, 63, 17));
    assert_eq!((ip.source(), ip.destination(), ip.total_len(), ip.header_len()), (A, B, bytes.len(), 40));
    let flow = ip.flow();
    assert_eq!((flow.protocol, flow.source_port, flow.destination_port), (17, Some(1000), Some(53)));
    let mut without_label = bytes.clone();
    without_label[1] &= 0xf0;
    without_label[2..4].fill(0);
    assert_eq!(packet(17, ip.payload()), without_label);
    let udp = Udp::parse(ip.upper()).unwrap();
    assert!(udp.checksum_ok(A.into(), B.into()));
    assert!(!udp.checksum_ok(A.into(), A.into()));
}

/// RFC 4303 section 3.1.1: behind hop-by-hop options, routing and fragment headers, in front of destination options that come last.
#[test]
fn transport_mode_begins_where_routers_stop_reading() {
    let at = |bytes: &[u8]| Ip::parse(bytes).map(|ip| (ip.transport_at(), ip.transport_protocol()));
    assert_eq!([at(&hex(PLAIN)), at(&hex(CHAIN)), at(&hex(FIRST))], [Ok((40, 17)), Ok((40 + 8 + 16 + 24, 60)), Ok((40 + 8 + 8, 60))]);
    assert_eq!(at(&packet(60, &[extension(6, 2), vec![0; 20]].concat())), Ok((40, 60)));
}

#[test]
fn what_follows_the_headers_is_replaced() {
    let mut bytes = hex(CHAIN);
    let (header, rest) = bytes.split_at_mut(88);
    assert_eq!(ip::set_payload(header, 51, 88 + rest.len() + 24), Some(()));
    bytes.splice(88..88, [&[60, 4, 0, 0][..], &[7; 20]].concat());
    let ip = Ip::parse(&bytes).unwrap();
    assert_eq!((ip.protocol(), ip.header_len(), ip.total_len()), (51, 88, bytes.len()));
    assert_eq!(ip::set_payload(&mut bytes[..40], 17, 50), Some(()));
    assert_eq!((bytes[6], &bytes[4..6]), (17, &[0, 10][..]));
    for (header, len) in [(40, 39), (40, 40 + 65_536), (39, 80), (44, 80), (47, 80)] {
        assert_eq!(ip::set_payload(&mut hex(CHAIN)[..header], 50, len), None, "{header} {len}");
    }
    let mut four = crate::ipv4::Ipv4Header {
        traffic_class: 1,
        identification: 2,
        dont_fragment: true,
        ttl: 3,
        protocol: 6,
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
    };
    let mut octets = four.to_octets(100).unwrap();
    four.protocol = 50;
    assert_eq!(ip::set_payload(&mut octets, 50, 220), Some(()));
    assert_eq!(Some(octets), four.to_octets(200));
    assert_eq!((ip::set_payload(&mut octets, 50, 65_536), ip::set_payload(&mut [], 50, 20)), (None, None));
}

/// Checksums that scapy computed are found again, and others are where addresses have changed.
#[test]
fn checksums_over_addresses_are_computed_anew() {
    for text in [PLAIN, ECHO, CHAIN] {
        let mut bytes = hex(text);
        let good = bytes.clone();
        let at = Ip::parse(&bytes).unwrap().header_len()
            + match text {
                ECHO => 2,
                PLAIN => 6,
                _ => 16,
            };
        bytes[at] ^= 0x55;
        assert_eq!(ip::fix_checksum(&mut bytes), Some(()));
        assert_eq!(bytes, good);
        bytes[23] ^= 7;
        assert_eq!(ip::fix_checksum(&mut bytes), Some(()));
        assert_ne!(bytes[at..at + 2], good[at..at + 2]);
        bytes[23] ^= 7;
        assert_eq!(ip::fix_checksum(&mut bytes), Some(()));
        assert_eq!(bytes, good);
    }
    assert_eq!(ip::fix_checksum(&mut packet(6, &[0; 17])), None, "no room for a checksum");
    let mut other = packet(50, &[1; 17]);
    assert_eq!(ip::fix_checksum(&mut other), Some(()));
    assert_eq!(other, packet(50, &[1; 17]));
}

#[test]
fn a_udp_checksum_may_be_absent_over_ipv4_only() {
    let mut segment = hex(PLAIN)[40..].to_vec();
    segment[6..8].fill(0);
    assert!(!Udp::parse(&segment).unwrap().checksum_ok(A.into(), B.into()));
    assert!(Udp::parse(&segment).unwrap().checksum_ok([10, 0, 0, 1].into(), [10, 0, 0, 2].into()));
    crate::udp::fill_checksum(A.into(), B.into(), &mut segment);
    assert_eq!(segment, hex(PLAIN)[40..]);
}

#[test]
fn the_chain_is_followed_to_the_ports() {
    let bytes = hex(CHAIN);
    let ip = Ipv6::parse(&bytes).unwrap();
    let flow = ip.flow();
    assert_eq!((flow.protocol, flow.source_port, flow.destination_port), (6, Some(80), Some(443)));
    assert_eq!((ip.header_len(), ip.upper().len(), ip.next_header()), (40 + 8 + 16 + 24 + 8, 20, 0));
    assert!(!ip.is_fragment() && !ip.has_segments_left());
    let mut on_its_way = bytes;
    on_its_way[40 + 8 + 16 + 3] = 1;
    assert!(Ipv6::parse(&on_its_way).unwrap().has_segments_left());
}

#[test]
fn fragments_of_scapy_are_told_apart() {
    let first = hex(FIRST);
    let ip = Ipv6::parse(&first).unwrap();
    let expected = Fragment { identification: 0x0102_0304, offset: 0, more: true, next_header: 60, at: 8 };
    assert_eq!((ip.fragment(), ip.is_fragment()), (Some(expected), true));
    let flow = ip.flow();
    assert_eq!((flow.protocol, flow.source_port, flow.destination_port), (17, Some(1000), Some(53)));
    for (text, offset, more) in [(LATER[0], 88, true), (LATER[1], 176, false)] {
        let bytes = hex(text);
        let ip = Ipv6::parse(&bytes).unwrap();
        assert_eq!((ip.fragment(), ip.is_fragment()), (Some(Fragment { offset, more, ..expected }), true));
        let flow = ip.flow();
        assert_eq!((flow.protocol, flow.source_port, flow.destination_port), (60, None, None), "what follows is not guessed at");
        assert_eq!((ip.header_len(), ip.upper()), (56, &b"xxxxxxxx"[..]));
    }
}

#[test]
fn a_fragment_that_is_first_and_last_is_whole() {
    let bytes = packet(44, &[&fragment(17, 0, false)[..], &[0, 80, 1, 187, 0, 8, 0, 0]].concat());
    let ip = Ipv6::parse(&bytes).unwrap();
    assert!(ip.fragment().is_some() && !ip.is_fragment());
    assert_eq!(ip.flow().destination_port, Some(443));
}

#[test]
fn icmp_has_type_and_code_and_mobility_its_type() {
    let flow = Ipv6::parse(&hex(ECHO)).unwrap().flow();
    assert_eq!((flow.protocol, flow.source_port, flow.destination_port), (58, Some(0x8000), Some(0x8000)));
    let flow = Ipv6::parse(&packet(135, &[59, 0, 5, 0, 0, 0, 0, 0])).unwrap().flow();
    assert_eq!((flow.protocol, flow.source_port), (135, Some(0x0500)));
    let flow = Ipv6::parse(&packet(139, &[0xff; 8])).unwrap().flow();
    assert_eq!((flow.protocol, flow.source_port), (139, None), "an unknown header is an upper layer without ports");
}

#[test]
fn ah_and_esp_are_upper_layers() {
    for next in [50, 51] {
        let bytes = packet(60, &[extension(next, 1), vec![6, 4, 0, 0, 1, 2, 3, 4]].concat());
        let ip = Ipv6::parse(&bytes).unwrap();
        assert_eq!((ip.protocol(), ip.header_len()), (next, 48));
    }
}

#[test]
fn each_fault_has_its_name() {
    let good = hex(PLAIN);
    assert_eq!(Ipv6::parse(&good[..39]), Err(Ipv6Error::Truncated));
    assert_eq!(Ipv6::parse(&good[..good.len() - 1]), Err(Ipv6Error::PayloadLength));
    let mut four = good.clone();
    four[0] = 0x45;
    assert_eq!(Ipv6::parse(&four), Err(Ipv6Error::Version));
    let fault = |next, payload: &[u8]| Ipv6::parse(&packet(next, payload)).map(|ip| ip.protocol());
    let udp = [0; 8];
    assert_eq!(fault(60, &[extension(17, 1), udp.to_vec()].concat()), Ok(17));
    for next in [0, 43, 44, 60] {
        for cut in 0..8 {
            assert_eq!(fault(next, &extension(17, 1)[..cut]), Err(ExtensionError::Truncated.into()), "{next} {cut}");
        }
    }
    assert_eq!(fault(60, &extension(17, 2)[..15]), Err(ExtensionError::Truncated.into()));
    assert_eq!(fault(60, &[extension(0, 1), extension(17, 1)].concat()), Err(ExtensionError::HopByHopNotFirst.into()));
    assert_eq!(fault(44, &[fragment(44, 0, true), fragment(17, 0, true)].concat()), Err(ExtensionError::FragmentTwice.into()));
    assert_eq!(fault(0, &[]), Err(ExtensionError::Truncated.into()), "a jumbogram");
}

#[test]
fn a_chain_ends_at_its_limits() {
    let chain = |count: usize, units: usize| {
        let mut payload: Vec<u8> = (1..count).flat_map(|_| extension(60, units)).collect();
        payload.extend(extension(17, units));
        Ipv6::parse(&packet(60, &payload)).map(|ip| (ip.protocol(), ip.header_len()))
    };
    assert_eq!(chain(MAX_EXTENSIONS, 1), Ok((17, 40 + 8 * MAX_EXTENSIONS)));
    assert_eq!(chain(MAX_EXTENSIONS + 1, 1), Err(ExtensionError::TooLong.into()));
    assert_eq!(chain(1, MAX_EXTENSION_OCTETS / 8), Ok((17, 40 + MAX_EXTENSION_OCTETS)));
    assert_eq!(chain(1, MAX_EXTENSION_OCTETS / 8 + 1), Err(ExtensionError::TooLong.into()));
    assert_eq!(chain(2, MAX_EXTENSION_OCTETS / 16 + 1), Err(ExtensionError::TooLong.into()));
}

#[test]
fn the_hop_limit_ends_at_one() {
    for (limit, expected) in [(0, Err(HopLimitExceeded)), (1, Err(HopLimitExceeded)), (2, Ok(())), (255, Ok(()))] {
        let mut bytes = hex(PLAIN);
        bytes[7] = limit;
        assert_eq!(ip::decrement_hop_limit(&mut bytes), expected);
        assert_eq!(bytes[7], if expected.is_ok() { limit - 1 } else { limit });
    }
    assert_eq!(decrement_hop_limit(&mut [0x60; 39]), Err(HopLimitExceeded));
}

#[test]
fn the_version_decides() {
    assert!(matches!(Ip::parse(&hex(PLAIN)), Ok(Ip::V6(_))));
    assert_eq!(Ip::parse(&[]), Err(IpError::Version));
    assert_eq!(Ip::parse(&[0x50; 60]), Err(IpError::Version));
    assert!(matches!(Ip::parse(&[0x45; 3]), Err(IpError::Ipv4(_))));
    assert!(matches!(Ip::parse(&[0x65; 3]), Err(IpError::Ipv6(_))));
}

#[test]
fn neighbours_are_asked_for_at_the_last_24_bits() {
    // The example of RFC 4291 section 2.7.1.
    let address: Ipv6Addr = "4037::01:800:200e:8c6c".parse().unwrap();
    assert_eq!(solicited_node(address), "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
}

/// One extension header or upper layer, with what it says follows.
fn part() -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
    let kind = prop_oneof![Just(0u8), Just(43), Just(44), Just(60), Just(17), Just(50), any::<u8>()];
    (kind, 0..4u8, prop::collection::vec(any::<u8>(), 0..40))
}

proptest! {
    #[test]
    fn a_new_traffic_class_changes_nothing_else(class in any::<u8>(), mut bytes in prop::collection::vec(any::<u8>(), 40)) {
        bytes[0] = 0x60 | (bytes[0] & 0x0f);
        bytes[4..7].copy_from_slice(&[0, 0, 17]);
        let before = bytes.clone();
        ip::replace_traffic_class(&mut bytes, class);
        let (old, new) = (Ipv6::parse(&before).unwrap(), Ipv6::parse(&bytes).unwrap());
        prop_assert_eq!((new.traffic_class(), new.flow_label(), &bytes[2..]), (class, old.flow_label(), &before[2..]));
    }

    /// Chains that are nearly right reach deeper than random octets do.
    #[test]
    fn any_chain_is_followed_within_bounds(parts in prop::collection::vec(part(), 0..12), cut in 0..80usize) {
        let mut payload = Vec::new();
        for (at, (kind, units, filling)) in parts.iter().enumerate() {
            let next = parts.get(at + 1).map_or(59, |(kind, ..)| *kind);
            let mut header = vec![0; if *kind == 44 { 8 } else { (usize::from(*units) + 1) * 8 }];
            header.iter_mut().zip(filling).for_each(|(octet, value)| *octet = *value);
            header[0] = next;
            header[1] = *units;
            payload.extend(header);
        }
        payload.truncate(payload.len().saturating_sub(cut));
        let bytes = packet(parts.first().map_or(59, |(kind, ..)| *kind), &payload);
        if let Ok(ip) = Ipv6::parse(&bytes) {
            prop_assert!(ip.header_len() <= 40 + MAX_EXTENSION_OCTETS && ip.header_len() <= ip.total_len());
            prop_assert_eq!(ip.header_len() + ip.upper().len(), ip.total_len());
            let _ = ip.flow();
        }
    }
}
