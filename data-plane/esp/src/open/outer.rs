//! What an ESP or AH packet shows before it is opened.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::ah::AhHeader;
use packet::esp::EspHeader;
use packet::ip::Ip;
use packet::ipv4::{self, PROTOCOL_AH, PROTOCOL_ESP, PROTOCOL_UDP};
use packet::ipv6;
use packet::plain::{Address, PlainIp};
use packet::udp::{self, NatTraversal, PORT_NAT_T, Udp};

use super::OpenError;
use crate::Template;
use crate::layout::Protocol;

/// The clear part of an ESP packet, plain or in UDP, or of an AH packet: what every packet is asked for. What few are is read again from the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpsecPacket {
    /// Security Parameters Index.
    pub spi: u32,
    /// Sequence Number field.
    pub sequence: u32,
    /// Where ESP or AH begins.
    pub(super) at: u32,
    pub(super) end: u32,
    /// ESP or AH.
    pub protocol: Protocol,
    pub(super) traffic_class: u8,
    pub(super) in_udp: bool,
    pub(super) is_v6: bool,
}

impl IpsecPacket {
    /// Reads an outer IP packet. A UDP packet is taken as encapsulated ESP whatever its ports, unless it carries the non-ESP marker; its checksum is
    /// not looked at (RFC 3948 section 2.1; over IPv6 it may be zero in a tunnel, RFC 6935 section 5), as the ICV says more.
    ///
    /// # Errors
    /// [`OpenError`]: `MalformedOuter`, `Fragment`, `NotIpsec`, `Runt`.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, OpenError> {
        Ip::parse(bytes).map_err(|_| OpenError::MalformedOuter).and_then(|outer| Self::read(&outer))
    }

    /// The same where the IP header has been parsed before.
    ///
    /// # Errors
    /// [`OpenError`]: `MalformedOuter`, `Fragment`, `NotIpsec`, `Runt`.
    #[inline]
    pub fn read(outer: &Ip<'_>) -> Result<Self, OpenError> {
        // The two versions go apart to the end: where they came together before, what is known of the packet would be copied.
        match outer {
            Ip::V4(_) => Self::read_one_version(outer),
            Ip::V6(_) => Self::read_one_version(outer),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    fn read_one_version(outer: &Ip<'_>) -> Result<Self, OpenError> {
        if outer.is_fragment() {
            return Err(OpenError::Fragment);
        }
        let header_len = outer.header_len();
        let (protocol, in_udp, at, rest) = match outer.protocol() {
            PROTOCOL_ESP => (Protocol::Esp, false, header_len, outer.upper()),
            PROTOCOL_AH => (Protocol::Ah, false, header_len, outer.upper()),
            PROTOCOL_UDP => {
                let datagram = Udp::parse(outer.upper()).ok_or(OpenError::MalformedOuter)?;
                match NatTraversal::parse(datagram.payload) {
                    Some(NatTraversal::Esp(esp)) => (Protocol::Esp, true, header_len + udp::HEADER_LEN, esp),
                    Some(NatTraversal::Ike(_) | NatTraversal::Keepalive) => return Err(OpenError::NotIpsec),
                    None => return Err(OpenError::Runt),
                }
            }
            _ => return Err(OpenError::NotIpsec),
        };
        let (spi, sequence) = match protocol {
            Protocol::Esp => EspHeader::parse(rest).map(|esp| (esp.spi, esp.sequence)),
            Protocol::Ah => AhHeader::parse(rest).map(|ah| (ah.spi, ah.sequence)),
        }
        .ok_or(OpenError::Runt)?;
        let (traffic_class, is_v6) = (outer.traffic_class(), matches!(outer, Ip::V6(_)));
        Ok(Self { spi, sequence, at: short(at), end: short(at + rest.len()), protocol, traffic_class, in_udp, is_v6 })
    }

    /// The same of one that has nothing special and begins `bytes`: ESP, plain or to the port of UDP encapsulation. `None` for any other, right or wrong.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn of_plain<A: Address>(ip: &PlainIp<A>, bytes: &[u8]) -> Option<Self> {
        let upper = bytes.get(A::HEADER_LEN..ip.total_len)?;
        let (in_udp, at, esp) = match ip.protocol {
            PROTOCOL_ESP => (false, A::HEADER_LEN, upper),
            PROTOCOL_UDP => {
                let datagram = Udp::parse(upper).filter(|datagram| datagram.destination_port == PORT_NAT_T)?;
                let Some(NatTraversal::Esp(esp)) = NatTraversal::parse(datagram.payload) else { return None };
                (true, A::HEADER_LEN + udp::HEADER_LEN, esp)
            }
            _ => return None,
        };
        let EspHeader { spi, sequence } = EspHeader::parse(esp)?;
        let (end, is_v6) = (short(at + esp.len()), A::HEADER_LEN == ipv6::HEADER_LEN);
        Some(Self { spi, sequence, at: short(at), end, protocol: Protocol::Esp, traffic_class: ip.traffic_class, in_udp, is_v6 })
    }

    /// Outer source and destination of the packet, which `bytes` are; `None` where they are not.
    pub fn ends(&self, bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
        if self.is_v6 {
            ipv6::ends(bytes).map(|(source, destination)| (source.into(), destination.into()))
        } else {
            ipv4::ends(bytes).map(|(source, destination)| (source.into(), destination.into()))
        }
    }

    /// The UDP port that the packet, which `bytes` are, came from.
    #[inline]
    pub fn source_port(&self, bytes: &[u8]) -> Option<u16> {
        let port = bytes.get(self.at().checked_sub(udp::HEADER_LEN)?..)?.first_chunk();
        port.filter(|_| self.in_udp).map(|port| u16::from_be_bytes(*port))
    }

    /// Whether the packet, which `bytes` are, came from there.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a few words of each packet")]
    pub fn is_from(&self, peer: &Peer, bytes: &[u8]) -> bool {
        let alike = (self.is_v6 == peer.is_v6) & (self.in_udp == peer.in_udp);
        alike && self.has_address_of(peer, bytes) && (!self.in_udp || self.source_port(bytes) == Some(peer.port))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a few words of each packet")]
    fn has_address_of(&self, peer: &Peer, bytes: &[u8]) -> bool {
        if self.is_v6 {
            ipv6::ends(bytes).is_some_and(|(source, _)| source == peer.v6)
        } else {
            ipv4::ends(bytes).is_some_and(|(source, _)| source == peer.v4)
        }
    }

    #[inline]
    pub(super) const fn at(&self) -> usize {
        self.at as usize
    }

    #[inline]
    pub(super) const fn end(&self) -> usize {
        self.end as usize
    }
}

/// Where packets of an SA come from that were sent from where its own go: address and UDP port, or no UDP.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    port: u16,
    in_udp: bool,
    is_v6: bool,
}

impl From<&Template> for Peer {
    #[inline]
    fn from(template: &Template) -> Self {
        let (v4, v6) = (ipv4::ends(template.header()), ipv6::ends(template.header()));
        Self {
            v4: v4.map_or(Ipv4Addr::UNSPECIFIED, |(_, destination)| destination),
            v6: v6.map_or(Ipv6Addr::UNSPECIFIED, |(_, destination)| destination),
            port: template.peer_port().unwrap_or_default(),
            in_udp: template.is_in_udp(),
            is_v6: template.is_v6(),
        }
    }
}

/// A place in a packet.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "no IP packet is longer than 65,575 octets")]
pub(super) const fn short(place: usize) -> u32 {
    place as u32
}
