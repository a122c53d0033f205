//! How busy each worker was of late.

use crate::server::workers::Workers;
use crate::stats::Tally;

/// Between two samples.
const PERIOD_MS: u64 = 1000;

/// The shares of the last whole period.
#[derive(Debug, Default)]
pub(super) struct Loads {
    sampled_ms: u64,
    workers: Vec<Load>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    busy_us: u64,
    permille: u32,
}

impl Loads {
    /// Takes a sample, where it is time for one.
    pub(super) fn sample(&mut self, workers: &Workers, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.sampled_ms);
        if elapsed_ms < PERIOD_MS {
            return;
        }
        self.sampled_ms = now_ms;
        self.workers.resize(workers.len(), Load::default());
        for (load, stats) in self.workers.iter_mut().zip(workers.stats()) {
            let busy_us = stats.tally(Tally::BusyMicroseconds);
            *load = Load { busy_us, permille: permille(busy_us.wrapping_sub(load.busy_us), elapsed_ms) };
        }
    }

    /// Thousandths of the last period that a worker was busy; 0 before the first sample.
    pub(super) fn permille(&self, worker: usize) -> u32 {
        self.workers.get(worker).map_or(0, |load| load.permille)
    }
}

/// Microseconds in milliseconds are thousandths.
fn permille(busy_us: u64, elapsed_ms: u64) -> u32 {
    let share = busy_us.checked_div(elapsed_ms).unwrap_or(0);
    u32::try_from(share.min(1000)).unwrap_or(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_at_most_all_of_the_time() {
        assert_eq!(
            [(0, 1000), (1_000, 1000), (500_000, 1000), (999_999, 1000), (1_000_500, 1000)].map(|(b, e)| permille(b, e)),
            [0, 1, 500, 999, 1000]
        );
        assert_eq!(permille(5, 0), 0);
    }
}
