//! Packets of the gateway itself that are longer than the link takes leave in fragments, as a host sends them (RFC 791 section 3.2, RFC 8200 section
//! 4.5). What the gateway forwards is never cut.

use packet::ip::Ip;
use packet::ipv4::{self, Ipv4, Ipv4Header};
use packet::ipv6::{self, Fragment, Ipv6, Ipv6Header, PROTOCOL_FRAGMENT};

/// Octets of all fragments but the last are a multiple of this.
const UNIT: usize = 8;

/// Cuts an IP packet without options and extension headers into packets of at most `mtu` octets, which share the identification. One that fits stays as
/// it is, and so does what cannot be cut.
pub fn cut(packet: Vec<u8>, mtu: usize, identification: u32) -> Vec<Vec<u8>> {
    if packet.len() <= mtu {
        return vec![packet];
    }
    let fragments = match Ip::parse(&packet) {
        Ok(Ip::V4(ip)) => cut_ipv4(&ip, mtu, identification),
        Ok(Ip::V6(ip)) => cut_ipv6(&ip, mtu, identification),
        Err(_) => None,
    };
    fragments.unwrap_or_else(|| vec![packet])
}

fn cut_ipv4(ip: &Ipv4<'_>, mtu: usize, identification: u32) -> Option<Vec<Vec<u8>>> {
    let header = Ipv4Header {
        traffic_class: ip.traffic_class(),
        identification: ipv4::identification(identification),
        dont_fragment: false,
        ttl: ip.ttl(),
        protocol: ip.protocol(),
        source: ip.source(),
        destination: ip.destination(),
    };
    let pieces = pieces(ip.payload(), mtu.checked_sub(ipv4::HEADER_LEN)?).filter(|_| ip.options().is_empty() && !ip.is_fragment())?;
    let fragment = |piece: Piece<'_>| {
        let mut header = header.to_octets(piece.octets.len())?;
        ipv4::set_fragment(&mut header, piece.offset, piece.more);
        Some([&header[..], piece.octets].concat())
    };
    pieces.map(fragment).collect()
}

fn cut_ipv6(ip: &Ipv6<'_>, mtu: usize, identification: u32) -> Option<Vec<Vec<u8>>> {
    let header = Ipv6Header {
        traffic_class: ip.traffic_class(),
        next_header: PROTOCOL_FRAGMENT,
        hop_limit: ip.hop_limit(),
        source: ip.source(),
        destination: ip.destination(),
    };
    let room = mtu.checked_sub(ipv6::HEADER_LEN + Fragment::LEN)?;
    let pieces = pieces(ip.payload(), room).filter(|_| ip.header_len() == ipv6::HEADER_LEN)?;
    let fragment = |piece: Piece<'_>| {
        let Piece { offset, more, octets } = piece;
        let extension = Fragment { identification, offset, more, next_header: ip.protocol(), at: 0 }.to_octets();
        let header = header.to_octets(extension.len() + octets.len())?;
        Some([&header[..], &extension, octets].concat())
    };
    pieces.map(fragment).collect()
}

/// Part of the payload of an IP packet.
struct Piece<'a> {
    offset: u16,
    more: bool,
    octets: &'a [u8],
}

/// A payload in pieces of at most `room` octets; `None` where there is no room.
fn pieces(payload: &[u8], room: usize) -> Option<impl Iterator<Item = Piece<'_>>> {
    let (len, total) = (room / UNIT * UNIT, payload.len());
    let offsets = (0..=u16::MAX).step_by(len.max(UNIT));
    (len > 0).then(|| {
        let chunks = offsets.zip(payload.chunks(len));
        chunks.map(move |(offset, octets)| Piece { offset, more: usize::from(offset) + octets.len() < total, octets })
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::command::{Origin, PortId};
    use crate::reassembly::{self, Reassembler};

    const IPV4: Ipv4Header = Ipv4Header {
        traffic_class: 0xb8,
        identification: 0x1234,
        dont_fragment: false,
        ttl: 64,
        protocol: 17,
        source: std::net::Ipv4Addr::new(192, 0, 2, 1),
        destination: std::net::Ipv4Addr::new(192, 0, 2, 2),
    };

    fn packet(ipv6: bool, payload: &[u8]) -> Vec<u8> {
        if ipv6 {
            let (source, destination) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
            let header = Ipv6Header { traffic_class: 0xb8, next_header: 17, hop_limit: 64, source, destination };
            return [&header.to_octets(payload.len()).unwrap()[..], payload].concat();
        }
        [&IPV4.to_octets(payload.len()).unwrap()[..], payload].concat()
    }

    proptest! {
        #[test]
        fn fragments_fit_and_make_the_packet_again(ipv6: bool, payload in vec(any::<u8>(), 0..9000), mtu in 576..2000usize) {
            let packet = packet(ipv6, &payload);
            let parts = cut(packet.clone(), mtu, 0xabcd_1234);
            prop_assert!(parts.iter().all(|part| part.len() <= mtu));
            prop_assert_eq!(parts.len() == 1, packet.len() <= mtu);
            let mut table = Reassembler::default();
            let mut whole: Vec<Vec<u8>> = Vec::new();
            for part in parts.iter().filter(|_| parts.len() > 1) {
                let frame = [&[0; 14], &part[..]].concat();
                let fragment = reassembly::Fragment::read(Origin::Port(PortId(0)), &frame).unwrap();
                prop_assert_eq!(fragment.key.identification, if ipv6 { 0xabcd_1234 } else { 0x1234 });
                whole.extend(table.accept(&fragment, 0).unwrap());
            }
            let whole = whole.first().map_or(&parts[0][..], |frame| &frame[14..]);
            prop_assert_eq!(whole, packet);
        }
    }

    #[test]
    fn a_packet_is_cut_from_one_octet_beyond_the_mtu_on() {
        for (ipv6, header) in [(false, 20), (true, 40)] {
            assert_eq!(cut(packet(ipv6, &vec![7; 1500 - header]), 1500, 1).len(), 1);
            assert_eq!(cut(packet(ipv6, &vec![7; 1501 - header]), 1500, 1).len(), 2);
        }
        // The longest packet: offsets have room for all of it.
        let lengths: Vec<_> = cut(packet(false, &[7; 65_515]), 576, 1).iter().map(Vec::len).collect();
        assert_eq!((lengths.len(), lengths[0], lengths.iter().sum::<usize>()), (119, 572, 65_515 + 119 * 20));
    }

    #[test]
    fn what_cannot_be_cut_stays_as_it_is() {
        let fragment = cut(packet(false, &[7; 2000]), 1500, 1).remove(0);
        let behind_extension = packet(true, &[7; 2000]);
        let behind_extension = cut(behind_extension, 1500, 1).remove(0);
        for (packet, mtu) in [(vec![7; 100], 50), (packet(false, &[7; 100]), 27), (fragment, 600), (behind_extension, 600)] {
            assert_eq!(cut(packet.clone(), mtu, 1), [packet]);
        }
    }
}
