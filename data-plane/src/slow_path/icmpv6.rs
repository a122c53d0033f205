//! Neighbor Discovery (RFC 4861) and ICMPv6 echo (RFC 4443 section 4) for the gateway's own addresses.
//!
//! Of Neighbor Discovery, the gateway does what ARP does for IPv4: it says where it is, and asks where others are. Its routes are configured, so
//! router advertisements and redirects change nothing.

use std::net::{IpAddr, Ipv6Addr};

use packet::ethernet::MacAddress;
use packet::ipv6::{self, Ipv6, Ipv6Header, PROTOCOL_ICMPV6};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{EthernetAddress, EthernetProtocol, Icmpv6Packet, Icmpv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress};

use super::{HOP_LIMIT, Meaning, ethernet_frame};
use crate::table::PortInfo;

/// Hop limit of Neighbor Discovery: no router has forwarded what arrives with it (RFC 4861 section 3.1).
const ND_HOP_LIMIT: u8 = 255;
/// Where every host of a link listens (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The address of a port on its link: fe80::/64 with a modified EUI-64 identifier (RFC 4291 section 2.5.6 and appendix A).
pub fn link_local(mac: MacAddress) -> Ipv6Addr {
    let MacAddress([a, b, c, d, e, f]) = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// A solicitation that asks the whole link for `target`, as a frame (RFC 4861 section 7.2.2).
pub fn solicitation(mac: MacAddress, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let own = EthernetAddress(mac.0);
    let message = NdiscRepr::NeighborSolicit { target_addr: target, lladdr: Some(RawHardwareAddress::from(own)) };
    let group = ipv6::solicited_node(target);
    let packet = emit(&Icmpv6Repr::Ndisc(message), source, group, ND_HOP_LIMIT);
    ethernet_frame(own, multicast_mac(group), EthernetProtocol::Ipv6, &packet)
}

/// Reads a packet that came in a frame of `sender` on `port`.
pub(super) fn on_packet(sender: EthernetAddress, packet: &[u8], port: &PortInfo, is_own: impl Fn(IpAddr) -> bool) -> Meaning {
    let Ok(ip) = Ipv6::parse(packet) else { return Meaning::Nothing };
    let Some(message) = message(&ip) else { return Meaning::Nothing };
    match message {
        Icmpv6Repr::EchoRequest { .. } => {
            let reply = answer(&ip, &message, port, is_own);
            reply.map_or(Meaning::Nothing, |reply| Meaning::EchoReply(to_host(port, sender, &reply)))
        }
        // In fragments it proves nothing of its sender (RFC 6980).
        Icmpv6Repr::Ndisc(message) if ip.hop_limit() == ND_HOP_LIMIT && ip.fragment().is_none() => on_ndisc(sender, &ip, &message, port),
        _ => Meaning::Nothing,
    }
}

/// The reply to an echo request to an own address that came out of an SA, both IPv6 packets.
pub(super) fn echo_reply(packet: &[u8], is_own: impl Fn(IpAddr) -> bool) -> Option<Vec<u8>> {
    let ip = Ipv6::parse(packet).ok()?;
    let destination = ip.destination();
    if !is_own(destination.into()) {
        return None;
    }
    reply(&ip, &message(&ip)?, destination)
}

/// The ICMPv6 message of a packet, its checksum verified.
fn message<'a>(ip: &Ipv6<'a>) -> Option<Icmpv6Repr<'a>> {
    if ip.protocol() != PROTOCOL_ICMPV6 || ip.is_fragment() {
        return None;
    }
    let message = Icmpv6Packet::new_checked(ip.upper()).ok()?;
    Icmpv6Repr::parse(&ip.source(), &ip.destination(), &message, &ChecksumCapabilities::default()).ok()
}

/// The reply to an echo request that came from the link of `port`, also to all its hosts (RFC 4443 section 4.2).
fn answer(ip: &Ipv6<'_>, message: &Icmpv6Repr<'_>, port: &PortInfo, is_own: impl Fn(IpAddr) -> bool) -> Option<Vec<u8>> {
    let destination = ip.destination();
    let source = match destination {
        group if group.is_multicast() => port.link_local()?,
        on_link if on_link.is_unicast_link_local() => on_link,
        global if is_own(global.into()) => global,
        _ => return None,
    };
    reply(ip, message, source)
}

fn reply(ip: &Ipv6<'_>, message: &Icmpv6Repr<'_>, source: Ipv6Addr) -> Option<Vec<u8>> {
    let Icmpv6Repr::EchoRequest { ident, seq_no, data } = *message else { return None };
    is_host(ip.source()).then(|| emit(&Icmpv6Repr::EchoReply { ident, seq_no, data }, source, ip.source(), HOP_LIMIT))
}

