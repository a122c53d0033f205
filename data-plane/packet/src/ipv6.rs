//! IPv6 (RFC 8200).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version|   DSCP    |ECN|           Flow Label                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         Payload Length        |  Next Header  |   Hop Limit   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                                                               |
//! +                         Source Address                        +
//! |                          (16 octets)                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                                                               |
//! +                      Destination Address                      +
//! |                          (16 octets)                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::Ipv6Addr;

use ipsec_types::Flow;

use crate::flow;
use crate::ip::HopLimitExceeded;
use crate::ipv6_extension::{self, Chain, Fragmented};

pub use crate::ipv6_extension::{ExtensionError, Fragment, MAX_EXTENSION_OCTETS, MAX_EXTENSIONS};

/// Octets of the header without extension headers.
pub const HEADER_LEN: usize = 40;
/// Next Header number of hop-by-hop options.
pub const PROTOCOL_HOP_BY_HOP: u8 = 0;
/// Next Header number of IPv6 in IPv6 or IPv4 (RFC 2473).
pub const PROTOCOL_IPV6: u8 = 41;
/// Next Header number of a routing header.
pub const PROTOCOL_ROUTING: u8 = 43;
/// Next Header number of a fragment header.
pub const PROTOCOL_FRAGMENT: u8 = 44;
/// Next Header number of ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;
/// Next Header number of nothing (RFC 8200 section 4.7).
pub const PROTOCOL_NONE: u8 = 59;
/// Next Header number of destination options.
pub const PROTOCOL_DESTINATION_OPTIONS: u8 = 60;

/// Why octets are no IPv6 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ipv6Error {
    /// Fewer octets than a header.
    #[error("shorter than an IPv6 header")]
    Truncated,
    /// Another version.
    #[error("not version 6")]
    Version,
    /// The payload length is beyond the octets there are.
    #[error("the payload length does not fit")]
    PayloadLength,
    /// The chain of extension headers cannot be followed to its end.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
}

/// An IPv6 packet whose version and length are right and whose extension headers were followed to the upper-layer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
    chain: Chain,
}

