//! Packets that are longer than what they have to fit into leave in fragments (RFC 791 section 3.2, RFC 8200 section 4.5): the gateway cuts its own as a
//! host does, IPv4 packets that it forwards as a router does, and those of its tunnels as the host that a tunnel's end is (RFC 2473 section 7).

use arrayvec::ArrayVec;
use packet::ip::Ip;
use packet::ipv4::{self, Ipv4};
use packet::ipv6::{self, Ipv6, Ipv6Header, PROTOCOL_FRAGMENT};
use packet::{checksum, ipv6::Fragment as FragmentHeader};

/// Octets of all fragments but the last are a multiple of this.
const UNIT: usize = 8;

/// A fragment.
#[derive(Debug)]
pub struct Fragment<'a> {
    /// Its headers.
    pub header: Header,
    /// Its part of the packet's payload.
    pub payload: &'a [u8],
}

/// The headers of a fragment: IPv4 with options, or IPv6 with a fragment header.
pub type Header = ArrayVec<u8, { ipv4::MAX_HEADER_LEN }>;

/// Cuts the IP packet that starts `packet` into fragments of at most `mtu` octets. With an identification they get that one; without, IPv4 fragments keep
/// theirs, as those of a router do. `None` where the packet cannot be cut: IPv6 without an identification or with extension headers, an `mtu` without
/// room for 8 octets of payload, or no IP packet. Whether it may be cut is for the caller to know.
pub fn fragments(packet: &[u8], mtu: usize, identification: Option<u32>) -> Option<impl Iterator<Item = Fragment<'_>>> {
    let (head, payload) = match Ip::parse(packet).ok()? {
        Ip::V4(ip) => (Head::ipv4(packet, &ip, identification)?, ip.payload()),
        Ip::V6(ip) => (Head::ipv6(&ip, identification?)?, ip.payload()),
    };
    let pieces = pieces(payload, mtu.checked_sub(head.len())?)?;
    Some(pieces.filter_map(move |piece| Some(Fragment { header: head.of(&piece)?, payload: piece.octets })))
}

/// Cuts a packet of the gateway itself. One that fits stays as it is, and so does what cannot be cut.
pub fn cut(packet: Vec<u8>, mtu: usize, identification: u32) -> Vec<Vec<u8>> {
    if packet.len() <= mtu {
        return vec![packet];
    }
    let fragments = fragments(&packet, mtu, Some(identification));
    let fragments = fragments.map(|fragments| fragments.map(|fragment| [&fragment.header[..], fragment.payload].concat()).collect());
    fragments.unwrap_or_else(|| vec![packet])
}

/// What the headers of all fragments are made of.
enum Head {
    V4 {
        first: Header,
        /// With those options alone that every fragment has.
        later: Header,
        /// Where the packet itself begins in a larger one, and whether more of that follows.
        offset: u16,
        more: bool,
    },
    V6 {
        header: Ipv6Header,
        fragment: FragmentHeader,
    },
}

impl Head {
    fn ipv4(packet: &[u8], ip: &Ipv4<'_>, identification: Option<u32>) -> Option<Self> {
        let mut fixed = *packet.first_chunk::<{ ipv4::HEADER_LEN }>()?;
        if let Some(identification) = identification {
            [fixed[4], fixed[5]] = ipv4::identification(identification).to_be_bytes();
        }
        let with = |options: &[u8]| -> Option<Header> {
            let mut header = Header::new();
            header.try_extend_from_slice(&fixed).ok()?;
            header.try_extend_from_slice(options).ok()?;
            Some(header)
        };
        let (first, later) = (with(ip.options())?, with(&copied_options(ip.options()))?);
        Some(Self::V4 { first, later, offset: ip.fragment_offset(), more: ip.more_fragments() })
    }

    fn ipv6(ip: &Ipv6<'_>, identification: u32) -> Option<Self> {
        let header = Ipv6Header {
            traffic_class: ip.traffic_class(),
            next_header: PROTOCOL_FRAGMENT,
            hop_limit: ip.hop_limit(),
            source: ip.source(),
            destination: ip.destination(),
        };
        let fragment = FragmentHeader { identification, offset: 0, more: false, next_header: ip.protocol(), at: 0 };
        (ip.header_len() == ipv6::HEADER_LEN).then_some(Self::V6 { header, fragment })
    }

    /// Octets of the longest header.
    fn len(&self) -> usize {
        match self {
            Self::V4 { first, .. } => first.len(),
            Self::V6 { .. } => ipv6::HEADER_LEN + FragmentHeader::LEN,
        }
    }

    /// The headers of one fragment.
    fn of(&self, piece: &Piece<'_>) -> Option<Header> {
        match self {
            Self::V4 { first, later, offset, more } => {
                let mut header = if piece.offset == 0 { first.clone() } else { later.clone() };
                mend_ipv4(&mut header, offset.checked_add(piece.offset)?, piece.more || *more, piece.octets.len())?;
                Some(header)
            }
            Self::V6 { header, fragment } => {
                let mut octets = Header::new();
                let fragment = FragmentHeader { offset: piece.offset, more: piece.more, ..*fragment };
                octets.try_extend_from_slice(&header.to_octets(FragmentHeader::LEN + piece.octets.len())?).ok()?;
                octets.try_extend_from_slice(&fragment.to_octets()).ok()?;
                Some(octets)
            }
        }
    }
}

