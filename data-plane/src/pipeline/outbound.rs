//! From the protected side: the SPD decides, an SA takes a number, the packet is laid out for the cipher (RFC 4301 section 5.1).

use std::iter::Enumerate;
use std::slice::IterMut;

use arrayvec::ArrayVec;
use esp::seal::{self, SealError, SealPlan};
use esp::{EspTunnel, SequenceNumber, SequenceRange, Template, Tunnel};
use esp_crypto::SealJob;
use ipsec_types::{Dscp, Flow, Mode, PolicyAction};
use packet::Buffer;
use packet::ethernet::HEADER_LEN;
use packet::ip::{self, Ip, Parsed};

use super::acquire::Acquires;
use super::cut::{self, Cut, Oversized};
use super::egress::{self, Leaving};
use super::flow_cache::{FlowCache, Way};
use super::refuse::Refusals;
use super::wait::Waiting;
use super::{BURST, Burst, Context, Io, mss, tfc};
use crate::command::{InstalledSa, Notice, PortId};
use crate::table::sad::{SadEntry, Sas};
use crate::table::{NextHop, PortRole, SaSlot, SpdEntry};
use crate::verdict::Verdict;

/// Whose packet it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A host's: the gateway is a router on its way.
    Forwarded,
    /// The gateway's own; pieces of what it has cut are so, too.
    Gateway,
}

/// A packet to be routed, with what the tables ask about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) index: usize,
    pub(super) flow: Flow,
    pub(super) dscp: Dscp,
    /// What an outer header is made after.
    pub(super) parsed: Parsed,
    /// Octets of the IP packet.
    pub(super) len: usize,
    pub(super) dont_fragment: bool,
    pub(super) source: Source,
}

impl Outgoing {
    #[inline]
    pub(super) fn new(index: usize, ip: &Ip<'_>, source: Source) -> Self {
        let dscp = Dscp::of_traffic_class(ip.traffic_class());
        Self { index, flow: ip.flow(), dscp, parsed: Parsed::from(ip), len: ip.total_len(), dont_fragment: ip.dont_fragment(), source }
    }
}

/// A packet of a flow that is known: the tables need not be asked. Its Ethernet header is still in front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) index: u8,
    /// Whether it opens a TCP connection.
    pub(super) is_syn: bool,
    /// The SA it crosses in, whole.
    pub(super) slot: SaSlot,
    /// What an outer header is made after.
    pub(super) parsed: Parsed,
}

/// What is to be routed of a burst, in its order.
#[derive(Debug)]
pub(super) struct Queue {
    order: ArrayVec<Queued, BURST>,
    asking: ArrayVec<Outgoing, BURST>,
}

#[derive(Debug, Clone, Copy)]
enum Queued {
    Known(Known),
    /// The next of those that ask the tables.
    Asking,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { order: ArrayVec::new_const(), asking: ArrayVec::new_const() }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.order.is_full()
    }

    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.asking.clear();
    }

    /// Adds a packet that asks the tables. It stands behind those in the burst that were added before.
    #[inline]
    pub(super) fn push(&mut self, packet: Outgoing) {
        self.order.push(Queued::Asking);
        self.asking.push(packet);
    }

    /// Adds a packet whose way is known, likewise.
    #[inline]
    pub(super) fn push_known(&mut self, packet: Known) {
        self.order.push(Queued::Known(packet));
    }
}

/// A packet that was laid out for the cipher.
#[derive(Debug, Clone, Copy)]
struct Sealing {
    slot: SaSlot,
    inner_len: u32,
    index: u8,
    /// Where its way out stands; none where the packet is a whole frame already, for the port of its SA's way.
    exit: Option<u8>,
    /// Why the cipher does not have it.
    failed: Option<Verdict>,
}

