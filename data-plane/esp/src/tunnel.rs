//! Where an SA leads: the outer header of tunnel mode (RFC 4301 section 5.1.2), with or without UDP (RFC 3948), and the ends of transport mode.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipsec_types::{DontFragment, Mode};
use packet::{ah, esp, ipv4, ipv6, udp};

use crate::TRAILER_LEN;
use crate::layout::{Layout, MAX_ALIGNMENT, MAX_IV_LEN, Protocol};

/// Octets of the longest AH.
const MAX_AH_LEN: usize = (ah::FIXED_LEN + esp_crypto::MAX_ICV_LEN).next_multiple_of(8);
/// Octets that ESP puts in front of a packet at most: IPv6, UDP, ESP, IV.
const MAX_ESP_FRONT: usize = ipv6::HEADER_LEN + udp::HEADER_LEN + esp::HEADER_LEN + MAX_IV_LEN;
/// Octets that ESP puts behind a packet at most, beside padding that hides its length: padding, pad length, next header, ICV.
const MAX_ESP_BACK: usize = MAX_ALIGNMENT - 1 + TRAILER_LEN + esp_crypto::MAX_ICV_LEN;

/// Octets that sealing puts in front of a packet at most: IPv6 and AH, which is longer than ESP.
pub const MAX_HEADROOM: usize = ipv6::HEADER_LEN + MAX_AH_LEN;
/// Octets that sealing needs behind a packet at most. With AH they are cut off again: an ICV, and the IP header, here without options.
pub const MAX_TAILROOM: usize = ipv6::HEADER_LEN + esp_crypto::MAX_ICV_LEN;
const _: () = assert!(MAX_HEADROOM >= MAX_ESP_FRONT && MAX_TAILROOM >= MAX_ESP_BACK);

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

/// The ends of an SA as its sender sees them, and how packets travel between them. What is said of the outer header means tunnel mode: transport mode
/// keeps that of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// The outer addresses.
    pub ends: Ends,
    /// Ports of UDP encapsulation; `None` for plain ESP, and for AH, which has none (RFC 3948 section 1).
    pub udp: Option<UdpPorts>,
    /// The outer DF bit.
    pub dont_fragment: DontFragment,
    /// Whether the outer header has the DSCP of the inner one; otherwise it has zero (RFC 4301 section 5.1.2, RFC 2983 section 3.1).
    pub copy_dscp: bool,
}

impl Tunnel {
    /// Whether a packet is from one end to the other, as those in transport mode are.
    #[inline]
    pub fn joins(&self, source: IpAddr, destination: IpAddr) -> bool {
        (source, destination) == (self.ends.source(), self.ends.destination())
    }

    /// Octets of an IP header between the ends, without options.
    #[inline]
    const fn ip_len(&self) -> usize {
        match self.ends {
            Ends::V4 { .. } => ipv4::HEADER_LEN,
            Ends::V6 { .. } => ipv6::HEADER_LEN,
        }
    }

    /// Octets in front of what is protected, but for the IP header: UDP, ESP and IV, or AH.
    #[inline]
    pub(crate) const fn security_len(&self, layout: Layout) -> usize {
        match layout.protocol() {
            Protocol::Esp => {
                let udp = if self.udp.is_some() { udp::HEADER_LEN } else { 0 };
                udp + esp::HEADER_LEN + layout.iv_len()
            }
            Protocol::Ah => layout.ah_len(matches!(self.ends, Ends::V6 { .. })),
        }
    }

    /// Octets put in front of a packet.
    #[inline]
    pub(crate) const fn front_len(&self, layout: Layout) -> usize {
        match layout.mode() {
            Mode::Tunnel => self.ip_len() + self.security_len(layout),
            Mode::Transport => self.security_len(layout),
        }
    }

    /// Octets of the sealed packet for one of `len`: in tunnel mode of the outer packet for an inner one. In transport mode the IP header counts as one
    /// without options, as the gateway makes them; it matters for AES-CBC, whose padding depends on it.
    #[inline]
    pub const fn outer_len(&self, layout: Layout, len: usize) -> usize {
        let back = match layout.protocol() {
            Protocol::Esp => layout.padding_len(len.saturating_sub(self.kept_len(layout))) + TRAILER_LEN + layout.icv_len(),
            Protocol::Ah => 0,
        };
        self.front_len(layout) + len + back
    }

    /// Octets of the longest packet whose sealed one has `outer_mtu` at most (RFC 4301 section 8.2.1); `None` where not even an empty one has.
    #[inline]
    pub const fn inner_mtu(&self, layout: Layout, outer_mtu: usize) -> Option<usize> {
        let Some(room) = outer_mtu.checked_sub(self.front_len(layout)) else { return None };
        let kept = self.kept_len(layout);
        let payload = match layout.protocol() {
            Protocol::Esp => {
                let Some(room) = room.checked_sub(kept + layout.icv_len()) else { return None };
                layout.aligned(room).checked_sub(TRAILER_LEN)
            }
            Protocol::Ah => room.checked_sub(kept),
        };
        match payload {
            Some(payload) => Some(kept + payload),
            None => None,
        }
    }

