//! ESP and AH for the gateway: the SA is looked up, the replay window looks, and after the cipher it advances (RFC 4301 section 5.2, RFC 4303 section
//! 3.4, RFC 4302 section 3.4).

use arrayvec::ArrayVec;
use esp::Accepted;
use esp::open::{self, IpsecPacket, OpenError, OpenPlan, Opened};
use ipsec_types::{Dscp, Mode};
use packet::Buffer;
use packet::ip::Ip;
use packet::ipv4::PROTOCOL_ICMP;
use packet::ipv6::PROTOCOL_ICMPV6;

use super::crypto::Authentic;
use super::egress::{self, Leaving};
use super::outbound::{Outgoing, Source};
use super::refuse::Refusals;
use super::{Arrival, BURST, Burst, Context, Io, classify, mss};
use crate::command::{InstalledSa, Notice, Origin, PuntClass};
use crate::table::sad::{SadEntry, Sas, Windows};
use crate::verdict::Verdict;

/// An ESP or AH packet for the gateway.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) index: usize,
    pub(super) packet: IpsecPacket,
}

/// A packet that waits for the cipher.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) index: usize,
    pub(super) entry: &'a SadEntry,
    pub(super) packet: IpsecPacket,
    pub(super) plan: OpenPlan<'a>,
}

/// When an unknown SPI was reported last.
#[derive(Debug, Default)]
pub(super) struct SpiMisses {
    last_ms: u64,
}

impl SpiMisses {
    /// One in ten milliseconds: enough to notice a peer that restarted, too few to flood the server.
    fn report(&mut self, cx: Context<'_>, packet: &IpsecPacket) {
        const INTERVAL_MS: u64 = 10;
        if self.last_ms == 0 || cx.now_ms >= self.last_ms + INTERVAL_MS {
            self.last_ms = cx.now_ms;
            cx.notify(Notice::SpiMiss { spi: packet.spi, local: packet.destination, remote: packet.source });
        }
    }
}

#[inline]
#[expect(clippy::too_many_arguments, reason = "a stage names all it touches")]
pub(super) fn stage<'a, B: Buffer>(
    cx: Context<'_>,
    sas: Sas<'a>,
    windows: &Windows<'_>,
    received: &[Received],
    burst: &mut Burst<B>,
    misses: &mut SpiMisses,
    arrival: Arrival,
    io: &mut impl Io<B>,
) -> ArrayVec<Opening<'a>, BURST> {
    let mut opens = ArrayVec::new();
    for &Received { index, packet } in received {
        let Some(buffer) = burst.get_mut(index) else { continue };
        let Some(entry) = sas.inbound(packet.spi) else {
            misses.report(cx, &packet);
            cx.drop(burst, index, Verdict::SpiUnknown);
            continue;
        };
        let sa = &entry.sa;
        let Some(window) = windows.of(sa.slot) else {
            match arrival {
                // One that was handed over once is not handed on: tables may differ for a moment.
                Arrival::OnPort if sa.owner != cx.end.id() => {
                    if let Some(packet) = burst.take(index) {
                        io.hand_off(cx.stats(), sa.owner, packet);
                    }
                }
                _ => cx.drop(burst, index, Verdict::SpiUnknown),
            }
            continue;
        };
        if sa.inbound.layout().mode() == Mode::Transport && !entry.tunnel.joins(packet.destination, packet.source) {
            cx.drop(burst, index, Verdict::NotEndToEnd);
            continue;
        }
        match open::prepare(&sa.inbound, window, &packet, buffer) {
            Ok(plan) => opens.push(Opening { index, entry, packet, plan }),
            Err(error) => cx.drop(burst, index, verdict(error)),
        }
    }
    opens
}

/// After the cipher: what is authentic, accepted and permitted leaves on the protected side.
#[inline]
pub(super) fn post<B: Buffer>(
    cx: Context<'_>,
    opens: ArrayVec<Opening<'_>, BURST>,
    authentic: Authentic,
    windows: &mut Windows<'_>,
    burst: &mut Burst<B>,
    refusals: &mut Refusals,
    leaving: &mut ArrayVec<Leaving, BURST>,
) {
    for (place, Opening { index, entry, packet, plan }) in opens.into_iter().enumerate() {
        let sa = &entry.sa;
        let (Some(buffer), Some(window)) = (burst.get_mut(index), windows.of_mut(sa.slot)) else { continue };
        match plan.finish(authentic.contains(place), window, buffer) {
            Ok(opened) => {
                if !alive(cx, sa, opened.inner.total_len()) {
                    cx.drop(burst, index, Verdict::HardLimit);
                    continue;
                }
                if opened.accepted == Accepted::Newest {
                    watch_peer(cx, entry, &packet);
                }
                deliver(cx, entry, index, &opened, burst, refusals, leaving);
            }
            Err(error) => {
                // An authentic packet counts, whatever is wrong inside.
                let authentic = !matches!(error, OpenError::Integrity | OpenError::Replay | OpenError::OutOfWindow);
                let spent = authentic && !alive(cx, sa, 0);
                cx.drop(burst, index, if spent { Verdict::HardLimit } else { verdict(error) });
            }
        }
    }
}

