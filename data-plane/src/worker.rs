//! A worker: one thread, pinned to one core, that polls its queues and never waits.
//!
//! Its loop: drain commands, receive up to a burst from each port, run the pipeline, take what other workers hand over, transmit, count the round.
//! No lock, allocation, log or system call is on it; [`IdlePolicy::Adaptive`] permits one, a short sleep when there is nothing to do.

mod hand_off;

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arrayvec::ArrayVec;
use dpdk::{Eal, Mbuf, Pool, RxQueue, TxQueue};
use packet::Buffer;

use crate::clock::{self, Clock};
use crate::command::{PortId, WorkerEnd, WorkerId};
use crate::pipeline::{self, BURST, Io, Limits, Pipeline};
use crate::stage::Stage;
use crate::stats::{Tally, WorkerStats};
use crate::table::Snapshot;
use crate::verdict::Verdict;

pub use hand_off::{HandOff, hand_off};

/// What a worker does when there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdlePolicy {
    /// Polls without pause: for cores of its own.
    Spin,
    /// Backs off to short sleeps: for shared cores.
    Adaptive,
}

/// How a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerConfig {
    /// The core to be pinned to; `None` leaves the thread where it was started.
    pub core: Option<usize>,
    /// What to do when idle.
    pub idle: IdlePolicy,
    /// Sizes of its tables and queues.
    pub limits: Limits,
}

/// A worker's queues of one port.
#[derive(Debug)]
pub struct WorkerPort {
    /// Where it receives; `None` where the port has fewer queues than there are workers.
    pub rx: Option<RxQueue>,
    /// Where it transmits.
    pub tx: TxQueue,
}

/// What a worker is made of.
#[derive(Debug)]
pub struct WorkerParts {
    /// Its end of the queues to the server.
    pub end: WorkerEnd,
    /// Its ends of the rings to other workers.
    pub hand_off: HandOff<Mbuf>,
    /// Its queues, in the order of [`PortId`].
    pub ports: Vec<WorkerPort>,
    /// Where mbufs for the gateway's own packets come from, and for pieces of others.
    pub pool: Pool,
    /// Where mbufs come from for what does not fit into one of the others, in one segment.
    pub large: Pool,
    /// Ports, routes and so on to begin with.
    pub snapshot: Arc<Snapshot>,
    /// The clock of the process.
    pub clock: Clock,
}

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The operating system gives no thread.
    #[error("worker {id}: cannot start a thread: {source}", id = id.0)]
    Thread {
        /// The worker.
        id: WorkerId,
        /// Why not.
        source: io::Error,
    },
    /// The thread cannot be pinned.
    #[error("worker {id}: cannot run on core {core}: does it exist, and may this process use it?", id = id.0)]
    Core {
        /// The worker.
        id: WorkerId,
        /// The core.
        core: usize,
    },
    /// EAL refuses the thread.
    #[error("worker {id}: {source}", id = id.0)]
    Register {
        /// The worker.
        id: WorkerId,
        /// Why.
        source: dpdk::Error,
    },
}

/// Starts a worker and waits until it runs. It ends on [`crate::command::Command::Stop`]. A panic in it ends the process: half a data plane is
/// worse than none.
///
/// # Errors
/// [`WorkerError`].
pub fn spawn(config: WorkerConfig, eal: Arc<Eal>, parts: WorkerParts) -> Result<JoinHandle<()>, WorkerError> {
    let id = parts.end.id();
    let (started, start) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name(format!("worker-{}", id.0))
        .spawn(move || {
            let _abort = AbortOnPanic;
            // Given back last: every mbuf of the worker is freed before its thread leaves EAL.
            let _registration = match enter(&config, &eal, id) {
                Ok(registration) => registration,
                Err(error) => return drop(started.send(Err(error))),
            };
            let mut worker = Worker::new(&config, parts);
            drop(started.send(Ok(())));
            worker.run();
        })
        .map_err(|source| WorkerError::Thread { id, source })?;
    match start.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(WorkerError::Thread { id, source: io::Error::other("the thread ended before it ran") }),
    }
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

fn enter(config: &WorkerConfig, eal: &Eal, id: WorkerId) -> Result<dpdk::thread::Registration, WorkerError> {
    if let Some(core) = config.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
    {
        return Err(WorkerError::Core { id, core });
    }
    dpdk::thread::register(eal).map_err(|source| WorkerError::Register { id, source })
}

