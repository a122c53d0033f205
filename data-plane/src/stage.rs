//! Where a worker's time goes, stage by stage. Nothing of it is compiled without the feature `stage-cycles`, which is for benchmarks: with it a clock is read
//! at the end of every stage of every burst.

use crate::stats::WorkerStats;

/// Whether time is taken.
const TAKEN: bool = cfg!(any(test, feature = "stage-cycles"));

/// Places for figures of each stage: none, and so no code, unless time is taken.
pub(crate) const PLACES: usize = Stage::TAKEN.len();

/// Makes the stages, and the names of their counters, from one table.
macro_rules! stages {
    ($($variant:ident $name:literal $meaning:literal)*) => {
        /// What a worker does with a burst, one after the other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Stage {
            $(#[doc = $meaning] $variant,)*
        }

        impl Stage {
            /// Every stage, in this order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Those whose time is taken: all or none.
            pub const TAKEN: &[Self] = if TAKEN { Self::ALL } else { &[] };

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The counters of its ticks (see [`dpdk::ticks`]) and of how often it ended.
            pub const fn counters(self) -> [&'static str; 2] {
                match self { $(Self::$variant => [concat!("stage_", $name, "_ticks"), concat!("stage_", $name, "_laps")]),* }
            }

            /// What belongs to it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

stages! {
    Turn "turn" "Clock, commands, timers, counters of the round, and polls that find nothing."
    Receive "receive" "A burst from the driver or from another worker."
    Classify "classify" "Headers, and what the flow cache knows."
    Prepare "prepare" "Policy, SA, number and all headers outbound; SA and replay window inbound; a job for the cipher."
    Cipher "cipher" "The cipher."
    Post "post" "What follows the cipher: counters; inbound also trailer, replay window, selectors, Ethernet header."
    Transmit "transmit" "What crosses in the clear, pieces, and the driver."
}

/// Ticks of a stage, and how often it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lap {
    /// Ticks (see [`dpdk::ticks`]).
    pub ticks: u64,
    /// How often the clock was read for it.
    pub laps: u64,
}

/// Takes the time of the stages of a worker.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    since: u64,
    round: [Lap; PLACES],
}

impl Stopwatch {
    pub(crate) fn new() -> Self {
        Self { since: if TAKEN { dpdk::ticks() } else { 0 }, round: [Lap::default(); PLACES] }
    }

    /// A stage ends here: it had the time since another one ended.
    #[inline]
    pub(crate) fn lap(&mut self, stage: Stage) {
        if let Some(lap) = self.round.get_mut(stage as usize) {
            let now = dpdk::ticks();
            lap.ticks += now.wrapping_sub(self.since);
            lap.laps += 1;
            self.since = now;
        }
    }

    /// The round is over: it counts if there was something to do.
    #[inline]
    pub(crate) fn end_round(&mut self, stats: &WorkerStats, busy: bool) {
        if busy {
            stats.add_laps(&self.round);
        } else if TAKEN {
            self.since = dpdk::ticks();
        }
        self.round = [Lap::default(); PLACES];
    }
}
