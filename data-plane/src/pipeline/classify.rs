//! What each frame is: for the gateway, from the protected side, ESP or AH, or cleartext from the unprotected side.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use packet::Buffer;
use packet::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader};
use packet::ip::{Ip, Parsed};
use packet::ipv4::{Ipv4, PROTOCOL_AH, PROTOCOL_ESP, PROTOCOL_ICMP, PROTOCOL_UDP};
use packet::ipv6::{ExtensionError, Ipv6, Ipv6Error, PROTOCOL_DESTINATION_OPTIONS, PROTOCOL_ICMPV6, PROTOCOL_ROUTING};
use packet::plain::{self, Address, Plain, Version};
use packet::udp::{NatTraversal, PORT_IKE, PORT_NAT_T, Udp};

use super::flow_cache::{FlowCache, FlowKeyV4, FlowKeyV6, Key, Place};
use super::inbound::{self, Received};
use super::outbound::{Outgoing, Source};
use super::{BURST, Burst, Context, Sorted, egress};
use crate::command::{Origin, PortId, PuntClass};
use crate::table::{PortInfo, PortRole, Ports, SaSlot, SpdEntry};
use crate::verdict::Verdict;
use esp::open::IpsecPacket;
use ipsec_types::PolicyAction;

/// What a frame is. Positions count from the IP header.
pub(super) enum Class {
    Drop(Verdict),
    Punt(PuntClass),
    /// From the protected side, to be forwarded.
    Outgoing(Outgoing),
    /// From the unprotected side in the clear, to be forwarded or for an address of the gateway inside the boundary.
    Cleartext(Outgoing),
    /// ESP or AH for the gateway.
    Ipsec(IpsecPacket),
}

/// Sorts the frames of a burst and takes the Ethernet headers off those that go on, but for those of a known flow.
#[inline]
pub(super) fn stage<B: Buffer>(cx: Context<'_>, from: PortId, flows: &FlowCache, burst: &mut Burst<B>, sorted: &mut Sorted) {
    let Some(port) = cx.snapshot.ports.port(from) else {
        return (0..burst.packets.len()).for_each(|index| cx.drop(burst, index, Verdict::NoPolicySet));
    };
    match port.role {
        PortRole::Protected => from_protected(cx, from, port, flows, burst, sorted),
        PortRole::Unprotected => from_unprotected(cx, from, port, burst, sorted),
    }
}

/// All frames are read before the flow of the first is looked up: meanwhile the caches fetch what is known of all of them.
#[inline]
fn from_protected<B: Buffer>(cx: Context<'_>, from: PortId, port: &PortInfo, flows: &FlowCache, burst: &mut Burst<B>, sorted: &mut Sorted) {
    let mut candidates = ArrayVec::<Candidate, BURST>::new();
    for packet in &burst.packets {
        candidate(port, flows, packet.as_ref().map(Buffer::bytes), &mut candidates);
    }
    for (index, candidate) in (0..).zip(&candidates) {
        match candidate.known(flows) {
            Some((slot, packet)) => sorted.outgoing.push_known(index, slot, packet),
            None => sort(cx, from, port, burst, index.into(), sorted),
        }
    }
}

#[inline]
fn from_unprotected<B: Buffer>(cx: Context<'_>, from: PortId, port: &PortInfo, burst: &mut Burst<B>, sorted: &mut Sorted) {
    for index in 0..burst.packets.len() {
        let Some(packet) = burst.get_mut(index) else { continue };
        if let Some(ipsec) = esp(&cx.snapshot.ports, port, packet.bytes())
            && packet.trim_front(ethernet::HEADER_LEN).is_some()
        {
            sorted.received.push(Received::new(index, ipsec));
            continue;
        }
        sort(cx, from, port, burst, index, sorted);
    }
}

/// Sorts a frame that has something special.
#[inline(never)]
fn sort<B: Buffer>(cx: Context<'_>, from: PortId, port: &PortInfo, burst: &mut Burst<B>, index: usize, sorted: &mut Sorted) {
    let Some(packet) = burst.get_mut(index) else { return };
    match classify(&cx.snapshot.ports, port, index, packet.bytes()) {
        Class::Drop(verdict) => cx.drop(burst, index, verdict),
        Class::Punt(class) => punt(cx, burst, index, class, Origin::Port(from)),
        Class::Outgoing(outgoing) => {
            if packet.trim_front(ethernet::HEADER_LEN).is_some() {
                sorted.outgoing.push(outgoing);
            }
        }
        Class::Cleartext(transit) => cleartext(cx, from, burst, &transit, sorted),
        Class::Ipsec(ipsec) => {
            if packet.trim_front(ethernet::HEADER_LEN).is_some() {
                sorted.received.push(Received::new(index, ipsec));
            }
        }
    }
}

