//! What each frame is: for the gateway, from the protected side, ESP, or cleartext from the unprotected side.

use packet::Buffer;
use packet::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, EthernetHeader};
use packet::ipv4::{Ipv4, PROTOCOL_ESP, PROTOCOL_ICMP, PROTOCOL_UDP};
use packet::udp::{NatTraversal, PORT_IKE, PORT_NAT_T, Udp};

use super::inbound::{self, Received};
use super::outbound::{Outgoing, Source};
use super::{Burst, Context, Sorted, egress};
use crate::command::{Origin, PortId, PuntClass};
use crate::table::{PortInfo, PortRole, Ports, SpdEntry};
use crate::verdict::Verdict;
use esp::open::EspPacket;
use ipsec_types::PolicyAction;

/// What a frame is. Positions count from the IPv4 header.
pub(super) enum Class {
    Drop(Verdict),
    Punt(PuntClass),
    /// From the protected side, to be forwarded.
    Outgoing(Outgoing),
    /// From the unprotected side in the clear, to be forwarded or for an address of the gateway inside the boundary.
    Cleartext(Outgoing),
    /// ESP for the gateway.
    Esp(EspPacket),
}

/// Sorts the frames of a burst and takes the Ethernet headers off those that go on.
#[inline]
pub(super) fn stage<B: Buffer>(cx: Context<'_>, from: PortId, burst: &mut Burst<B>, sorted: &mut Sorted) {
    let Some(port) = cx.snapshot.ports.port(from) else {
        return (0..burst.packets.len()).for_each(|index| cx.drop(burst, index, Verdict::NoPolicySet));
    };
    for index in 0..burst.packets.len() {
        let Some(packet) = burst.get_mut(index) else { continue };
        match classify(&cx.snapshot.ports, port, index, packet.bytes()) {
            Class::Drop(verdict) => cx.drop(burst, index, verdict),
            Class::Punt(class) => punt(cx, burst, index, class, Origin::Port(from)),
            Class::Outgoing(outgoing) => {
                if packet.trim_front(ethernet::HEADER_LEN).is_some() {
                    sorted.outgoing.push(outgoing);
                }
            }
            Class::Cleartext(transit) => cleartext(cx, from, burst, &transit, sorted),
            Class::Esp(esp) => {
                if packet.trim_front(ethernet::HEADER_LEN).is_some() {
                    sorted.received.push(Received { index, esp });
                }
            }
        }
    }
}

/// The same for ESP packets that another worker has classified: their headers are read again.
#[inline]
pub(super) fn handed_off<B: Buffer>(cx: Context<'_>, burst: &mut Burst<B>, sorted: &mut Sorted) {
    for index in 0..burst.packets.len() {
        let Some(packet) = burst.get(index) else { continue };
        match EspPacket::parse(packet.bytes()) {
            Ok(esp) => sorted.received.push(Received { index, esp }),
            Err(error) => cx.drop(burst, index, inbound::verdict(error)),
        }
    }
}

/// Copies a packet to the server.
pub(super) fn punt<B: Buffer>(cx: Context<'_>, burst: &mut Burst<B>, index: usize, class: PuntClass, origin: Origin) {
    let taken = burst.get(index).is_some_and(|packet| cx.end.punt(class, origin, packet.bytes()));
    cx.drop(burst, index, if taken { punted(class) } else { Verdict::PuntOverflow });
}

/// What a packet that was given to the server counts as.
pub(super) const fn punted(class: PuntClass) -> Verdict {
    match class {
        PuntClass::IkeSession | PuntClass::IkeInit => Verdict::PuntedIke,
        PuntClass::SlowPath => Verdict::PuntedSlowPath,
        PuntClass::Fragment => Verdict::PuntedFragment,
    }
}

