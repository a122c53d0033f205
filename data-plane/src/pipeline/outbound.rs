//! From the protected side: the SPD decides, an SA takes a number, the packet is laid out for the cipher (RFC 4301 section 5.1).

use arrayvec::ArrayVec;
use esp::seal::{self, Frame, SealError, SealPlan};
use esp::{EspTunnel, SequenceNumber, Template, Tunnel};
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

/// What is to be routed of a burst, in its order.
#[derive(Debug)]
pub(super) struct Queue {
    runs: ArrayVec<Run, BURST>,
    /// Packets of flows that are known, whose Ethernet headers are still in front.
    known: ArrayVec<Parsed, BURST>,
    asking: ArrayVec<Outgoing, BURST>,
}

/// Packets that stand side by side in the burst and cross in one SA.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The SA, of packets that are known; one that asks the tables is a run of its own.
    slot: Option<SaSlot>,
    /// Where the first stands.
    first: u8,
    packets: u8,
    /// Octets of them all, where they are known.
    octets: u32,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { runs: ArrayVec::new_const(), known: ArrayVec::new_const(), asking: ArrayVec::new_const() }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether all packets of a burst ask the tables.
    pub(super) fn is_full(&self) -> bool {
        self.asking.is_full()
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.known.clear();
        self.asking.clear();
    }

    /// Adds a packet that asks the tables. It stands behind those in the burst that were added before.
    #[inline]
    pub(super) fn push(&mut self, packet: Outgoing) {
        let Ok(first) = u8::try_from(packet.index) else { return };
        self.runs.push(Run { slot: None, first, packets: 1, octets: 0 });
        self.asking.push(packet);
    }

    /// Adds a packet whose way is known, likewise: in an SA, whole.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a few words of each packet")]
    pub(super) fn push_known(&mut self, first: u8, slot: SaSlot, packet: Parsed) {
        let octets = u32::try_from(packet.total_len()).unwrap_or(u32::MAX);
        match self.runs.last_mut() {
            Some(run) if run.slot == Some(slot) && run.first + run.packets == first => {
                run.packets += 1;
                run.octets += octets;
            }
            _ => self.runs.push(Run { slot: Some(slot), first, packets: 1, octets }),
        }
        self.known.push(packet);
    }
}

/// A packet that has asked the tables and was laid out for the cipher.
#[derive(Debug, Clone, Copy)]
struct Asked {
    index: u8,
    slot: SaSlot,
    octets: u32,
    hop: NextHop,
    /// Octets of the pieces to cut the ESP packet into.
    cut: Option<usize>,
}

/// What is to be known of a burst after the cipher.
#[derive(Debug)]
pub(super) struct Sealings {
    asked: ArrayVec<Asked, BURST>,
    /// Packets that the cipher does not have, and why.
    failed: ArrayVec<(u8, Verdict), BURST>,
}