/// A packet from the protected side. Where it has nothing special and its flow is known, it is forwarded as the others were; its Ethernet header stays, to
/// be written over.
#[derive(Debug, Clone, Copy)]
enum Candidate {
    Special,
    V4 { key: FlowKeyV4, place: Place, packet: Parsed },
    V6 { key: FlowKeyV6, place: Place, packet: Parsed },
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "what it makes costs more to be copied than to be made")]
fn candidate(port: &PortInfo, flows: &FlowCache, frame: Option<&[u8]>, candidates: &mut ArrayVec<Candidate, BURST>) {
    // The two versions go apart to the end: where they came together before, what is known of the packet would be copied.
    match frame.and_then(|frame| plain::sort(frame, port.mac)) {
        Some(Version::V4(packet)) => {
            if let Some(plain) = Plain::read_v4(packet).filter(is_usual) {
                let key = FlowKeyV4::from(&plain);
                return candidates.push(Candidate::V4 { key, place: key.place(flows), packet: plain.parsed });
            }
        }
        Some(Version::V6(packet)) => {
            if let Some(plain) = Plain::read_v6(packet).filter(is_usual) {
                let key = FlowKeyV6::from(&plain);
                return candidates.push(Candidate::V6 { key, place: key.place(flows), packet: plain.parsed });
            }
        }
        None => {}
    }
    candidates.push(Candidate::Special);
}

/// Whether nothing is to be done for a packet but to forward it: what opens a TCP connection may have to announce other segments.
#[inline(always)]
const fn is_usual<const WORDS: usize>(plain: &Plain<WORDS>) -> bool {
    plain.hop_limit > 1 && !plain.is_syn
}

impl Candidate {
    /// The SA it crosses in, if that is known, and it crosses whole.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    fn known(&self, flows: &FlowCache) -> Option<(SaSlot, Parsed)> {
        let (slot, packet) = match self {
            Self::Special => return None,
            Self::V4 { key, place, packet } => (key.find(flows, *place)?, *packet),
            Self::V6 { key, place, packet } => (key.find(flows, *place)?, *packet),
        };
        (packet.total_len() <= flows.way(slot)?.longest as usize).then_some((slot, packet))
    }
}

