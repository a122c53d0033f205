//! After the cipher: what is authentic, accepted and permitted leaves on the protected side (RFC 4301 section 5.2).

use std::net::IpAddr;

use esp::open::{IpsecPacket, OpenError, OpenPlan, Opened, TunnelSa};
use esp::{Accepted, ReplayWindow};
use esp_crypto::Verified;
use ipsec_types::{Dscp, Flow};
use packet::Buffer;
use packet::ethernet::HEADER_LEN;
use packet::ip::Ip;
use packet::ipv4::{self, PROTOCOL_ICMP, PROTOCOL_IPV4};
use packet::ipv6::{self, PROTOCOL_ICMPV6};

use super::egress::{self, Leaving};
use super::flow_cache::{DeliveryCache, Way};
use super::inbound::{Opening, Openings, verdict};
use super::outbound::{Outgoing, Source};
use super::refuse::Refusals;
use super::wait::Waiting;
use super::{Burst, Context, Io, classify, mss};
use crate::command::{InstalledSa, Notice, Origin, PuntClass};
use crate::installed_sa::InboundMeter;
use crate::table::sad::{SadEntry, Windows};
use crate::verdict::Verdict;

/// Where packets go that were opened, and what is learnt on the way.
pub(super) struct Deliveries<'s, B> {
    pub(super) refusals: &'s mut Refusals,
    pub(super) waiting: &'s mut Waiting<B>,
    pub(super) ways: &'s mut DeliveryCache,
}

/// What the cipher has said of a burst is acted upon.
#[inline]
pub(super) fn stage<B: Buffer>(
    cx: Context<'_>,
    openings: &Openings<'_>,
    verified: Verified,
    windows: &mut Windows<'_>,
    burst: &mut Burst<B>,
    deliveries: &mut Deliveries<'_, B>,
    io: &mut impl Io<B>,
) {
    for (index, verdict) in &openings.refused {
        cx.drop(burst, (*index).into(), *verdict);
    }
    let mut plans = openings.plans.iter();
    let mut behind = 0;
    for packets in openings.packets.chunk_by(|one, next| std::ptr::eq(one.entry, next.entry)) {
        let jobs = behind..behind + packets.len();
        behind = jobs.end;
        let Some(Opening { entry, .. }) = packets.first() else { continue };
        let Some(window) = windows.of_mut(entry.slot()) else { continue };
        let mut run = Run { entry, meter: entry.sa.state.inbound_meter() };
        let authentic = jobs.map(|job| verified.contains(job));
        match TunnelSa::of(&entry.sa.inbound) {
            Some(sa) => {
                for (Opening { received, number, .. }, authentic) in packets.iter().zip(authentic) {
                    let Some(mut frame) = burst.take(received.index.into()) else { continue };
                    let sender = sender(entry, &received.packet, &frame);
                    let result = sa.finish(&received.packet, *number, authentic, HEADER_LEN, window, &mut frame);
                    run.conclude(cx, result, sender, frame, deliveries, io);
                }
            }
            None => {
                for ((opening, authentic), plan) in packets.iter().zip(authentic).zip(&mut plans) {
                    finish_other(cx, &mut run, opening, plan, authentic, window, burst, deliveries, io);
                }
            }
        }
        run.end(cx);
    }
}

/// A packet that is not of ESP in tunnel mode.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "a stage names all it touches")]
fn finish_other<B: Buffer>(
    cx: Context<'_>,
    run: &mut Run<'_>,
    opening: &Opening<'_>,
    plan: &OpenPlan<'_>,
    authentic: bool,
    window: &mut ReplayWindow,
    burst: &mut Burst<B>,
    deliveries: &mut Deliveries<'_, B>,
    io: &mut impl Io<B>,
) {
    let Some(mut packet) = burst.take(opening.received.index.into()) else { return };
    let sender = sender(run.entry, &opening.received.packet, &packet);
    // There is room where its headers were.
    let result = plan.finish(authentic, window, &mut packet).and_then(|opened| {
        packet.prepend(HEADER_LEN).ok_or(OpenError::MalformedInner)?;
        Ok(opened)
    });
    run.conclude(cx, result, sender, packet, deliveries, io);
}

/// Packets of one SA that follow one another: they are counted in registers.
struct Run<'a> {
    entry: &'a SadEntry,
    meter: InboundMeter,
}

