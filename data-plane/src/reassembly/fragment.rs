//! Fragments as they arrive, and the packet they were cut from.

use std::net::IpAddr;

use packet::ipv4::{self, Ipv4};
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
        let link = link_len(origin);
        let (link, packet) = bytes.split_at_checked(link)?;
        let ip = Ipv4::parse(packet).ok().filter(Ipv4::is_fragment)?;
        let key = Key {
            origin,
            source: ip.source().into(),
            destination: ip.destination().into(),
            identification: ip.identification().into(),
            protocol: Some(ip.protocol()),
        };
        let offset = usize::from(ip.fragment_offset());
        let header = if offset == 0 { [link, packet.get(..ip.header_len())?].concat() } else { Vec::new() };
        Some(Self { key, offset, more: ip.more_fragments(), header, payload: ip.payload() })
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
        Origin::Tunnel(_) => 0,
    }
}

/// Headers and all parts in one piece, which is no fragment any more.
pub(super) fn whole<'a>(origin: Origin, header: &[u8], parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut packet = header.to_vec();
    parts.into_iter().for_each(|part| packet.extend_from_slice(part));
    let link = link_len(origin);
    if let Some((header, payload)) = packet.get_mut(link..).and_then(|ip| ip.split_at_mut_checked(header.len().saturating_sub(link))) {
        mend_ipv4(header, payload.len());
    }
    packet
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
