//! Counters of one worker. The worker alone writes; anybody may read.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::stage::{Lap, PLACES, Stage};
use crate::table::PolicySlot;
use crate::verdict::Verdict;

/// Makes the counters that are no verdicts, their names and meanings from one table.
macro_rules! tallies {
    ($($variant:ident $name:literal $meaning:literal)*) => {
        /// What a worker counts besides verdicts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Tally {
            $(#[doc = $meaning] $variant,)*
        }

        impl Tally {
            /// Every tally, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The counter's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What the counter means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

tallies! {
    Iterations "worker_iterations" "Rounds of the worker's loop: its heartbeat."
    BusyIterations "worker_busy_iterations" "Rounds in which there was something to do."
    BusyMicroseconds "worker_busy_us" "Microseconds spent in such rounds."
    Packets "worker_packets" "Packets received from ports."
    HandedOff "handed_off" "Packets given to the worker that owns their SA."
    AcquireQueued "acquire_queued" "Packets that had to wait for an SA."
    NeighborQueued "neighbor_queued" "Packets that had to wait for the MAC address of their next hop."
    Linearised "linearised" "Packets that a device received in several segments, copied into one."
    Fragmented "fragmented" "Packets cut into fragments because they are longer than what fits (RFC 791 section 3.2, RFC 4301 section 8.2, RFC 2473 section 7)."
    MssClamped "mss_clamped" "TCP connections through an SA whose announced segment size was lowered to what fits (RFC 6691)."
    IcmpErrorsLimited "icmp_errors_limited" "ICMP errors not sent because of their rate limit, or because the server does not keep up."
    NoticesLost "notices_lost" "Reports to the server that found its queue full."
}

/// The counters.
#[derive(Debug)]
pub struct WorkerStats {
    verdicts: CachePadded<[AtomicU64; Verdict::COUNT]>,
    tallies: CachePadded<[AtomicU64; Tally::ALL.len()]>,
    policies: Box<[PolicyCounters]>,
    stages: [LapCounters; PLACES],
    thread: AtomicU32,
}

#[derive(Debug, Default)]
struct LapCounters {
    ticks: AtomicU64,
    laps: AtomicU64,
}

#[derive(Debug, Default)]
struct PolicyCounters {
    packets: AtomicU64,
    octets: AtomicU64,
}

/// What a policy has selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyCount {
    /// Packets.
    pub packets: u64,
    /// Their octets, without headers of ESP and outer IP.
    pub octets: u64,
}

impl PolicyCount {
    /// What was counted after `base`.
    #[must_use]
    pub const fn since(self, base: Self) -> Self {
        Self { packets: self.packets.saturating_sub(base.packets), octets: self.octets.saturating_sub(base.octets) }
    }
}

impl std::iter::Sum for PolicyCount {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self { packets: a.packets + b.packets, octets: a.octets + b.octets })
    }
}

impl WorkerStats {
    pub(crate) fn new(policies: usize) -> Self {
        Self {
            verdicts: CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0))),
            tallies: CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0))),
            policies: (0..policies).map(|_| PolicyCounters::default()).collect(),
            stages: std::array::from_fn(|_| LapCounters::default()),
            thread: AtomicU32::new(0),
        }
    }

    /// Packets that ended in this verdict.
    #[expect(clippy::indexing_slicing, reason = "an array with a place for each")]
    pub fn verdict(&self, verdict: Verdict) -> u64 {
        self.verdicts[verdict.index()].load(Ordering::Relaxed)
    }

    /// A counter that is no verdict.
    #[expect(clippy::indexing_slicing, reason = "an array with a place for each")]
    pub fn tally(&self, tally: Tally) -> u64 {
        self.tallies[tally as usize].load(Ordering::Relaxed)
    }

    /// What policies in this slot have selected, since the worker started; nothing beyond the slots.
    pub fn policy(&self, slot: PolicySlot) -> PolicyCount {
        self.policies.get(slot.index()).map_or_else(PolicyCount::default, |counters| PolicyCount {
            packets: counters.packets.load(Ordering::Relaxed),
            octets: counters.octets.load(Ordering::Relaxed),
        })
    }

    /// What a stage took in rounds with something to do; `None` without the feature `stage-cycles`.
    pub fn stage(&self, stage: Stage) -> Option<Lap> {
        let LapCounters { ticks, laps } = self.stages.get(stage as usize)?;
        Some(Lap { ticks: ticks.load(Ordering::Relaxed), laps: laps.load(Ordering::Relaxed) })
    }

    /// Thread id of the operating system; 0 before the worker runs.
    pub fn thread(&self) -> u32 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Counts a packet. Only the worker's own thread may.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "an array with a place for each")]
    pub fn count(&self, verdict: Verdict) {
        add(&self.verdicts[verdict.index()], 1);
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "an array with a place for each")]
    pub(crate) fn count_all(&self, verdict: Verdict, packets: usize) {
        add(&self.verdicts[verdict.index()], packets as u64);
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "an array with a place for each")]
    pub(crate) fn add(&self, tally: Tally, n: usize) {
        add(&self.tallies[tally as usize], n as u64);
    }

    /// Has the caches fetch the counters of a policy.
    #[inline]
    pub(crate) fn prefetch_policy(&self, slot: PolicySlot) {
        if let Some(counters) = self.policies.get(slot.index()) {
            esp_crypto::prefetch(counters);
        }
    }

    #[inline]
    pub(crate) fn count_policy(&self, slot: PolicySlot, packets: u32, octets: u64) {
        if let Some(counters) = self.policies.get(slot.index()) {
            add(&counters.packets, packets.into());
            add(&counters.octets, octets);
        }
    }

    #[inline]
    pub(crate) fn add_laps(&self, round: &[Lap; PLACES]) {
        for (counters, lap) in self.stages.iter().zip(round) {
            add(&counters.ticks, lap.ticks);
            add(&counters.laps, lap.laps);
        }
    }

    pub(crate) fn set_thread(&self, id: u32) {
        self.thread.store(id, Ordering::Relaxed);
    }
}

/// There is one writer, so a load and a store lose nothing and cost no locked instruction.
#[inline]
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}