/// ESP for the gateway without anything special, plain or in UDP, as most of what comes from the unprotected side is: [`classify`] says the same of it, with
/// more work.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
fn esp(ports: &Ports, port: &PortInfo, frame: &[u8]) -> Option<IpsecPacket> {
    let (link, bytes) = frame.split_first_chunk::<{ ethernet::HEADER_LEN }>()?;
    let [a, b, c, d, e, f, _, _, _, _, _, _, high, low] = *link;
    if [a, b, c, d, e, f] != port.mac.0 {
        return None;
    }
    // The two versions go apart to the end: where they came together before, what is known of the packet would be copied.
    match u16::from_be_bytes([high, low]) {
        ETHERTYPE_IPV4 => esp_in::<Ipv4Addr>(ports, bytes),
        ETHERTYPE_IPV6 => esp_in::<Ipv6Addr>(ports, bytes),
        _ => None,
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
fn esp_in<A: Address>(ports: &Ports, bytes: &[u8]) -> Option<IpsecPacket> {
    let ip = A::read(bytes)?;
    let (source, destination) = (ip.source.into(), ip.destination.into());
    let is_for_us = ports.is_own_outer(destination) && is_plainly_host(source) && is_plainly_host(destination);
    if is_for_us { IpsecPacket::of_plain(&ip, bytes) } else { None }
}

/// The same for ESP and AH packets that another worker has classified: their headers are read again.
#[inline]
pub(super) fn handed_off<B: Buffer>(cx: Context<'_>, burst: &mut Burst<B>, sorted: &mut Sorted) {
    for index in 0..burst.packets.len() {
        let Some(packet) = burst.get(index) else { continue };
        match IpsecPacket::parse(packet.bytes()) {
            Ok(packet) => sorted.received.push(Received::new(index, packet)),
            Err(error) => cx.drop(burst, index, inbound::verdict(error)),
        }
    }
}

/// Copies a packet to the server.
pub(super) fn punt<B: Buffer>(cx: Context<'_>, burst: &mut Burst<B>, index: usize, class: PuntClass, origin: Origin) {
    let Some(packet) = burst.take(index) else { return };
    cx.stats().count(punt_bytes(cx, class, origin, packet.bytes()));
}

/// The same for the octets of one; what it counts as.
pub(super) fn punt_bytes(cx: Context<'_>, class: PuntClass, origin: Origin, packet: &[u8]) -> Verdict {
    if cx.end.punt(class, origin, packet) { punted(class) } else { Verdict::PuntOverflow }
}

/// What a packet that was given to the server counts as.
pub(super) const fn punted(class: PuntClass) -> Verdict {
    match class {
        PuntClass::IkeSession | PuntClass::IkeInit => Verdict::PuntedIke,
        PuntClass::SlowPath | PuntClass::Refused => Verdict::PuntedSlowPath,
        PuntClass::Fragment => Verdict::PuntedFragment,
    }
}

/// Cleartext from the unprotected side crosses the boundary only where the SPD says BYPASS (RFC 4301 section 5.2).
fn cleartext<B: Buffer>(cx: Context<'_>, from: PortId, burst: &mut Burst<B>, transit: &Outgoing, sorted: &mut Sorted) {
    let verdict = match cx.snapshot.spd.as_deref().map(|spd| spd.inbound(&transit.flow)) {
        None => Verdict::NoPolicySet,
        Some(None) => Verdict::NoPolicy,
        Some(Some(entry)) => {
            cx.stats().count_policy(entry.slot, 1, transit.len as u64);
            match admit(entry) {
                Ok(()) => return bypass(cx, from, burst, transit, sorted),
                Err(verdict) => verdict,
            }
        }
    };
    cx.drop(burst, transit.index, verdict);
}

/// Whether cleartext that an entry selects may cross.
///
/// # Errors
/// Why it may not.
pub(super) const fn admit(entry: &SpdEntry) -> Result<(), Verdict> {
    match entry.action {
        PolicyAction::Protect => Err(Verdict::CleartextProtected),
        PolicyAction::Discard => Err(Verdict::PolicyDiscard),
        PolicyAction::Bypass => Ok(()),
    }
}

/// Goes on as if it had come from the protected side: to a host there, or to the gateway, which takes neither IKE, ESP nor AH so.
fn bypass<B: Buffer>(cx: Context<'_>, from: PortId, burst: &mut Burst<B>, transit: &Outgoing, sorted: &mut Sorted) {
    let index = transit.index;
    let Some(packet) = burst.get_mut(index) else { return };
    if cx.snapshot.ports.is_own(transit.flow.destination) {
        return match for_inside(packet.bytes()) {
            Ok(class) => punt(cx, burst, index, class, Origin::Port(from)),
            Err(verdict) => cx.drop(burst, index, verdict),
        };
    }
    if packet.trim_front(ethernet::HEADER_LEN).is_none() {
        return cx.drop(burst, index, Verdict::MalformedFrame);
    }
    match egress::to_protected(cx, packet, transit, Verdict::BypassedInbound) {
        Ok(packet) => sorted.leaving.push(packet),
        Err(verdict) => cx.drop(burst, index, verdict),
    }
}

/// What a frame for an address of the gateway inside the boundary is.
///
/// # Errors
/// Why it is dropped.
pub(super) fn for_inside(frame: &[u8]) -> Result<PuntClass, Verdict> {
    let bytes = frame.get(ethernet::HEADER_LEN..).unwrap_or_default();
    match Ip::parse(bytes).map(|ip| for_gateway(PortRole::Protected, &ip)) {
        Ok(Class::Punt(class)) => Ok(class),
        Ok(Class::Drop(verdict)) => Err(verdict),
        _ => Err(Verdict::UnwantedByGateway),
    }
}

#[inline]
pub(super) fn classify(ports: &Ports, port: &PortInfo, index: usize, frame: &[u8]) -> Class {
    let Some(ethernet) = EthernetHeader::parse(frame) else { return Class::Drop(Verdict::MalformedFrame) };
    if ethernet.destination != port.mac && !ethernet.destination.is_group() {
        return Class::Drop(Verdict::NotForUs);
    }
    let bytes = frame.get(ethernet::HEADER_LEN..).unwrap_or_default();
    let parsed = match ethernet.ethertype {
        ETHERTYPE_IPV4 => Ipv4::parse(bytes).map(Ip::V4).map_err(|_| Verdict::MalformedIp),
        ETHERTYPE_IPV6 => Ipv6::parse(bytes).map(Ip::V6).map_err(malformed),
        ETHERTYPE_ARP => return Class::Punt(PuntClass::SlowPath),
        _ => return Class::Drop(Verdict::UnknownEthertype),
    };
    let ip = match parsed {
        Ok(ip) => ip,
        Err(verdict) => return Class::Drop(verdict),
    };
    // A group frame with a unicast packet is not to be forwarded either (RFC 1122 section 3.3.6).
    let (source, destination) = (ip.source(), ip.destination());
    if ethernet.destination.is_group() || !is_unicast(source, destination) {
        return multicast(port, &ip);
    }
    if is_for_us(ports, port, destination) {
        return for_gateway(port.role, &ip);
    }
    if stays_on_link(source, destination) {
        return Class::Drop(Verdict::LinkLocal);
    }
    let transit = Outgoing::new(index, &ip, Source::Forwarded);
    match port.role {
        PortRole::Protected => Class::Outgoing(transit),
        PortRole::Unprotected => Class::Cleartext(transit),
    }
}

fn malformed(error: Ipv6Error) -> Verdict {
    match error {
        Ipv6Error::Truncated | Ipv6Error::Version | Ipv6Error::PayloadLength => Verdict::MalformedIp,
        Ipv6Error::Extension(ExtensionError::Truncated) => Verdict::ExtensionTruncated,
        Ipv6Error::Extension(ExtensionError::HopByHopNotFirst | ExtensionError::FragmentTwice) => Verdict::ExtensionOrder,
        Ipv6Error::Extension(ExtensionError::TooLong) => Verdict::ExtensionTooLong,
    }
}

#[inline]
fn is_for_us(ports: &Ports, port: &PortInfo, destination: IpAddr) -> bool {
    match port.role {
        // The same link-local address may be on several ports.
        _ if is_link_local(destination) => port.addresses.contains(&destination),
        PortRole::Protected => ports.is_own(destination),
        // Its other addresses are behind the boundary: the SPD is asked.
        PortRole::Unprotected => ports.is_own_outer(destination),
    }
}

/// Multicast is not forwarded. Neighbor Discovery and echo requests come to groups that the gateway listens to.
#[cold]
fn multicast(port: &PortInfo, ip: &Ip<'_>) -> Class {
    match ip {
        Ip::V6(ip) if ip.protocol() == PROTOCOL_ICMPV6 && !ip.is_fragment() && port.listens_to(ip.destination()) => {
            Class::Punt(PuntClass::SlowPath)
        }
        _ => Class::Drop(Verdict::Multicast),
    }
}

/// Whether one host has sent the packet to one other. What claims to come from many, from nobody or from the gateway's own loopback is not forwarded
/// either (RFC 1812 section 5.3.7).
#[inline]
pub(super) fn is_unicast(source: IpAddr, destination: IpAddr) -> bool {
    is_host(source) && is_host(destination) && destination != IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

#[inline]
const fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !(address.is_multicast() || address.is_broadcast() || address.is_unspecified() || address.is_loopback()),
        IpAddr::V6(address) => !(address.is_multicast() || address.is_loopback()),
    }
}

/// Whether the address is so plainly a host's that [`is_unicast`] and [`stays_on_link`] need not be asked, as nearly all are.
#[inline]
pub(super) fn is_plainly_host(address: IpAddr) -> bool {
    match address {
        // No loopback, no multicast.
        IpAddr::V4(address) => matches!(address.octets()[0], 1..=126 | 128..=223),
        // Neither :: and ::1 nor link-local and multicast addresses.
        IpAddr::V6(address) => matches!(address.octets()[0], 1..=0xfd),
    }
}

/// Whether no router may forward the packet: an end is link-local (RFC 4291 section 2.5.6), or its sender has no address yet (section 2.5.2).
#[inline]
pub(super) fn stays_on_link(source: IpAddr, destination: IpAddr) -> bool {
    source == IpAddr::V6(Ipv6Addr::UNSPECIFIED) || is_link_local(source) || is_link_local(destination)
}

#[inline]
const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[inline]
fn for_gateway(role: PortRole, ip: &Ip<'_>) -> Class {
    if ip.is_fragment() {
        return fragment(role, ip);
    }
    if matches!(ip, Ip::V6(ip) if ip.has_segments_left()) {
        // The gateway is no place to be routed through by the sender (RFC 5095).
        return Class::Drop(Verdict::UnwantedByGateway);
    }
    match (role, ip.protocol()) {
        // Peers are not called by addresses that mean nothing on other links.
        (_, PROTOCOL_ESP | PROTOCOL_AH | PROTOCOL_UDP) if is_link_local(ip.destination()) => Class::Drop(Verdict::UnwantedByGateway),
        (PortRole::Unprotected, PROTOCOL_ESP | PROTOCOL_AH) => ipsec(ip),
        (PortRole::Unprotected, PROTOCOL_UDP) => udp(ip),
        (_, PROTOCOL_ICMP) if matches!(ip, Ip::V4(_)) => Class::Punt(PuntClass::SlowPath),
        (_, PROTOCOL_ICMPV6) if matches!(ip, Ip::V6(_)) => Class::Punt(PuntClass::SlowPath),
        _ => Class::Drop(Verdict::UnwantedByGateway),
    }
}

/// Whatever has a use for the gateway whole is put together by the server: IKE and ICMP, and ESP and AH, which come back (RFC 4303 section 3.4.1). What later
/// fragments belong to cannot be told where an extension header comes first.
fn fragment(role: PortRole, ip: &Ip<'_>) -> Class {
    let icmp = match ip {
        Ip::V4(_) => PROTOCOL_ICMP,
        Ip::V6(_) => PROTOCOL_ICMPV6,
    };
    match (role, ip.protocol()) {
        (PortRole::Unprotected, PROTOCOL_ESP | PROTOCOL_AH | PROTOCOL_UDP) if !is_link_local(ip.destination()) => {
            Class::Punt(PuntClass::Fragment)
        }
        (_, protocol) if protocol == icmp => Class::Punt(PuntClass::Fragment),
        (_, PROTOCOL_DESTINATION_OPTIONS | PROTOCOL_ROUTING) if matches!(ip, Ip::V6(_)) => Class::Punt(PuntClass::Fragment),
        _ => Class::Drop(Verdict::UnwantedByGateway),
    }
}

#[inline]
fn ipsec(ip: &Ip<'_>) -> Class {
    match IpsecPacket::read(ip) {
        Ok(packet) => Class::Ipsec(packet),
        Err(error) => Class::Drop(inbound::verdict(error)),
    }
}

#[inline]
fn udp(ip: &Ip<'_>) -> Class {
    let Some(udp) = Udp::parse(ip.upper()) else { return Class::Drop(Verdict::MalformedIke) };
    let message = match udp.destination_port {
        PORT_IKE => udp.payload,
        PORT_NAT_T => match NatTraversal::parse(udp.payload) {
            Some(NatTraversal::Esp(_)) => return ipsec(ip),
            Some(NatTraversal::Keepalive) => return Class::Drop(Verdict::NatKeepalive),
            Some(NatTraversal::Ike(message)) => message,
            None => return Class::Drop(Verdict::EspRunt),
        },
        _ => return Class::Drop(Verdict::UnwantedByGateway),
    };
    match ike_class(message) {
        Some(class) if udp.checksum_ok(ip.source(), ip.destination()) => Class::Punt(class),
        _ => Class::Drop(Verdict::MalformedIke),
    }
}

/// The responder's SPI is zero in the first message of an exchange that anybody may start (RFC 7296 section 3.1). `None` where there is no whole
/// header.
fn ike_class(message: &[u8]) -> Option<PuntClass> {
    const HEADER_LEN: usize = 28;
    let responder = message.first_chunk::<HEADER_LEN>()?.get(8..16)?;
    Some(if responder.iter().all(|&octet| octet == 0) { PuntClass::IkeInit } else { PuntClass::IkeSession })
}

#[cfg(test)]
mod tests;
