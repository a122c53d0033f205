//! IPv4 and IPv6 alike.

use core::net::IpAddr;

use ipsec_types::Flow;

use crate::ipv4::{self, Ipv4, Ipv4Error};
use crate::ipv6::{self, Ipv6, Ipv6Error};

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

/// The version field of the packet that starts `bytes`.
#[inline]
fn version(bytes: &[u8]) -> Option<u8> {
    bytes.first().map(|first| first >> 4)
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