struct Worker {
    pipeline: Pipeline<Mbuf>,
    rx: Vec<(PortId, RxQueue)>,
    receive_burst: u16,
    received: dpdk::Burst,
    burst: pipeline::Burst<Mbuf>,
    outlets: Outlets,
    clock: Clock,
    idle: Idle,
}

impl Worker {
    fn new(config: &WorkerConfig, parts: WorkerParts) -> Self {
        let WorkerParts { end, hand_off, ports, pool, large, snapshot, clock } = parts;
        end.stats().set_thread(thread_id());
        let mut rx = Vec::new();
        let mut ports_out = Vec::new();
        for (id, port) in (0..=u8::MAX).map(PortId).zip(ports) {
            rx.extend(port.rx.map(|queue| (id, queue)));
            ports_out.push(Outlet { queue: port.tx, frames: dpdk::Burst::new(), verdicts: ArrayVec::new() });
        }
        Self {
            pipeline: Pipeline::new(end, snapshot, &config.limits),
            rx,
            receive_burst: config.limits.receive_burst,
            received: dpdk::Burst::new(),
            burst: pipeline::Burst::new(),
            outlets: Outlets { ports: ports_out, hand_off, pool, large },
            clock,
            idle: Idle::new(config.idle),
        }
    }

    fn run(&mut self) {
        /// Busy rounds between two looks at the clock, at most: a look costs as much as a packet.
        const ROUNDS: u32 = 8;
        let (mut busy, mut busy_rounds) = (false, 0);
        let mut now_us = self.clock.now_us();
        loop {
            if !busy || busy_rounds == ROUNDS {
                // What the clock shows more than before is how long the busy rounds since have taken, and the idle one that ended them.
                let before_us = std::mem::replace(&mut now_us, self.clock.now_us());
                if busy_rounds > 0 {
                    let busy_us = usize::try_from(now_us - before_us).unwrap_or(usize::MAX);
                    self.pipeline.end().stats().add(Tally::BusyMicroseconds, busy_us);
                }
                busy_rounds = 0;
            }
            let (flow, commanded) = self.pipeline.turn(now_us / clock::MICROS, &mut self.outlets);
            if flow == pipeline::Next::Stop {
                self.outlets.flush(self.pipeline.end().stats());
                return;
            }
            self.pipeline.lap(Stage::Turn);
            let packets = self.receive() + self.take_over();
            busy = commanded || packets > 0;
            let stats = self.pipeline.end().stats();
            self.outlets.flush(stats);
            stats.add(Tally::Iterations, 1);
            stats.add(Tally::BusyIterations, usize::from(busy));
            busy_rounds += u32::from(busy);
            self.pipeline.lap(Stage::Transmit);
            self.idle.pause(match (packets, commanded) {
                (0, true) => Found::Commands,
                (0, false) => Found::Nothing,
                (count, _) => Found::Packets(count),
            });
            self.pipeline.end_round(busy);
        }
    }

    /// One burst from each port; how many packets these were.
    fn receive(&mut self) -> usize {
        let mut packets = 0;
        for (port, queue) in &mut self.rx {
            let count = queue.rx_up_to(&mut self.received, self.receive_burst);
            if count == 0 {
                self.pipeline.lap(Stage::Turn);
                continue;
            }
            packets += count;
            let stats = self.pipeline.end().stats();
            stats.add(Tally::Packets, count);
            for mbuf in self.received.drain() {
                let mbuf = if mbuf.is_contiguous() { Ok(mbuf) } else { linearised(stats, &self.outlets.large, &mbuf) };
                if let Err(verdict) = mbuf.and_then(|mbuf| self.burst.push(mbuf).map_err(|_| Verdict::MalformedFrame)) {
                    stats.count(verdict);
                }
            }
            self.pipeline.lap(Stage::Receive);
            self.pipeline.forward(*port, &mut self.burst, &mut self.outlets);
        }
        packets
    }

    /// What each of the other workers has handed over: a burst, and more as long as whole bursts come. Work has gone into these packets already; those
    /// that still wait in a port's queue are cheaper to lose when there are too many.
    fn take_over(&mut self) -> usize {
        /// From one worker in one round.
        const BURSTS: usize = 4;
        let mut packets = 0;
        let own = usize::from(self.pipeline.end().id().0);
        for from in (0..self.outlets.hand_off.workers()).filter(|from| *from != own) {
            for _ in 0..BURSTS {
                let count = self.outlets.hand_off.take(from, &mut self.burst);
                if count > 0 {
                    packets += count;
                    self.pipeline.lap(Stage::Receive);
                    self.pipeline.handed_off(&mut self.burst, &mut self.outlets);
                }
                if count < BURST {
                    break;
                }
            }
        }
        packets
    }
}