/// The packets of a burst that go through the cipher, in its order.
#[derive(Debug)]
pub(super) struct Sealings {
    packets: ArrayVec<Sealing, BURST>,
    /// Next hops, and octets of the pieces to cut the ESP packet into.
    exits: ArrayVec<(NextHop, Option<usize>), BURST>,
}

impl Sealings {
    pub(super) const fn new() -> Self {
        Self { packets: ArrayVec::new_const(), exits: ArrayVec::new_const() }
    }
}

/// What the cipher is given.
pub(super) type SealJobs<'b> = ArrayVec<SealJob<'b>, BURST>;

/// What an SPD entry makes of a packet, before anything is done to it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ruling<'a> {
    /// It crosses in this SA, whole or cut.
    Protect(&'a SadEntry, NextHop, Option<Cut>),
    /// It crosses in the clear.
    Bypass(Leaving),
    /// It waits for an SA.
    Acquire,
}

/// Where a packet goes after the SPD was asked.
enum Step<'a> {
    Seal {
        through: &'a SadEntry,
        plan: SealPlan<'a>,
        hop: NextHop,
        cut: Option<usize>,
    },
    Leave(Leaving),
    /// It is cut into pieces of so many octets, and comes again.
    Cut(usize),
    /// No SA: it waits.
    Acquire(&'a SpdEntry),
}

/// Where packets go that do not go to the cipher, and what is learnt on the way.
pub(super) struct Outcomes<'s, B> {
    pub(super) acquires: &'s mut Acquires<B>,
    pub(super) refusals: &'s mut Refusals,
    pub(super) leaving: &'s mut ArrayVec<Leaving, BURST>,
    pub(super) oversized: &'s mut ArrayVec<Oversized, BURST>,
    pub(super) flows: &'s mut FlowCache,
    /// Whether the packets have just been classified: only then is their way that of the next ones.
    pub(super) learn: bool,
}

/// Packets of one SA that follow each other: what they are made with, and their numbers.
struct Run<'a> {
    slot: SaSlot,
    through: &'a SadEntry,
    template: EspTunnel<'a>,
    /// The Ethernet header of what leaves.
    ethernet: [u8; HEADER_LEN],
    numbers: Option<SequenceRange<'a>>,
}

#[inline]
pub(super) fn stage<'a: 'b, 'b, B: Buffer>(
    cx: Context<'a>,
    sas: Sas<'a>,
    queue: &Queue,
    burst: &'b mut Burst<B>,
    outcomes: &mut Outcomes<'_, B>,
    jobs: &mut SealJobs<'b>,
    sealings: &mut Sealings,
) {
    prefetch(cx, sas, queue, outcomes.flows);
    let mut packets = burst.packets.iter_mut().enumerate();
    let mut asking = queue.asking.iter();
    let mut run: Option<Run<'a>> = None;
    let mut rest = queue.order.as_slice();
    while let [queued, behind @ ..] = rest {
        match queued {
            Queued::Known(known) => {
                let Some(place) = seek(&mut packets, known.index) else { return };
                if run.as_ref().is_none_or(|run| run.slot != known.slot) {
                    run = begin(cx, sas, outcomes.flows, known.slot, rest);
                }
                let Some(buffer) = place.as_mut() else { continue };
                let failed = match run.as_mut().ok_or(Verdict::NoRoute).and_then(|run| seal_known(cx, run, known, buffer)) {
                    Ok(job) => {
                        jobs.push(job);
                        None
                    }
                    Err(verdict) => Some(verdict),
                };
                let Known { index, slot, parsed, .. } = *known;
                let inner_len = u32::try_from(parsed.total_len()).unwrap_or(u32::MAX);
                sealings.packets.push(Sealing { slot, inner_len, index, exit: None, failed });
            }
            Queued::Asking => {
                run = None;
                let Some(packet) = asking.next() else { return };
                let Some(place) = seek(&mut packets, u8::try_from(packet.index).unwrap_or(u8::MAX)) else { return };
                ask(cx, sas, packet, place, outcomes, jobs, sealings);
            }
        }
        rest = behind;
    }
}