impl Run<'_> {
    /// The peer has sent an authentic packet: it holds the SA, so what we send on the other half will be understood (RFC 7296 section 2.8). False where
    /// the SA has reached its hard limit before.
    #[inline]
    fn count(&mut self, cx: Context<'_>, octets: usize) -> bool {
        let is_first = self.meter.counted().0 == 0;
        let counted = self.meter.count(octets);
        if !counted || is_first {
            self.tell(cx, counted);
        }
        counted
    }

    /// What the server is told when an SA has carried its first packet, or its last.
    #[inline(never)]
    fn tell(&self, cx: Context<'_>, counted: bool) {
        let sa = &self.entry.sa;
        if !counted {
            sa.state.report_spent(|| cx.notify(Notice::Spent(sa.id)));
        } else if !sa.state.is_active() && sa.state.activate() {
            cx.notify(Notice::Activated(sa.id));
        }
    }

    /// A packet that is opened, or not: with room for an Ethernet header in front, it is counted and goes on.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is known of the packet costs more to be copied than to be used")]
    fn conclude<B: Buffer>(
        &mut self,
        cx: Context<'_>,
        result: Result<Opened, OpenError>,
        sender: Option<Sender>,
        frame: B,
        deliveries: &mut Deliveries<'_, B>,
        io: &mut impl Io<B>,
    ) {
        match result {
            Ok(opened) if self.count(cx, opened.inner.total_len()) => {
                if let Some(sender) = sender.filter(|_| opened.accepted == Accepted::Newest) {
                    watch_peer(cx, self.entry, sender);
                }
                deliver(cx, self.entry, &opened, frame, deliveries, io);
            }
            Ok(_) => cx.stats().count(Verdict::HardLimit),
            Err(error) => self.refuse(cx, error),
        }
    }

    /// A packet that is not opened. One that is authentic counts, whatever is wrong inside.
    #[cold]
    fn refuse(&mut self, cx: Context<'_>, error: OpenError) {
        let forged = matches!(error, OpenError::Integrity | OpenError::Replay | OpenError::OutOfWindow);
        cx.stats().count(if forged || self.count(cx, 0) { verdict(error) } else { Verdict::HardLimit });
    }

    #[inline]
    fn end(&self, cx: Context<'_>) {
        let sa = &self.entry.sa;
        let (packets, octets) = self.meter.counted();
        sa.state.give_back(&self.meter, cx.now_ms);
        cx.stats().count_policy(self.entry.policy, u32::try_from(packets).unwrap_or(u32::MAX), octets);
    }
}

/// Address, and port where it came in UDP.
type Sender = (IpAddr, Option<u16>);

/// Where a packet came from that is not opened yet, where that is not where the SA leads.
#[inline]
fn sender<B: Buffer>(entry: &SadEntry, packet: &IpsecPacket, buffer: &B) -> Option<Sender> {
    if packet.is_from_peer(buffer.bytes(), &entry.template) { None } else { read_sender(packet, buffer.bytes()) }
}

#[cold]
fn read_sender(packet: &IpsecPacket, octets: &[u8]) -> Option<Sender> {
    let (source, _) = packet.ends(octets)?;
    Some((source, packet.source_port(octets)))
}

/// A packet came from elsewhere than where the SA leads. Only the newest packet tells where the peer is: an old one may have been held back by anybody. Nor
/// does one tell that came without UDP where the SA has it, or with it where it has none: a peer may send either (RFC 7296 section 2.23), but what a NAT maps
/// is the port we know.
#[cold]
fn watch_peer(cx: Context<'_>, entry: &SadEntry, (address, port): Sender) {
    let (sa, tunnel) = (&entry.sa, entry.tunnel());
    if port.is_some() == tunnel.udp.is_some() && sa.state.may_report_move(cx.now_ms) {
        cx.notify(Notice::PeerMoved { child_sa: sa.id, address, port });
    }
}

/// Sends a packet that came out of an SA on its way.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what is known of the packet costs more to be copied than to be used")]
fn deliver<B: Buffer>(
    cx: Context<'_>,
    entry: &SadEntry,
    opened: &Opened,
    mut frame: B,
    deliveries: &mut Deliveries<'_, B>,
    io: &mut impl Io<B>,
) {
    let Some((ethernet, packet)) = frame.bytes_mut().split_first_chunk_mut() else { return cx.stats().count(Verdict::MalformedInner) };
    let Some(way) = known_way(deliveries.ways, opened, packet) else {
        return ask(cx, entry, opened, frame, deliveries, io);
    };
    mss::clamp(cx, entry, opened.protocol, packet);
    if opened.inner.decrement_hop_limit(packet).is_ok() {
        *ethernet = way.ethernet;
        io.transmit(cx.stats(), way.port, frame, Verdict::Opened);
    } else {
        refuse(cx, opened, packet, Verdict::TtlExceeded, deliveries.refusals);
    }
}

