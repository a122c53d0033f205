//! Frames with nothing special, which nearly all are: IPv4 without options or IPv6 without extension headers, no fragment, TCP or UDP. They are read in a
//! few words; any other goes through the parsers, which say the same of these.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, MacAddress};
use crate::ip::Parsed;
use crate::ipv4::{self, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::ipv6_extension::is_extension;
use crate::{be16, checksum, ipv6, tcp};

/// Octets of both ports.
const PORTS_LEN: usize = 4;

/// What is asked of such a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain<const WORDS: usize> {
    /// What an outer header is made after.
    pub parsed: Parsed,
    /// Source and destination address, in words as they stand in the packet, the first octet lowest: one of IPv4, four of IPv6.
    pub addresses: [u64; WORDS],
    /// Source and destination port, as they stand in the packet, the first octet lowest.
    pub ports: u32,
    /// TCP or UDP.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// Whether it opens a TCP connection, from either end.
    pub is_syn: bool,
}

/// The packet of a frame, by the version that its EtherType tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version<'a> {
    /// IPv4.
    V4(&'a [u8]),
    /// IPv6.
    V6(&'a [u8]),
}

/// Takes the Ethernet header off a frame that is for `destination`. `None` for another destination, and for all but IP.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
pub fn sort(frame: &[u8], destination: MacAddress) -> Option<Version<'_>> {
    let (link, packet) = frame.split_first_chunk::<{ ethernet::HEADER_LEN }>()?;
    let [a, b, c, d, e, f] = destination.0;
    let [to] = words(link);
    if to << 16 != u64::from_le_bytes([0, 0, a, b, c, d, e, f]) {
        return None;
    }
    match be16(link, 12)? {
        ETHERTYPE_IPV4 => Some(Version::V4(packet)),
        ETHERTYPE_IPV6 => Some(Version::V6(packet)),
        _ => None,
    }
}

impl Plain<1> {
    /// Reads an IPv4 packet that begins the octets. `None` for all that is malformed or special.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn read_v4(packet: &[u8]) -> Option<Self> {
        // In words only: of octets that are read one by one the compiler reads each by itself.
        let head: [u64; 3] = words(packet.first_chunk::<{ ipv4::HEADER_LEN + PORTS_LEN }>()?);
        let [first, second, third] = head;
        let [_, traffic_class, _, _, _, _, flags, _] = first.to_le_bytes();
        let [hop_limit, protocol, ..] = second.to_le_bytes();
        let total_len = whole_v4(head).filter(|total_len| (ipv4::HEADER_LEN + PORTS_LEN..=packet.len()).contains(total_len))?;
        if !is_ported(protocol) {
            return None;
        }
        Some(Self {
            parsed: Parsed::new(total_len, traffic_class, false, flags & 0x40 != 0),
            addresses: [second >> 32 | third << 32],
            ports: high_half(third),
            protocol,
            hop_limit,
            is_syn: is_syn(protocol, packet, ipv4::HEADER_LEN),
        })
    }
}

impl Plain<4> {
    /// Reads an IPv6 packet that begins the octets. `None` for all that is malformed or special.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn read_v6(packet: &[u8]) -> Option<Self> {
        let head = packet.first_chunk::<{ ipv6::HEADER_LEN + PORTS_LEN }>()?;
        let [first, addresses @ ..] = words::<_, 5>(head);
        let [version, class, _, _, high, low, protocol, hop_limit] = first.to_le_bytes();
        let class = u16::from_be_bytes([version, class]);
        let total_len = ipv6::HEADER_LEN + usize::from(u16::from_be_bytes([high, low]));
        if class >> 12 != 6 || !is_ported(protocol) || total_len < head.len() || total_len > packet.len() {
            return None;
        }
        Some(Self {
            #[expect(clippy::cast_possible_truncation, reason = "the version is cut off")]
            parsed: Parsed::new(total_len, (class >> 4) as u8, true, true),
            addresses,
            ports: u32::from_le_bytes(*head.last_chunk()?),
            protocol,
            hop_limit,
            is_syn: is_syn(protocol, packet, ipv6::HEADER_LEN),
        })
    }
}

/// The total length of an IPv4 packet without options that is no fragment, from the first words of it; `None` for any other.
#[inline(always)]
const fn whole_v4([first, second, third]: [u64; 3]) -> Option<usize> {
    /// Version and header length, more fragments, and the offset.
    const VERSION_AND_FRAGMENT: u64 = u64::from_le_bytes([0xff, 0, 0, 0, 0, 0, 0x3f, 0xff]);
    if first & VERSION_AND_FRAGMENT != ipv4::VERSION_4_NO_OPTIONS as u64 || !checksum::is_right_in_words(first, second, third & LOW) {
        return None;
    }
    let [_, _, high, low, ..] = first.to_le_bytes();
    Some(u16::from_be_bytes([high, low]) as usize)
}

/// The header of a packet with nothing special: IPv4 without options, no fragment, or IPv6 without extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainIp<A> {
    /// Octets of the packet.
    pub total_len: usize,
    /// DSCP and ECN together.
    pub traffic_class: u8,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// Number of the upper-layer protocol.
    pub protocol: u8,
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
}

