//! From the protected side: the SPD decides, an SA takes a number, the packet is laid out for the cipher (RFC 4301 section 5.1).

use arrayvec::ArrayVec;
use esp::seal::{self, SealError, SealPlan};
use esp::{SequenceNumber, Template, Tunnel};
use ipsec_types::{Dscp, Flow, Mode, PolicyAction};
use packet::Buffer;
use packet::ip::{self, Ip, Parsed};

use super::acquire::Acquires;
use super::crypto::SealedPackets;
use super::cut::{self, Cut, Oversized};
use super::egress::{self, Leaving};
use super::refuse::Refusals;
use super::{BURST, Burst, Context, mss, tfc};
use crate::command::{InstalledSa, Notice};
use crate::table::sad::{SadEntry, Sas};
use crate::table::{NextHop, PortRole, SpdEntry};
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

/// A packet that waits for the cipher.
#[derive(Debug)]
pub(super) struct Sealing<'a> {
    pub(super) index: usize,
    pub(super) through: &'a SadEntry,
    pub(super) plan: SealPlan<'a>,
    pub(super) hop: NextHop,
    /// Octets of the pieces to cut the ESP packet into.
    pub(super) cut: Option<usize>,
    pub(super) inner_len: usize,
}

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
    Seal(Sealing<'a>),
    Leave(Leaving),
    /// It is cut into pieces of so many octets, and comes again.
    Cut(usize),
    /// No SA: it waits.
    Acquire(&'a SpdEntry),
}

#[inline]
#[expect(clippy::too_many_arguments, reason = "a stage names all it touches")]
pub(super) fn stage<'a, B: Buffer>(
    cx: Context<'a>,
    sas: Sas<'a>,
    outgoing: &[Outgoing],
    burst: &mut Burst<B>,
    acquires: &mut Acquires<B>,
    refusals: &mut Refusals,
    leaving: &mut ArrayVec<Leaving, BURST>,
    oversized: &mut ArrayVec<Oversized, BURST>,
) -> ArrayVec<Sealing<'a>, BURST> {
    let mut seals = ArrayVec::new();
    for packet in outgoing {
        let Some(buffer) = burst.get_mut(packet.index) else { continue };
        match decide(cx, sas, packet, buffer) {
            Ok(Step::Seal(sealing)) => seals.push(sealing),
            Ok(Step::Leave(packet)) => leaving.push(packet),
            Ok(Step::Cut(mtu)) => oversized.push(Oversized { packet: *packet, mtu }),
            Ok(Step::Acquire(entry)) => acquires.hold(cx, entry, packet, burst),
            Err(verdict) => {
                refusals.report(cx, sas, packet, buffer.bytes(), verdict);
                cx.drop(burst, packet.index, verdict);
            }
        }
    }
    seals
}

#[inline]
fn decide<'a, B: Buffer>(cx: Context<'a>, sas: Sas<'a>, packet: &Outgoing, buffer: &mut B) -> Result<Step<'a>, Verdict> {
    let spd = cx.snapshot.spd.as_deref().ok_or(Verdict::NoPolicySet)?;
    let entry = spd.outbound(&packet.flow, packet.dscp).ok_or(Verdict::NoPolicy)?;
    let ruling = rule(cx, sas, entry, packet);
    // One that waits is counted when it comes again, and so are the pieces of one that is cut.
    if !matches!(ruling, Ok(Ruling::Acquire | Ruling::Protect(_, _, Some(Cut::Before(_))))) {
        cx.stats().count_policy(entry.slot, packet.len);
    }
    match ruling? {
        Ruling::Acquire => Ok(Step::Acquire(entry)),
        Ruling::Protect(_, _, Some(Cut::Before(mtu))) => forward(packet, buffer).map(|()| Step::Cut(mtu)),
        Ruling::Protect(through, hop, None) => protect(cx, through, &through.template, packet, buffer)
            .map(|plan| Step::Seal(Sealing { index: packet.index, through, plan, hop, cut: None, inner_len: packet.len })),
        Ruling::Protect(through, hop, Some(Cut::After(mtu))) => {
            let plan = protect(cx, through, &cut::template_in_pieces(through), packet, buffer)?;
            Ok(Step::Seal(Sealing { index: packet.index, through, plan, hop, cut: Some(mtu), inner_len: packet.len }))
        }
        Ruling::Bypass(leaving) => {
            forward(packet, buffer)?;
            Ok(Step::Leave(leaving))
        }
    }
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
            let (tunnel, layout) = (&through.tunnel, through.sa.outbound.layout());
            if layout.mode() == Mode::Transport && !is_end_to_end(tunnel, packet) {
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
    let sa = &through.sa;
    forward(packet, buffer)?;
    mss::clamp(cx, through, packet.flow.protocol, buffer);
    let number = number(cx, sa)?;
    seal::prepare_padded(number, template, packet.parsed, tfc::pad_to(cx, through), buffer).map_err(|error| match error {
        SealError::MalformedInner => Verdict::MalformedIp,
        SealError::NotEndToEnd => Verdict::NotEndToEnd,
        SealError::Fragment => Verdict::TransportFragment,
        SealError::TooLong => Verdict::TooBig,
        SealError::NoHeadroom | SealError::NoTailroom => Verdict::NoRoom,
    })
}

/// The next sequence number of an SA.
///
/// # Errors
/// [`Verdict::SequenceExhausted`] or [`Verdict::HardLimit`], which the server is told.
#[inline]
pub(super) fn number<'a>(cx: Context<'_>, sa: &'a InstalledSa) -> Result<SequenceNumber<'a>, Verdict> {
    sa.outbound.take_one().map_err(|_| {
        spent(cx, sa);
        ended(sa)
    })
}

/// Counts a packet that leaves in an SA, and ends the outbound half behind the last that it may carry.
#[inline]
pub(super) fn count(cx: Context<'_>, sa: &InstalledSa, inner_len: usize) {
    if !sa.state.count_outbound(inner_len) {
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

/// After the cipher: sealed packets leave.
#[inline]
pub(super) fn post<B: Buffer>(cx: Context<'_>, sealed: SealedPackets<'_>, burst: &mut Burst<B>, leaving: &mut ArrayVec<Leaving, BURST>) {
    for packet in sealed {
        let SadEntry { sa, template, .. } = packet.through;
        let buffer = burst.get_mut(packet.index).filter(|_| packet.done);
        if buffer.and_then(|buffer| seal::finish(template, buffer)).is_some() {
            count(cx, sa, packet.inner_len);
            leaving.push(Leaving { index: packet.index, hop: packet.hop, cut: packet.cut, verdict: Verdict::Sealed });
        } else {
            cx.drop(burst, packet.index, Verdict::NoRoom);
        }
    }
}
