//! ESP and AH for the gateway: the SA is looked up, the replay window looks, and after the cipher it advances (RFC 4301 section 5.2, RFC 4303 section
//! 3.4, RFC 4302 section 3.4).

use std::net::IpAddr;

use arrayvec::ArrayVec;
use esp::open::{self, IpsecPacket, OpenError, OpenPlan, Opened};
use esp::{Accepted, ReplayWindow};
use esp_crypto::{OpenJob, Verified};
use ipsec_types::{Dscp, Flow, Mode};
use packet::Buffer;
use packet::ip::Ip;
use packet::ipv4::{self, PROTOCOL_ICMP, PROTOCOL_IPV4};
use packet::ipv6::{self, PROTOCOL_ICMPV6};

use super::egress::{self, Leaving};
use super::flow_cache::{DeliveryCache, Way};
use super::outbound::{Outgoing, Source};
use super::refuse::Refusals;
use super::wait::Waiting;
use super::{Arrival, BURST, Burst, Context, Io, classify, mss};
use crate::command::{InstalledSa, Notice, Origin, PuntClass};
use crate::installed_sa::InboundMeter;
use crate::table::SaSlot;
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
    /// Its place among the packets received.
    place: usize,
    entry: &'a SadEntry,
    plan: OpenPlan<'a>,
    /// Its job, where the cipher has it.
    job: Option<u8>,
    /// Whether it came from elsewhere than where the SA leads.
    elsewhere: bool,
}

/// The packets of a burst that go through the cipher, in its order.
pub(super) type Openings<'a> = ArrayVec<Opening<'a>, BURST>;

/// What the cipher is given.
pub(super) type OpenJobs<'b> = ArrayVec<OpenJob<'b>, BURST>;

/// When an unknown SPI was reported last.
#[derive(Debug, Default)]
pub(super) struct SpiMisses {
    last_ms: u64,
}

impl SpiMisses {
    /// One in ten milliseconds: enough to notice a peer that restarted, too few to flood the server.
    #[cold]
    fn report(&mut self, cx: Context<'_>, packet: &IpsecPacket, octets: &[u8]) {
        const INTERVAL_MS: u64 = 10;
        if (self.last_ms == 0 || cx.now_ms >= self.last_ms + INTERVAL_MS)
            && let Some((remote, local)) = packet.ends(octets)
        {
            self.last_ms = cx.now_ms;
            cx.notify(Notice::SpiMiss { spi: packet.spi, local, remote });
        }
    }
}

/// Looks up the SAs of packets and gives those that may be authentic to the cipher.
#[inline]
#[expect(clippy::too_many_arguments, reason = "a stage names all it touches")]
pub(super) fn stage<'a: 'b, 'b, B: Buffer>(
    cx: Context<'_>,
    sas: Sas<'a>,
    windows: &Windows<'_>,
    received: &[Received],
    burst: &'b mut Burst<B>,
    misses: &mut SpiMisses,
    arrival: Arrival,
    io: &mut impl Io<B>,
    jobs: &mut OpenJobs<'b>,
) -> Openings<'a> {
    prefetch(cx, sas, windows, received);
    let mut opens = Openings::new();
    let mut packets = burst.packets.iter_mut().enumerate();
    for (place, Received { index, packet }) in received.iter().enumerate() {
        let Some((_, home)) = packets.find(|(at, _)| at == index) else { break };
        let Some(entry) = sas.inbound(packet.spi) else {
            misses.report(cx, packet, home.as_ref().map_or(&[], Buffer::bytes));
            cx.discard(home, Verdict::SpiUnknown);
            continue;
        };
        let Some(window) = windows.of(entry.slot()) else {
            to_owner(cx, &entry.sa, home, arrival, io);
            continue;
        };
        let Some(buffer) = home.as_mut() else { continue };
        let elsewhere = !packet.is_from_peer(buffer.bytes(), &entry.template);
        match prepare(entry, window, packet, buffer) {
            Ok(plan) => {
                let job = home.as_mut().and_then(|buffer| plan.job(buffer));
                let number = job.as_ref().and_then(|_| u8::try_from(jobs.len()).ok());
                opens.push(Opening { place, entry, plan, job: number, elsewhere });
                jobs.extend(job);
            }
            Err(verdict) => cx.discard(home, verdict),
        }
    }
    opens
}