impl<'a> Ipv6<'a> {
    /// Checks the octets. They may be more than the packet's length (Ethernet padding, RFC 4303 section 2.7 TFC padding): the rest is ignored. A jumbogram
    /// (RFC 2675), whose payload length is zero, is refused: its hop-by-hop options lie beyond that.
    ///
    /// # Errors
    /// [`Ipv6Error`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Ipv6Error> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(Ipv6Error::Truncated)?;
        if header[0] >> 4 != 6 {
            return Err(Ipv6Error::Version);
        }
        let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let payload = rest.get(..payload_len).ok_or(Ipv6Error::PayloadLength)?;
        let chain = ipv6_extension::walk(header[6], payload)?;
        Ok(Self { header, payload, chain })
    }

    /// The same for packets without extension headers, which nearly all are: read in fewer steps. `None` for any other, right or wrong.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn parse_plain(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let payload = rest.get(..usize::from(u16::from_be_bytes([header[4], header[5]])))?;
        let chain = Chain::none(header[6])?;
        (header[0] >> 4 == 6).then_some(Self { header, payload, chain })
    }

    /// Octets of the packet.
    #[inline]
    pub const fn total_len(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }

    /// Octets in front of the upper-layer header: the header and its extension headers.
    #[inline]
    pub const fn header_len(&self) -> usize {
        HEADER_LEN + self.chain.len()
    }

    /// DSCP and ECN together.
    #[inline]
    pub const fn traffic_class(&self) -> u8 {
        (self.header[0] << 4) | (self.header[1] >> 4)
    }

    /// Flow label: 20 bits.
    #[inline]
    pub const fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.header[1] & 0x0f, self.header[2], self.header[3]])
    }

    /// What follows the header: an extension header or the upper layer.
    #[inline]
    pub const fn next_header(&self) -> u8 {
        self.header[6]
    }

    /// Hop limit.
    #[inline]
    pub const fn hop_limit(&self) -> u8 {
        self.header[7]
    }

    /// Source address.
    #[inline]
    pub const fn source(&self) -> Ipv6Addr {
        let [_, _, _, _, _, _, _, _, address @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *self.header;
        Ipv6Addr::from_octets(address)
    }

    /// Destination address, as the header has it: with a routing header, the next of several.
    #[inline]
    pub const fn destination(&self) -> Ipv6Addr {
        let [.., a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *self.header;
        Ipv6Addr::from_octets([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// Number of the upper-layer protocol: what follows hop-by-hop options, destination options, routing and fragment headers (RFC 4301 section 4.4.1.1:
    /// AH and ESP count as upper layers). In a fragment after the first it is what the fragment header says, which may be an extension header.
    #[inline]
    pub const fn protocol(&self) -> u8 {
        self.chain.protocol()
    }

    /// What follows the header, extension headers included.
    #[inline]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The upper-layer header and its data; of a fragment, its part.
    #[inline]
    pub fn upper(&self) -> &'a [u8] {
        self.payload.get(self.chain.len()..).unwrap_or_default()
    }

    /// Octets in front of what transport mode protects: the header, and of the extension headers those that routers read, up to the last of hop-by-hop
    /// options, routing and fragment headers (RFC 4303 section 3.1.1). Destination options behind them are protected.
    #[inline]
    pub const fn transport_at(&self) -> usize {
        HEADER_LEN + self.chain.transport_at()
    }

    /// The fragment header, where there is one.
    pub fn fragment(&self) -> Option<Fragment> {
        self.chain.fragment(self.payload)
    }

    /// Whether this is a fragment, the first included. One that is first and last at a time is whole (RFC 6946).
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        matches!(self.chain.fragmented(), Fragmented::First | Fragmented::Later)
    }

    /// Whether a routing header names further destinations (segments left, RFC 8200 section 4.4).
    #[inline]
    pub const fn has_segments_left(&self) -> bool {
        self.chain.segments_left()
    }

    /// The selector fields. There are no ports in fragments after the first (RFC 4301 section 7).
    #[inline]
    pub fn flow(&self) -> Flow {
        let upper = (self.chain.fragmented() != Fragmented::Later).then(|| self.upper());
        flow(self.source().into(), self.destination().into(), self.protocol(), upper)
    }
}

/// Source and destination of the packet that starts `bytes`, which must have been parsed; `None` where there is no header.
#[inline]
pub fn ends(bytes: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let [_, _, _, _, _, _, _, _, addresses @ ..] = *bytes.first_chunk::<HEADER_LEN>()?;
    let (source, destination) = addresses.split_at(16);
    Some((Ipv6Addr::from_octets(*source.first_chunk()?), Ipv6Addr::from_octets(*destination.first_chunk()?)))
}

/// Decrements the hop limit of the packet that starts `bytes`. The packet must have been parsed.
///
/// # Errors
/// [`HopLimitExceeded`] where the packet must be dropped instead (also where there is no header); it is left unchanged.
#[inline]
pub fn decrement_hop_limit(bytes: &mut [u8]) -> Result<(), HopLimitExceeded> {
    match bytes.first_chunk_mut::<HEADER_LEN>() {
        Some(header) if header[7] > 1 => {
            header[7] -= 1;
            Ok(())
        }
        _ => Err(HopLimitExceeded),
    }
}

/// Replaces DSCP and ECN of the packet that starts `bytes`. Does nothing where there is no header.
#[inline]
pub fn replace_traffic_class(bytes: &mut [u8], traffic_class: u8) {
    if let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>() {
        header[0] = (header[0] & 0xf0) | (traffic_class >> 4);
        header[1] = (header[1] & 0x0f) | (traffic_class << 4);
    }
}

/// Makes the header, with the extension headers behind it, that of a packet whose next protocol and length are others. `None` where the length does not
/// fit, or the octets are not a header with whole extension headers.
pub fn set_payload(header: &mut [u8], protocol: u8, total_len: usize) -> Option<()> {
    let payload_len = u16::try_from(total_len.checked_sub(HEADER_LEN)?).ok()?;
    let (fixed, extensions) = header.split_first_chunk_mut::<HEADER_LEN>()?;
    [fixed[4], fixed[5]] = payload_len.to_be_bytes();
    match ipv6_extension::last(fixed[6], extensions)? {
        Some(at) => *extensions.get_mut(at)? = protocol,
        None => fixed[6] = protocol,
    }
    Some(())
}

/// A header without extension headers and with flow label zero, to be written in front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Header {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// What follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
}

impl Ipv6Header {
    /// The octets of the header for `payload_len` octets of payload. `None` where that exceeds 65,535 octets.
    #[inline]
    pub fn to_octets(&self, payload_len: usize) -> Option<[u8; HEADER_LEN]> {
        let payload_len = u16::try_from(payload_len).ok()?;
        let mut out = [0; HEADER_LEN];
        out[0] = 0x60 | (self.traffic_class >> 4);
        out[1] = self.traffic_class << 4;
        out[4..6].copy_from_slice(&payload_len.to_be_bytes());
        out[6] = self.next_header;
        out[7] = self.hop_limit;
        out[8..24].copy_from_slice(&self.source.octets());
        out[24..].copy_from_slice(&self.destination.octets());
        Some(out)
    }
}

/// Writes a header that differs from others in length and traffic class: `base` is one of [`Ipv6Header::to_octets`] for no payload, with traffic class
/// zero.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a few words on the way of every packet")]
pub fn complete(base: &[u8; HEADER_LEN], payload_len: u16, traffic_class: u8, to: &mut [u8; HEADER_LEN]) {
    let [a, b, c, d, e, f, g, h, ..] = *base;
    let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]) | u64::from(traffic_class) << 52 | u64::from(payload_len) << 16;
    to[..8].copy_from_slice(&first.to_be_bytes());
    to[8..].copy_from_slice(&base[8..]);
}

/// The multicast address at which a neighbour is asked for `address` (RFC 4291 section 2.7.1).
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

#[cfg(test)]
mod tests;
