//! IKE datagrams between packets and the contract: what workers punted becomes a [`v1::Datagram`], and the control plane's replies become
//! IP packets.

use std::net::IpAddr;

use culvert_proto::convert::{self, ConvertError};
use culvert_proto::dataplane::v1;
use packet::ip::Ip;
use packet::udp::{self, NatTraversal, Udp};
use packet::{ethernet, ipv4, ipv6};

use crate::command::Origin;

/// Why a datagram of the control plane is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// A field is illegal.
    #[error(transparent)]
    Field(#[from] ConvertError),
    /// Local and remote address are of different families.
    #[error("{0} and {1} are of different address families")]
    MixedFamilies(IpAddr, IpAddr),
    /// The local address is none of the gateway's.
    #[error("{0} is no address of this gateway")]
    NotOwn(IpAddr),
    /// Longer than an IP packet can be.
    #[error("a message of {0} octets does not fit in an IP packet of 65,535")]
    TooLong(usize),
}

/// What a packet for the gateway itself holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Punted {
    /// IKE over UDP. The non-ESP marker is taken off (RFC 3948 section 2.2).
    Ike(v1::Datagram),
    /// UDP, and yet no IKE message: another port, a wrong checksum, a NAT keepalive.
    MalformedIke,
    /// ESP, plain or in UDP, or AH.
    Ipsec,
    /// Something else.
    Other,
}

/// Sorts a frame from a port, or a packet out of an SA.
pub fn sort(origin: Origin, bytes: &[u8]) -> Punted {
    let packet = match origin {
        Origin::Port(_) => bytes.get(ethernet::HEADER_LEN..).unwrap_or_default(),
        Origin::Tunnel(_) | Origin::Refused { .. } | Origin::RefusedInside { .. } => bytes,
    };
    let Ok(ip) = Ip::parse(packet) else { return Punted::Other };
    if matches!(ip.protocol(), ipv4::PROTOCOL_ESP | ipv4::PROTOCOL_AH) {
        return Punted::Ipsec;
    }
    if ip.protocol() != ipv4::PROTOCOL_UDP || ip.is_fragment() {
        return Punted::Other;
    }
    let Some(datagram) = Udp::parse(ip.upper()).filter(|udp| udp.checksum_ok(ip.source(), ip.destination())) else {
        return Punted::MalformedIke;
    };
    let message = match datagram.destination_port {
        udp::PORT_IKE => datagram.payload,
        udp::PORT_NAT_T => match NatTraversal::parse(datagram.payload) {
            Some(NatTraversal::Ike(message)) => message,
            Some(NatTraversal::Esp(_)) => return Punted::Ipsec,
            Some(NatTraversal::Keepalive) | None => return Punted::MalformedIke,
        },
        _ => return Punted::MalformedIke,
    };
    Punted::Ike(v1::Datagram {
        local_address: convert::address_octets(ip.destination()).into(),
        local_port: datagram.destination_port.into(),
        remote_address: convert::address_octets(ip.source()).into(),
        remote_port: datagram.source_port.into(),
        payload: message.to_vec().into(),
    })
}

/// Builds the IP packet of a datagram, UDP checksum included; from port 4500 with the non-ESP marker.
///
/// # Errors
/// [`SendError`].
pub fn to_packet(datagram: &v1::Datagram, is_own: impl Fn(IpAddr) -> bool, identification: u32) -> Result<Vec<u8>, SendError> {
    let marker: &[u8] = if datagram.local_port == u32::from(udp::PORT_NAT_T) { &udp::NON_ESP_MARKER } else { &[] };
    udp_packet(datagram, [marker, &datagram.payload], is_own, identification)
}

/// Builds the IP packet of a NAT-keepalive between the ends of a datagram (RFC 3948 section 2.3).
///
/// # Errors
/// [`SendError`].
pub fn keep_alive(ends: &v1::Datagram, is_own: impl Fn(IpAddr) -> bool, identification: u32) -> Result<Vec<u8>, SendError> {
    udp_packet(ends, [&[], &udp::NAT_KEEPALIVE], is_own, identification)
}