/// Writes lengths, offset, flags and checksum of a fragment. It may be fragmented further.
fn mend_ipv4(header: &mut [u8], offset: u16, more: bool, payload_len: usize) -> Option<()> {
    const VERSION: u8 = 4 << 4;
    let words = u8::try_from(header.len() / 4).ok()?;
    let total_len = u16::try_from(header.len() + payload_len).ok()?;
    ipv4::set_fragment(header, offset, more);
    let fixed = header.first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
    fixed[0] = VERSION | words;
    fixed[2..4].copy_from_slice(&total_len.to_be_bytes());
    fixed[10..12].fill(0);
    let sum = checksum::internet(header).to_be_bytes();
    header.get_mut(10..12)?.copy_from_slice(&sum);
    Some(())
}

/// The options that every fragment has: those whose type says so (RFC 791 section 3.1, "copied flag"), filled up to a multiple of four octets. Nothing is
/// copied from where they are malformed.
fn copied_options(mut options: &[u8]) -> ArrayVec<u8, { ipv4::MAX_HEADER_LEN - ipv4::HEADER_LEN }> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    let mut copied = ArrayVec::new();
    while let Some(&kind) = options.first().filter(|kind| **kind != END) {
        let len = if kind == NO_OPERATION { 1 } else { options.get(1).map_or(0, |len| usize::from(*len)) };
        let Some((option, rest)) = options.split_at_checked(len).filter(|_| len >= 2 || kind == NO_OPERATION) else { break };
        if kind & COPIED != 0 && copied.try_extend_from_slice(option).is_err() {
            break;
        }
        options = rest;
    }
    while !copied.len().is_multiple_of(4) && copied.try_push(END).is_ok() {}
    copied
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

    use packet::ipv4::Ipv4Header;

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
        let behind_extension = packet(true, &[7; 2000]);
        let behind_extension = cut(behind_extension, 1500, 1).remove(0);
        for (packet, mtu) in [(vec![7; 100], 50), (packet(false, &[7; 100]), 27), (behind_extension, 600)] {
            assert_eq!(cut(packet.clone(), mtu, 1), [packet]);
        }
        assert!(fragments(&packet(true, &[7; 2000]), 1500, None).is_none(), "no router cuts IPv6");
    }

    fn forwarded(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        fragments(packet, mtu, None).unwrap().map(|fragment| [&fragment.header[..], fragment.payload].concat()).collect()
    }

    /// What scapy 2.5 makes of `IP(src='10.1.0.2', dst='10.2.0.2', id=7, options=[IPOption_Router_Alert(), IPOption_NOP(), IPOption_RR(routers=['0.0.0.0'])])/
    /// UDP(sport=1, dport=2)/bytes(40)`, and the first header of its later fragments by RFC 791: the router alert is copied, the record route is not.
    #[test]
    fn a_router_copies_the_options_that_say_so_and_keeps_the_identification() {
        let hex =
            |text: &str| -> Vec<u8> { (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect() };
        let packet = [hex(OPTIONS), vec![0; 40]].concat();
        let parts = forwarded(&packet, 68);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [64, 40]);
        assert_eq!(parts[0][20..32], packet[20..32]);
        assert_eq!((&parts[1][..2], &parts[1][4..8], &parts[1][20..24]), (&[0x46, 0][..], &[0, 7, 0, 4][..], &[0x94, 4, 0, 0][..]));
        assert!(parts.iter().all(|part| Ipv4::parse(part).is_ok()));
    }
    const OPTIONS: &str = "48000050000700004011c7800a0100020a020002940400000107070400000000000100020030eb84";

    proptest! {
        #[test]
        fn fragments_of_fragments_make_the_packet_again(payload in vec(any::<u8>(), 3000..9000), first in 576..2000usize, second in 60..576usize) {
            let packet = packet(false, &payload);
            let parts: Vec<_> = forwarded(&packet, first).iter().flat_map(|part| forwarded(part, second)).collect();
            let mut whole = vec![0; payload.len()];
            for (at, part) in parts.iter().enumerate() {
                let part = Ipv4::parse(part).unwrap();
                prop_assert!(part.total_len() <= second && part.more_fragments() == (at + 1 < parts.len()));
                let offset = usize::from(part.fragment_offset());
                whole[offset..offset + part.payload().len()].copy_from_slice(part.payload());
            }
            prop_assert!(whole == payload);
        }

        #[test]
        fn hostile_options_never_panic(mut octets in vec(any::<u8>(), 60..120), mtu in 0..200usize) {
            octets[0] = 0x40 | octets[0] & 0xf;
            octets[2..4].copy_from_slice(&60_u16.to_be_bytes());
            let header_len = usize::from(octets[0] & 0xf) * 4;
            octets[10..12].fill(0);
            let sum = checksum::internet(octets.get(..header_len).unwrap_or_default()).to_be_bytes();
            octets[10..12].copy_from_slice(&sum);
            for fragment in fragments(&octets, mtu, None).into_iter().flatten() {
                let octets = [&fragment.header[..], fragment.payload].concat();
                prop_assert!(octets.len() <= mtu && Ipv4::parse(&octets).is_ok());
            }
        }
    }
}
