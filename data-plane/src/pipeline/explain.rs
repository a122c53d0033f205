//! What would become of a packet: the functions that forward packets are asked, and nothing happens.
//!
//! No counter moves, no sequence number is taken, nobody is asked for an SA or a neighbour.

use ipsec_types::{ChildSaId, PolicyAction, PolicyId};
use packet::ethernet::MacAddress;

use super::Context;
use super::acquire::{Acquires, Outlook};
use super::classify::{self, Class};
use super::egress;
use super::outbound::{self, Outgoing, Ruling};
use crate::command::PortId;
use crate::table::sad::{SadEntry, Sas};
use crate::table::{NextHop, PortRole, SpdEntry};
use crate::verdict::Verdict;

/// A question, and its answer when it comes back from the worker.
#[derive(Debug)]
pub struct Inquiry {
    /// Tells it from others.
    pub id: u64,
    /// The port that the packet would arrive on.
    pub port: PortId,
    /// Its frame. The headers count; what is behind them may be missing.
    pub frame: Vec<u8>,
    /// Octets of the IP packet; `None` for as many as there are.
    pub len: Option<usize>,
    /// The answer.
    pub explanation: Option<Explanation>,
}

/// What would become of a packet, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// How it would end.
    pub fate: Fate,
    /// Octets of the packet.
    pub len: usize,
    /// The SPD entry that selects it.
    pub policy: Option<PolicyId>,
    /// The SA it would cross in.
    pub child_sa: Option<ChildSaId>,
    /// How it would leave.
    pub way: Option<Way>,
}

/// How a packet would end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// So, once its next hop is known.
    Verdict(Verdict),
    /// It matches PROTECT, and no SA covers it.
    NoSa(Outlook),
    /// It would be looked up by its SPI, which a flow does not tell.
    BySpi,
}

/// How a packet would leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The next hop.
    pub hop: NextHop,
    /// Its MAC address, where it is known.
    pub mac: Option<MacAddress>,
    /// Octets of what would leave: the outer packet, where there is one.
    pub sent_len: usize,
    /// The longest packet of this flow that would leave whole.
    pub mtu: usize,
}

/// Answers an inquiry.
pub(super) fn explain<B: packet::Buffer>(cx: Context<'_>, sas: Sas<'_>, acquires: &Acquires<B>, inquiry: &Inquiry) -> Explanation {
    let Some(port) = cx.snapshot.ports.port(inquiry.port) else { return ended(Verdict::NoPolicySet, 0) };
    let own_len = inquiry.frame.len().saturating_sub(packet::ethernet::HEADER_LEN);
    let len = inquiry.len.unwrap_or(own_len);
    match classify::classify(&cx.snapshot.ports, port, 0, &inquiry.frame) {
        Class::Drop(verdict) => ended(verdict, len),
        Class::Punt(class) => ended(classify::punted(class), len),
        Class::Ipsec(_) => Explanation { fate: Fate::BySpi, ..ended(Verdict::SpiUnknown, len) },
        Class::Outgoing(packet) => outgoing(cx, sas, acquires, &Outgoing { len, ..packet }),
        Class::Cleartext(packet) => cleartext(cx, &Outgoing { len, ..packet }, &inquiry.frame),
    }
}

const fn ended(verdict: Verdict, len: usize) -> Explanation {
    Explanation { fate: Fate::Verdict(verdict), len, policy: None, child_sa: None, way: None }
}

/// From the protected side.
fn outgoing<B: packet::Buffer>(cx: Context<'_>, sas: Sas<'_>, acquires: &Acquires<B>, packet: &Outgoing) -> Explanation {
    let Some(spd) = cx.snapshot.spd.as_deref() else { return ended(Verdict::NoPolicySet, packet.len) };
    let Some(entry) = spd.outbound(&packet.flow, packet.dscp) else { return ended(Verdict::NoPolicy, packet.len) };
    let ruling = outbound::rule(cx, sas, entry, packet);
    let fate = match &ruling {
        Ok(Ruling::Acquire) => Fate::NoSa(acquires.outlook(entry, cx.now_ms)),
        Ok(Ruling::Protect(through, ..)) if through.sa.outbound.is_exhausted() => Fate::Verdict(outbound::ended(&through.sa)),
        Ok(Ruling::Protect(..)) => Fate::Verdict(Verdict::Sealed),
        Ok(Ruling::Bypass(_)) => Fate::Verdict(Verdict::BypassedOutbound),
        Err(verdict) => Fate::Verdict(*verdict),
    };
    // Also where the ruling is that it does not fit.
    let (through, way) = way(cx, sas, entry, packet);
    Explanation { fate, len: packet.len, policy: Some(entry.id), child_sa: through.map(|through| through.sa.id), way }
}

/// The SA that a packet from the protected side would cross in, and the way it would leave, whether it fits or not.
pub(super) fn way<'a>(cx: Context<'_>, sas: Sas<'a>, entry: &SpdEntry, packet: &Outgoing) -> (Option<&'a SadEntry>, Option<Way>) {
    match entry.action {
        PolicyAction::Protect => {
            let through = sas.outbound(entry.slot, &packet.flow);
            (through, through.and_then(|through| in_tunnel(cx, through, packet)))
        }
        PolicyAction::Bypass => (None, in_the_clear(cx, packet)),
        PolicyAction::Discard => (None, None),
    }
}

/// In the clear from the unprotected side.
fn cleartext(cx: Context<'_>, packet: &Outgoing, frame: &[u8]) -> Explanation {
    let Some(spd) = cx.snapshot.spd.as_deref() else { return ended(Verdict::NoPolicySet, packet.len) };
    let Some(entry) = spd.inbound(&packet.flow) else { return ended(Verdict::NoPolicy, packet.len) };
    let (fate, way) = admitted(cx, entry, packet, frame);
    Explanation { way, policy: Some(entry.id), ..ended(fate, packet.len) }
}

fn admitted(cx: Context<'_>, entry: &SpdEntry, packet: &Outgoing, frame: &[u8]) -> (Verdict, Option<Way>) {
    if let Err(verdict) = classify::admit(entry) {
        return (verdict, None);
    }
    if cx.snapshot.ports.is_own(packet.flow.destination) {
        return (classify::for_inside(frame).map_or_else(|verdict| verdict, classify::punted), None);
    }
    let fate = egress::route_inside(cx, packet, Verdict::BypassedInbound).map_or_else(|verdict| verdict, |leaving| leaving.verdict);
    (fate, in_the_clear(cx, packet).filter(|way| cx.snapshot.ports.port(way.hop.port).is_some_and(|port| port.role == PortRole::Protected)))
}

/// The way through an SA.
fn in_tunnel(cx: Context<'_>, through: &SadEntry, packet: &Outgoing) -> Option<Way> {
    let tunnel = &through.tunnel();
    let layout = through.sa.outbound.layout();
    let exit = egress::route(cx, tunnel.ends.destination()).ok()?;
    let mtu = egress::inner_mtu(cx, through)?;
    Some(Way { hop: exit.hop, mac: cx.snapshot.neighbors.lookup(exit.hop), sent_len: tunnel.outer_len(layout, packet.len), mtu })
}

fn in_the_clear(cx: Context<'_>, packet: &Outgoing) -> Option<Way> {
    let exit = egress::route(cx, packet.flow.destination).ok()?;
    Some(Way { hop: exit.hop, mac: cx.snapshot.neighbors.lookup(exit.hop), sent_len: packet.len, mtu: exit.mtu })
}
