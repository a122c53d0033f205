//! A burst of packets goes through the stages, in this order: classify, outbound and inbound, crypto (once), post, egress.
//!
//! Stages are plain functions over a whole [`Burst`], because the cipher wants the batch. Each takes the packets meant for it and leaves the
//! others; every packet ends in one [`Verdict`], or waits, bounded, for an SA ([`acquire`]) or for its next hop ([`wait`]).
//!
//! A packet in a burst starts at its Ethernet header until it is classified, and at its IP header afterwards; one of a known flow keeps an Ethernet header.

mod acquire;
mod classify;
mod cut;
mod deliver;
mod egress;
mod explain;
mod flow_cache;
mod inbound;
mod mss;
mod outbound;
mod refuse;
#[cfg(test)]
mod tests;
mod tfc;
mod wait;

use std::sync::Arc;

use arrayvec::ArrayVec;
use packet::Buffer;
use packet::ip::Ip;

use crate::command::{Command, Frame, Garbage, Notice, PortId, Via, WorkerEnd, WorkerId};
use crate::stage::{Stage, Stopwatch};
use crate::stats::{Tally, WorkerStats};
use crate::table::sad::Sad;
use crate::table::{SaSlot, Snapshot};
use crate::verdict::Verdict;

use acquire::Acquires;
pub use acquire::{AcquireLimits, Outlook};
use cut::Oversized;
use deliver::Deliveries;
use egress::Leaving;
pub use explain::{Explanation, Fate, Inquiry, Way};
use flow_cache::{DeliveryCache, FlowCache};
use inbound::{OpenJobs, Openings, Received};
use outbound::{Outcomes, Outgoing, Queue, SealJobs, Sealings};
pub use refuse::IcmpErrorLimits;
use refuse::Refusals;
pub use wait::WaitLimits;
use wait::Waiting;

/// Packets that go through the stages together.
pub const BURST: usize = dpdk::BURST;
const _: () = assert!(BURST <= esp_crypto::MAX_BURST);

/// Work of commands between two bursts ([`Command::work`]), with which the last of them begins at most: packets wait meanwhile. A unit takes about a
/// microsecond, cache misses included.
const WORK_IN_TURN: usize = 16;

/// How the pipeline reaches ports and other workers.
pub trait Io<B> {
    /// An empty packet with headroom, and room for so many octets: for one of the gateway itself, a piece of another, or one that was put together.
    fn allocate(&mut self, len: usize) -> Option<B>;
    /// Sends an Ethernet frame. Counts `verdict`, or why it could not be sent.
    fn transmit(&mut self, stats: &WorkerStats, port: PortId, frame: B, verdict: Verdict);
    /// Sends such frames through one port, each of which counts as `verdict`.
    #[inline]
    fn transmit_all(&mut self, stats: &WorkerStats, port: PortId, frames: impl Iterator<Item = B>, verdict: Verdict) {
        frames.for_each(|frame| self.transmit(stats, port, frame, verdict));
    }
    /// Gives an ESP packet, from its outer IP header, to the worker that owns its SA. Counts what became of it.
    fn hand_off(&mut self, stats: &WorkerStats, worker: WorkerId, packet: B);
}

/// Up to [`BURST`] packets; those that have left are `None`.
#[derive(Debug)]
pub struct Burst<B> {
    packets: ArrayVec<Option<B>, BURST>,
}

impl<B> Burst<B> {
    /// An empty burst.
    pub const fn new() -> Self {
        Self { packets: ArrayVec::new_const() }
    }

    /// Adds a packet.
    ///
    /// # Errors
    /// Gives it back where the burst is full.
    #[inline]
    pub fn push(&mut self, packet: B) -> Result<(), B> {
        if self.packets.is_full() {
            return Err(packet);
        }
        self.packets.push(Some(packet));
        Ok(())
    }

    /// Whether there is nothing in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Takes all packets out.
    #[cfg(test)]
    pub(crate) fn take_all(&mut self) -> Vec<B> {
        self.packets.drain(..).flatten().collect()
    }

    #[inline]
    fn get(&self, index: usize) -> Option<&B> {
        self.packets.get(index)?.as_ref()
    }

    #[inline]
    fn get_mut(&mut self, index: usize) -> Option<&mut B> {
        self.packets.get_mut(index)?.as_mut()
    }