/// Has the caches fetch what the SAs of the packets are sealed with: for all of them at once, first what the tables say, then what that leads to. Of one
/// SA it is there already, or asked for by the first packet.
#[inline]
fn prefetch(cx: Context<'_>, sas: Sas<'_>, queue: &Queue, flows: &FlowCache) {
    let mut slots: ArrayVec<SaSlot, BURST> = ArrayVec::new();
    for queued in &queue.order {
        if let Queued::Known(known) = queued
            && slots.last() != Some(&known.slot)
        {
            slots.push(known.slot);
        }
    }
    if let [_] = slots.as_slice() {
        return;
    }
    for slot in &slots {
        sas.prefetch(*slot);
        flows.prefetch(*slot);
    }
    for slot in &slots {
        let Some(entry) = sas.at(*slot) else { continue };
        entry.sa.outbound.prefetch();
        entry.sa.state.prefetch_outbound();
        cx.stats().prefetch_policy(entry.policy);
    }
}

/// The packet at an index of the burst, which is behind those that were sought before.
#[inline]
fn seek<'b, B>(packets: &mut Enumerate<IterMut<'b, Option<B>>>, index: u8) -> Option<&'b mut Option<B>> {
    packets.find(|(at, _)| *at == usize::from(index)).map(|(_, place)| place)
}

/// The run of packets that starts `queue`: they are counted, and get as many numbers.
#[inline]
fn begin<'a>(cx: Context<'_>, sas: Sas<'a>, flows: &FlowCache, slot: SaSlot, queue: &[Queued]) -> Option<Run<'a>> {
    let through = sas.sending(slot)?;
    let (template, way) = (through.template.esp_tunnel()?, flows.way(slot)?);
    let (mut packets, mut octets) = (0, 0);
    for queued in queue {
        match queued {
            Queued::Known(known) if known.slot == slot => {
                packets += 1;
                octets += known.parsed.total_len() as u64;
            }
            _ => break,
        }
    }
    cx.stats().count_policy(through.policy, packets, octets);
    let numbers = through.sa.outbound.take(packets).ok();
    Some(Run { slot, through, template, ethernet: way.ethernet, numbers })
}

/// Lays out a packet of a flow that is known, with the Ethernet header it leaves behind.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
fn seal_known<'a: 'b, 'b, B: Buffer>(cx: Context<'_>, run: &mut Run<'a>, known: &Known, buffer: &'b mut B) -> Result<SealJob<'b>, Verdict> {
    let (through, template) = (run.through, run.template);
    let inner = buffer.bytes_mut().get_mut(HEADER_LEN..).ok_or(Verdict::MalformedFrame)?;
    known.parsed.decrement_hop_limit(inner).map_err(|_| Verdict::TtlExceeded)?;
    if known.is_syn && cx.clamp_mss {
        mss::clamp_syn(cx, through, inner);
    }
    let number = run.numbers.as_mut().and_then(Iterator::next).ok_or_else(|| none_left(cx, &through.sa))?;
    seal::prepare_frame(number, template, known.parsed, tfc::pad_to(cx, through), &run.ethernet, buffer).map_err(verdict)
}