/// The payload comes in two parts, so that no message is copied for its marker.
fn udp_packet(
    ends: &v1::Datagram,
    payload: [&[u8]; 2],
    is_own: impl Fn(IpAddr) -> bool,
    identification: u32,
) -> Result<Vec<u8>, SendError> {
    let source = convert::address("local_address", &ends.local_address)?;
    let destination = convert::address("remote_address", &ends.remote_address)?;
    let source_port = convert::port("local_port", ends.local_port)?;
    let destination_port = convert::port("remote_port", ends.remote_port)?;
    if !is_own(source) {
        return Err(SendError::NotOwn(source));
    }
    let payload_len = payload.iter().map(|part| part.len()).sum();
    let udp = udp::header_without_checksum(source_port, destination_port, payload_len).ok_or(SendError::TooLong(payload_len))?;
    let ip = ip_header(source, destination, udp::HEADER_LEN + payload_len, identification)?;
    let mut packet = [&[&ip[..], &udp[..]], &payload[..]].concat().concat();
    udp::fill_checksum(source, destination, packet.get_mut(ip.len()..).unwrap_or_default());
    Ok(packet)
}

fn ip_header(source: IpAddr, destination: IpAddr, segment_len: usize, identification: u32) -> Result<Vec<u8>, SendError> {
    const HOP_LIMIT: u8 = 64;
    let header = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (protocol, ttl, identification) = (ipv4::PROTOCOL_UDP, HOP_LIMIT, ipv4::identification(identification));
            let header = ipv4::Ipv4Header { traffic_class: 0, identification, dont_fragment: false, ttl, protocol, source, destination };
            header.to_octets(segment_len).map(Vec::from)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (next_header, hop_limit) = (ipv4::PROTOCOL_UDP, HOP_LIMIT);
            ipv6::Ipv6Header { traffic_class: 0, next_header, hop_limit, source, destination }.to_octets(segment_len).map(Vec::from)
        }
        _ => return Err(SendError::MixedFamilies(source, destination)),
    };
    header.ok_or(SendError::TooLong(segment_len))
}

#[cfg(test)]
mod tests {
    use ipsec_types::ChildSaId;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::command::PortId;

    fn datagram(local_port: u32, payload: &[u8]) -> v1::Datagram {
        v1::Datagram {
            local_address: vec![192, 0, 2, 1].into(),
            local_port,
            remote_address: vec![192, 0, 2, 2].into(),
            remote_port: 500,
            payload: payload.to_vec().into(),
        }
    }

    /// The same datagram as its receiver sees it.
    fn mirrored(d: &v1::Datagram) -> v1::Datagram {
        v1::Datagram {
            local_address: d.remote_address.clone(),
            local_port: d.remote_port,
            remote_address: d.local_address.clone(),
            remote_port: d.local_port,
            payload: d.payload.clone(),
        }
    }

    /// What the receiver of a packet makes of it.
    fn from_packet(packet: &[u8]) -> Option<v1::Datagram> {
        match sort(Origin::Tunnel(ChildSaId(1)), packet) {
            Punted::Ike(datagram) => Some(datagram),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_can_be_received(payload in vec(any::<u8>(), 1..1500), local in any::<u16>(), id: u32, ipv6: bool) {
            let mut sent = datagram(local.into(), &payload);
            if ipv6 {
                sent.local_address = vec![1; 16].into();
                sent.remote_address = vec![2; 16].into();
            }
            // Both ends of a NAT-T conversation use port 4500 here; otherwise the receiver would not look for the marker.
            if local == 4500 { sent.remote_port = 4500; }
            let packet = to_packet(&sent, |_| true, id).unwrap();
            prop_assert_eq!(from_packet(&packet), Some(mirrored(&sent)));
        }

        #[test]
        fn hostile_octets_never_panic(octets in vec(any::<u8>(), 0..200)) {
            let _ = (sort(Origin::Port(PortId(0)), &octets), from_packet(&octets));
        }
    }

    /// As scapy 2.5 builds it: IP(id=0x1234, src=..., dst=...)/UDP(sport=4500, dport=14500)/b"\xff".
    #[test]
    fn a_keepalive_is_one_octet_without_a_marker() {
        let ends = v1::Datagram { remote_port: 14_500, ..datagram(4500, b"") };
        let packet = keep_alive(&ends, |_| true, 0x1234).unwrap();
        let hex: String = packet.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, KEEP_ALIVE);
        assert_eq!(sort(Origin::Tunnel(ChildSaId(1)), &packet), Punted::MalformedIke, "it is no message");
        assert_eq!(keep_alive(&ends, |_| false, 0), Err(SendError::NotOwn([192, 0, 2, 1].into())));
    }
    const KEEP_ALIVE: &str = "4500001d123400004011e498c0000201c0000202119438a40009329fff";