/// An address of either IP version, whose packets begin so.
pub trait Address: Copy + PartialEq + Into<IpAddr> {
    /// Octets of the header.
    const HEADER_LEN: usize;
    /// Reads a packet that begins the octets. `None` for another version, and for all that is malformed or special.
    fn read(packet: &[u8]) -> Option<PlainIp<Self>>;
}

impl Address for Ipv4Addr {
    const HEADER_LEN: usize = ipv4::HEADER_LEN;

    #[inline(always)]
    fn read(packet: &[u8]) -> Option<PlainIp<Self>> {
        let octets = packet.first_chunk::<{ ipv4::HEADER_LEN }>()?;
        let [first, second] = words(octets);
        let [_, traffic_class, ..] = first.to_le_bytes();
        let [hop_limit, protocol, _, _, source @ ..] = second.to_le_bytes();
        let destination = *octets.last_chunk()?;
        let head = [first, second, u32::from_le_bytes(destination).into()];
        let total_len = whole_v4(head).filter(|total_len| (ipv4::HEADER_LEN..=packet.len()).contains(total_len))?;
        Some(PlainIp { total_len, traffic_class, hop_limit, protocol, source: source.into(), destination: destination.into() })
    }
}

impl Address for Ipv6Addr {
    const HEADER_LEN: usize = ipv6::HEADER_LEN;

    #[inline(always)]
    fn read(packet: &[u8]) -> Option<PlainIp<Self>> {
        let (octets, _) = packet.split_first_chunk::<{ ipv6::HEADER_LEN }>()?;
        let [first] = words(octets);
        let [version, class, _, _, high, low, protocol, hop_limit] = first.to_le_bytes();
        let class = u16::from_be_bytes([version, class]);
        let total_len = ipv6::HEADER_LEN + usize::from(u16::from_be_bytes([high, low]));
        if class >> 12 != 6 || total_len > packet.len() || is_extension(protocol) {
            return None;
        }
        let (_, addresses) = octets.split_at(8);
        let (source, destination) = (*addresses.first_chunk::<16>()?, *addresses.last_chunk::<16>()?);
        #[expect(clippy::cast_possible_truncation, reason = "the version is cut off")]
        let traffic_class = (class >> 4) as u8;
        Some(PlainIp { total_len, traffic_class, hop_limit, protocol, source: source.into(), destination: destination.into() })
    }
}

/// The low half of a word, which is what comes first.
const LOW: u64 = u32::MAX as u64;

#[inline]
const fn high_half(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The first octets in words.
#[inline(always)]
fn words<const OCTETS: usize, const WORDS: usize>(octets: &[u8; OCTETS]) -> [u64; WORDS] {
    const { assert!(WORDS * 8 <= OCTETS) };
    let (words, _) = octets.as_chunks::<8>();
    core::array::from_fn(|n| words.get(n).map_or(0, |word| u64::from_le_bytes(*word)))
}

#[inline]
const fn is_ported(protocol: u8) -> bool {
    matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP)
}