impl Sealings {
    pub(super) const fn new() -> Self {
        Self { asked: ArrayVec::new_const(), failed: ArrayVec::new_const() }
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
    let (mut known, mut asking) = (queue.known.as_slice(), queue.asking.iter());
    let (mut at, mut places) = (0, burst.packets.as_mut_slice());
    for run in &queue.runs {
        let (first, packets) = (usize::from(run.first), usize::from(run.packets));
        let (Some(_), Some(here)) = (places.split_off_mut(..first - at), places.split_off_mut(..packets)) else { return };
        at = first + packets;
        match (run.slot, here) {
            (Some(slot), here) => {
                let Some(known) = known.split_off(..packets) else { return };
                match path(sas, outcomes.flows, slot) {
                    Some(path) => seal_run(cx, &path, run, known, here, jobs, &mut sealings.failed),
                    None => sealings.failed.extend((run.first..run.first + run.packets).map(|index| (index, Verdict::NoRoute))),
                }
            }
            (None, [place]) => {
                let Some(packet) = asking.next() else { return };
                ask(cx, sas, packet, place, outcomes, jobs, sealings);
            }
            (None, _) => {}
        }
    }
}

/// Has the caches fetch what the SAs of the packets are sealed with: for all of them at once, first what the tables say, then what that leads to. Of one
/// SA it is there already, or asked for by the first packet.
#[inline]
fn prefetch(cx: Context<'_>, sas: Sas<'_>, queue: &Queue, flows: &FlowCache) {
    if let [_] = queue.runs.as_slice() {
        return;
    }
    for slot in queue.runs.iter().filter_map(|run| run.slot) {
        sas.prefetch(slot);
        flows.prefetch(slot);
    }
    for run in &queue.runs {
        let Some(entry) = run.slot.and_then(|slot| sas.at(slot)) else { continue };
        entry.sa.outbound.prefetch(run.octets as usize);
        entry.sa.state.prefetch_outbound();
        cx.stats().prefetch_policy(entry.policy);
    }
}

/// What the packets of a run are made with.
struct Path<'a, 'f> {
    through: &'a SadEntry,
    template: EspTunnel<'a>,
    way: &'f Way,
}

#[inline]
fn path<'a, 'f>(sas: Sas<'a>, flows: &'f FlowCache, slot: SaSlot) -> Option<Path<'a, 'f>> {
    let through = sas.sending(slot)?;
    Some(Path { through, template: through.template.esp_tunnel()?, way: flows.way(slot)? })
}

/// Lays out packets of one SA, each with the Ethernet header it leaves behind: they are counted, and get as many numbers.
#[inline]
fn seal_run<'a: 'b, 'b, B: Buffer>(
    cx: Context<'_>,
    path: &Path<'a, '_>,
    run: &Run,
    known: &[Parsed],
    places: &'b mut [Option<B>],
    jobs: &mut SealJobs<'b>,
    failed: &mut ArrayVec<(u8, Verdict), BURST>,
) {
    cx.stats().count_policy(path.through.policy, run.packets.into(), run.octets.into());
    match (known, places) {
        ([inner], [place]) => {
            let sealed = seal_one(cx, path, *inner, place, jobs);
            failed.extend(sealed.err().map(|verdict| (run.first, verdict)));
        }
        (known, places) => seal_many(cx, path, run.first, known, places, jobs, failed),
    }
}

/// The only packet of a run.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the way of each packet where there are many SAs")]
fn seal_one<'a: 'b, 'b, B: Buffer>(
    cx: Context<'_>,
    path: &Path<'a, '_>,
    inner: Parsed,
    place: &'b mut Option<B>,
    jobs: &mut SealJobs<'b>,
) -> Result<(), Verdict> {
    let Path { through, template, way } = *path;
    let Some(buffer) = place else { return Ok(()) };
    hop(inner, buffer).ok_or(Verdict::TtlExceeded)?;
    let number = number(cx, &through.sa)?;
    jobs.push(seal::prepare_frame(number, template, tfc::pad_to(cx, through), &way.ethernet, inner, buffer)?);
    Ok(())
}

/// The packets of a longer one.
#[inline]
fn seal_many<'a: 'b, 'b, B: Buffer>(
    cx: Context<'_>,
    path: &Path<'a, '_>,
    first: u8,
    known: &[Parsed],
    places: &'b mut [Option<B>],
    jobs: &mut SealJobs<'b>,
    failed: &mut ArrayVec<(u8, Verdict), BURST>,
) {
    let Path { through, template, way } = *path;
    for ((parsed, place), index) in known.iter().zip(&mut *places).zip(first..) {
        if place.as_mut().is_some_and(|buffer| hop(*parsed, buffer).is_none()) {
            failed.push((index, Verdict::TtlExceeded));
        }
    }
    let mut frames = known.iter().zip(places).zip(first..).filter_map(|((inner, place), index)| {
        let buffer = place.as_mut()?;
        Some(Frame { index, inner: *inner, buffer })
    });
    if let Ok(numbers) = through.sa.outbound.take(u32::try_from(known.len()).unwrap_or(u32::MAX)) {
        let refuse = |index, error: SealError| failed.push((index, error.into()));
        seal::prepare_frames(numbers, template, tfc::pad_to(cx, through), &way.ethernet, &mut frames, |job| jobs.push(job), refuse);
    }
    failed.extend(frames.map(|frame| (frame.index, none_left(cx, &through.sa))));
}

