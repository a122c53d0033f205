//! Packets and the CPU time of the thread that moved them.
//!
//! The rate of a benchmark is packets per second of the worker's CPU time, not of wall time: it stays within a few percent on a machine
//! that does other things too.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure};

/// How long and how often is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) warm_up: Duration,
    pub(crate) pass: Duration,
    pub(crate) passes: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { warm_up: Duration::from_millis(50), pass: Duration::from_millis(200), passes: 9 };
    /// Enough to see that everything works.
    pub(crate) const QUICK: Self = Self { warm_up: Duration::from_millis(50), pass: Duration::from_millis(200), passes: 1 };
}

/// What one thread did in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) packets: u64,
    pub(crate) cpu_ns: u64,
}

impl Sample {
    /// The difference of two readings of counters that only rise.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { packets: self.packets.saturating_sub(earlier.packets), cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns) }
    }

    /// Millions of packets per second of CPU time.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    pub(crate) fn mpps(self) -> f64 {
        if self.cpu_ns == 0 { 0.0 } else { self.packets as f64 * 1e3 / self.cpu_ns as f64 }
    }
}

/// The middle of some values; of an even number, the lower one in the middle. 0 without any.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// The value that `part` of `of` values are below; 0 without any.
pub(crate) fn quantile(values: &[f64], part: usize, of: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) * part / of).copied().unwrap_or(0.0)
}

/// Some values: the middle, and how far they lie apart.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Spread {
    /// All zero without any value.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<_> = values.collect();
        if values.is_empty() {
            return Self::default();
        }
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { median: median(values), lowest, highest }
    }
}

/// Nanoseconds that a thread of a process has spent on a CPU so far.
pub(crate) fn cpu_time(process: u32, thread: u32) -> Result<u64, Failure> {
    read_schedstat(Path::new(&format!("/proc/{process}/task/{thread}/schedstat")))
}

/// Nanoseconds that the calling thread has spent on a CPU so far.
pub(crate) fn own_cpu_time() -> Result<u64, Failure> {
    read_schedstat(Path::new("/proc/thread-self/schedstat"))
}

/// The first field is the time on the CPU (Documentation/scheduler/sched-stats.rst).
fn read_schedstat(path: &Path) -> Result<u64, Failure> {
    let text = fs::read_to_string(path).context(path.display())?;
    let first = text.split_whitespace().next().context(format_args!("{} is empty", path.display()))?;
    first.parse().context(path.display())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0]) - 1.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let quartiles = [1, 2, 3].map(|part| quantile(&[5.0, 1.0, 4.0, 2.0, 3.0], part, 4));
        assert!(quartiles.iter().zip([2.0, 3.0, 4.0]).all(|(is, expected)| (is - expected).abs() < f64::EPSILON), "{quartiles:?}");
        assert!(quantile(&[], 1, 4).abs() < f64::EPSILON);
    }

    #[test]
    fn rate_is_per_cpu_second() {
        let sample = Sample { packets: 3_000_000, cpu_ns: 1_500_000_000 }.since(Sample { packets: 1_000_000, cpu_ns: 500_000_000 });
        assert!((sample.mpps() - 2.0).abs() < 1e-9);
        assert!(Sample { packets: 1, cpu_ns: 0 }.mpps().abs() < f64::EPSILON);
    }

    #[test]
    fn cpu_time_rises_while_a_thread_works() {
        let before = own_cpu_time().unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(50) {}
        assert!(own_cpu_time().unwrap() > before);
    }
}
