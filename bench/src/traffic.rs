//! The packets of a benchmark, and the capture files they travel in.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::{fmt, fs, io};

use packet::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, MacAddress};
use packet::ipv4::{self, Ipv4Header, PROTOCOL_UDP};
use packet::ipv6::{self, Ipv6Header};
use packet::{ethernet, udp};
use serde::{Serialize, Serializer};

/// Packets of one capture: a multiple of IMIX's 12, and few enough for the driver to keep them all in its ring.
pub(crate) const FRAMES: usize = 1008;
/// Flows that the packets belong to.
const FLOWS: usize = 64;

/// What sizes a run mixes. A size is the inner Ethernet frame's, without FCS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// One size.
    Fixed(usize),
    /// 7 : 4 : 1 of 64, 570 and 1420 octets.
    Imix,
}

/// What the table has, in its order.
pub(crate) const MIXES: [Mix; 6] = [Mix::Fixed(64), Mix::Fixed(256), Mix::Fixed(512), Mix::Fixed(1024), Mix::Fixed(1420), Mix::Imix];

/// One round of IMIX, the sizes apart from one another as far as they can be.
const IMIX: [usize; 12] = [64, 570, 64, 64, 570, 64, 1420, 64, 570, 64, 570, 64];

impl Mix {
    /// Size of the `index`th frame.
    pub(crate) fn size(self, index: usize) -> usize {
        match self {
            Self::Fixed(size) => size,
            Self::Imix => IMIX[index % IMIX.len()],
        }
    }

    /// Octets of a frame, on average.
    pub(crate) fn mean(self) -> f64 {
        let total: usize = (0..IMIX.len()).map(|index| self.size(index)).sum();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let mean = total as f64 / IMIX.len() as f64;
        mean
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = |mix: &Self| mix.to_string().eq_ignore_ascii_case(text);
        MIXES.into_iter().find(wanted).ok_or_else(|| "a size is 64, 256, 512, 1024, 1420 or imix".to_owned())
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Imix => f.pad("IMIX"),
        }
    }
}

impl Serialize for Mix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Ethernet addresses of a frame on its way into the gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) source: MacAddress,
    pub(crate) destination: MacAddress,
}

impl Link {
    /// The packet in a frame.
    pub(crate) fn frame(self, packet: &[u8]) -> Vec<u8> {
        let Self { source, destination } = self;
        let ethertype = if packet.first().is_some_and(|first| first >> 4 == 6) { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
        [&EthernetHeader { destination, source, ethertype }.to_octets()[..], packet].concat()
    }
}

/// The inner packets of a capture: UDP between two hosts, [`FLOWS`] source ports in turn. `None` for a size that holds no UDP packet.
pub(crate) fn packets(mix: Mix, source: IpAddr, destination: IpAddr) -> Option<Vec<Vec<u8>>> {
    let packet = |index| {
        // 37 and 64 have no common divisor: every flow comes up, in an order that is not the ports'.
        let port = 10_000 + u16::try_from(index * 37 % FLOWS).ok()?;
        udp_packet(source, destination, port, mix.size(index).checked_sub(ethernet::HEADER_LEN)?)
    };
    (0..FRAMES).map(packet).collect()
}

/// A UDP packet of `len` octets. `None` for a length that holds none, and for addresses of two families.
pub(crate) fn udp_packet(source: IpAddr, destination: IpAddr, port: u16, len: usize) -> Option<Vec<u8>> {
    let mut packet = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let protocol = PROTOCOL_UDP;
            let header = Ipv4Header { traffic_class: 0, identification: 0, dont_fragment: true, ttl: 64, protocol, source, destination };
            header.to_octets(len.checked_sub(ipv4::HEADER_LEN)?)?.to_vec()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header { traffic_class: 0, hop_limit: 64, next_header: PROTOCOL_UDP, source, destination };
            header.to_octets(len.checked_sub(ipv6::HEADER_LEN)?)?.to_vec()
        }
        _ => return None,
    };
    let payload = len.checked_sub(packet.len() + udp::HEADER_LEN)?;
    packet.extend(udp::header_without_checksum(port, 9, payload)?);
    packet.extend((0..=u8::MAX).cycle().take(payload));
    Some(packet)
}

/// Writes Ethernet frames to a capture file: the format's 24-octet header, then 16 octets and the frame for each.
pub(crate) fn write_pcap(path: &Path, frames: &[Vec<u8>]) -> io::Result<()> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const VERSION: u32 = 0x0004_0002;
    const ETHERNET: u32 = 1;
    let mut file = Vec::new();
    for word in [MAGIC, VERSION, 0, 0, 65_535, ETHERNET] {
        file.extend(word.to_le_bytes());
    }
    for frame in frames {
        let len = u32::try_from(frame.len()).map_err(io::Error::other)?;
        for word in [0, 0, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    fs::write(path, file)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use packet::ip::Ip;

    use super::*;
    use crate::variant::Variant;

    #[test]
    fn imix_is_7_to_4_to_1() {
        let count = |size| (0..FRAMES).filter(|&index| Mix::Imix.size(index) == size).count();
        assert_eq!((count(64), count(570), count(1420)), (7 * FRAMES / 12, 4 * FRAMES / 12, FRAMES / 12));
        assert!((Mix::Imix.mean() - (7.0 * 64.0 + 4.0 * 570.0 + 1420.0) / 12.0).abs() < 1e-9);
    }

    #[test]
    fn packets_are_whole_and_of_their_size() {
        for variant in [Variant::Plain, Variant::V6] {
            let packets = |mix| packets(mix, variant.local_host(), variant.remote_host());
            for mix in MIXES {
                let packets = packets(mix).unwrap();
                assert_eq!(packets.len(), FRAMES);
                let mut flows = HashSet::new();
                for (index, packet) in packets.iter().enumerate() {
                    assert_eq!(packet.len() + ethernet::HEADER_LEN, mix.size(index));
                    let parsed = Ip::parse(packet).unwrap();
                    assert_eq!(parsed.total_len(), packet.len());
                    flows.insert(parsed.flow().source_port);
                }
                assert_eq!(flows.len(), FLOWS);
            }
            let least = if variant == Variant::V6 { 62 } else { 42 };
            assert!(packets(Mix::Fixed(least - 1)).is_none());
            assert!(packets(Mix::Fixed(least)).is_some());
        }
    }
}