/// The tables say what becomes of a packet.
#[inline(never)]
fn ask<'a: 'b, 'b, B: Buffer>(
    cx: Context<'a>,
    sas: Sas<'a>,
    packet: &Outgoing,
    place: &'b mut Option<B>,
    outcomes: &mut Outcomes<'_, B>,
    jobs: &mut SealJobs<'b>,
    sealings: &mut Sealings,
) {
    let Some(buffer) = place.as_mut() else { return };
    match decide(cx, sas, packet, buffer, outcomes) {
        Ok(Step::Seal { through, plan, hop, cut }) => {
            let job = place.as_mut().and_then(|buffer| plan.job(buffer));
            let exit = u8::try_from(sealings.exits.len()).ok();
            sealings.exits.push((hop, cut));
            let (slot, inner_len) = (through.slot(), u32::try_from(packet.len).unwrap_or(u32::MAX));
            let index = u8::try_from(packet.index).unwrap_or(u8::MAX);
            let failed = if job.is_some() { None } else { Some(Verdict::NoRoom) };
            sealings.packets.push(Sealing { slot, inner_len, index, exit, failed });
            jobs.extend(job);
        }
        Ok(Step::Leave(packet)) => outcomes.leaving.push(packet),
        Ok(Step::Cut(mtu)) => outcomes.oversized.push(Oversized { packet: *packet, mtu }),
        Ok(Step::Acquire(entry)) => outcomes.acquires.hold(cx, entry, packet, place),
        Err(verdict) => {
            outcomes.refusals.report(cx, sas, packet, buffer.bytes(), verdict);
            cx.discard(place, verdict);
        }
    }
}

#[inline]
fn decide<'a, B: Buffer>(
    cx: Context<'a>,
    sas: Sas<'a>,
    packet: &Outgoing,
    buffer: &mut B,
    outcomes: &mut Outcomes<'_, B>,
) -> Result<Step<'a>, Verdict> {
    let spd = cx.snapshot.spd.as_deref().ok_or(Verdict::NoPolicySet)?;
    let entry = spd.outbound(&packet.flow, packet.dscp).ok_or(Verdict::NoPolicy)?;
    let ruling = rule(cx, sas, entry, packet);
    // One that waits is counted when it comes again, and so are the pieces of one that is cut.
    if !matches!(ruling, Ok(Ruling::Acquire | Ruling::Protect(_, _, Some(Cut::Before(_))))) {
        cx.stats().count_policy(entry.slot, 1, packet.len as u64);
    }
    match ruling? {
        Ruling::Acquire => Ok(Step::Acquire(entry)),
        Ruling::Protect(_, _, Some(Cut::Before(mtu))) => forward(packet, buffer).map(|()| Step::Cut(mtu)),
        Ruling::Protect(through, hop, None) => {
            if outcomes.learn {
                learn(cx, sas, packet, through, hop, outcomes.flows);
            }
            let plan = protect(cx, through, &through.template, packet, buffer)?;
            Ok(Step::Seal { through, plan, hop, cut: None })
        }
        Ruling::Protect(through, hop, Some(Cut::After(mtu))) => {
            let plan = protect(cx, through, &cut::template_in_pieces(through), packet, buffer)?;
            Ok(Step::Seal { through, plan, hop, cut: Some(mtu) })
        }
        Ruling::Bypass(leaving) => {
            forward(packet, buffer)?;
            Ok(Step::Leave(leaving))
        }
    }
}

/// Keeps the way that was found for a packet: that of the next ones of its flow, but for those that are longer than crosses whole.
fn learn(cx: Context<'_>, sas: Sas<'_>, packet: &Outgoing, through: &SadEntry, hop: NextHop, flows: &mut FlowCache) {
    // In transport mode it depends on more than the flow who may send, and AH is rare. A way to a neighbour that is not known is none.
    if through.template.esp_tunnel().is_none() || sas.is_to_be_replaced(through, &packet.flow) {
        return;
    }
    let (Some(longest), Some(ethernet)) = (egress::inner_mtu(cx, through), egress::ethernet_header(cx, hop)) else { return };
    flows.keep(&packet.flow, packet.dscp, through.slot(), Way::new(longest, hop.port, ethernet));
}

