//! After the cipher: what is authentic, accepted and permitted leaves on the protected side (RFC 4301 section 5.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use esp::open::{IpsecPacket, OpenError, OpenPlan, Opened, Peer, TunnelSa};
use esp::{Accepted, ReplayWindow};
use esp_crypto::Verified;
use ipsec_types::{Dscp, Flow};
use packet::Buffer;
use packet::ethernet::HEADER_LEN;
use packet::ip::{self, Ip};
use packet::ipv4::{self, PROTOCOL_ICMP, PROTOCOL_IPV4, PROTOCOL_TCP};
use packet::ipv6::{self, PROTOCOL_ICMPV6, PROTOCOL_IPV6};
use packet::plain::{Address, PlainIp};
use packet::tcp;

use super::egress::{self, Leaving};
use super::flow_cache::{DeliveryCache, Way};
use super::inbound::{Opening, Openings, Received, verdict};
use super::outbound::{Outgoing, Source};
use super::refuse::Refusals;
use super::wait::Waiting;
use super::{BURST, Burst, Context, Io, classify, mss};
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
        let first_job = behind;
        behind += packets.len();
        let Some(Opening { entry, .. }) = packets.first() else { continue };
        let Some(window) = windows.of_mut(entry.slot()) else { continue };
        let sa = &entry.sa;
        let mut run = Run { entry, meter: sa.state.inbound_meter(), is_active: sa.state.is_active() };
        match TunnelSa::of(&sa.inbound) {
            Some(sa) => {
                let mut decrypted = Decrypted { sa, packets, job: first_job, verified };
                decrypted.finish(cx, &mut run, window, burst, deliveries, io);
            }
            None => {
                for ((opening, job), plan) in packets.iter().zip(first_job..).zip(&mut plans) {
                    finish_other(cx, &mut run, opening, plan, verified.contains(job), window, burst, deliveries, io);
                }
            }
        }
        run.end(cx);
    }
}

/// What is left of packets of one SA of ESP in tunnel mode that follow one another.
struct Decrypted<'o> {
    sa: TunnelSa<'o>,
    packets: &'o [Opening<'o>],
    /// The place of the first in the cipher's burst.
    job: usize,
    verified: Verified,
}

/// An inner packet with nothing special: where it begins, how long it is, and its way.
struct Plain<'w> {
    at: u32,
    len: u32,
    way: &'w Way,
}

/// Source and destination of packets that the SA is for, and their way.
struct Known<'w, A> {
    ends: (A, A),
    way: &'w Way,
}

impl<'o> Decrypted<'o> {
    /// Packets with nothing special are looked at and leave together; each other by itself.
    #[inline]
    fn finish<B: Buffer>(
        &mut self,
        cx: Context<'_>,
        run: &mut Run<'_>,
        window: &mut ReplayWindow,
        burst: &mut Burst<B>,
        deliveries: &mut Deliveries<'_, B>,
        io: &mut impl Io<B>,
    ) {
        while !self.packets.is_empty() {
            if run.is_active {
                let mut plain = ArrayVec::new();
                self.look(&Peer::from(&run.entry.template), burst, deliveries.ways, &mut plain);
                self.accept(run, window, &mut plain);
                self.leave(cx, &plain, burst, io);
            }
            self.finish_one(cx, run, window, burst, deliveries, io);
        }
    }

