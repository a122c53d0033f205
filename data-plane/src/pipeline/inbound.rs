//! ESP and AH for the gateway, before the cipher: the SA is looked up, and the replay window looks (RFC 4301 section 5.2, RFC 4303 section 3.4, RFC 4302
//! section 3.4). What follows the cipher is in [`super::deliver`].

use arrayvec::ArrayVec;
use esp::ReplayWindow;
use esp::open::{self, IpsecPacket, OpenError, OpenPlan, TunnelSa};
use esp_crypto::OpenJob;
use ipsec_types::Mode;
use packet::Buffer;

use super::{Arrival, BURST, Burst, Context, Io};
use crate::command::{InstalledSa, Notice};
use crate::table::SaSlot;
use crate::table::sad::{SadEntry, Sas, Windows};
use crate::verdict::Verdict;

/// An ESP or AH packet for the gateway.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) index: u8,
    pub(super) packet: IpsecPacket,
}

impl Received {
    #[inline]
    pub(super) fn new(index: usize, packet: IpsecPacket) -> Self {
        Self { index: u8::try_from(index).unwrap_or(u8::MAX), packet }
    }
}

/// A packet that the cipher has.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) entry: &'a SadEntry,
    pub(super) received: &'a Received,
    pub(super) number: u64,
}

/// What becomes of the packets received of a burst.
#[derive(Debug)]
pub(super) struct Openings<'a> {
    /// Those that go through the cipher, in its order.
    pub(super) packets: ArrayVec<Opening<'a>, BURST>,
    /// The plans of those among them that are not of ESP in tunnel mode, in the same order.
    pub(super) plans: ArrayVec<OpenPlan<'a>, BURST>,
    /// The others, and why.
    pub(super) refused: ArrayVec<(u8, Verdict), BURST>,
}

impl Openings<'_> {
    pub(super) const fn new() -> Self {
        Self { packets: ArrayVec::new_const(), plans: ArrayVec::new_const(), refused: ArrayVec::new_const() }
    }
}

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

/// Packets of one SA that follow one another.
#[inline]
fn runs(received: &[Received]) -> impl Iterator<Item = (&Received, &[Received])> {
    let runs = received.chunk_by(|one, next| one.packet.spi == next.packet.spi);
    runs.filter_map(|run| Some((run.first()?, run)))
}

/// Looks up the SAs of packets and gives those that may be authentic to the cipher.
#[inline]
#[expect(clippy::too_many_arguments, reason = "a stage names all it touches")]
pub(super) fn stage<'a: 'b, 'b, B: Buffer>(
    cx: Context<'_>,
    sas: Sas<'a>,
    windows: &Windows<'_>,
    received: &'a [Received],
    burst: &'b mut Burst<B>,
    misses: &mut SpiMisses,
    arrival: Arrival,
    io: &mut impl Io<B>,
    jobs: &mut OpenJobs<'b>,
    openings: &mut Openings<'a>,
) {
    prefetch(cx, sas, windows, received);
    let mut places = Places { rest: burst.packets.iter_mut(), next: 0 };
    for (first, run) in runs(received) {
        let Some(entry) = sas.inbound(first.packet.spi) else {
            run.iter().for_each(|received| unknown(cx, received, &mut places, misses));
            continue;
        };
        let Some(window) = windows.of(entry.slot()) else {
            run.iter().for_each(|received| to_owner(cx, &entry.sa, places.seek(received.index), arrival, io));
            continue;
        };
        match TunnelSa::of(&entry.sa.inbound) {
            Some(sa) => prepare(entry, sa, window, run, &mut places, jobs, openings),
            None => prepare_other(entry, window, run, &mut places, jobs, openings),
        }
    }
}

/// The packets of a burst that are behind those sought before.
struct Places<'b, B> {
    rest: std::slice::IterMut<'b, Option<B>>,
    next: u8,
}

impl<'b, B> Places<'b, B> {
    #[inline]
    fn seek(&mut self, index: u8) -> Option<&'b mut Option<B>> {
        let place = self.rest.nth(index.wrapping_sub(self.next).into());
        self.next = index.wrapping_add(1);
        place
    }

    #[inline]
    fn packet(&mut self, index: u8) -> Option<&'b mut B> {
        self.seek(index)?.as_mut()
    }
}