/// A packet in several segments, as some drivers receive long frames, shows its first one only: it is copied into one.
#[cold]
fn linearised(stats: &WorkerStats, large: &Pool, mbuf: &Mbuf) -> Result<Mbuf, Verdict> {
    let copy = large.copy(mbuf).ok_or(Verdict::NoMemory)?;
    stats.add(Tally::Linearised, 1);
    if copy.is_contiguous() { Ok(copy) } else { Err(Verdict::MalformedFrame) }
}

fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

/// Where packets leave a worker.
struct Outlets {
    ports: Vec<Outlet>,
    hand_off: HandOff<Mbuf>,
    pool: Pool,
    large: Pool,
}

/// Frames for one port, and what they count as when the driver has taken them.
struct Outlet {
    queue: TxQueue,
    frames: dpdk::Burst,
    /// As many of the frames as count as the same, and so on.
    verdicts: ArrayVec<(Verdict, usize), BURST>,
}

impl Io<Mbuf> for Outlets {
    fn allocate(&mut self, len: usize) -> Option<Mbuf> {
        let usual = self.pool.alloc().filter(|mbuf| mbuf.tailroom() >= len + esp::MAX_TAILROOM);
        usual.or_else(|| self.large.alloc())
    }

    #[inline]
    fn transmit(&mut self, stats: &WorkerStats, port: PortId, frame: Mbuf, verdict: Verdict) {
        self.transmit_all(stats, port, std::iter::once(frame), verdict);
    }

    #[inline]
    fn transmit_all(&mut self, stats: &WorkerStats, port: PortId, frames: impl Iterator<Item = Mbuf>, verdict: Verdict) {
        match self.ports.get_mut(usize::from(port.0)) {
            Some(outlet) => outlet.add(stats, frames, verdict),
            None => frames.for_each(|_| stats.count(Verdict::NoRoute)),
        }
    }

    #[inline]
    fn hand_off(&mut self, stats: &WorkerStats, worker: WorkerId, packet: Mbuf) {
        self.hand_off.give(stats, worker, packet);
    }
}

impl Outlets {
    #[inline]
    fn flush(&mut self, stats: &WorkerStats) {
        for outlet in &mut self.ports {
            outlet.flush(stats);
        }
        self.hand_off.publish(stats);
    }
}

impl Outlet {
    #[inline]
    fn add(&mut self, stats: &WorkerStats, frames: impl Iterator<Item = Mbuf>, verdict: Verdict) {
        let mut before = self.frames.len();
        for frame in frames {
            let Err(frame) = self.frames.push(frame) else { continue };
            self.note(verdict, self.frames.len() - before);
            self.flush(stats);
            before = 0;
            if self.frames.push(frame).is_err() {
                stats.count(Verdict::TransmitOverflow);
            }
        }
        self.note(verdict, self.frames.len() - before);
    }

    /// What the last frames count as.
    #[inline]
    fn note(&mut self, verdict: Verdict, frames: usize) {
        match self.verdicts.last_mut() {
            Some((last, count)) if *last == verdict => *count += frames,
            // There are never more than there are frames.
            _ if frames > 0 => drop(self.verdicts.try_push((verdict, frames))),
            _ => {}
        }
    }

    /// Offers everything to the driver once; what it does not take is dropped.
    #[inline]
    fn flush(&mut self, stats: &WorkerStats) {
        if self.verdicts.is_empty() {
            return;
        }
        let mut taken = self.queue.tx(&mut self.frames);
        self.frames.clear();
        for (verdict, frames) in self.verdicts.drain(..) {
            let sent = taken.min(frames);
            taken -= sent;
            stats.count_all(verdict, sent);
            if frames > sent {
                stats.count_all(Verdict::TransmitOverflow, frames - sent);
            }
        }
    }
}

/// How long a worker has been idle, and what it does about it.
#[derive(Debug)]
struct Idle {
    policy: IdlePolicy,
    /// Rounds without work since the last packet, and sleeps.
    rounds: u32,
    sleeps: u32,
    /// Rounds to poll without a pause before the first sleep.
    spin: u32,
    /// The next sleep in microseconds.
    sleep: u64,
}

/// What a round found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// So many packets: others may be close behind.
    Packets(usize),
    /// Commands alone, which say nothing of packets.
    Commands,
    Nothing,
}

/// What to do before the next round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    None,
    Spin,
    /// So many microseconds.
    Sleep(u64),
}

