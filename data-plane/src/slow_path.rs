//! What the gateway answers itself: ARP (RFC 826), Neighbor Discovery (RFC 4861) and echo requests (RFC 792, RFC 4443) for its own addresses.

mod error;
mod icmpv6;
mod path_mtu;

use std::net::{IpAddr, Ipv4Addr};

use packet::ethernet::MacAddress;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4Packet, Icmpv4Repr, IpProtocol,
    Ipv4Packet, Ipv4Repr,
};

use crate::table::{PortInfo, PortRole};

pub use error::icmp_error;
pub use icmpv6::{link_local, solicitation};
pub use path_mtu::Sent;

/// Time to live of the gateway's own packets.
const HOP_LIMIT: u8 = 64;

/// What a frame for the slow path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A neighbour said where it is.
    Neighbor {
        /// Its address.
        address: IpAddr,
        /// Where it is.
        mac: MacAddress,
        /// The reply, where it asked for an address of ours: a frame to be sent back.
        reply: Option<Vec<u8>>,
    },
    /// A neighbour said where it is in an advertisement (RFC 4861 section 4.4).
    Advertised {
        /// Its address.
        address: IpAddr,
        /// Where it is; a neighbour that was asked at its known address need not say.
        mac: Option<MacAddress>,
        /// Whether this replaces what is known.
        overrides: bool,
        /// Whether this answers a question of ours.
        solicited: bool,
    },
    /// The reply to an ARP probe (RFC 5227), whose sender has no address yet: a frame to be sent back.
    ArpReply(Vec<u8>),
    /// An advertisement for somebody of whom there is nothing to learn, such as a host that asks whether an address of ours is free (RFC 4862
    /// section 5.4): a frame to be sent.
    Advertisement(Vec<u8>),
    /// The reply to an echo request: a frame to be sent back.
    EchoReply(Vec<u8>),
    /// A router says that a packet to a peer did not fit.
    TooBig {
        /// The packet.
        sent: Sent,
        /// What would have fitted, in octets; zero where the router does not know (RFC 1191 section 5).
        mtu: u16,
    },
    /// A router offers itself; but routes are configured.
    RouterAdvertisement,
    /// Nothing for us.
    Nothing,
}

/// Reads a frame that arrived on `port`. `is_own` knows every address of the gateway, but for link-local ones.
pub fn on_frame(frame: &[u8], port: &PortInfo, is_own: impl Fn(IpAddr) -> bool) -> Meaning {
    let Ok(ethernet) = EthernetFrame::new_checked(frame) else { return Meaning::Nothing };
    if let Some((sent, mtu)) = path_mtu::too_big(ethernet.payload()).filter(|_| port.role == PortRole::Unprotected) {
        return Meaning::TooBig { sent, mtu };
    }
    match ethernet.ethertype() {
        EthernetProtocol::Arp => on_arp(ethernet.payload(), port),
        EthernetProtocol::Ipv4 => icmpv4_echo_reply(ethernet.payload(), is_own).map_or(Meaning::Nothing, |packet| {
            Meaning::EchoReply(ethernet_frame(EthernetAddress(port.mac.0), ethernet.src_addr(), EthernetProtocol::Ipv4, &packet))
        }),
        EthernetProtocol::Ipv6 => icmpv6::on_packet(ethernet.src_addr(), ethernet.payload(), port, is_own),
        _ => Meaning::Nothing,
    }
}

/// The same for a frame that was put together from fragments, in which Neighbor Discovery has no place (RFC 6980).
pub fn on_reassembled(frame: &[u8], port: &PortInfo, is_own: impl Fn(IpAddr) -> bool) -> Meaning {
    match on_frame(frame, port, is_own) {
        reply @ Meaning::EchoReply(_) => reply,
        _ => Meaning::Nothing,
    }
}

/// The reply to an echo request to an own address, both IP packets.
pub fn echo_reply(packet: &[u8], is_own: impl Fn(IpAddr) -> bool) -> Option<Vec<u8>> {
    match packet.first()? >> 4 {
        6 => icmpv6::echo_reply(packet, is_own),
        _ => icmpv4_echo_reply(packet, is_own),
    }
}

fn icmpv4_echo_reply(packet: &[u8], is_own: impl Fn(IpAddr) -> bool) -> Option<Vec<u8>> {
    let checksums = ChecksumCapabilities::default();
    let ip_packet = Ipv4Packet::new_checked(packet).ok()?;
    if ip_packet.more_frags() || ip_packet.frag_offset() != 0 {
        return None;
    }
    let ip = Ipv4Repr::parse(&ip_packet, &checksums).ok()?;
    if ip.next_header != IpProtocol::Icmp || !is_own(ip.dst_addr.into()) || !is_host(ip.src_addr) {
        return None;
    }
    let icmp = Icmpv4Packet::new_checked(ip_packet.payload()).ok()?;
    let Icmpv4Repr::EchoRequest { ident, seq_no, data } = Icmpv4Repr::parse(&icmp, &checksums).ok()? else { return None };
    let reply = Icmpv4Repr::EchoReply { ident, seq_no, data };
    let header = Ipv4Repr {
        src_addr: ip.dst_addr,
        dst_addr: ip.src_addr,
        next_header: IpProtocol::Icmp,
        payload_len: reply.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    let mut out = vec![0; header.buffer_len() + reply.buffer_len()];
    let mut ip_out = Ipv4Packet::new_unchecked(&mut out);
    header.emit(&mut ip_out, &checksums);
    reply.emit(&mut Icmpv4Packet::new_unchecked(ip_out.payload_mut()), &checksums);
    Some(out)
}

/// An ARP request for `target`, as a frame.
pub fn arp_request(mac: MacAddress, source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let source_hardware_addr = EthernetAddress(mac.0);
    let request = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr,
        source_protocol_addr: source,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    arp_frame(source_hardware_addr, EthernetAddress::BROADCAST, &request)
}

fn on_arp(packet: &[u8], port: &PortInfo) -> Meaning {
    let Some(ArpRepr::EthernetIpv4 { operation, source_hardware_addr, source_protocol_addr, target_protocol_addr, .. }) =
        ArpPacket::new_checked(packet).ok().and_then(|packet| ArpRepr::parse(&packet).ok())
    else {
        return Meaning::Nothing;
    };
    let wanted = operation == ArpOperation::Request && port.addresses.contains(&target_protocol_addr.into());
    let own_mac = EthernetAddress(port.mac.0);
    let reply = wanted.then(|| {
        let reply = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: own_mac,
            source_protocol_addr: target_protocol_addr,
            target_hardware_addr: source_hardware_addr,
            target_protocol_addr: source_protocol_addr,
        };
        arp_frame(own_mac, source_hardware_addr, &reply)
    });
    // Somebody who claims our own address, or none, is no neighbour; a probe (RFC 5227) is answered all the same.
    if !is_host(source_protocol_addr) || port.addresses.contains(&source_protocol_addr.into()) || !source_hardware_addr.is_unicast() {
        return reply.map_or(Meaning::Nothing, Meaning::ArpReply);
    }
    Meaning::Neighbor { address: source_protocol_addr.into(), mac: MacAddress(source_hardware_addr.0), reply }
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback())
}