/// Asks SAs and routes what becomes of a packet that an entry selects. Nothing is done to the packet, and nothing counted.
///
/// # Errors
/// Why it is dropped.
#[inline]
pub(super) fn rule<'a>(cx: Context<'a>, sas: Sas<'a>, entry: &SpdEntry, packet: &Outgoing) -> Result<Ruling<'a>, Verdict> {
    match entry.action {
        PolicyAction::Protect => {
            let Some(through) = sas.outbound(entry.slot, &packet.flow) else { return Ok(Ruling::Acquire) };
            let (tunnel, layout) = (through.tunnel(), through.sa.outbound.layout());
            if layout.mode() == Mode::Transport && !is_end_to_end(&tunnel, packet) {
                return Err(Verdict::NotEndToEnd);
            }
            let exit = egress::route(cx, tunnel.ends.destination())?;
            if exit.role != PortRole::Unprotected {
                return Err(Verdict::NoRoute);
            }
            let outer_mtu = through.outer_mtu(exit.mtu);
            let fits = tunnel.outer_len(layout, packet.len) <= outer_mtu;
            let cut = if fits { None } else { Some(cut::for_sa(through, packet, outer_mtu)?) };
            Ok(Ruling::Protect(through, exit.hop, cut))
        }
        PolicyAction::Bypass => {
            let exit = egress::route(cx, packet.flow.destination)?;
            exit.in_the_clear(packet, Verdict::BypassedOutbound).map(Ruling::Bypass)
        }
        PolicyAction::Discard => Err(Verdict::PolicyDiscard),
    }
}

/// Whether a packet may cross in transport mode: it is the gateway's own, and for its peer. A host that calls itself by the gateway's address is neither.
fn is_end_to_end(tunnel: &Tunnel, packet: &Outgoing) -> bool {
    packet.source == Source::Gateway && tunnel.joins(packet.flow.source, packet.flow.destination)
}

#[inline]
fn protect<'a, B: Buffer>(
    cx: Context<'a>,
    through: &'a SadEntry,
    template: &Template,
    packet: &Outgoing,
    buffer: &mut B,
) -> Result<SealPlan<'a>, Verdict> {
    forward(packet, buffer)?;
    mss::clamp(cx, through, packet.flow.protocol, buffer.bytes_mut());
    let number = number(cx, &through.sa)?;
    seal::prepare_padded(number, template, packet.parsed, tfc::pad_to(cx, through), buffer).map_err(verdict)
}

/// The counter of each reason not to seal.
const fn verdict(error: SealError) -> Verdict {
    match error {
        SealError::MalformedInner => Verdict::MalformedIp,
        SealError::NotEndToEnd => Verdict::NotEndToEnd,
        SealError::Fragment => Verdict::TransportFragment,
        SealError::TooLong => Verdict::TooBig,
        SealError::NoHeadroom | SealError::NoTailroom => Verdict::NoRoom,
    }
}

/// The next sequence number of an SA.
///
/// # Errors
/// [`Verdict::SequenceExhausted`] or [`Verdict::HardLimit`], which the server is told.
#[inline]
pub(super) fn number<'a>(cx: Context<'_>, sa: &'a InstalledSa) -> Result<SequenceNumber<'a>, Verdict> {
    sa.outbound.take_one().map_err(|_| none_left(cx, sa))
}

#[cold]
fn none_left(cx: Context<'_>, sa: &InstalledSa) -> Verdict {
    spent(cx, sa);
    ended(sa)
}

/// Counts packets that leave in an SA, and ends the outbound half behind the last that it may carry.
#[inline]
pub(super) fn count(cx: Context<'_>, sa: &InstalledSa, packets: u64, octets: u64) {
    if !sa.state.count_outbound(packets, octets) {
        spent(cx, sa);
    }
}

/// The SA sends no more: it has no numbers any more, whatever it was that is used up. Other workers may have laid out their bursts already, so an SA
/// carries up to a burst of each of them more than its hard limit.
#[cold]
fn spent(cx: Context<'_>, sa: &InstalledSa) {
    sa.outbound.skip_to(u64::MAX);
    sa.state.report_spent(|| cx.notify(Notice::Spent(sa.id)));
}