/// The parser has checked what RFC 4861 sections 7.1.1 and 7.1.2 demand of code, lengths and options; the rest is here.
fn on_ndisc(sender: EthernetAddress, ip: &Ipv6<'_>, message: &NdiscRepr<'_>, port: &PortInfo) -> Meaning {
    match *message {
        NdiscRepr::NeighborSolicit { target_addr, lladdr } => on_solicitation(sender, ip, target_addr, lladdr, port),
        NdiscRepr::NeighborAdvert { flags, target_addr, lladdr } => {
            let to_everybody = ip.destination().is_multicast();
            let solicited = flags.contains(NdiscNeighborFlags::SOLICITED);
            // Whoever claims an own address is no neighbour.
            if !is_host(target_addr) || to_everybody && solicited || port.addresses.contains(&target_addr.into()) {
                return Meaning::Nothing;
            }
            let overrides = flags.contains(NdiscNeighborFlags::OVERRIDE);
            Meaning::Advertised { address: target_addr.into(), mac: lladdr.and_then(hardware), overrides, solicited }
        }
        NdiscRepr::RouterAdvert { .. } => Meaning::RouterAdvertisement,
        NdiscRepr::RouterSolicit { .. } | NdiscRepr::Redirect { .. } => Meaning::Nothing,
    }
}

fn on_solicitation(
    sender: EthernetAddress,
    ip: &Ipv6<'_>,
    target: Ipv6Addr,
    option: Option<RawHardwareAddress>,
    port: &PortInfo,
) -> Meaning {
    let (source, destination) = (ip.source(), ip.destination());
    if !port.addresses.contains(&target.into()) {
        return Meaning::Nothing;
    }
    let own = EthernetAddress(port.mac.0);
    let advertisement = |flags, to| {
        let lladdr = Some(RawHardwareAddress::from(own));
        let flags = flags | NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::OVERRIDE;
        emit(&Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr }), target, to, ND_HOP_LIMIT)
    };
    if source.is_unspecified() {
        // A host asks whether the address is free before it takes it (RFC 4862 section 5.4.2).
        if option.is_some() || destination != ipv6::solicited_node(target) {
            return Meaning::Nothing;
        }
        let packet = advertisement(NdiscNeighborFlags::empty(), ALL_NODES);
        return Meaning::Advertisement(ethernet_frame(own, multicast_mac(ALL_NODES), EthernetProtocol::Ipv6, &packet));
    }
    if !is_host(source) || port.addresses.contains(&source.into()) {
        return Meaning::Nothing;
    }
    let mac = option.and_then(hardware);
    let to = mac.map_or(sender, |mac| EthernetAddress(mac.0));
    let reply = to_host(port, to, &advertisement(NdiscNeighborFlags::SOLICITED, source));
    match mac {
        Some(mac) => Meaning::Neighbor { address: source.into(), mac, reply: Some(reply) },
        // Nothing to learn: the frame's sender may have forwarded it at the link layer.
        None => Meaning::Advertisement(reply),
    }
}

fn to_host(port: &PortInfo, to: EthernetAddress, packet: &[u8]) -> Vec<u8> {
    ethernet_frame(EthernetAddress(port.mac.0), to, EthernetProtocol::Ipv6, packet)
}

fn emit(message: &Icmpv6Repr<'_>, source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
    let mut octets = vec![0; message.buffer_len()];
    message.emit(&source, &destination, &mut Icmpv6Packet::new_unchecked(&mut octets), &ChecksumCapabilities::default());
    let header = Ipv6Header { traffic_class: 0, next_header: PROTOCOL_ICMPV6, hop_limit, source, destination };
    // It is no longer than what it answers, which came in a packet.
    header.to_octets(octets.len()).map(|header| [&header[..], &octets].concat()).unwrap_or_default()
}

/// The MAC address in a link-layer address option; `None` where it is none of one host.
fn hardware(address: RawHardwareAddress) -> Option<MacAddress> {
    let mac = MacAddress(address.as_bytes().try_into().ok()?);
    (!mac.is_group()).then_some(mac)
}

/// Where a group listens on Ethernet (RFC 2464 section 7).
fn multicast_mac(group: Ipv6Addr) -> EthernetAddress {
    let [.., a, b, c, d] = group.octets();
    EthernetAddress([0x33, 0x33, a, b, c, d])
}

fn is_host(address: Ipv6Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

#[cfg(test)]
mod tests;