    /// So many places that stand side by side.
    #[inline]
    fn places(&mut self, first: u8, count: u8) -> Option<&mut [Option<B>]> {
        self.packets.get_mut(usize::from(first)..usize::from(first) + usize::from(count))
    }

    #[inline]
    fn take(&mut self, index: usize) -> Option<B> {
        self.packets.get_mut(index)?.take()
    }
}

impl<B> Default for Burst<B> {
    fn default() -> Self {
        Self::new()
    }
}

/// Sizes of the tables, and how much may wait for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Slots for SAs.
    pub sad_slots: usize,
    /// Slots for policies.
    pub policy_slots: usize,
    /// Flows of either IP version whose way through the tables is remembered.
    pub flows: usize,
    /// Packets that wait for an SA.
    pub acquire: AcquireLimits,
    /// Packets that wait for their next hop.
    pub wait: WaitLimits,
    /// ICMP errors.
    pub icmp_errors: IcmpErrorLimits,
    /// Whether TCP connections through an SA are kept from announcing segments that do not fit it.
    pub clamp_mss: bool,
    /// Packets that are taken from a queue at once, at most.
    pub receive_burst: u16,
}

impl Limits {
    /// For so many SAs and policies: each SA has a flow that is remembered, at least.
    pub fn for_slots(sad_slots: usize, policy_slots: usize) -> Self {
        let limits = Self::default();
        Self { sad_slots, policy_slots, flows: limits.flows.max(sad_slots), ..limits }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sad_slots: 4096,
            policy_slots: 1024,
            flows: 16_384,
            acquire: AcquireLimits::default(),
            wait: WaitLimits::default(),
            icmp_errors: IcmpErrorLimits::default(),
            clamp_mss: true,
            receive_burst: u16::MAX,
        }
    }
}

/// What the stages read.
#[derive(Clone, Copy)]
struct Context<'a> {
    snapshot: &'a Snapshot,
    end: &'a WorkerEnd,
    now_ms: u64,
    clamp_mss: bool,
}

impl Context<'_> {
    #[inline]
    fn stats(&self) -> &WorkerStats {
        self.end.stats()
    }

    /// Takes the packet out of the burst and counts why.
    #[inline]
    fn drop<B>(&self, burst: &mut Burst<B>, index: usize, verdict: Verdict) {
        if burst.take(index).is_some() {
            self.stats().count(verdict);
        }
    }

    /// Takes the packet out of its place and counts why.
    #[inline]
    fn discard<B>(&self, place: &mut Option<B>, verdict: Verdict) {
        if place.take().is_some() {
            self.stats().count(verdict);
        }
    }

    fn notify(&self, notice: Notice) -> bool {
        let sent = self.end.notify(notice);
        if !sent {
            self.stats().add(Tally::NoticesLost, 1);
        }
        sent
    }
}

/// Packets of a burst, by what comes next for them.
#[derive(Debug)]
struct Sorted {
    outgoing: Queue,
    received: ArrayVec<Received, BURST>,
    leaving: ArrayVec<Leaving, BURST>,
    oversized: ArrayVec<Oversized, BURST>,
}

impl Sorted {
    const fn new() -> Self {
        Self { outgoing: Queue::new(), received: ArrayVec::new_const(), leaving: ArrayVec::new_const(), oversized: ArrayVec::new_const() }
    }

    fn clear(&mut self) {
        self.outgoing.clear();
        self.received.clear();
        self.leaving.clear();
        self.oversized.clear();
    }
}

/// One worker's stages with everything they keep between bursts.
#[derive(Debug)]
pub struct Pipeline<B> {
    end: WorkerEnd,
    snapshot: Arc<Snapshot>,
    sad: Sad,
    acquires: Acquires<B>,
    waiting: Waiting<B>,
    refusals: Refusals,
    spi_misses: inbound::SpiMisses,
    flows: FlowCache,
    deliveries: DeliveryCache,
    stopwatch: Stopwatch,
    now_ms: u64,
    clamp_mss: bool,
}

/// Where a burst comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// From a port, classified by what the tables say now.
    OnPort,
    /// From another worker, from the gateway itself, or from where it has waited.
    Otherwise,
}

/// Whether a worker goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It does.
    Continue,
    /// It was told to stop.
    Stop,
}

