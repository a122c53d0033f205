//! Fragments as they arrive, and the packet they were cut from.

use std::net::IpAddr;

use packet::ip::Ip;
use packet::ipv4::{self, Ipv4};
use packet::ipv6::{self, Ipv6};
use packet::{checksum, ethernet};

use super::Dropped;
use crate::command::Origin;

/// The datagram a fragment belongs to: source, destination, identification and protocol (RFC 791 section 3.2); the protocol is no part of it
/// in IPv6 (RFC 8200 section 4.5). What came by different ways does not mix: one of them may be an SA, the other nothing of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// How it came here.
    pub origin: Origin,
    /// Source address.
    pub source: IpAddr,
    /// Destination address: one of the gateway's.
    pub destination: IpAddr,
    /// Identification.
    pub identification: u32,
    /// Protocol number; `None` in IPv6.
    pub protocol: Option<u8>,
}

/// A fragment.
#[derive(Debug, Clone)]
pub struct Fragment<'a> {
    /// Its datagram.
    pub key: Key,
    /// Where in the datagram it belongs, in octets.
    pub offset: usize,
    /// Whether more follow.
    pub more: bool,
    /// Of the fragment at offset 0: headers that the whole packet starts with, the one of its frame included where it has one. Lengths are not
    /// right yet. Empty in others.
    pub header: Vec<u8>,
    /// Its part of the datagram.
    pub payload: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Reads a frame from a port, or a packet out of an SA. `None` where it is no fragment.
    pub fn read(origin: Origin, bytes: &'a [u8]) -> Option<Self> {
        let (link, packet) = bytes.split_at_checked(link_len(origin))?;
        match Ip::parse(packet).ok()? {
            Ip::V4(ip) => Self::read_ipv4(origin, link, packet, &ip),
            Ip::V6(ip) => Self::read_ipv6(origin, link, packet, &ip),
        }
    }

    fn read_ipv4(origin: Origin, link: &[u8], packet: &[u8], ip: &Ipv4<'a>) -> Option<Self> {
        let key = Key {
            origin,
            source: ip.source().into(),
            destination: ip.destination().into(),
            identification: ip.identification().into(),
            protocol: Some(ip.protocol()),
        };
        let offset = usize::from(ip.fragment_offset());
        let header = if offset == 0 { [link, packet.get(..ip.header_len())?].concat() } else { Vec::new() };
        ip.is_fragment().then_some(Self { key, offset, more: ip.more_fragments(), header, payload: ip.payload() })
    }

    fn read_ipv6(origin: Origin, link: &[u8], packet: &[u8], ip: &Ipv6<'a>) -> Option<Self> {
        // The gateway is no place to be routed through by the sender (RFC 5095).
        let fragment = ip.fragment().filter(|_| !ip.has_segments_left())?;
        let key = Key {
            origin,
            source: ip.source().into(),
            destination: ip.destination().into(),
            identification: fragment.identification,
            protocol: None,
        };
        let mut header = Vec::new();
        if fragment.offset == 0 {
            header = [link, packet.get(..ipv6::HEADER_LEN + fragment.at)?].concat();
            skip_fragment_header(header.get_mut(link.len()..)?, fragment.next_header)?;
        }
        let payload = ip.payload().get(fragment.at + ipv6::Fragment::LEN..)?;
        Some(Self { key, offset: fragment.offset.into(), more: fragment.more, header, payload })
    }

    pub(super) const fn check(&self) -> Result<(), Dropped> {
        let odd = self.more && !self.payload.len().is_multiple_of(8);
        if self.payload.is_empty() || odd { Err(Dropped::Malformed) } else { Ok(()) }
    }
}

/// Octets of link-layer header in what is punted.
fn link_len(origin: Origin) -> usize {
    match origin {
        Origin::Port(_) => ethernet::HEADER_LEN,
        Origin::Tunnel(_) | Origin::Refused { .. } | Origin::RefusedInside { .. } => 0,
    }
}

/// Headers and all parts in one piece, which is no fragment any more.
pub(super) fn whole<'a>(origin: Origin, header: &[u8], parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut packet = header.to_vec();
    parts.into_iter().for_each(|part| packet.extend_from_slice(part));
    let link = link_len(origin);
    if let Some((header, payload)) = packet.get_mut(link..).and_then(|ip| ip.split_at_mut_checked(header.len().saturating_sub(link))) {
        match header.first().map(|first| first >> 4) {
            Some(6) => mend_ipv6(header, payload.len()),
            _ => mend_ipv4(header, payload.len()),
        }
    }
    packet
}

/// Lets the header that pointed at the fragment header name what comes behind that (RFC 8200 section 4.5). `headers` end where it stood.
fn skip_fragment_header(headers: &mut [u8], next_header: u8) -> Option<()> {
    const NEXT_HEADER: usize = 6;
    let (mut field, mut end) = (NEXT_HEADER, ipv6::HEADER_LEN);
    while end < headers.len() {
        let units = usize::from(*headers.get(end + 1)?);
        (field, end) = (end, end + (units + 1) * 8);
    }
    *headers.get_mut(field)? = next_header;
    Some(())
}

/// Makes the headers of a first fragment those of the whole packet.
fn mend_ipv6(headers: &mut [u8], payload_len: usize) {
    let extensions = headers.len().saturating_sub(ipv6::HEADER_LEN);
    let payload_len = u16::try_from(extensions + payload_len).unwrap_or(u16::MAX);
    if let Some(field) = headers.get_mut(4..6) {
        field.copy_from_slice(&payload_len.to_be_bytes());
    }
}

/// Makes the header of a first fragment that of the whole packet.
fn mend_ipv4(header: &mut [u8], payload_len: usize) {
    const DONT_FRAGMENT: u8 = 0x40;
    let total_len = u16::try_from(header.len() + payload_len).unwrap_or(u16::MAX);
    let Some(fixed) = header.first_chunk_mut::<{ ipv4::HEADER_LEN }>() else { return };
    fixed[2..4].copy_from_slice(&total_len.to_be_bytes());
    fixed[6] &= DONT_FRAGMENT;
    fixed[7] = 0;
    fixed[10..12].fill(0);
    let sum = checksum::internet(header).to_be_bytes();
    if let Some(field) = header.get_mut(10..12) {
        field.copy_from_slice(&sum);
    }
}