fn arp_frame(from: EthernetAddress, to: EthernetAddress, packet: &ArpRepr) -> Vec<u8> {
    let mut octets = vec![0; packet.buffer_len()];
    packet.emit(&mut ArpPacket::new_unchecked(&mut octets));
    ethernet_frame(from, to, EthernetProtocol::Arp, &octets)
}

fn ethernet_frame(from: EthernetAddress, to: EthernetAddress, ethertype: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let header = EthernetRepr { src_addr: from, dst_addr: to, ethertype };
    let mut frame = vec![0; header.buffer_len() + payload.len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame);
    header.emit(&mut ethernet);
    ethernet.payload_mut().copy_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn port() -> PortInfo {
        PortInfo {
            role: PortRole::Unprotected,
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            addresses: vec![Ipv4Addr::new(192, 0, 2, 1).into()],
        }
    }

    pub(super) fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    // Made by scapy 2.5 with 02:00:00:00:00:02 at 192.0.2.2 as the other side.
    const ARP_REQUEST: &str = "ffffffffffff02000000000208060001080006040001020000000002c0000202000000000000c0000201";
    const ARP_REPLY: &str = "02000000000202000000000108060001080006040002020000000001c0000201020000000002c0000202";
    const ARP_GRATUITOUS: &str = "ffffffffffff02000000000208060001080006040001020000000002c0000202000000000000c0000202";
    const ECHO_REQUEST: &str = "020000000001020000000002080045000021000100004001f6d7c0000202c000020108006d194711000368656c6c6f";
    const ECHO_REPLY: &str = "020000000002020000000001080045000021000040004001b6d8c0000201c0000202000075194711000368656c6c6f";
    const OWN_ARP_REQUEST: &str = "ffffffffffff02000000000108060001080006040001020000000001c0000201000000000000c0000202";

    fn on(frame: &str) -> Meaning {
        on_frame(&hex(frame), &port(), |a| a == IpAddr::from([192, 0, 2, 1]))
    }

    #[test]
    fn a_request_for_our_address_is_answered_and_learnt() {
        let Meaning::Neighbor { address, mac, reply } = on(ARP_REQUEST) else { panic!("no neighbour") };
        assert_eq!((address, mac), (IpAddr::from([192, 0, 2, 2]), MacAddress([2, 0, 0, 0, 0, 2])));
        assert_eq!(reply, Some(hex(ARP_REPLY)));
    }

    #[test]
    fn an_announcement_is_reported_without_an_answer() {
        let neighbor = Meaning::Neighbor { address: [192, 0, 2, 2].into(), mac: MacAddress([2, 0, 0, 0, 0, 2]), reply: None };
        assert_eq!(on(ARP_GRATUITOUS), neighbor);
    }

    #[test]
    fn an_echo_request_is_answered_to_its_sender() {
        assert_eq!(on(ECHO_REQUEST), Meaning::EchoReply(hex(ECHO_REPLY)));
        assert_eq!(on_frame(&hex(ECHO_REQUEST), &port(), |_| false), Meaning::Nothing);
        let mut broken = hex(ECHO_REQUEST);
        *broken.last_mut().unwrap() ^= 1;
        assert_eq!(on_frame(&broken, &port(), |_| true), Meaning::Nothing, "wrong ICMP checksum");
        assert_eq!(on(ECHO_REPLY), Meaning::Nothing);
    }

    #[test]
    fn our_own_request_is_the_one_scapy_builds() {
        assert_eq!(arp_request(port().mac, [192, 0, 2, 1].into(), [192, 0, 2, 2].into()), hex(OWN_ARP_REQUEST));
    }

    proptest! {
        #[test]
        fn hostile_frames_never_panic(octets in vec(any::<u8>(), 0..120), at in 0..60usize, value: u8, which in 0..2usize) {
            on_frame(&octets, &port(), |_| true);
            let mut nearly = hex([ARP_REQUEST, ECHO_REQUEST][which]);
            if let Some(octet) = nearly.get_mut(at) { *octet = value; }
            on_frame(&nearly, &port(), |_| true);
            nearly.truncate(at);
            on_frame(&nearly, &port(), |_| true);
        }
    }
}
