//! IPv4 and IPv6 alike.

use core::net::IpAddr;

use ipsec_types::Flow;

use crate::ipv4::{self, Ipv4, Ipv4Error};
use crate::ipv6::{self, Ipv6, Ipv6Error, PROTOCOL_DESTINATION_OPTIONS};
use crate::{be16, checksum, udp};

/// Why octets are no IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IpError {
    /// Not a single octet, or a version that is neither 4 nor 6.
    #[error("neither IPv4 nor IPv6")]
    Version,
    /// Malformed IPv4.
    #[error(transparent)]
    Ipv4(#[from] Ipv4Error),
    /// Malformed IPv6.
    #[error(transparent)]
    Ipv6(#[from] Ipv6Error),
}

/// A packet arrived with time to live or hop limit 0 or 1 and may not be forwarded (RFC 1812 section 5.3.1, RFC 8200 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time to live or hop limit exceeded")]
pub struct HopLimitExceeded;

/// A packet of either version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ip<'a> {
    /// IPv4.
    V4(Ipv4<'a>),
    /// IPv6.
    V6(Ipv6<'a>),
}

impl<'a> Ip<'a> {
    /// Checks the octets as the version field says. They may be more than the packet; the rest is ignored.
    ///
    /// # Errors
    /// [`IpError`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IpError> {
        match version(bytes) {
            Some(4) => Ok(Self::V4(Ipv4::parse(bytes)?)),
            Some(6) => Ok(Self::V6(Ipv6::parse(bytes)?)),
            _ => Err(IpError::Version),
        }
    }

    /// Source address.
    #[inline]
    pub const fn source(&self) -> IpAddr {
        match self {
            Self::V4(ip) => IpAddr::V4(ip.source()),
            Self::V6(ip) => IpAddr::V6(ip.source()),
        }
    }

    /// Destination address.
    #[inline]
    pub const fn destination(&self) -> IpAddr {
        match self {
            Self::V4(ip) => IpAddr::V4(ip.destination()),
            Self::V6(ip) => IpAddr::V6(ip.destination()),
        }
    }

    /// Number of the upper-layer protocol.
    #[inline]
    pub const fn protocol(&self) -> u8 {
        match self {
            Self::V4(ip) => ip.protocol(),
            Self::V6(ip) => ip.protocol(),
        }
    }

    /// The selector fields.
    #[inline]
    pub fn flow(&self) -> Flow {
        match self {
            Self::V4(ip) => ip.flow(),
            Self::V6(ip) => ip.flow(),
        }
    }

    /// Octets of the packet.
    #[inline]
    pub const fn total_len(&self) -> usize {
        match self {
            Self::V4(ip) => ip.total_len(),
            Self::V6(ip) => ip.total_len(),
        }
    }

    /// Octets in front of the upper-layer header, options and extension headers included.
    #[inline]
    pub const fn header_len(&self) -> usize {
        match self {
            Self::V4(ip) => ip.header_len(),
            Self::V6(ip) => ip.header_len(),
        }
    }

    /// Octets in front of what transport mode protects (RFC 4303 section 3.1.1).
    #[inline]
    pub const fn transport_at(&self) -> usize {
        match self {
            Self::V4(ip) => ip.header_len(),
            Self::V6(ip) => ip.transport_at(),
        }
    }

    /// What stands there: the upper layer, or destination options.
    #[inline]
    pub const fn transport_protocol(&self) -> u8 {
        if self.transport_at() == self.header_len() { self.protocol() } else { PROTOCOL_DESTINATION_OPTIONS }
    }

    /// Whether the packet goes, or has gone, by way of hosts that its sender named: its destination may not be the last one.
    pub fn is_source_routed(&self) -> bool {
        match self {
            Self::V4(ip) => ip.has_source_route(),
            Self::V6(ip) => ip.has_segments_left(),
        }
    }

    /// The upper-layer header and its data; of a fragment, its part.
    #[inline]
    pub fn upper(&self) -> &'a [u8] {
        match self {
            Self::V4(ip) => ip.payload(),
            Self::V6(ip) => ip.upper(),
        }
    }

    /// DSCP and ECN together.
    #[inline]
    pub const fn traffic_class(&self) -> u8 {
        match self {
            Self::V4(ip) => ip.traffic_class(),
            Self::V6(ip) => ip.traffic_class(),
        }
    }

    /// Time to live, or hop limit.
    #[inline]
    pub const fn hop_limit(&self) -> u8 {
        match self {
            Self::V4(ip) => ip.ttl(),
            Self::V6(ip) => ip.hop_limit(),
        }
    }

    /// Whether a router may not fragment the packet: never IPv6 (RFC 8200 section 5).
    #[inline]
    pub const fn dont_fragment(&self) -> bool {
        match self {
            Self::V4(ip) => ip.dont_fragment(),
            Self::V6(_) => true,
        }
    }

    /// Whether this is a fragment, the first included.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        match self {
            Self::V4(ip) => ip.is_fragment(),
            Self::V6(ip) => ip.is_fragment(),
        }
    }
}

/// What an outer header is made after, and how long the packet is: what is left of a packet's headers once it was parsed, in a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    total_len: u32,
    traffic_class: u8,
    is_v6: bool,
    dont_fragment: bool,
}