impl<B: Buffer> Pipeline<B> {
    /// A pipeline without SAs.
    pub fn new(end: WorkerEnd, snapshot: Arc<Snapshot>, limits: &Limits) -> Self {
        Self {
            end,
            snapshot,
            sad: Sad::new(limits.sad_slots, limits.policy_slots),
            acquires: Acquires::new(limits.acquire, limits.policy_slots),
            waiting: Waiting::new(limits.wait),
            refusals: Refusals::new(limits.icmp_errors),
            spi_misses: inbound::SpiMisses::default(),
            flows: FlowCache::new(limits.flows, limits.sad_slots),
            deliveries: DeliveryCache::new(),
            stopwatch: Stopwatch::new(),
            now_ms: 0,
            clamp_mss: limits.clamp_mss,
        }
    }

    /// The worker's end of the queues to the server.
    pub fn end(&self) -> &WorkerEnd {
        &self.end
    }

    /// For the worker around it: a stage of its own ends here.
    #[inline]
    pub(crate) fn lap(&mut self, stage: Stage) {
        self.stopwatch.lap(stage);
    }

    /// For the worker around it: its round is over, in which there was something to do, or not.
    #[inline]
    pub(crate) fn end_round(&mut self, busy: bool) {
        self.stopwatch.end_round(self.end.stats(), busy);
    }

    /// Applies the commands that have arrived, and what time has brought: packets whose SA or next hop is there are sent, those that waited too
    /// long are dropped. Answers whether the worker goes on, and whether there was anything to do.
    pub fn turn(&mut self, now_ms: u64, io: &mut impl Io<B>) -> (Next, bool) {
        let mut busy = false;
        let tick = now_ms != self.now_ms;
        self.now_ms = now_ms;
        let mut work = 0;
        while work < WORK_IN_TURN {
            let Some(command) = self.end.command() else { break };
            busy = true;
            work += command.work();
            if matches!(command, Command::Stop) {
                self.end.applied();
                return (Next::Stop, true);
            }
            self.apply(command, io);
            self.end.applied();
        }
        if busy {
            self.waiting.release(Context { snapshot: &self.snapshot, end: &self.end, now_ms: self.now_ms, clamp_mss: self.clamp_mss }, io);
        }
        // An SA may become active without a command, through another worker or the server: looked for once a millisecond.
        if busy || tick {
            self.release_acquires(io);
            self.waiting.expire(Context { snapshot: &self.snapshot, end: &self.end, now_ms: self.now_ms, clamp_mss: self.clamp_mss });
        }
        (Next::Continue, busy)
    }

    /// Frames that arrived on a port. Leaves the burst empty.
    #[inline]
    pub fn forward(&mut self, from: PortId, burst: &mut Burst<B>, io: &mut impl Io<B>) {
        let mut sorted = Sorted::new();
        classify::stage(self.context(), from, &self.flows, burst, &mut sorted);
        self.stopwatch.lap(Stage::Classify);
        self.run(burst, &mut sorted, io, Arrival::OnPort);
    }

    /// ESP packets that another worker received, from their outer IP header. Leaves the burst empty.
    pub fn handed_off(&mut self, burst: &mut Burst<B>, io: &mut impl Io<B>) {
        let mut sorted = Sorted::new();
        classify::handed_off(self.context(), burst, &mut sorted);
        self.stopwatch.lap(Stage::Classify);
        self.run(burst, &mut sorted, io, Arrival::Otherwise);
    }