/// Has the caches fetch what the SAs of the packets are opened with: for all of them at once, first what the tables say, then what that leads to. Of one
/// SA it is there already, or asked for by the first packet.
#[inline]
fn prefetch(cx: Context<'_>, sas: Sas<'_>, windows: &Windows<'_>, received: &[Received]) {
    if runs(received).nth(1).is_some() {
        prefetch_all(cx, sas, windows, received);
    }
}

#[inline(never)]
fn prefetch_all(cx: Context<'_>, sas: Sas<'_>, windows: &Windows<'_>, received: &[Received]) {
    for (Received { packet, .. }, _) in runs(received) {
        sas.prefetch(SaSlot::of(packet.spi));
        windows.prefetch(SaSlot::of(packet.spi));
    }
    for (Received { packet, .. }, _) in runs(received) {
        let Some(entry) = sas.inbound(packet.spi) else { continue };
        entry.sa.inbound.prefetch();
        entry.sa.state.prefetch_inbound();
        cx.stats().prefetch_policy(entry.policy);
        if let Some(window) = windows.of(entry.slot()) {
            window.prefetch();
        }
    }
}

/// A packet of an SA that there is not.
#[cold]
fn unknown<B: Buffer>(cx: Context<'_>, received: &Received, places: &mut Places<'_, B>, misses: &mut SpiMisses) {
    let Some(home) = places.seek(received.index) else { return };
    misses.report(cx, &received.packet, home.as_ref().map_or(&[], Buffer::bytes));
    cx.discard(home, Verdict::SpiUnknown);
}

/// A packet for an SA of another worker.
#[cold]
fn to_owner<B: Buffer>(cx: Context<'_>, sa: &InstalledSa, home: Option<&mut Option<B>>, arrival: Arrival, io: &mut impl Io<B>) {
    let Some(home) = home else { return };
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

/// Packets of an SA of ESP in tunnel mode, as nearly all are.
#[inline]
fn prepare<'a: 'b, 'b, B: Buffer>(
    entry: &'a SadEntry,
    sa: TunnelSa<'a>,
    window: &ReplayWindow,
    run: &'a [Received],
    places: &mut Places<'b, B>,
    jobs: &mut OpenJobs<'b>,
    openings: &mut Openings<'a>,
) {
    for received in run {
        let Some(buffer) = places.packet(received.index) else { continue };
        match sa.prepare(window, &received.packet, buffer.bytes_mut()) {
            Ok((number, job)) => {
                jobs.push(job);
                openings.packets.push(Opening { entry, received, number });
            }
            Err(error) => openings.refused.push((received.index, verdict(error))),
        }
    }
}

/// Packets of any other.
#[inline(never)]
fn prepare_other<'a: 'b, 'b, B: Buffer>(
    entry: &'a SadEntry,
    window: &ReplayWindow,
    run: &'a [Received],
    places: &mut Places<'b, B>,
    jobs: &mut OpenJobs<'b>,
    openings: &mut Openings<'a>,
) {
    for received in run {
        let Some(buffer) = places.packet(received.index) else { continue };
        let planned = if entry.template.layout().mode() == Mode::Transport && !is_end_to_end(entry, &received.packet, buffer) {
            Err(Verdict::NotEndToEnd)
        } else {
            open::prepare(&entry.sa.inbound, window, &received.packet, buffer).map_err(verdict)
        };
        match planned.and_then(|plan| Ok((plan.job(buffer).ok_or(Verdict::EspRunt)?, plan))) {
            Ok((job, plan)) => {
                jobs.push(job);
                // Its number is in the plan.
                openings.packets.push(Opening { entry, received, number: 0 });
                openings.plans.push(plan);
            }
            Err(verdict) => openings.refused.push((received.index, verdict)),
        }
    }
}

fn is_end_to_end<B: Buffer>(entry: &SadEntry, packet: &IpsecPacket, buffer: &B) -> bool {
    packet.ends(buffer.bytes()).is_some_and(|(source, destination)| entry.tunnel().joins(destination, source))
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
