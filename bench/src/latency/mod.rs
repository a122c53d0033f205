//! How long a packet is in the gateway when there is little to do: from the ring in front of it to the ring behind it.

pub(crate) mod child;

use std::fmt::Write;

use serde::Serialize;

use crate::error::Failure;
use crate::machine::Machine;
use crate::measure::Spread;
use crate::output::{Output, Pages};
use crate::realtime::Scheduling;

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pages: Pages,
    /// Packets a second.
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
}

/// A whole run.
#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    machine: Machine,
    hugepages: bool,
    packets_per_second: u64,
    rows: Vec<Row>,
}

/// One arrangement.
#[derive(Debug, Serialize)]
struct Row {
    inbound: bool,
    size: usize,
    idle: &'static str,
    scheduling: Scheduling,
    packets: usize,
    median_us: f64,
    /// Medians of the rounds.
    medians_us: Spread,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

/// Measures everything and prints the report.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (rounds, packets) = if arguments.output.quick { (1, 500) } else { (6, 5_000) };
    let best = Scheduling::best();
    let mut ways = Vec::new();
    for (inbound, size) in [(false, 64), (false, 1420), (true, 64), (true, 1420)] {
        ways.push((inbound, size, false, best));
    }
    // What other programs and sleeping do to it.
    ways.push((false, 64, false, Scheduling::Shared));
    ways.push((false, 64, true, Scheduling::Shared));
    let mut latencies: Vec<Vec<Vec<u64>>> = ways.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (&(inbound, size, adaptive, scheduling), latencies) in ways.iter().zip(&mut latencies) {
            let (rate, hugepages) = (arguments.rate, arguments.pages.hugepages);
            latencies.push(child::Arguments { inbound, size, adaptive, rate, packets, hugepages, scheduling }.measure()?);
        }
    }
    let rows = ways.into_iter().zip(latencies).map(|((inbound, size, adaptive, scheduling), latencies)| {
        Row::new(inbound, size, if adaptive { "adaptive" } else { "spin" }, scheduling, latencies)
    });
    let report = Report {
        benchmark: "latency",
        machine: Machine::this(),
        hugepages: arguments.pages.hugepages,
        packets_per_second: arguments.rate,
        rows: rows.collect(),
    };
    arguments.output.print(&report, report.table())
}

impl Row {
    fn new(inbound: bool, size: usize, idle: &'static str, scheduling: Scheduling, mut rounds: Vec<Vec<u64>>) -> Self {
        rounds.iter_mut().for_each(|round| round.sort_unstable());
        let medians_us = Spread::of(rounds.iter().map(|round| microseconds(quantile(round, 500))));
        let mut latencies = rounds.concat();
        latencies.sort_unstable();
        let at = |permille| microseconds(quantile(&latencies, permille));
        let (median_us, p99_us, p999_us, max_us) = (at(500), at(990), at(999), at(1000));
        Self { inbound, size, idle, scheduling, packets: latencies.len(), median_us, medians_us, p99_us, p999_us, max_us }
    }
}

/// Of sorted values the smallest that so many in a thousand do not exceed. 0 without any.
fn quantile(sorted: &[u64], permille: usize) -> u64 {
    let rank = (sorted.len() * permille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
fn microseconds(ns: u64) -> f64 {
    ns as f64 / 1e3
}

impl Report {
    fn table(&self) -> String {
        let mut text = format!(
            "{}\n{} packets a second, net_ring -> one worker -> net_ring, microseconds from enqueue to dequeue\n\n",
            self.machine, self.packets_per_second
        );
        text += "direction  size  idle      scheduling  packets   median (of rounds)      p99    p99.9       max\n";
        for row in &self.rows {
            let direction = if row.inbound { "inbound" } else { "outbound" };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<9} {:>5}  {:<9} {:<10} {:>8} {:>8.2} {:>12} {:>8.2} {:>8.2} {:>9.2}",
                direction,
                row.size,
                row.idle,
                row.scheduling.name(),
                row.packets,
                row.median_us,
                format!("({:.2}..{:.2})", row.medians_us.lowest, row.medians_us.highest),
                row.p99_us,
                row.p999_us,
                row.max_us
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!([1, 10, 500, 990, 999, 1000].map(|permille| quantile(&hundred, permille)), [1, 1, 50, 99, 100, 100]);
        assert_eq!(quantile(&[7], 500), 7);
        assert_eq!(quantile(&[], 500), 0);
    }
}
