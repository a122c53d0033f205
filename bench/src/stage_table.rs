//! Ticks a packet in each stage of a worker, from a gateway that takes the time.

use std::time::{Duration, Instant};

use culvert_data::stage::Stage;
use serde::Serialize;

use crate::gateway::Laps;
use crate::measure::{Sample, Spread};

/// The clock that the gateway reads.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Clock {
    pub(crate) ticks_a_ns: f64,
    /// What reading it takes.
    pub(crate) ticks_a_read: f64,
}

impl Clock {
    #[expect(clippy::cast_precision_loss, reason = "a tenth of a second")]
    pub(crate) fn measure() -> Self {
        const READS: u64 = 1000;
        let (clock, first) = (Instant::now(), dpdk::ticks());
        let (mut least, mut last) = (u64::MAX, first);
        while clock.elapsed() < Duration::from_millis(100) {
            let began = dpdk::ticks();
            (0..READS).for_each(|_| last = dpdk::ticks());
            least = least.min(last - began);
        }
        let elapsed = clock.elapsed().as_nanos() as f64;
        Self { ticks_a_ns: (dpdk::ticks() - first) as f64 / elapsed, ticks_a_read: least as f64 / READS as f64 }
    }
}

/// Where the time of a packet goes, over the passes of a row.
#[derive(Debug, Serialize)]
pub(crate) struct StageTable {
    /// Packets that were received at once, on average.
    pub(crate) burst: f64,
    /// Without what reading the clock takes.
    pub(crate) stages: Vec<Cell>,
    /// All stages together.
    pub(crate) sum: Spread,
    /// What reading the clock took, in ticks a packet.
    pub(crate) clock: Spread,
    /// CPU time, in ticks a packet: what the sum and the clock are part of.
    pub(crate) cpu: Spread,
}

/// One stage.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) stage: &'static str,
    /// Of a packet.
    pub(crate) ticks: Spread,
}

impl StageTable {
    #[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
    pub(crate) fn new(passes: &[(Sample, Laps)], clock: Clock) -> Self {
        let each = |ticks: f64, sample: &Sample| ticks / sample.packets.max(1) as f64;
        let of = |value: &dyn Fn(&Sample, &Laps) -> f64| Spread::of(passes.iter().map(|(sample, laps)| value(sample, laps)));
        let reads = |laps: &Laps| laps.iter().map(|lap| lap.laps).sum::<u64>() as f64 * clock.ticks_a_read;
        let ticks = |laps: &Laps, stage: Stage| {
            let lap = laps.get(stage as usize).copied().unwrap_or_default();
            lap.ticks as f64 - lap.laps as f64 * clock.ticks_a_read
        };
        let bursts = |laps: &Laps| laps.get(Stage::Receive as usize).map_or(0, |lap| lap.laps);
        let cell = |&stage: &Stage| Cell { stage: stage.name(), ticks: of(&|sample, laps| each(ticks(laps, stage), sample)) };
        Self {
            burst: of(&|sample, laps| sample.packets as f64 / bursts(laps).max(1) as f64).median,
            stages: Stage::ALL.iter().map(cell).collect(),
            sum: of(&|sample, laps| each(Stage::ALL.iter().map(|stage| ticks(laps, *stage)).sum(), sample)),
            clock: of(&|sample, laps| each(reads(laps), sample)),
            cpu: of(&|sample, _| each(sample.cpu_ns as f64 * clock.ticks_a_ns, sample)),
        }
    }

    /// The heading of [`Self::line`].
    pub(crate) fn heading() -> String {
        let stages: String = Stage::ALL.iter().map(|stage| format!("{:>9}", stage.name())).collect();
        format!("{stages}      sum    clock      CPU")
    }

    /// Everything divided by `unit`.
    pub(crate) fn line(&self, unit: f64) -> String {
        let stages: String = self.stages.iter().map(|cell| format!("{:>9.1}", cell.ticks.median / unit)).collect();
        let [sum, clock, cpu] = [&self.sum, &self.clock, &self.cpu].map(|spread| spread.median / unit);
        format!("{stages} {sum:>8.1} {clock:>8.1} {cpu:>8.1}")
    }
}

#[cfg(test)]
mod tests {
    use culvert_data::stage::Lap;

    use super::*;

    #[test]
    fn reading_the_clock_is_no_part_of_a_stage() {
        let pass = |ticks: u64| {
            let mut laps = [Lap::default(); Stage::ALL.len()];
            laps[Stage::Receive as usize] = Lap { ticks, laps: 10 };
            laps[Stage::Cipher as usize] = Lap { ticks: 2 * ticks, laps: 10 };
            (Sample { packets: 100, cpu_ns: ticks * 2 }, laps)
        };
        let table = StageTable::new(&[pass(1000), pass(9000), pass(2000)], Clock { ticks_a_ns: 2.0, ticks_a_read: 20.0 });
        let is = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
        let stage = |stage: Stage| table.stages[stage as usize].ticks;
        is(table.burst, 10.0);
        is(stage(Stage::Receive).median, 18.0);
        is(stage(Stage::Cipher).median, 38.0);
        is(stage(Stage::Cipher).highest, 178.0);
        is(stage(Stage::Turn).median, 0.0);
        is(table.sum.median, 56.0);
        is(table.clock.median, 4.0);
        is(table.cpu.median, 80.0);
        assert_eq!(table.line(2.0).split_whitespace().count(), StageTable::heading().split_whitespace().count());
    }

    #[test]
    fn the_clock_ticks() {
        let clock = Clock::measure();
        assert!(clock.ticks_a_ns > 0.01 && clock.ticks_a_read > 0.0);
    }
}