/// What a router does to a packet behind its Ethernet header. `None` where its hops are used up.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a few words of each packet")]
fn hop<B: Buffer>(parsed: Parsed, buffer: &mut B) -> Option<()> {
    parsed.decrement_hop_limit(buffer.bytes_mut().get_mut(HEADER_LEN..)?).ok()
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
            let (index, slot) = (u8::try_from(packet.index).unwrap_or(u8::MAX), through.slot());
            let octets = u32::try_from(packet.len).unwrap_or(u32::MAX);
            match place.as_mut().and_then(|buffer| plan.job(buffer)) {
                Some(job) => {
                    jobs.push(job);
                    sealings.asked.push(Asked { index, slot, octets, hop, cut });
                }
                None => sealings.failed.push((index, Verdict::NoRoom)),
            }
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
    Ok(seal::prepare_padded(number, template, packet.parsed, tfc::pad_to(cx, through), buffer)?)
}

/// The counter of each reason not to seal.
impl From<SealError> for Verdict {
    fn from(error: SealError) -> Self {
        match error {
            SealError::MalformedInner => Self::MalformedIp,
            SealError::NotEndToEnd => Self::NotEndToEnd,
            SealError::Fragment => Self::TransportFragment,
            SealError::TooLong => Self::TooBig,
            SealError::NoHeadroom | SealError::NoTailroom => Self::NoRoom,
        }
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

/// After the cipher: sealed packets leave, those of an SA that stand side by side together.
#[inline]
#[expect(clippy::too_many_arguments, reason = "what was found before the cipher, and where packets go after it")]
pub(super) fn post<B: Buffer>(
    cx: Context<'_>,
    sas: Sas<'_>,
    queue: &Queue,
    sealings: &Sealings,
    flows: &FlowCache,
    burst: &mut Burst<B>,
    waiting: &mut Waiting<B>,
    io: &mut impl Io<B>,
) {
    for (index, verdict) in &sealings.failed {
        cx.drop(burst, usize::from(*index), *verdict);
    }
    let (mut known, mut asked) = (queue.known.as_slice(), sealings.asked.iter().peekable());
    for run in &queue.runs {
        match run.slot {
            Some(slot) => {
                let (Some(known), Some(places)) = (known.split_off(..usize::from(run.packets)), burst.places(run.first, run.packets))
                else {
                    return;
                };
                if let (Some(through), Some(way)) = (sas.at(slot), flows.way(slot)) {
                    send(cx, through, known, places, way.port, io);
                }
            }
            None => {
                if let Some(asked) = asked.next_if(|asked| asked.index == run.first) {
                    depart(cx, sas, asked, burst, waiting, io);
                }
            }
        }
    }
}

/// Sends those that are whole frames.
#[inline]
fn send<B: Buffer>(cx: Context<'_>, through: &SadEntry, known: &[Parsed], places: &mut [Option<B>], port: PortId, io: &mut impl Io<B>) {
    let (mut packets, mut octets) = (0, 0);
    let frames = known.iter().zip(places).filter_map(|(known, place)| {
        let mut frame = place.take()?;
        if seal::finish_frame::<HEADER_LEN, B>(&through.template, &mut frame).is_none() {
            cx.stats().count(Verdict::NoRoom);
            return None;
        }
        packets += 1;
        octets += known.total_len() as u64;
        Some(frame)
    });
    io.transmit_all(cx.stats(), port, frames, Verdict::Sealed);
    if packets > 0 {
        count(cx, &through.sa, packets, octets);
    }
}

/// The same for one whose way out was asked for.
fn depart<B: Buffer>(cx: Context<'_>, sas: Sas<'_>, asked: &Asked, burst: &mut Burst<B>, waiting: &mut Waiting<B>, io: &mut impl Io<B>) {
    let (Some(through), Some(mut packet)) = (sas.at(asked.slot), burst.take(asked.index.into())) else { return };
    if seal::finish(&through.template, &mut packet).is_none() {
        return cx.stats().count(Verdict::NoRoom);
    }
    egress::depart(cx, packet, asked.hop, asked.cut, Verdict::Sealed, waiting, io);
    count(cx, &through.sa, 1, asked.octets.into());
}