/// Cleartext from the unprotected side crosses the boundary only where the SPD says BYPASS (RFC 4301 section 5.2).
fn cleartext<B: Buffer>(cx: Context<'_>, from: PortId, burst: &mut Burst<B>, transit: &Outgoing, sorted: &mut Sorted) {
    let verdict = match cx.snapshot.spd.as_deref().map(|spd| spd.inbound(&transit.flow)) {
        None => Verdict::NoPolicySet,
        Some(None) => Verdict::NoPolicy,
        Some(Some(entry)) => {
            cx.stats().count_policy(entry.slot, transit.len);
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

/// Goes on as if it had come from the protected side: to a host there, or to the gateway, which takes neither IKE nor ESP so.
fn bypass<B: Buffer>(cx: Context<'_>, from: PortId, burst: &mut Burst<B>, transit: &Outgoing, sorted: &mut Sorted) {
    let Outgoing { index, destination, .. } = *transit;
    let Some(packet) = burst.get_mut(index) else { return };
    if cx.snapshot.ports.is_own(destination) {
        return match for_inside(packet.bytes()) {
            Ok(class) => punt(cx, burst, index, class, Origin::Port(from)),
            Err(verdict) => cx.drop(burst, index, verdict),
        };
    }
    if packet.trim_front(ethernet::HEADER_LEN).is_none() {
        return cx.drop(burst, index, Verdict::MalformedFrame);
    }
    match egress::to_protected(cx, burst, transit) {
        Ok(hop) => sorted.leaving.push(egress::Leaving { index, hop, verdict: Verdict::BypassedInbound }),
        Err(verdict) => cx.drop(burst, index, verdict),
    }
}

/// What a frame for an address of the gateway inside the boundary is.
///
/// # Errors
/// Why it is dropped.
pub(super) fn for_inside(frame: &[u8]) -> Result<PuntClass, Verdict> {
    let bytes = frame.get(ethernet::HEADER_LEN..).unwrap_or_default();
    match Ipv4::parse(bytes).map(|ip| for_gateway(PortRole::Protected, &ip, bytes)) {
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
    match ethernet.ethertype {
        ETHERTYPE_IPV4 => {}
        ETHERTYPE_ARP => return Class::Punt(PuntClass::SlowPath),
        _ => return Class::Drop(Verdict::UnknownEthertype),
    }
    let bytes = frame.get(ethernet::HEADER_LEN..).unwrap_or_default();
    let Ok(ip) = Ipv4::parse(bytes) else { return Class::Drop(Verdict::MalformedIp) };
    // A group frame with a unicast packet is not to be forwarded either (RFC 1122 section 3.3.6).
    if ethernet.destination.is_group() || !is_unicast(&ip) {
        return Class::Drop(Verdict::Multicast);
    }
    let for_us = match port.role {
        PortRole::Protected => ports.is_own(ip.destination()),
        // Its other addresses are behind the boundary: the SPD is asked.
        PortRole::Unprotected => ports.is_own_outer(ip.destination()),
    };
    if for_us {
        return for_gateway(port.role, &ip, bytes);
    }
    let transit = Outgoing::new(index, &ip, Source::Forwarded);
    match port.role {
        PortRole::Protected => Class::Outgoing(transit),
        PortRole::Unprotected => Class::Cleartext(transit),
    }
}

pub(super) fn is_unicast(ip: &Ipv4<'_>) -> bool {
    let destination = ip.destination();
    !(destination.is_multicast() || destination.is_broadcast() || destination.is_unspecified() || destination.is_loopback())
}

#[inline]
fn for_gateway(role: PortRole, ip: &Ipv4<'_>, bytes: &[u8]) -> Class {
    if ip.is_fragment() {
        return fragment(role, ip.protocol());
    }
    match (role, ip.protocol()) {
        (PortRole::Unprotected, PROTOCOL_ESP) => esp(bytes),
        (PortRole::Unprotected, PROTOCOL_UDP) => udp(ip, bytes),
        (_, PROTOCOL_ICMP) => Class::Punt(PuntClass::SlowPath),
        _ => Class::Drop(Verdict::UnwantedByGateway),
    }
}

/// Whatever is punted whole is punted in fragments, too. Those of ESP in UDP cannot be told from those of IKE here.
fn fragment(role: PortRole, protocol: u8) -> Class {
    match (role, protocol) {
        (PortRole::Unprotected, PROTOCOL_ESP) => Class::Drop(Verdict::EspFragment),
        (PortRole::Unprotected, PROTOCOL_UDP) | (_, PROTOCOL_ICMP) => Class::Punt(PuntClass::Fragment),
        _ => Class::Drop(Verdict::UnwantedByGateway),
    }
}

#[inline]
fn esp(bytes: &[u8]) -> Class {
    match EspPacket::parse(bytes) {
        Ok(esp) => Class::Esp(esp),
        Err(error) => Class::Drop(inbound::verdict(error)),
    }
}

#[inline]
fn udp(ip: &Ipv4<'_>, bytes: &[u8]) -> Class {
    let Some(udp) = Udp::parse(ip.payload()) else { return Class::Drop(Verdict::MalformedIke) };
    let message = match udp.destination_port {
        PORT_IKE => udp.payload,
        PORT_NAT_T => match NatTraversal::parse(udp.payload) {
            Some(NatTraversal::Esp(_)) => return esp(bytes),
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
