//! The outer header of tunnel mode (RFC 4301 section 5.1.2), with or without UDP (RFC 3948).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipsec_types::DontFragment;
use packet::{esp, ipv4, ipv6, udp};

use crate::TRAILER_LEN;
use crate::layout::{Layout, MAX_ALIGNMENT, MAX_IV_LEN};

/// Octets that sealing puts in front of a packet at most: IPv6, UDP, ESP, IV.
pub const MAX_HEADROOM: usize = ipv6::HEADER_LEN + udp::HEADER_LEN + esp::HEADER_LEN + MAX_IV_LEN;
/// Octets that sealing puts behind a packet at most: padding, pad length, next header, ICV.
pub const MAX_TAILROOM: usize = MAX_ALIGNMENT - 1 + TRAILER_LEN + esp_crypto::MAX_ICV_LEN;

/// The ports of UDP-encapsulated ESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UdpPorts {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

/// The outer addresses as the sender sees them: both of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ends {
    /// IPv4.
    V4 {
        /// Our address.
        source: Ipv4Addr,
        /// The peer's address.
        destination: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// Our address.
        source: Ipv6Addr,
        /// The peer's address.
        destination: Ipv6Addr,
    },
}

impl Ends {
    /// `None` for addresses of two families.
    pub const fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4 { source, destination }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6 { source, destination }),
            _ => None,
        }
    }

    /// Our outer address.
    #[inline]
    pub const fn source(&self) -> IpAddr {
        match *self {
            Self::V4 { source, .. } => IpAddr::V4(source),
            Self::V6 { source, .. } => IpAddr::V6(source),
        }
    }

    /// The peer's outer address.
    #[inline]
    pub const fn destination(&self) -> IpAddr {
        match *self {
            Self::V4 { destination, .. } => IpAddr::V4(destination),
            Self::V6 { destination, .. } => IpAddr::V6(destination),
        }
    }
}

/// The ends of a tunnel as its sender sees them, and how packets travel between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// The outer addresses.
    pub ends: Ends,
    /// Ports of UDP encapsulation; `None` for plain ESP.
    pub udp: Option<UdpPorts>,
    /// The outer DF bit.
    pub dont_fragment: DontFragment,
    /// Whether the outer header has the DSCP of the inner one; otherwise it has zero (RFC 4301 section 5.1.2, RFC 2983 section 3.1).
    pub copy_dscp: bool,
}

impl Tunnel {
    /// Octets in front of the ciphertext.
    #[inline]
    pub(crate) const fn header_len(&self, layout: Layout) -> usize {
        let ip = match self.ends {
            Ends::V4 { .. } => ipv4::HEADER_LEN,
            Ends::V6 { .. } => ipv6::HEADER_LEN,
        };
        let udp = if self.udp.is_some() { udp::HEADER_LEN } else { 0 };
        ip + udp + esp::HEADER_LEN + layout.iv_len()
    }

    /// Octets of the outer packet for an inner one of `inner_len`.
    #[inline]
    pub const fn outer_len(&self, layout: Layout, inner_len: usize) -> usize {
        self.header_len(layout) + inner_len + layout.padding_len(inner_len) + TRAILER_LEN + layout.icv_len()
    }

    /// Octets of the longest inner packet whose outer packet has `outer_mtu` at most (RFC 4301 section 8.2.1); `None` where not even an empty one has.
    #[inline]
    pub const fn inner_mtu(&self, layout: Layout, outer_mtu: usize) -> Option<usize> {
        let Some(room) = outer_mtu.checked_sub(self.header_len(layout) + layout.icv_len()) else { return None };
        layout.aligned(room).checked_sub(TRAILER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm};

    use super::*;

    fn tunnel(source: IpAddr, udp: bool) -> Tunnel {
        let udp = udp.then_some(UdpPorts { source: 1, destination: 1 });
        Tunnel { ends: Ends::new(source, source).unwrap(), udp, dont_fragment: DontFragment::Copy, copy_dscp: true }
    }

    #[test]
    fn lengths_of_well_known_packets() {
        let gcm = Layout::new(EncryptionAlgorithm::AesGcm128, None);
        let outer_lens = |tunnel: Tunnel| [1438, 1439].map(|len| tunnel.outer_len(gcm, len));
        // 20 + 8 + 8 + 1438 + 2 + 16 = 1492, padded to a multiple of four behind the IV; with UDP eight more, with IPv6 twenty.
        let (four, six) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        assert_eq!(outer_lens(tunnel(four, false)), [1492, 1496]);
        assert_eq!(outer_lens(tunnel(four, true)), [1500, 1504]);
        assert_eq!(outer_lens(tunnel(six, false)), [1512, 1516]);
        assert_eq!(outer_lens(tunnel(six, true)), [1520, 1524]);
        // 20 + 8 + 16 + 1438 + 2 + 16 = 1500, padded to a multiple of sixteen behind the IV.
        let cbc = Layout::new(EncryptionAlgorithm::AesCbc128, Some(IntegrityAlgorithm::HmacSha256));
        assert_eq!([1438, 1439].map(|len| tunnel(four, false).outer_len(cbc, len)), [1500, 1516]);
        assert_eq!(tunnel(six, true).header_len(cbc), MAX_HEADROOM);
    }

    #[test]
    fn the_longest_inner_packet_fits_and_the_next_one_does_not() {
        let gcm = Layout::new(EncryptionAlgorithm::AesGcm128, None);
        let cbc = Layout::new(EncryptionAlgorithm::AesCbc256, Some(IntegrityAlgorithm::HmacSha512));
        let (four, six) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
        for (layout, source, udp) in [(gcm, four, true), (gcm, four, false), (gcm, six, true), (cbc, four, false), (cbc, six, true)] {
            let tunnel = tunnel(source, udp);
            let shortest = tunnel.outer_len(layout, 0);
            assert_eq!((tunnel.inner_mtu(layout, shortest - 1), tunnel.inner_mtu(layout, 0)), (None, None));
            for mtu in shortest..3000 {
                let longest = tunnel.inner_mtu(layout, mtu).unwrap();
                assert!(tunnel.outer_len(layout, longest) <= mtu && tunnel.outer_len(layout, longest + 1) > mtu, "{mtu}: {longest}");
            }
        }
    }

    #[test]
    fn both_ends_are_of_one_family() {
        let (four, six) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(Ends::new(four, six), None);
        assert_eq!(Ends::new(six, four), None);
        assert_eq!(Ends::new(six, six).map(|ends| (ends.source(), ends.destination())), Some((six, six)));
    }
}