/// The peer has sent an authentic packet: it holds the SA, so what we send on the other half will be understood (RFC 7296 section 2.8). False where
/// the SA has reached its hard limit before.
#[inline]
fn alive(cx: Context<'_>, sa: &InstalledSa, octets: usize) -> bool {
    if !sa.state.count_inbound(octets, cx.now_ms) {
        sa.state.report_spent(|| cx.notify(Notice::Spent(sa.id)));
        return false;
    }
    cx.stats().count_policy(sa.policy, 1, octets as u64);
    if !sa.state.is_active() && sa.state.activate() {
        cx.notify(Notice::Activated(sa.id));
    }
    true
}

/// Only the newest packet tells where the peer is: an old one may have been held back by anybody. Nor does one tell that came without UDP where the
/// SA has it, or with it where it has none: a peer may send either (RFC 7296 section 2.23), but what a NAT maps is the port we know.
#[inline]
fn watch_peer(cx: Context<'_>, entry: &SadEntry, packet: &IpsecPacket) {
    let SadEntry { sa, tunnel, .. } = entry;
    let port = packet.udp.map(|ports| ports.source);
    let ours = tunnel.udp.map(|ports| ports.destination);
    let moved = port.is_some() == ours.is_some() && (packet.source, port) != (tunnel.ends.destination(), ours);
    if moved && sa.state.may_report_move(cx.now_ms) {
        cx.notify(Notice::PeerMoved { child_sa: sa.id, address: packet.source, port });
    }
}

fn deliver<B: Buffer>(
    cx: Context<'_>,
    entry: &SadEntry,
    index: usize,
    opened: &Opened,
    burst: &mut Burst<B>,
    refusals: &mut Refusals,
    leaving: &mut ArrayVec<Leaving, BURST>,
) {
    let Opened { flow, inner: parsed, .. } = *opened;
    let (len, dont_fragment) = (parsed.total_len(), parsed.dont_fragment());
    if cx.snapshot.ports.is_own(flow.destination) {
        return for_gateway(cx, &entry.sa, index, flow.protocol, burst);
    }
    if !classify::is_unicast(flow.source, flow.destination) {
        return cx.drop(burst, index, Verdict::Multicast);
    }
    if classify::stays_on_link(flow.source, flow.destination) {
        return cx.drop(burst, index, Verdict::LinkLocal);
    }
    if let Some(packet) = burst.get_mut(index) {
        mss::clamp(cx, entry, flow.protocol, packet);
    }
    // Only the way in is looked for, for which classes do not count.
    let transit = Outgoing { index, flow, dscp: Dscp::DEFAULT, parsed, len, dont_fragment, source: Source::Forwarded };
    match egress::to_protected(cx, burst, &transit, Verdict::Opened) {
        Ok(packet) => leaving.push(packet),
        Err(verdict) => {
            let packet = burst.get(index).map(Buffer::bytes).unwrap_or_default();
            refusals.report_inside(cx, &transit, packet, verdict);
            cx.drop(burst, index, verdict);
        }
    }
}

/// Out of an SA the gateway takes ICMP alone.
#[cold]
fn for_gateway<B: Buffer>(cx: Context<'_>, sa: &InstalledSa, index: usize, protocol: u8, burst: &mut Burst<B>) {
    let Some(Ok(inner)) = burst.get(index).map(|packet| Ip::parse(packet.bytes())) else {
        return cx.drop(burst, index, Verdict::MalformedInner);
    };
    let class = if inner.is_fragment() { PuntClass::Fragment } else { PuntClass::SlowPath };
    match protocol {
        PROTOCOL_ICMP | PROTOCOL_ICMPV6 => classify::punt(cx, burst, index, class, Origin::Tunnel(sa.id)),
        _ => cx.drop(burst, index, Verdict::UnwantedByGateway),
    }
}

/// The counter of each reason not to open.
pub(super) fn verdict(error: OpenError) -> Verdict {
    match error {
        // Fragments were punted: none comes here.
        OpenError::MalformedOuter | OpenError::Fragment => Verdict::MalformedIp,
        OpenError::NoTailroom => Verdict::NoRoom,
        OpenError::NotIpsec => Verdict::UnwantedByGateway,
        OpenError::Runt => Verdict::EspRunt,
        OpenError::WrongSpi => Verdict::SpiUnknown,
        OpenError::Replay => Verdict::Replay,
        OpenError::OutOfWindow => Verdict::OutOfWindow,
        OpenError::Integrity => Verdict::Integrity,
        OpenError::BadPadding => Verdict::BadPadding,
        OpenError::BadNextHeader(_) => Verdict::BadNextHeader,
        OpenError::Dummy => Verdict::Dummy,
        OpenError::MalformedInner => Verdict::MalformedInner,
        OpenError::Congestion => Verdict::Congestion,
        OpenError::SelectorMismatch => Verdict::SelectorMismatch,
    }
}
