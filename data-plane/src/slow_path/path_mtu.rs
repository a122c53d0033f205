//! What a router says of the path to a peer: ICMP Fragmentation Needed (RFC 792, RFC 1191 section 4) and Packet Too Big (RFC 4443 section 3.2) about an
//! ESP or AH packet of ours. Whoever can see such a packet can say so; who cannot has to guess what [`Sent`] names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use esp::UdpPorts;
use packet::ah::AhHeader;
use packet::esp::EspHeader;
use packet::ip::Ip;
use packet::ipv4::{PROTOCOL_AH, PROTOCOL_ESP, PROTOCOL_ICMP, PROTOCOL_UDP};
use packet::ipv6::PROTOCOL_ICMPV6;
use packet::{checksum, ipv4, ipv6, udp};

/// Octets in front of what is quoted.
const ICMP_HEADER_LEN: usize = 8;

/// A packet that did not fit, as far as it is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its source: an address of ours.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// Its ports, where it travels in UDP.
    pub udp: Option<UdpPorts>,
    /// Its Security Parameters Index.
    pub spi: u32,
    /// The low half of its sequence number.
    pub sequence: u32,
    /// Octets that it had.
    pub len: usize,
}

/// Reads an ICMP error to an address of ours: the packet it is about, and what would have fitted. `None` for anything else, and where the packet is not
/// quoted as far as its sequence number: a router that quotes 8 octets of ESP in UDP proves nothing.
pub(super) fn too_big(packet: &[u8]) -> Option<(Sent, u16)> {
    let ip = Ip::parse(packet).ok().filter(|ip| !ip.is_fragment())?;
    let message = ip.upper();
    let [kind, code, _, _, a, b, c, d] = *message.first_chunk::<ICMP_HEADER_LEN>()?;
    let mtu = match (ip, ip.protocol(), kind, code) {
        (Ip::V4(_), PROTOCOL_ICMP, 3, 4) if checksum::internet(message) == 0 => u16::from_be_bytes([c, d]),
        (Ip::V6(_), PROTOCOL_ICMPV6, 2, 0) if checksum::pseudo(ip.source(), ip.destination(), PROTOCOL_ICMPV6, message) == 0 => {
            u16::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(u16::MAX)
        }
        _ => return None,
    };
    let sent = quoted(message.get(ICMP_HEADER_LEN..)?)?;
    (sent.source == ip.destination()).then_some((sent, mtu))
}

/// Reads the beginning of a packet. It ends somewhere, and routers on its way have changed its checksum or not.
fn quoted(packet: &[u8]) -> Option<Sent> {
    let be16 = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let (source, destination, protocol, header_len, len): (IpAddr, IpAddr, u8, usize, usize) = match packet.first()? >> 4 {
        4 => {
            let header = packet.first_chunk::<{ ipv4::HEADER_LEN }>()?;
            let address = |at: usize| Some(Ipv4Addr::from_octets(*header.get(at..)?.first_chunk()?));
            (address(12)?.into(), address(16)?.into(), header[9], usize::from(header[0] & 0xf) * 4, be16(2)?.into())
        }
        6 => {
            let header = packet.first_chunk::<{ ipv6::HEADER_LEN }>()?;
            let address = |at: usize| Some(Ipv6Addr::from_octets(*header.get(at..)?.first_chunk()?));
            (address(8)?.into(), address(24)?.into(), header[6], ipv6::HEADER_LEN, ipv6::HEADER_LEN + usize::from(be16(4)?))
        }
        _ => return None,
    };
    let (ports, at) = match protocol {
        PROTOCOL_ESP => (None, header_len),
        PROTOCOL_AH => {
            let AhHeader { spi, sequence, .. } = AhHeader::parse(packet.get(header_len..)?)?;
            return Some(Sent { source, destination, udp: None, spi, sequence, len });
        }
        PROTOCOL_UDP => {
            let ports = UdpPorts { source: be16(header_len)?, destination: be16(header_len + 2)? };
            (Some(ports), header_len + udp::HEADER_LEN)
        }
        _ => return None,
    };
    let EspHeader { spi, sequence } = EspHeader::parse(packet.get(at..)?)?;
    Some(Sent { source, destination, udp: ports, spi, sequence, len })
}