/// The way to where others went before, for a packet that fits it and is from a host.
#[inline(always)]
#[expect(clippy::inline_always, reason = "of whichever version the packet is, half of it is left")]
fn known_way<'w>(ways: &'w DeliveryCache, opened: &Opened, packet: &[u8]) -> Option<&'w Way> {
    let way = if opened.inner.protocol() == PROTOCOL_IPV4 {
        let (source, destination) = ipv4::ends(packet)?;
        ways.find(destination.into()).filter(|_| classify::is_plainly_host(source.into()))
    } else {
        let (source, destination) = ipv6::ends(packet)?;
        ways.find(destination.into()).filter(|_| classify::is_plainly_host(source.into()))
    };
    way.filter(|way| opened.inner.total_len() <= way.longest as usize)
}

/// The tables say where a packet goes that came out of an SA.
#[inline(never)]
fn ask<B: Buffer>(
    cx: Context<'_>,
    entry: &SadEntry,
    opened: &Opened,
    mut packet: B,
    deliveries: &mut Deliveries<'_, B>,
    io: &mut impl Io<B>,
) {
    if packet.trim_front(HEADER_LEN).is_none() {
        return cx.stats().count(Verdict::MalformedInner);
    }
    let Ok(flow) = Ip::parse(packet.bytes()).map(|inner| inner.flow()) else { return cx.stats().count(Verdict::MalformedInner) };
    let Flow { source, destination, protocol, .. } = flow;
    if cx.snapshot.ports.is_own(destination) {
        return for_gateway(cx, &entry.sa, &packet);
    }
    if !classify::is_unicast(source, destination) {
        return cx.stats().count(Verdict::Multicast);
    }
    if classify::stays_on_link(source, destination) {
        return cx.stats().count(Verdict::LinkLocal);
    }
    mss::clamp(cx, entry, protocol, packet.bytes_mut());
    let transit = transit(opened, flow);
    match egress::to_protected(cx, &mut packet, &transit, Verdict::Opened) {
        Ok(Leaving { hop, cut, verdict, .. }) => {
            if let (Some(port), Some(ethernet)) = (cx.snapshot.ports.port(hop.port), egress::ethernet_header(cx, hop)) {
                deliveries.ways.keep(destination, Way::new(port.mtu, hop.port, ethernet));
            }
            egress::depart(cx, packet, hop, cut, verdict, deliveries.waiting, io);
        }
        Err(verdict) => refuse(cx, opened, packet.bytes(), verdict, deliveries.refusals),
    }
}

/// Only the way in is looked for, for which classes do not count.
fn transit(Opened { inner, .. }: &Opened, flow: Flow) -> Outgoing {
    let inner = *inner;
    let (len, dont_fragment) = (inner.total_len(), inner.dont_fragment());
    Outgoing { index: 0, flow, dscp: Dscp::DEFAULT, parsed: inner, len, dont_fragment, source: Source::Forwarded }
}

#[cold]
fn refuse(cx: Context<'_>, opened: &Opened, packet: &[u8], verdict: Verdict, refusals: &mut Refusals) {
    if let Ok(inner) = Ip::parse(packet) {
        refusals.report_inside(cx, &transit(opened, inner.flow()), packet, verdict);
    }
    cx.stats().count(verdict);
}

/// Out of an SA the gateway takes ICMP alone.
#[cold]
fn for_gateway<B: Buffer>(cx: Context<'_>, sa: &InstalledSa, packet: &B) {
    let Ok(inner) = Ip::parse(packet.bytes()) else { return cx.stats().count(Verdict::MalformedInner) };
    let class = if inner.is_fragment() { PuntClass::Fragment } else { PuntClass::SlowPath };
    cx.stats().count(match inner.protocol() {
        PROTOCOL_ICMP | PROTOCOL_ICMPV6 => classify::punt_bytes(cx, class, Origin::Tunnel(sa.id), packet.bytes()),
        _ => Verdict::UnwantedByGateway,
    });
}