#[inline]
fn is_syn(protocol: u8, packet: &[u8], at: usize) -> bool {
    protocol == PROTOCOL_TCP && packet.get(at..).is_some_and(tcp::is_syn)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::ethernet::EthernetHeader;
    use crate::ip::Ip;

    const TO: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const FROM: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

    fn frame(v6: bool, protocol: u8, class: u8, len: usize, flags: u8) -> Vec<u8> {
        let mut upper: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
        if let Some(octet) = upper.get_mut(13) {
            *octet = flags;
        }
        let (ethertype, mut packet) = if v6 {
            let (source, destination) = ([0x20; 16].into(), [0x21; 16].into());
            let header = ipv6::Ipv6Header { traffic_class: class, next_header: protocol, hop_limit: 9, source, destination };
            (ETHERTYPE_IPV6, header.to_octets(len).unwrap().to_vec())
        } else {
            let header = ipv4::Ipv4Header {
                traffic_class: class,
                identification: 7,
                dont_fragment: flags & 1 != 0,
                ttl: 9,
                protocol,
                source: [10, 1, 2, 3].into(),
                destination: [10, 4, 5, 6].into(),
            };
            (ETHERTYPE_IPV4, header.to_octets(len).unwrap().to_vec())
        };
        packet.append(&mut upper);
        [&EthernetHeader { destination: TO, source: FROM, ethertype }.to_octets()[..], &packet].concat()
    }

    /// What is read of a frame, whatever its version.
    fn read(frame: &[u8], destination: MacAddress) -> Option<Plain<4>> {
        match sort(frame, destination)? {
            Version::V4(packet) => {
                let Plain { parsed, addresses: [addresses], ports, protocol, hop_limit, is_syn } = Plain::read_v4(packet)?;
                Some(Plain { parsed, addresses: [addresses, 0, 0, 0], ports, protocol, hop_limit, is_syn })
            }
            Version::V6(packet) => Plain::read_v6(packet),
        }
    }

    /// What the parsers say of a frame that has nothing special.
    fn parsed(frame: &[u8]) -> Option<Plain<4>> {
        let ethernet = EthernetHeader::parse(frame).filter(|ethernet| ethernet.destination == TO)?;
        let packet = &frame[ethernet::HEADER_LEN..];
        let ip = match ethernet.ethertype {
            ETHERTYPE_IPV4 => Ip::V4(ipv4::Ipv4::parse(packet).ok()?),
            ETHERTYPE_IPV6 => Ip::V6(ipv6::Ipv6::parse(packet).ok()?),
            _ => return None,
        };
        let header_len = if matches!(ip, Ip::V4(_)) { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
        if ip.header_len() != header_len || ip.is_fragment() || !matches!(ip.protocol(), PROTOCOL_TCP | PROTOCOL_UDP) {
            return None;
        }
        let words = |at: usize| u64::from_le_bytes(packet[at..at + 8].try_into().unwrap());
        Some(Plain {
            parsed: Parsed::from(&ip),
            addresses: match ip {
                Ip::V4(_) => [words(12), 0, 0, 0],
                Ip::V6(_) => [8, 16, 24, 32].map(words),
            },
            ports: u32::from_le_bytes(*ip.upper().first_chunk()?),
            protocol: ip.protocol(),
            hop_limit: ip.hop_limit(),
            is_syn: ip.protocol() == PROTOCOL_TCP && tcp::is_syn(&packet[header_len..]),
        })
    }

    /// What the parsers say of the header of a packet that has nothing special.
    fn parsed_v4(packet: &[u8]) -> Option<PlainIp<Ipv4Addr>> {
        let ip = ipv4::Ipv4::parse(packet).ok().filter(|ip| ip.options().is_empty() && !ip.is_fragment())?;
        let (source, destination) = (ip.source(), ip.destination());
        Some(PlainIp {
            total_len: ip.total_len(),
            traffic_class: ip.traffic_class(),
            hop_limit: ip.ttl(),
            protocol: ip.protocol(),
            source,
            destination,
        })
    }

    fn parsed_v6(packet: &[u8]) -> Option<PlainIp<Ipv6Addr>> {
        let ip = ipv6::Ipv6::parse(packet).ok().filter(|ip| ip.header_len() == ipv6::HEADER_LEN)?;
        let (source, destination) = (ip.source(), ip.destination());
        Some(PlainIp {
            total_len: ip.total_len(),
            traffic_class: ip.traffic_class(),
            hop_limit: ip.hop_limit(),
            protocol: ip.protocol(),
            source,
            destination,
        })
    }

    proptest! {
        /// Also with an octet of the headers changed, cut off, or with octets behind.
        #[test]
        fn reading_says_what_the_parsers_say(
            v6: bool,
            protocol in prop::sample::select(&[PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_TCP, 1, 44, 0][..]),
            (class, flags, len) in (any::<u8>(), any::<u8>(), 0_usize..60),
            (at, xor) in (0_usize..60, prop_oneof![Just(0_u8), any::<u8>()]),
            repair: bool,
            (cut, behind) in (prop_oneof![Just(0_usize), 0_usize..70], 0_usize..10),
        ) {
            let mut frame = frame(v6, protocol, class, len, flags);
            if let Some(octet) = frame.get_mut(at) {
                *octet ^= xor;
            }
            if repair && !v6 {
                frame[24..26].fill(0);
                let checksum = checksum::internet(&frame[14..34]).to_be_bytes();
                frame[24..26].copy_from_slice(&checksum);
            }
            frame.truncate(frame.len().saturating_sub(cut));
            frame.extend(core::iter::repeat_n(0, behind));
            prop_assert_eq!(read(&frame, TO), parsed(&frame));
            prop_assert_eq!(read(&frame, FROM), None);
            let packet = frame.get(ethernet::HEADER_LEN..).unwrap_or_default();
            prop_assert_eq!(Ipv4Addr::read(packet), parsed_v4(packet));
            prop_assert_eq!(Ipv6Addr::read(packet), parsed_v6(packet));
        }
    }

    /// The property above says nothing unless frames are read.
    #[test]
    fn plain_frames_are_read() {
        for v6 in [false, true] {
            let plain = read(&frame(v6, PROTOCOL_TCP, 0xb8, 20, 2), TO).unwrap();
            assert_eq!((plain.is_syn, plain.hop_limit, plain.parsed.traffic_class()), (true, 9, 0xb8));
            assert_eq!(plain.parsed.total_len(), if v6 { 60 } else { 40 });
            assert!(!read(&frame(v6, PROTOCOL_UDP, 0, 20, 2), TO).unwrap().is_syn);
        }
        let ip = Ipv4Addr::read(&frame(false, PROTOCOL_TCP, 0xb8, 20, 2)[ethernet::HEADER_LEN..]).unwrap();
        assert_eq!((ip.protocol, ip.total_len, ip.traffic_class, ip.hop_limit), (PROTOCOL_TCP, 40, 0xb8, 9));
        assert_eq!(Ipv6Addr::read(&frame(true, PROTOCOL_TCP, 0, 20, 2)[ethernet::HEADER_LEN..]).unwrap().total_len, 60);
    }
}