/// Has the caches fetch what the SAs of the packets are opened with: for all of them at once, first what the tables say, then what that leads to. Of one
/// SA it is there already, or asked for by the first packet.
#[inline]
fn prefetch(cx: Context<'_>, sas: Sas<'_>, windows: &Windows<'_>, received: &[Received]) {
    let mut spis: ArrayVec<u32, BURST> = ArrayVec::new();
    for Received { packet, .. } in received {
        if spis.last() != Some(&packet.spi) {
            spis.push(packet.spi);
        }
    }
    if let [_] = spis.as_slice() {
        return;
    }
    for spi in &spis {
        sas.prefetch(SaSlot::of(*spi));
        windows.prefetch(SaSlot::of(*spi));
    }
    for spi in &spis {
        let Some(entry) = sas.inbound(*spi) else { continue };
        entry.sa.inbound.prefetch();
        entry.sa.state.prefetch_inbound();
        cx.stats().prefetch_policy(entry.policy);
        if let Some(window) = windows.of(entry.slot()) {
            window.prefetch();
        }
    }
}

/// A packet for an SA of another worker.
#[cold]
fn to_owner<B: Buffer>(cx: Context<'_>, sa: &InstalledSa, home: &mut Option<B>, arrival: Arrival, io: &mut impl Io<B>) {
    match arrival {
        // One that was handed over once is not handed on: tables may differ for a moment.
        Arrival::OnPort if sa.owner != cx.end.id() => {
            if let Some(packet) = home.take() {
                io.hand_off(cx.stats(), sa.owner, packet);
            }
        }
        _ => cx.discard(home, Verdict::SpiUnknown),
    }
}

#[inline]
fn prepare<'a, B: Buffer>(
    entry: &'a SadEntry,
    window: &ReplayWindow,
    packet: &IpsecPacket,
    buffer: &mut B,
) -> Result<OpenPlan<'a>, Verdict> {
    if entry.template.layout().mode() == Mode::Transport && !is_end_to_end(entry, packet, buffer) {
        return Err(Verdict::NotEndToEnd);
    }
    open::prepare(&entry.sa.inbound, window, packet, buffer).map_err(verdict)
}

#[inline(never)]
fn is_end_to_end<B: Buffer>(entry: &SadEntry, packet: &IpsecPacket, buffer: &B) -> bool {
    packet.ends(buffer.bytes()).is_some_and(|(source, destination)| entry.tunnel().joins(destination, source))
}

/// Where packets go that were opened, and what is learnt on the way.
pub(super) struct Deliveries<'s, B> {
    pub(super) refusals: &'s mut Refusals,
    pub(super) waiting: &'s mut Waiting<B>,
    pub(super) ways: &'s mut DeliveryCache,
}

/// After the cipher: what is authentic, accepted and permitted leaves on the protected side.
#[inline]
#[expect(clippy::too_many_arguments, reason = "a stage names all it touches")]
pub(super) fn post<B: Buffer>(
    cx: Context<'_>,
    opens: &Openings<'_>,
    received: &[Received],
    verified: Verified,
    windows: &mut Windows<'_>,
    burst: &mut Burst<B>,
    deliveries: &mut Deliveries<'_, B>,
    io: &mut impl Io<B>,
) {
    let mut run: Option<Run<'_>> = None;
    for Opening { place, entry, plan, job, elsewhere } in opens {
        let Some(Received { index, packet }) = received.get(*place) else { continue };
        let (Some(mut buffer), Some(window)) = (burst.take(*index), windows.of_mut(entry.slot())) else { continue };
        let sender = if *elsewhere { sender(packet, &buffer) } else { None };
        let authentic = job.is_some_and(|job| verified.contains(job.into()));
        let result = plan.finish(authentic, window, &mut buffer);
        let octets = match &result {
            Ok(opened) => opened.inner.total_len(),
            Err(error @ (OpenError::Integrity | OpenError::Replay | OpenError::OutOfWindow)) => {
                cx.stats().count(verdict(*error));
                continue;
            }
            // An authentic packet counts, whatever is wrong inside.
            Err(_) => 0,
        };
        if !Run::of(&mut run, cx, entry).count(cx, octets) {
            cx.stats().count(Verdict::HardLimit);
            continue;
        }
        match result {
            Ok(opened) => {
                if let Some(sender) = sender.filter(|_| opened.accepted == Accepted::Newest) {
                    watch_peer(cx, entry, sender);
                }
                deliver(cx, entry, &opened, buffer, deliveries, io);
            }
            Err(error) => cx.stats().count(verdict(error)),
        }
    }
    if let Some(run) = run {
        run.end(cx);
    }
}