impl Idle {
    /// Fewest and most rounds without work before the first sleep: 6 microseconds and 50, about. How close together packets come decides: where
    /// polling without a pause catches them, or would have, it is done for longer.
    const SPIN_ROUNDS: (u32, u32) = (32, 256);
    /// The first sleep in microseconds; each further one is half as long again, up to the last.
    const FIRST_SLEEP: u64 = 20;
    /// The longest sleep. A packet that arrives now waits so long at most.
    const LAST_SLEEP: u64 = 250;
    /// Packets that the first sleep has to end with to have come closer together than the most rounds take: it lasts as long as these and a half.
    const CLOSE: usize = 2;

    const fn new(policy: IdlePolicy) -> Self {
        Self { policy, rounds: 0, sleeps: 0, spin: Self::SPIN_ROUNDS.1, sleep: Self::FIRST_SLEEP }
    }

    #[inline]
    fn pause(&mut self, found: Found) {
        match self.after(found) {
            Pause::None => {}
            Pause::Spin => std::hint::spin_loop(),
            Pause::Sleep(microseconds) => thread::sleep(Duration::from_micros(microseconds)),
        }
    }

    #[inline]
    fn after(&mut self, found: Found) -> Pause {
        match found {
            Found::Packets(count) => {
                if self.rounds > 0 {
                    self.adapt(count);
                }
                Pause::None
            }
            Found::Commands => Pause::None,
            Found::Nothing => {
                self.rounds = self.rounds.saturating_add(1);
                if self.policy == IdlePolicy::Spin || self.rounds < self.spin {
                    return Pause::Spin;
                }
                let sleep = self.sleep;
                self.sleeps = self.sleeps.saturating_add(1);
                self.sleep = (sleep + sleep / 2).min(Self::LAST_SLEEP);
                Pause::Sleep(sleep)
            }
        }
    }

    /// Packets have come after some time without.
    fn adapt(&mut self, count: usize) {
        let (fewest, most) = Self::SPIN_ROUNDS;
        let close = self.sleeps == 0 || (self.sleeps == 1 && count >= Self::CLOSE);
        self.spin = if close { (self.spin * 2).min(most) } else { (self.spin / 2).max(fewest) };
        (self.rounds, self.sleeps, self.sleep) = (0, 0, Self::FIRST_SLEEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle until the first sleep: after how many rounds, and for how long.
    fn until_sleep(idle: &mut Idle) -> (u32, u64) {
        let mut rounds = 0;
        loop {
            rounds += 1;
            if let Pause::Sleep(microseconds) = idle.after(Found::Nothing) {
                return (rounds, microseconds);
            }
        }
    }

    #[test]
    fn sleeps_become_longer_and_a_packet_waits_for_the_longest_at_most() {
        let mut idle = Idle::new(IdlePolicy::Adaptive);
        assert_eq!(until_sleep(&mut idle), (256, 20));
        let sleeps: Vec<_> = (0..8).map(|_| idle.after(Found::Nothing)).collect();
        assert_eq!(sleeps, [30, 45, 67, 100, 150, 225, 250, 250].map(Pause::Sleep));
    }

    #[test]
    fn polling_without_a_pause_is_done_for_as_long_as_it_pays() {
        let mut idle = Idle::new(IdlePolicy::Adaptive);
        for rounds in [256, 128, 64, 32, 32] {
            assert_eq!(until_sleep(&mut idle), (rounds, 20));
            assert_eq!(idle.after(Found::Packets(1)), Pause::None);
        }
        for _ in 0..2 {
            (0..10).for_each(|_| assert_eq!(idle.after(Found::Nothing), Pause::Spin));
            assert_eq!([idle.after(Found::Packets(1)), idle.after(Found::Packets(1))], [Pause::None; 2]);
        }
        assert_eq!(until_sleep(&mut idle), (128, 20));
        // Several at once have come close together.
        assert_eq!(idle.after(Found::Packets(2)), Pause::None);
        assert_eq!(until_sleep(&mut idle), (256, 20));
    }

    #[test]
    fn a_command_is_no_sign_of_packets() {
        let mut idle = Idle::new(IdlePolicy::Adaptive);
        until_sleep(&mut idle);
        assert_eq!([idle.after(Found::Commands), idle.after(Found::Nothing)], [Pause::None, Pause::Sleep(30)]);
    }

    #[test]
    fn a_worker_with_a_core_of_its_own_never_sleeps() {
        let mut idle = Idle::new(IdlePolicy::Spin);
        assert!((0..10_000).all(|_| idle.after(Found::Nothing) == Pause::Spin));
    }
}
