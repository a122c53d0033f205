//! The way out: route, MTU, next hop, Ethernet header.

use std::net::IpAddr;

use packet::Buffer;
use packet::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, HEADER_LEN, MacAddress};
use packet::ip;

use super::outbound::Outgoing;
use super::wait::Waiting;
use super::{Burst, Context, Io};
use crate::table::{NextHop, PortRole};
use crate::verdict::Verdict;

/// A packet that is ready to leave, from its IP header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub(super) index: usize,
    pub(super) hop: NextHop,
    /// What it counts as once it is sent.
    pub(super) verdict: Verdict,
}

/// Where the routes send a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    pub(super) hop: NextHop,
    pub(super) role: PortRole,
}

/// The way for a packet of `len` octets.
///
/// # Errors
/// Why there is none.
#[inline]
pub(super) fn route(cx: Context<'_>, destination: IpAddr, len: usize, dont_fragment: bool) -> Result<Exit, Verdict> {
    let hop = cx.snapshot.routes.lookup(destination).ok_or(Verdict::NoRoute)?;
    let port = cx.snapshot.ports.port(hop.port).ok_or(Verdict::NoRoute)?;
    if len > port.mtu {
        return Err(if dont_fragment { Verdict::FragmentationNeeded } else { Verdict::TooBig });
    }
    Ok(Exit { hop, role: port.role })
}

/// The way for a packet from the unprotected side, which may only go to the protected side: in the clear it must not turn back.
///
/// # Errors
/// Why there is none.
#[inline]
pub(super) fn route_inside(cx: Context<'_>, packet: &Outgoing) -> Result<NextHop, Verdict> {
    let exit = route(cx, packet.flow.destination, packet.len, packet.dont_fragment)?;
    if exit.role == PortRole::Protected { Ok(exit.hop) } else { Err(Verdict::NotThroughTunnel) }
}

/// The same, and the packet made ready to go there.
///
/// # Errors
/// Why it is dropped.
#[inline]
pub(super) fn to_protected<B: Buffer>(cx: Context<'_>, burst: &mut Burst<B>, packet: &Outgoing) -> Result<NextHop, Verdict> {
    let hop = route_inside(cx, packet)?;
    let buffer = burst.get_mut(packet.index).ok_or(Verdict::MalformedIp)?;
    ip::decrement_hop_limit(buffer.bytes_mut()).map_err(|_| Verdict::TtlExceeded)?;
    Ok(hop)
}

#[inline]
pub(super) fn stage<B: Buffer>(cx: Context<'_>, leaving: &[Leaving], burst: &mut Burst<B>, waiting: &mut Waiting<B>, io: &mut impl Io<B>) {
    for leaving in leaving {
        let Some(packet) = burst.take(leaving.index) else { continue };
        match cx.snapshot.neighbors.lookup(leaving.hop) {
            Some(mac) => send(cx, packet, leaving.hop, mac, leaving.verdict, io),
            None => waiting.hold(cx, packet, leaving.hop, leaving.verdict),
        }
    }
}

/// Puts the Ethernet header in front and sends.
#[inline]
pub(super) fn send<B: Buffer>(cx: Context<'_>, mut packet: B, hop: NextHop, mac: MacAddress, verdict: Verdict, io: &mut impl Io<B>) {
    let Some(port) = cx.snapshot.ports.port(hop.port) else { return cx.stats().count(Verdict::NoRoute) };
    // Packet and next hop are of the same version.
    let ethertype = match hop.address {
        IpAddr::V4(_) => ETHERTYPE_IPV4,
        IpAddr::V6(_) => ETHERTYPE_IPV6,
    };
    let header = EthernetHeader { destination: mac, source: port.mac, ethertype };
    let Some(front) = packet.prepend(HEADER_LEN) else { return cx.stats().count(Verdict::NoRoom) };
    front.copy_from_slice(&header.to_octets());
    io.transmit(cx.stats(), hop.port, packet, verdict);
}