/// Packets of one SA that follow one another: they are counted in registers.
struct Run<'a> {
    entry: &'a SadEntry,
    meter: InboundMeter,
}

impl<'a> Run<'a> {
    /// The run that a packet of this SA belongs to: the one that there is, or a new one.
    #[inline]
    fn of<'r>(run: &'r mut Option<Self>, cx: Context<'_>, entry: &'a SadEntry) -> &'r mut Self {
        if let Some(former) = run.take_if(|run| !std::ptr::eq(run.entry, entry)) {
            former.end(cx);
        }
        run.get_or_insert_with(|| Self { entry, meter: entry.sa.state.inbound_meter() })
    }

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

    #[inline]
    fn end(self, cx: Context<'_>) {
        let sa = &self.entry.sa;
        let (packets, octets) = self.meter.counted();
        sa.state.give_back(&self.meter, cx.now_ms);
        cx.stats().count_policy(self.entry.policy, u32::try_from(packets).unwrap_or(u32::MAX), octets);
    }
}

/// Where a packet came from: address, and port where it came in UDP. Read before it is opened.
#[cold]
fn sender<B: Buffer>(packet: &IpsecPacket, buffer: &B) -> Option<(IpAddr, Option<u16>)> {
    let (source, _) = packet.ends(buffer.bytes())?;
    Some((source, packet.source_port(buffer.bytes())))
}

/// A packet came from elsewhere than where the SA leads. Only the newest packet tells where the peer is: an old one may have been held back by anybody. Nor
/// does one tell that came without UDP where the SA has it, or with it where it has none: a peer may send either (RFC 7296 section 2.23), but what a NAT maps
/// is the port we know.
#[cold]
fn watch_peer(cx: Context<'_>, entry: &SadEntry, (address, port): (IpAddr, Option<u16>)) {
    let (sa, tunnel) = (&entry.sa, entry.tunnel());
    if port.is_some() == tunnel.udp.is_some() && sa.state.may_report_move(cx.now_ms) {
        cx.notify(Notice::PeerMoved { child_sa: sa.id, address, port });
    }
}

/// Sends a packet that came out of an SA on its way.
#[inline]
fn deliver<B: Buffer>(
    cx: Context<'_>,
    entry: &SadEntry,
    opened: &Opened,
    mut packet: B,
    deliveries: &mut Deliveries<'_, B>,
    io: &mut impl Io<B>,
) {
    let Some(way) = known_way(deliveries.ways, opened, packet.bytes()) else {
        return ask(cx, entry, opened, packet, deliveries, io);
    };
    mss::clamp(cx, entry, opened.protocol, &mut packet);
    if opened.inner.decrement_hop_limit(packet.bytes_mut()).is_ok() {
        egress::send_on_way(cx, packet, way, Verdict::Opened, io);
    } else {
        refuse(cx, opened, &packet, Verdict::TtlExceeded, deliveries.refusals);
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
    mss::clamp(cx, entry, protocol, &mut packet);
    let transit = transit(opened, flow);
    match egress::to_protected(cx, &mut packet, &transit, Verdict::Opened) {
        Ok(Leaving { hop, cut, verdict, .. }) => {
            if let (Some(port), Some(ethernet)) = (cx.snapshot.ports.port(hop.port), egress::ethernet_header(cx, hop)) {
                deliveries.ways.keep(destination, Way::new(port.mtu, hop.port, ethernet));
            }
            egress::depart(cx, packet, hop, cut, verdict, deliveries.waiting, io);
        }
        Err(verdict) => refuse(cx, opened, &packet, verdict, deliveries.refusals),
    }
}

/// Only the way in is looked for, for which classes do not count.
fn transit(Opened { inner, .. }: &Opened, flow: Flow) -> Outgoing {
    let inner = *inner;
    let (len, dont_fragment) = (inner.total_len(), inner.dont_fragment());
    Outgoing { index: 0, flow, dscp: Dscp::DEFAULT, parsed: inner, len, dont_fragment, source: Source::Forwarded }
}

#[cold]
fn refuse<B: Buffer>(cx: Context<'_>, opened: &Opened, packet: &B, verdict: Verdict, refusals: &mut Refusals) {
    if let Ok(inner) = Ip::parse(packet.bytes()) {
        refusals.report_inside(cx, &transit(opened, inner.flow()), packet.bytes(), verdict);
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
