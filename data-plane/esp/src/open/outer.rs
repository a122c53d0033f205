//! What an ESP or AH packet shows before it is opened.

use core::net::IpAddr;

use packet::ah::AhHeader;
use packet::esp::EspHeader;
use packet::ip::Ip;
use packet::ipv4::{self, PROTOCOL_AH, PROTOCOL_ESP, PROTOCOL_UDP};
use packet::ipv6;
use packet::udp::{self, NatTraversal, Udp};

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

    /// Whether the packet, which `bytes` are, came from where packets made by the template go: address and UDP port, or no UDP, are those of the peer.
    #[inline]
    pub fn is_from_peer(&self, bytes: &[u8], template: &Template) -> bool {
        let alike = self.is_v6 == template.is_v6() && self.in_udp == template.is_in_udp();
        alike && self.has_address_of(bytes, template.header()) && (!self.in_udp || self.source_port(bytes) == template.peer_port())
    }

    /// Whether the source of the packet is where a header of its version goes.
    #[inline]
    fn has_address_of(&self, bytes: &[u8], header: &[u8]) -> bool {
        if self.is_v6 {
            ipv6::ends(bytes).map(|(source, _)| source) == ipv6::ends(header).map(|(_, destination)| destination)
        } else {
            ipv4::ends(bytes).map(|(source, _)| source) == ipv4::ends(header).map(|(_, destination)| destination)
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

/// A place in a packet.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "no IP packet is longer than 65,575 octets")]
pub(super) const fn short(place: usize) -> u32 {
    place as u32
}