impl Parsed {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "no IP packet is longer than 65,575 octets")]
    pub(crate) const fn new(total_len: usize, traffic_class: u8, is_v6: bool, dont_fragment: bool) -> Self {
        Self { total_len: total_len as u32, traffic_class, is_v6, dont_fragment }
    }

    /// Checks the octets as [`Ip::parse`] does.
    ///
    /// # Errors
    /// [`IpError`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, IpError> {
        Ip::parse(bytes).map(|ip| Self::from(&ip))
    }

    /// Octets of the packet.
    #[inline]
    pub const fn total_len(self) -> usize {
        self.total_len as usize
    }

    /// DSCP and ECN together.
    #[inline]
    pub const fn traffic_class(self) -> u8 {
        self.traffic_class
    }

    /// The same packet with another traffic class.
    #[inline]
    #[must_use]
    pub const fn with_traffic_class(self, traffic_class: u8) -> Self {
        Self { traffic_class, ..self }
    }

    /// Whether a router may not fragment the packet: never IPv6.
    #[inline]
    pub const fn dont_fragment(self) -> bool {
        self.dont_fragment
    }

    /// [`decrement_hop_limit`] of the packet, which starts `bytes`.
    ///
    /// # Errors
    /// [`HopLimitExceeded`].
    #[inline]
    pub fn decrement_hop_limit(self, bytes: &mut [u8]) -> Result<(), HopLimitExceeded> {
        if self.is_v6 { ipv6::decrement_hop_limit(bytes) } else { ipv4::decrement_ttl(bytes) }
    }

    /// The number of the packet's IP version as a protocol in a tunnel: 4 or 41.
    #[inline]
    pub const fn protocol(self) -> u8 {
        if self.is_v6 { ipv6::PROTOCOL_IPV6 } else { ipv4::PROTOCOL_IPV4 }
    }
}

impl From<&Ip<'_>> for Parsed {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    fn from(ip: &Ip<'_>) -> Self {
        Self::new(ip.total_len(), ip.traffic_class(), matches!(ip, Ip::V6(_)), ip.dont_fragment())
    }
}

/// The version field of the packet that starts `bytes`.
#[inline]
fn version(bytes: &[u8]) -> Option<u8> {
    bytes.first().map(|first| first >> 4)
}

/// Octets of the packet that starts `bytes`, as its header says; `None` where there is no header.
#[inline]
pub fn total_len(bytes: &[u8]) -> Option<usize> {
    match version(bytes)? {
        6 => be16(bytes, 4).map(|payload_len| ipv6::HEADER_LEN + usize::from(payload_len)),
        _ => be16(bytes, 2).map(usize::from),
    }
}

/// Decrements time to live or hop limit of the packet that starts `bytes`, and updates IPv4's checksum. The packet must have been parsed.
///
/// # Errors
/// [`HopLimitExceeded`] where the packet must be dropped instead (also where there is no header); it is left unchanged.
#[inline]
pub fn decrement_hop_limit(bytes: &mut [u8]) -> Result<(), HopLimitExceeded> {
    match version(bytes) {
        Some(6) => ipv6::decrement_hop_limit(bytes),
        _ => ipv4::decrement_ttl(bytes),
    }
}

/// Replaces DSCP and ECN of the packet that starts `bytes`, and updates IPv4's checksum. Does nothing where there is no header.
#[inline]
pub fn replace_traffic_class(bytes: &mut [u8], traffic_class: u8) {
    match version(bytes) {
        Some(6) => ipv6::replace_traffic_class(bytes, traffic_class),
        _ => ipv4::replace_traffic_class(bytes, traffic_class),
    }
}

/// Makes a header, with its options or extension headers, that of a packet whose next protocol and length are others; IPv4's checksum is computed anew.
/// `None` where the length does not fit or the octets are no whole header: the packet must be dropped.
pub fn set_payload(header: &mut [u8], protocol: u8, total_len: usize) -> Option<()> {
    match version(header) {
        Some(6) => ipv6::set_payload(header, protocol, total_len),
        _ => ipv4::set_payload(header, protocol, total_len),
    }
}

/// Computes the checksum of the packet that starts `bytes` anew where its upper layer has one over the addresses: TCP, UDP and ICMPv6. A UDP checksum that
/// was not computed stays so, over IPv4. `None` where there is no whole packet, or no checksum in it.
pub fn fix_checksum(bytes: &mut [u8]) -> Option<()> {
    let ip = Ip::parse(bytes).ok()?;
    let (source, destination, protocol) = (ip.source(), ip.destination(), ip.protocol());
    let (start, end) = (ip.header_len(), ip.total_len());
    let segment = bytes.get_mut(start..end)?;
    let at = match protocol {
        ipv4::PROTOCOL_UDP if source.is_ipv4() && segment.get(6..8)? == [0, 0] => return Some(()),
        ipv4::PROTOCOL_UDP => {
            udp::fill_checksum(source, destination, segment);
            return Some(());
        }
        ipv4::PROTOCOL_TCP => 16,
        ipv6::PROTOCOL_ICMPV6 => 2,
        _ => return Some(()),
    };
    segment.get_mut(at..at + 2)?.fill(0);
    let checksum = checksum::pseudo(source, destination, protocol, segment).to_be_bytes();
    segment.get_mut(at..at + 2)?.copy_from_slice(&checksum);
    Some(())
}