    /// The first packets, as far as nothing is special about them: they are authentic and came from the peer, and their way is known. Nothing is changed.
    #[inline(never)]
    fn look<'w, B: Buffer>(&self, peer: &Peer, burst: &Burst<B>, ways: &'w DeliveryCache, plain: &mut ArrayVec<Plain<'w>, BURST>) {
        let authentic = (self.verified.bits() >> self.job).trailing_ones() as usize;
        let (mut before_v4, mut before_v6) = (None::<Known<'_, Ipv4Addr>>, None::<Known<'_, Ipv6Addr>>);
        for Opening { received: Received { index, packet }, .. } in self.packets.iter().take(authentic) {
            let Some(bytes) = burst.get(usize::from(*index)).map(Buffer::bytes) else { return };
            if !packet.is_from(peer, bytes) {
                return;
            }
            let Some((at, octets, next_header)) = self.sa.payload(packet, bytes) else { return };
            let found = match next_header {
                PROTOCOL_IPV4 => TunnelSa::inner(packet, octets).and_then(|inner| self.way(&inner, &mut before_v4, ways, octets)),
                PROTOCOL_IPV6 => TunnelSa::inner(packet, octets).and_then(|inner| self.way(&inner, &mut before_v6, ways, octets)),
                _ => None,
            };
            let Some((len, way)) = found else { return };
            plain.push(Plain { at: short(at), len: short(len), way });
        }
    }

    /// How long an inner packet is, and its way, where it is known and a router and the gateway do nothing else than with all that go there. What goes
    /// between the same hosts as the packet before goes the same way.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "of whichever version the packet is, half of it is left")]
    fn way<'w, A: Address>(
        &self,
        inner: &PlainIp<A>,
        before: &mut Option<Known<'w, A>>,
        ways: &'w DeliveryCache,
        packet: &[u8],
    ) -> Option<(usize, &'w Way)> {
        let ends = (inner.source, inner.destination);
        let way = match before {
            Some(before) if before.ends == ends => before.way,
            _ => {
                let may = self.sa.permits_between(inner.source, inner.destination) && classify::is_plainly_host(inner.source.into());
                let way = ways.find(inner.destination.into()).filter(|_| may)?;
                *before = Some(Known { ends, way });
                way
            }
        };
        let is_syn = inner.protocol == PROTOCOL_TCP && packet.get(A::HEADER_LEN..).is_some_and(tcp::is_syn);
        (inner.hop_limit > 1 && inner.total_len <= way.longest as usize && !is_syn).then_some((inner.total_len, way))
    }

    /// The replay window advances. The first packet that it does not accept, or the quota of the SA, is special, and so are those behind it.
    #[inline]
    fn accept(&self, run: &mut Run<'_>, window: &mut ReplayWindow, plain: &mut ArrayVec<Plain<'_>, BURST>) {
        let refused = self.packets.iter().zip(plain.iter()).position(|(opening, plain)| {
            run.meter.is_spent() || window.accept(opening.number).is_err() || !run.meter.count(plain.len as usize)
        });
        if let Some(refused) = refused {
            plain.truncate(refused);
        }
    }

    /// Packets that were accepted leave, those that leave through one port together.
    #[inline]
    fn leave<B: Buffer>(&mut self, cx: Context<'_>, plain: &[Plain<'_>], burst: &mut Burst<B>, io: &mut impl Io<B>) {
        for plain in plain.chunk_by(|one, next| one.way.port == next.way.port) {
            let (Some(Plain { way, .. }), Some(packets)) = (plain.first(), self.packets.split_off(..plain.len())) else { return };
            self.job += plain.len();
            let frames = plain.iter().zip(packets).filter_map(|(plain, opening)| {
                let frame = burst.take(opening.received.index.into()).and_then(|frame| framed(plain, frame));
                if frame.is_none() {
                    cx.stats().count(Verdict::MalformedInner);
                }
                frame
            });
            io.transmit_all(cx.stats(), way.port, frames, Verdict::Opened);
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<(&'o Opening<'o>, bool)> {
        let opening = self.packets.split_off_first()?;
        self.job += 1;
        Some((opening, self.verified.contains(self.job - 1)))
    }

    /// The next packet, whatever it is.
    #[inline(never)]
    fn finish_one<B: Buffer>(
        &mut self,
        cx: Context<'_>,
        run: &mut Run<'_>,
        window: &mut ReplayWindow,
        burst: &mut Burst<B>,
        deliveries: &mut Deliveries<'_, B>,
        io: &mut impl Io<B>,
    ) {
        let Some((Opening { received, number, .. }, authentic)) = self.pop() else { return };
        let Some(mut frame) = burst.take(received.index.into()) else { return };
        let sender = sender(run.entry, &received.packet, &frame);
        let result = self.sa.finish(&received.packet, *number, authentic, HEADER_LEN, window, &mut frame);
        run.conclude(cx, result, sender, frame, deliveries, io);
    }
}

/// The inner packet cut out, as a router sends it on.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a few words of each packet")]
fn framed<B: Buffer>(plain: &Plain<'_>, mut frame: B) -> Option<B> {
    frame.keep((plain.at as usize).checked_sub(HEADER_LEN)?, HEADER_LEN + plain.len as usize)?;
    let (ethernet, inner) = frame.bytes_mut().split_first_chunk_mut()?;
    *ethernet = plain.way.ethernet;
    ip::decrement_hop_limit(inner).ok()?;
    Some(frame)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "no IP packet is longer than 65,575 octets")]
const fn short(octets: usize) -> u32 {
    octets as u32
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
    /// Whether the outbound half carried packets before.
    is_active: bool,
}

impl Run<'_> {
    /// The peer has sent an authentic packet: it holds the SA, so what we send on the other half will be understood (RFC 7296 section 2.8). False where
    /// the SA has reached its hard limit before.
    #[inline]
    fn count(&mut self, cx: Context<'_>, octets: usize) -> bool {
        let counted = self.meter.count(octets);
        if !counted || !self.is_active {
            self.tell(cx, counted);
        }
        counted
    }

    /// What the server is told when an SA has carried its first packet, or its last.
    #[inline(never)]
    fn tell(&mut self, cx: Context<'_>, counted: bool) {
        let sa = &self.entry.sa;
        if !counted {
            sa.state.report_spent(|| cx.notify(Notice::Spent(sa.id)));
            return;
        }
        self.is_active = true;
        if sa.state.activate() {
            cx.notify(Notice::Activated(sa.id));
        }
    }

    /// A packet that is opened, or not: with room for an Ethernet header in front, it is counted and goes on.
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
    if packet.is_from(&Peer::from(&entry.template), buffer.bytes()) { None } else { read_sender(packet, buffer.bytes()) }
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