    #[inline]
    fn context(&self) -> Context<'_> {
        Context { snapshot: &self.snapshot, end: &self.end, now_ms: self.now_ms, clamp_mss: self.clamp_mss }
    }

    #[inline]
    fn run(&mut self, burst: &mut Burst<B>, sorted: &mut Sorted, io: &mut impl Io<B>, arrival: Arrival) {
        let Sorted { outgoing, received, leaving, oversized } = sorted;
        if !outgoing.is_empty() {
            self.seal(burst, outgoing, leaving, oversized, io, arrival);
        }
        if !received.is_empty() {
            self.open(burst, received, io, arrival);
        }
        if !leaving.is_empty() {
            let cx = Context { snapshot: &self.snapshot, end: &self.end, now_ms: self.now_ms, clamp_mss: self.clamp_mss };
            egress::stage(cx, leaving, burst, &mut self.waiting, io);
            self.stopwatch.lap(Stage::Transmit);
        }
        if !oversized.is_empty() {
            self.run_in_pieces(oversized, burst, io);
        }
        debug_assert!(burst.packets.iter().all(Option::is_none), "a packet has no verdict");
        burst.packets.clear();
    }

    #[inline]
    fn seal(
        &mut self,
        burst: &mut Burst<B>,
        outgoing: &Queue,
        leaving: &mut ArrayVec<Leaving, BURST>,
        oversized: &mut ArrayVec<Oversized, BURST>,
        io: &mut impl Io<B>,
        arrival: Arrival,
    ) {
        let cx = Context { snapshot: &self.snapshot, end: &self.end, now_ms: self.now_ms, clamp_mss: self.clamp_mss };
        let (sas, _) = self.sad.split();
        let (mut jobs, mut sealings) = (SealJobs::new(), Sealings::new());
        let mut outcomes = Outcomes {
            acquires: &mut self.acquires,
            refusals: &mut self.refusals,
            leaving,
            oversized,
            flows: &mut self.flows,
            learn: arrival == Arrival::OnPort,
        };
        outbound::stage(cx, sas, outgoing, burst, &mut outcomes, &mut jobs, &mut sealings);
        self.stopwatch.lap(Stage::Prepare);
        esp_crypto::seal_burst(&mut jobs);
        drop(jobs);
        self.stopwatch.lap(Stage::Cipher);
        outbound::post(cx, sas, outgoing, &sealings, &self.flows, burst, &mut self.waiting, io);
        self.stopwatch.lap(Stage::Post);
    }

    #[inline]
    fn open(&mut self, burst: &mut Burst<B>, received: &[Received], io: &mut impl Io<B>, arrival: Arrival) {
        let cx = Context { snapshot: &self.snapshot, end: &self.end, now_ms: self.now_ms, clamp_mss: self.clamp_mss };
        let (sas, mut windows) = self.sad.split();
        let (mut jobs, mut openings) = (OpenJobs::new(), Openings::new());
        inbound::stage(cx, sas, &windows, received, burst, &mut self.spi_misses, arrival, io, &mut jobs, &mut openings);
        self.stopwatch.lap(Stage::Prepare);
        let verified = esp_crypto::open_burst(&mut jobs);
        drop(jobs);
        self.stopwatch.lap(Stage::Cipher);
        let mut deliveries = Deliveries { refusals: &mut self.refusals, waiting: &mut self.waiting, ways: &mut self.deliveries };
        deliver::stage(cx, &openings, verified, &mut windows, burst, &mut deliveries, io);
        self.stopwatch.lap(Stage::Post);
    }

    /// Packets that are cut before they are sealed: the pieces of each are a burst of their own. They fit, so that none of them comes here again.
    #[cold]
    fn run_in_pieces(&mut self, oversized: &[Oversized], burst: &mut Burst<B>, io: &mut impl Io<B>) {
        let mut pieces = Burst::new();
        for oversized in oversized {
            let Some(packet) = burst.take(oversized.packet.index) else { continue };
            let mut sorted = Sorted::new();
            match cut::before_sealing(self.context(), oversized, &packet, io, &mut pieces, &mut sorted.outgoing) {
                Ok(()) => self.run(&mut pieces, &mut sorted, io, Arrival::Otherwise),
                Err(verdict) => self.end.stats().count(verdict),
            }
        }
    }

    fn apply(&mut self, command: Command, io: &mut impl Io<B>) {
        if command.changes_tables() {
            self.flows.forget();
            self.deliveries.forget();
        }
        match command {
            Command::Snapshot(snapshot) => {
                let former = std::mem::replace(&mut self.snapshot, snapshot);
                self.end.discard(Garbage::Snapshot(former));
            }
            Command::PoliciesChanged(slots) => {
                for slot in slots {
                    let entry = self.snapshot.spd.as_deref().and_then(|spd| spd.entry(slot));
                    self.acquires.policy_changed(slot, entry);
                }
            }
            Command::Install { sa, tunnel, window } => {
                let policy = sa.policy;
                match self.sad.install(sa, tunnel, window) {
                    Ok(()) => self.acquires.installed(policy),
                    Err((sa, window)) => self.end.discard(Garbage::Sa { sa, window }),
                }
            }
            Command::Retarget { slot, tunnel } => self.sad.retarget(slot, tunnel),
            Command::PathMtu { slot, mtu } => self.sad.set_path_mtu(slot, mtu),
            Command::RetireOutbound(slot) => self.sad.retire_outbound(slot),
            Command::Remove(slot) => {
                if let Some((sa, window)) = self.sad.remove(slot) {
                    self.end.discard(Garbage::Sa { sa, window });
                }
            }
            Command::RefuseAcquire { policy, retry_after } => {
                let until_ms = self.now_ms.saturating_add(crate::clock::millis(retry_after));
                let spd = self.snapshot.spd.as_deref();
                if let Some(entry) = spd.and_then(|spd| spd.entry(policy)) {
                    self.acquires.refuse(entry, until_ms, self.end.stats());
                }
            }
            Command::Transmit { via, frame } => {
                self.transmit(via, &frame, io);
                self.end.discard(Garbage::Frame(frame));
            }
            Command::SendDummies { slot, random } => self.send_dummies(slot, &random, io),
            Command::Receive { port, frame } => {
                self.receive(port, &frame, io);
                self.end.discard(Garbage::Frame(frame));
            }
            Command::Explain(mut inquiry) => {
                let cx = Context { snapshot: &self.snapshot, end: &self.end, now_ms: self.now_ms, clamp_mss: self.clamp_mss };
                let (sas, _) = self.sad.split();
                inquiry.explanation = Some(explain::explain(cx, sas, &self.acquires, &inquiry));
                self.end.discard(Garbage::Explained(inquiry));
            }
            Command::Stop => {}
        }
    }

    /// A packet of the gateway itself.
    fn transmit(&mut self, via: Via, frame: &Frame, io: &mut impl Io<B>) {
        let stats = self.end.stats();
        let Some(packet) = unpack(frame, io) else { return stats.count(Verdict::NoMemory) };
        if let Via::Port(port) = via {
            return io.transmit(stats, port, packet, Verdict::OwnSent);
        }
        let Ok(ip) = Ip::parse(packet.bytes()) else { return stats.count(Verdict::MalformedIp) };
        let outgoing = Outgoing::new(0, &ip, outbound::Source::Gateway);
        let mut sorted = Sorted::new();
        if via == Via::Policy {
            sorted.outgoing.push(outgoing);
        } else {
            let exit = egress::route(self.context(), outgoing.flow.destination);
            match exit.and_then(|exit| exit.in_the_clear(&outgoing, Verdict::OwnSent)) {
                Ok(leaving) => sorted.leaving.push(leaving),
                Err(verdict) => return stats.count(verdict),
            }
        }
        let mut burst = Burst::new();
        if burst.push(packet).is_ok() {
            self.run(&mut burst, &mut sorted, io, Arrival::Otherwise);
        }
    }

    /// A packet that was put together: it goes on as if it had arrived in one piece.
    fn receive(&mut self, port: PortId, frame: &Frame, io: &mut impl Io<B>) {
        let Some(packet) = unpack(frame, io) else { return self.end.stats().count(Verdict::NoMemory) };
        let mut burst = Burst::new();
        if burst.push(packet).is_ok() {
            self.forward(port, &mut burst, io);
        }
    }

    /// Dummy packets of an SA, unless its outbound half has ended meanwhile.
    fn send_dummies(&mut self, slot: SaSlot, random: &[u16], io: &mut impl Io<B>) {
        let cx = Context { snapshot: &self.snapshot, end: &self.end, now_ms: self.now_ms, clamp_mss: self.clamp_mss };
        let (sas, _) = self.sad.split();
        let Some(through) = sas.sending(slot) else { return };
        let mut burst = Burst::new();
        let leaving = tfc::send(cx, through, random, &mut burst, io);
        egress::stage(cx, &leaving, &mut burst, &mut self.waiting, io);
    }

    /// Sends the packets that an SA covers by now.
    fn release_acquires(&mut self, io: &mut impl Io<B>) {
        let mut burst = Burst::new();
        let mut sorted = Sorted::new();
        loop {
            let cx = Context { snapshot: &self.snapshot, end: &self.end, now_ms: self.now_ms, clamp_mss: self.clamp_mss };
            let (sas, _) = self.sad.split();
            let more = self.acquires.release(cx, sas, &mut burst, &mut sorted.outgoing);
            if burst.is_empty() {
                return;
            }
            self.run(&mut burst, &mut sorted, io, Arrival::Otherwise);
            sorted.clear();
            if !more {
                return;
            }
        }
    }
}

/// Copies what the server sent into a packet; `None` where there is no memory.
fn unpack<B: Buffer>(frame: &Frame, io: &mut impl Io<B>) -> Option<B> {
    let mut packet = io.allocate(frame.bytes().len())?;
    packet.append(frame.bytes().len())?.copy_from_slice(frame.bytes());
    Some(packet)
}