    #[test]
    fn port_4500_has_the_marker_and_others_do_not() {
        let mut nat_t = datagram(4500, b"ike");
        nat_t.remote_port = 4500;
        let packet = to_packet(&nat_t, |_| true, 0).unwrap();
        assert_eq!(packet.get(28..), Some(&b"\0\0\0\0ike"[..]));
        assert_eq!(from_packet(&packet), Some(mirrored(&nat_t)));
        assert_eq!(to_packet(&datagram(500, b"ike"), |_| true, 0).unwrap().get(28..), Some(&b"ike"[..]));
    }

    /// 192.0.2.1:500 -> 192.0.2.2:500 "ike!", checksums as scapy 2.5 writes them.
    #[test]
    fn the_packet_is_the_one_scapy_builds() {
        let packet = to_packet(&datagram(500, b"ike!"), |_| true, 0x1234).unwrap();
        let hex: String = packet.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, SCAPY);
    }
    const SCAPY: &str = "45000020123400004011e495c0000201c000020201f401f4000ca95d696b6521";

    /// The same between 2001:db8::1 and 2001:db8::2.
    #[test]
    fn the_ipv6_packet_is_the_one_scapy_builds() {
        let address = |last: u8| [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[last]].concat();
        let sent = v1::Datagram { local_address: address(1).into(), remote_address: address(2).into(), ..datagram(500, b"ike!") };
        let packet = to_packet(&sent, |_| true, 0x1234).unwrap();
        let hex: String = packet.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, SCAPY_IPV6);
        let mut without_checksum = packet;
        without_checksum[46..48].fill(0);
        assert_eq!(sort(Origin::Tunnel(ChildSaId(1)), &without_checksum), Punted::MalformedIke, "IPv6 demands one");
    }
    const SCAPY_IPV6: &str = "60000000000c114020010db800000000000000000000000120010db800000000000000000000000201f401f4000cd1ec696b6521";

    #[test]
    fn a_wrong_checksum_is_no_datagram() {
        let mut packet = to_packet(&datagram(500, b"ike!"), |_| true, 1).unwrap();
        *packet.last_mut().unwrap() ^= 1;
        assert_eq!(from_packet(&packet), None);
    }

    #[test]
    fn foreign_sources_and_long_messages_are_refused() {
        assert_eq!(to_packet(&datagram(500, b""), |_| false, 0), Err(SendError::NotOwn([192, 0, 2, 1].into())));
        assert_eq!(to_packet(&datagram(500, &[0; 65_507]), |_| true, 0).map(|packet| packet.len()), Ok(65_535));
        assert!(matches!(to_packet(&datagram(500, &[0; 65_508]), |_| true, 0), Err(SendError::TooLong(_))));
        assert!(matches!(to_packet(&datagram(500, &[0; 65_528]), |_| true, 0), Err(SendError::TooLong(65_528))));
        let mixed = v1::Datagram { remote_address: vec![2; 16].into(), ..datagram(500, b"") };
        assert!(matches!(to_packet(&mixed, |_| true, 0), Err(SendError::MixedFamilies(..))));
        assert!(matches!(to_packet(&datagram(65536, b""), |_| true, 0), Err(SendError::Field(e)) if e.field == "local_port"));
    }
}
