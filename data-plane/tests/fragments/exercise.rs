//! Fragments, told by octets: well-formed ones in any order and overlap, and frames of anything. The fuzz target `fragments` runs it, too.

use std::net::{Ipv4Addr, Ipv6Addr};

use culvert_data::command::{Origin, PortId};
use culvert_data::reassembly::{Fragment, Reassembler};
use packet::ethernet::HEADER_LEN;
use packet::ip::Ip;
use packet::ipv4::{self, Ipv4Header};
use packet::ipv6::{self, Ipv6Header, PROTOCOL_FRAGMENT};

/// Where well-formed fragments arrive, and where anything does: they do not mix.
const WELL_FORMED: Origin = Origin::Port(PortId(1));
const ANYTHING: Origin = Origin::Port(PortId(2));
const PROTOCOL_UDP: u8 = 17;

/// Receives the fragments that `octets` tell. None may panic, and what becomes whole is what was cut.
pub(crate) fn exercise(mut octets: &[u8]) {
    let (mut table, mut now_ms) = (Reassembler::default(), 0);
    while let Some((&[how, name, unit, len, wait], rest)) = octets.split_first_chunk() {
        octets = rest;
        now_ms += u64::from(wait) * u64::from(wait);
        table.expire(now_ms);
        if how & 1 == 1 {
            let (frame, rest) = octets.split_at(octets.len().min(len.into()));
            octets = rest;
            if let Some(whole) = received(&mut table, ANYTHING, frame, now_ms) {
                assert!(Fragment::read(ANYTHING, &whole).is_none(), "a whole packet is no fragment");
            }
            continue;
        }
        let cut = Cut {
            ipv6: how & 2 != 0,
            more: how & 4 != 0,
            name,
            offset: u16::from(unit) * 8,
            len: usize::from(len) * 8 + usize::from(how >> 5),
        };
        if let Some(whole) = received(&mut table, WELL_FORMED, &cut.frame(), now_ms) {
            cut.check(&whole);
        }
    }
}

fn received(table: &mut Reassembler, origin: Origin, frame: &[u8], now_ms: u64) -> Option<Vec<u8>> {
    table.accept(&Fragment::read(origin, frame)?, now_ms).ok().flatten()
}

/// A fragment of a packet whose octets follow from its name.
struct Cut {
    ipv6: bool,
    more: bool,
    name: u8,
    offset: u16,
    len: usize,
}

impl Cut {
    fn octet(&self, at: usize) -> u8 {
        at.wrapping_mul(31).wrapping_add(at >> 8).wrapping_add(self.name.into()).to_le_bytes()[0]
    }

    fn frame(&self) -> Vec<u8> {
        let first = usize::from(self.offset);
        let payload: Vec<u8> = (first..first + self.len).map(|at| self.octet(at)).collect();
        let ip = if self.ipv6 { self.ipv6(payload.len()) } else { self.ipv4(payload.len()) };
        [&[0; HEADER_LEN], &ip[..], &payload].concat()
    }

    fn ipv4(&self, payload_len: usize) -> Vec<u8> {
        let header = Ipv4Header {
            traffic_class: 0,
            identification: self.name.into(),
            dont_fragment: false,
            ttl: 64,
            protocol: PROTOCOL_UDP,
            source: Ipv4Addr::new(198, 51, 100, self.name % 8),
            destination: Ipv4Addr::new(192, 0, 2, 1),
        };
        let mut header = header.to_octets(payload_len).expect("a short packet");
        ipv4::set_fragment(&mut header, self.offset, self.more);
        header.to_vec()
    }

    fn ipv6(&self, payload_len: usize) -> Vec<u8> {
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0, u16::from(self.name % 8), 0, 0, 0, 1);
        let destination = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
        let header = Ipv6Header { traffic_class: 0, next_header: PROTOCOL_FRAGMENT, hop_limit: 64, source, destination };
        let fragment =
            ipv6::Fragment { identification: self.name.into(), offset: self.offset, more: self.more, next_header: PROTOCOL_UDP, at: 0 };
        let header = header.to_octets(ipv6::Fragment::LEN + payload_len).expect("a short packet");
        [&header[..], &fragment.to_octets()].concat()
    }

    fn check(&self, whole: &[u8]) {
        let ip = Ip::parse(whole.get(HEADER_LEN..).unwrap_or_default()).expect("a whole packet is well formed");
        assert!(!ip.is_fragment() && ip.protocol() == PROTOCOL_UDP);
        assert_eq!(whole.len(), HEADER_LEN + ip.total_len());
        assert!(ip.upper().iter().enumerate().all(|(at, octet)| *octet == self.octet(at)), "octets of another packet, or in another place");
    }
}