/// Why an SA without numbers has none.
#[cold]
pub(super) fn ended(sa: &InstalledSa) -> Verdict {
    if sa.state.is_outbound_spent() { Verdict::HardLimit } else { Verdict::SequenceExhausted }
}

/// A router decrements TTL or hop limit once, before encapsulation (RFC 4301 section 5.1.2); a host's own packets keep theirs.
#[inline]
fn forward<B: Buffer>(packet: &Outgoing, buffer: &mut B) -> Result<(), Verdict> {
    match packet.source {
        Source::Gateway => Ok(()),
        Source::Forwarded => ip::decrement_hop_limit(buffer.bytes_mut()).map_err(|_| Verdict::TtlExceeded),
    }
}

/// After the cipher: sealed packets leave, those of an SA that follow each other together.
#[inline]
pub(super) fn post<B: Buffer>(
    cx: Context<'_>,
    sas: Sas<'_>,
    sealings: &Sealings,
    flows: &FlowCache,
    burst: &mut Burst<B>,
    waiting: &mut Waiting<B>,
    io: &mut impl Io<B>,
) {
    for run in sealings.packets.chunk_by(|one, next| one.slot == next.slot && one.exit.is_none() == next.exit.is_none()) {
        let Some((slot, exit)) = run.first().map(|first| (first.slot, first.exit)) else { continue };
        let Some(through) = sas.at(slot) else { return };
        let (packets, octets) = match (exit, flows.way(slot)) {
            (Some(_), _) => depart(cx, &through.template, run, &sealings.exits, burst, waiting, io),
            (None, Some(way)) => send(cx, &through.template, run, way.port, burst, io),
            (None, None) => {
                run.iter().for_each(|sealing| cx.drop(burst, sealing.index.into(), Verdict::NoRoute));
                continue;
            }
        };
        if packets > 0 {
            count(cx, &through.sa, packets, octets);
        }
    }
}

/// Sends those that are whole frames; how many, and octets of their inner packets.
#[inline]
fn send<B: Buffer>(
    cx: Context<'_>,
    template: &Template,
    run: &[Sealing],
    port: PortId,
    burst: &mut Burst<B>,
    io: &mut impl Io<B>,
) -> (u64, u64) {
    let (mut packets, mut octets) = (0, 0);
    let frames = run.iter().filter_map(|sealing| {
        let mut frame = burst.take(sealing.index.into())?;
        let unfinished = || seal::finish_frame::<HEADER_LEN, B>(template, &mut frame).is_none().then_some(Verdict::NoRoom);
        if let Some(verdict) = sealing.failed.or_else(unfinished) {
            cx.stats().count(verdict);
            return None;
        }
        packets += 1;
        octets += u64::from(sealing.inner_len);
        Some(frame)
    });
    io.transmit_all(cx.stats(), port, frames, Verdict::Sealed);
    (packets, octets)
}

/// The same for those whose way out was asked for.
fn depart<B: Buffer>(
    cx: Context<'_>,
    template: &Template,
    run: &[Sealing],
    exits: &[(NextHop, Option<usize>)],
    burst: &mut Burst<B>,
    waiting: &mut Waiting<B>,
    io: &mut impl Io<B>,
) -> (u64, u64) {
    let (mut packets, mut octets) = (0, 0);
    for sealing in run {
        let Some(mut packet) = burst.take(sealing.index.into()) else { continue };
        let unfinished = || seal::finish(template, &mut packet).is_none().then_some(Verdict::NoRoom);
        if let Some(verdict) = sealing.failed.or_else(unfinished) {
            cx.stats().count(verdict);
            continue;
        }
        packets += 1;
        octets += u64::from(sealing.inner_len);
        match sealing.exit.and_then(|exit| exits.get(usize::from(exit))) {
            Some((hop, cut)) => egress::depart(cx, packet, *hop, *cut, Verdict::Sealed, waiting, io),
            None => cx.stats().count(Verdict::NoRoute),
        }
    }
    (packets, octets)
}
