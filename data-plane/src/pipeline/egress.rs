//! The way out: route, MTU, next hop, Ethernet header.

use std::net::IpAddr;

use packet::Buffer;
use packet::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, HEADER_LEN, MacAddress};
use packet::ip;

use super::outbound::Outgoing;
use super::wait::Waiting;
use super::{Burst, Context, Io, cut};
use crate::command::PortId;
use crate::table::sad::SadEntry;
use crate::table::{NextHop, PortRole};
use crate::verdict::Verdict;

/// A packet that is ready to leave, from its IP header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub(super) index: usize,
    pub(super) hop: NextHop,
    /// Octets of the pieces to cut it into, where it does not leave whole.
    pub(super) cut: Option<usize>,
    /// What it counts as once it is sent.
    pub(super) verdict: Verdict,
}

/// Where the routes send a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    pub(super) hop: NextHop,
    pub(super) role: PortRole,
    /// The longest packet that the port sends, in octets.
    pub(super) mtu: usize,
}

impl Exit {
    /// How a packet leaves that is not to be sealed.
    ///
    /// # Errors
    /// [`Verdict::FragmentationNeeded`] where it is too long and may not be cut.
    #[inline]
    pub(super) fn in_the_clear(self, packet: &Outgoing, verdict: Verdict) -> Result<Leaving, Verdict> {
        let cut = match (packet.len > self.mtu, packet.dont_fragment) {
            (false, _) => None,
            (true, false) => Some(self.mtu),
            (true, true) => return Err(Verdict::FragmentationNeeded),
        };
        Ok(Leaving { index: packet.index, hop: self.hop, cut, verdict })
    }
}

/// The way to a destination.
///
/// # Errors
/// Why there is none.
#[inline]
pub(super) fn route(cx: Context<'_>, destination: IpAddr) -> Result<Exit, Verdict> {
    let hop = cx.snapshot.routes.lookup(destination).ok_or(Verdict::NoRoute)?;
    let port = cx.snapshot.ports.port(hop.port).ok_or(Verdict::NoRoute)?;
    Ok(Exit { hop, role: port.role, mtu: port.mtu })
}

/// The longest packet that crosses whole in an SA (RFC 4301 section 8.2.1); `None` where there is no way to its peer, or no room for any.
pub(super) fn inner_mtu(cx: Context<'_>, through: &SadEntry) -> Option<usize> {
    let exit = route(cx, through.tunnel().ends.destination()).ok()?;
    through.tunnel().inner_mtu(through.sa.outbound.layout(), through.outer_mtu(exit.mtu))
}

/// The way for a packet from the unprotected side, which may only go to the protected side: in the clear it must not turn back.
///
/// # Errors
/// Why there is none.
#[inline]
pub(super) fn route_inside(cx: Context<'_>, packet: &Outgoing, verdict: Verdict) -> Result<Leaving, Verdict> {
    let exit = route(cx, packet.flow.destination)?;
    let leaving = exit.in_the_clear(packet, verdict)?;
    if exit.role == PortRole::Protected { Ok(leaving) } else { Err(Verdict::NotThroughTunnel) }
}

/// The same, and the packet made ready to go there.
///
/// # Errors
/// Why it is dropped.
#[inline]
pub(super) fn to_protected<B: Buffer>(cx: Context<'_>, buffer: &mut B, packet: &Outgoing, verdict: Verdict) -> Result<Leaving, Verdict> {
    let leaving = route_inside(cx, packet, verdict)?;
    ip::decrement_hop_limit(buffer.bytes_mut()).map_err(|_| Verdict::TtlExceeded)?;
    Ok(leaving)
}

#[inline]
pub(super) fn stage<B: Buffer>(cx: Context<'_>, leaving: &[Leaving], burst: &mut Burst<B>, waiting: &mut Waiting<B>, io: &mut impl Io<B>) {
    for leaving in leaving {
        if let Some(packet) = burst.take(leaving.index) {
            depart(cx, packet, leaving.hop, leaving.cut, leaving.verdict, waiting, io);
        }
    }
}

/// Lets a packet leave from its IP header, in pieces of `cut` octets at most where it has to be cut.
#[inline]
pub(super) fn depart<B: Buffer>(
    cx: Context<'_>,
    packet: B,
    hop: NextHop,
    cut: Option<usize>,
    verdict: Verdict,
    waiting: &mut Waiting<B>,
    io: &mut impl Io<B>,
) {
    match cut {
        None => leave(cx, packet, hop, verdict, waiting, io),
        Some(mtu) => leave_in_pieces(cx, &packet, mtu, hop, verdict, waiting, io),
    }
}

#[inline]
fn leave<B: Buffer>(cx: Context<'_>, packet: B, hop: NextHop, verdict: Verdict, waiting: &mut Waiting<B>, io: &mut impl Io<B>) {
    match cx.snapshot.neighbors.lookup(hop) {
        Some(mac) => send(cx, packet, hop, mac, verdict, io),
        None => waiting.hold(cx, packet, hop, verdict),
    }
}

/// The first piece counts as the packet.
#[cold]
fn leave_in_pieces<B: Buffer>(
    cx: Context<'_>,
    packet: &B,
    mtu: usize,
    hop: NextHop,
    verdict: Verdict,
    waiting: &mut Waiting<B>,
    io: &mut impl Io<B>,
) {
    match cut::pieces(cx, packet, mtu, io) {
        Ok(pieces) => {
            let verdicts = std::iter::once(verdict).chain(std::iter::repeat(Verdict::FragmentSent));
            pieces.into_iter().zip(verdicts).for_each(|(piece, verdict)| leave(cx, piece, hop, verdict, waiting, io));
        }
        Err(verdict) => cx.stats().count(verdict),
    }
}

/// Puts the Ethernet header in front and sends.
#[inline]
pub(super) fn send<B: Buffer>(cx: Context<'_>, packet: B, hop: NextHop, mac: MacAddress, verdict: Verdict, io: &mut impl Io<B>) {
    let Some(header) = header_to(cx, hop, mac) else { return cx.stats().count(Verdict::NoRoute) };
    send_framed(cx, packet, &header, hop.port, verdict, io);
}

#[inline]
fn send_framed<B: Buffer>(cx: Context<'_>, mut packet: B, header: &[u8; HEADER_LEN], port: PortId, verdict: Verdict, io: &mut impl Io<B>) {
    let Some(front) = packet.prepend(HEADER_LEN).and_then(<[u8]>::first_chunk_mut) else { return cx.stats().count(Verdict::NoRoom) };
    *front = *header;
    io.transmit(cx.stats(), port, packet, verdict);
}

/// The Ethernet header of packets to a next hop whose MAC address is known.
pub(super) fn ethernet_header(cx: Context<'_>, hop: NextHop) -> Option<[u8; HEADER_LEN]> {
    header_to(cx, hop, cx.snapshot.neighbors.lookup(hop)?)
}

#[inline]
fn header_to(cx: Context<'_>, hop: NextHop, mac: MacAddress) -> Option<[u8; HEADER_LEN]> {
    let port = cx.snapshot.ports.port(hop.port)?;
    // Packet and next hop are of the same version.
    let ethertype = match hop.address {
        IpAddr::V4(_) => ETHERTYPE_IPV4,
        IpAddr::V6(_) => ETHERTYPE_IPV6,
    };
    Some(EthernetHeader { destination: mac, source: port.mac, ethertype }.to_octets())
}