    /// Octets of the packet that stay in front of what is protected.
    #[inline]
    const fn kept_len(&self, layout: Layout) -> usize {
        match layout.mode() {
            Mode::Tunnel => 0,
            Mode::Transport => self.ip_len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, Protection};

    use super::*;

    fn esp(encryption: EncryptionAlgorithm, integrity: Option<IntegrityAlgorithm>) -> Layout {
        Layout::new(Protection::Esp { encryption, integrity })
    }

    fn tunnel(source: IpAddr, udp: bool) -> Tunnel {
        let udp = udp.then_some(UdpPorts { source: 1, destination: 1 });
        Tunnel { ends: Ends::new(source, source).unwrap(), udp, dont_fragment: DontFragment::Copy, copy_dscp: true }
    }

    #[test]
    fn lengths_of_well_known_packets() {
        let gcm = esp(EncryptionAlgorithm::AesGcm128, None);
        let outer_lens = |tunnel: Tunnel| [1438, 1439].map(|len| tunnel.outer_len(gcm, len));
        // 20 + 8 + 8 + 1438 + 2 + 16 = 1492, padded to a multiple of four behind the IV; with UDP eight more, with IPv6 twenty.
        let (four, six) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        assert_eq!(outer_lens(tunnel(four, false)), [1492, 1496]);
        assert_eq!(outer_lens(tunnel(four, true)), [1500, 1504]);
        assert_eq!(outer_lens(tunnel(six, false)), [1512, 1516]);
        assert_eq!(outer_lens(tunnel(six, true)), [1520, 1524]);
        // 20 + 8 + 16 + 1438 + 2 + 16 = 1500, padded to a multiple of sixteen behind the IV.
        let cbc = esp(EncryptionAlgorithm::AesCbc128, Some(IntegrityAlgorithm::HmacSha256));
        assert_eq!([1438, 1439].map(|len| tunnel(four, false).outer_len(cbc, len)), [1500, 1516]);
        assert_eq!(tunnel(six, true).front_len(cbc), MAX_ESP_FRONT);
        // The header stays where it is: 20 + 8 + 16 + 1438 + 2 + 16 = 1500 for a packet of 1458, and the same with AES-GCM for one of 1466.
        assert_eq!([1458, 1459].map(|len| tunnel(four, false).outer_len(cbc.in_mode(Mode::Transport), len)), [1500, 1516]);
        assert_eq!([1466, 1467].map(|len| tunnel(six, false).outer_len(gcm.in_mode(Mode::Transport), len)), [1500, 1504]);
    }

    #[test]
    fn lengths_of_packets_with_ah() {
        let sha256 = Layout::new(Protection::Ah { integrity: IntegrityAlgorithm::HmacSha256 });
        let (four, six) = (tunnel(Ipv4Addr::LOCALHOST.into(), false), tunnel(Ipv6Addr::LOCALHOST.into(), false));
        // 20 + 12 + 16, and 40 + 12 + 16 aligned to eight.
        assert_eq!([four, six].map(|tunnel| tunnel.outer_len(sha256, 100)), [148, 172]);
        assert_eq!([four, six].map(|tunnel| tunnel.inner_mtu(sha256, 1500)), [Some(1452), Some(1428)]);
        let transport = sha256.in_mode(Mode::Transport);
        assert_eq!([four, six].map(|tunnel| tunnel.outer_len(transport, 100)), [128, 132]);
        assert_eq!([four, six].map(|tunnel| tunnel.inner_mtu(transport, 1500)), [Some(1472), Some(1468)]);
        let sha512 = Layout::new(Protection::Ah { integrity: IntegrityAlgorithm::HmacSha512 });
        assert_eq!(six.front_len(sha512), MAX_HEADROOM);
    }

    #[test]
    fn the_longest_inner_packet_fits_and_the_next_one_does_not() {
        let gcm = esp(EncryptionAlgorithm::AesGcm128, None);
        let cbc = esp(EncryptionAlgorithm::AesCbc256, Some(IntegrityAlgorithm::HmacSha512));
        let ah = Layout::new(Protection::Ah { integrity: IntegrityAlgorithm::HmacSha384 });
        let (four, six) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
        let ways = [
            (gcm, four, true),
            (gcm, four, false),
            (gcm, six, true),
            (cbc, four, false),
            (cbc, six, true),
            (ah, four, false),
            (ah, six, false),
        ];
        for (layout, source, udp) in ways
            .into_iter()
            .flat_map(|(layout, source, udp)| [Mode::Tunnel, Mode::Transport].map(|mode| (layout.in_mode(mode), source, udp)))
        {
            let tunnel = tunnel(source, udp);
            // In transport mode an IP header is there in any case.
            let shortest = tunnel.outer_len(layout, tunnel.kept_len(layout));
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
