//! The result as a table and as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::machine::Machine;
use crate::measure::{median, quantile};
use crate::packets::{BURST, Size, WINDOW};
use crate::peers::{Isa, ipsec_mb_version, openssl_version};

/// A whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    benchmark: &'static str,
    #[serde(flatten)]
    machine: Machine,
    ipsec_mb: String,
    openssl: &'static str,
    /// What ipsec-mb and our kernels were held to.
    isa: Isa,
    tsc_ghz: f64,
    burst: usize,
    /// Packets between two looks at the clock.
    window: usize,
    aad: usize,
    passes: usize,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Algorithm {
    #[serde(rename = "AES-128-GCM")]
    Aes128Gcm,
    #[serde(rename = "AES-256-GCM")]
    Aes256Gcm,
}

impl Algorithm {
    pub(super) const ALL: [Self; 2] = [Self::Aes128Gcm, Self::Aes256Gcm];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "AES-128-GCM",
            Self::Aes256Gcm => "AES-256-GCM",
        }
    }

    /// In octets.
    pub(super) fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm => 32,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    Seal,
    Open,
}

impl Direction {
    pub(super) const ALL: [Self; 2] = [Self::Seal, Self::Open];

    fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Open => "open",
        }
    }
}

/// One algorithm, direction, size and number of keys.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    algorithm: Algorithm,
    direction: Direction,
    /// Octets of data, or `IMIX`.
    size: Size,
    keys: usize,
    /// ipsec-mb first.
    cells: Vec<Cell>,
}

/// One implementation.
#[derive(Debug, Serialize)]
struct Cell {
    name: String,
    /// Medians of the passes.
    ns: f64,
    cycles: f64,
    /// How much faster than ipsec-mb in the same pass: median, and first and third quartile of the passes.
    ratio: f64,
    ratio_q1: f64,
    ratio_q3: f64,
}

impl Row {
    /// What stands under one heading.
    fn block(&self) -> (Algorithm, Direction, usize) {
        (self.algorithm, self.direction, self.keys)
    }

    /// Of ticks a packet in each pass, those of ipsec-mb first.
    pub(super) fn new(
        algorithm: Algorithm,
        direction: Direction,
        size: Size,
        keys: usize,
        peers: Vec<(String, Vec<f64>)>,
        ticks_a_ns: f64,
    ) -> Self {
        let yardstick = peers.first().map(|(_, ticks)| ticks.clone()).unwrap_or_default();
        let cell = |(name, ticks): (String, Vec<f64>)| {
            let ratios: Vec<f64> = yardstick.iter().zip(&ticks).map(|(yardstick, ticks)| yardstick / ticks).collect();
            let cycles = median(ticks);
            let (ratio_q1, ratio_q3) = (quantile(&ratios, 1, 4), quantile(&ratios, 3, 4));
            Cell { name, ns: cycles / ticks_a_ns, cycles, ratio: median(ratios), ratio_q1, ratio_q3 }
        };
        Self { algorithm, direction, size, keys, cells: peers.into_iter().map(cell).collect() }
    }
}

impl Report {
    /// A report without rows.
    pub(super) fn new(isa: Isa, passes: usize, tsc_ghz: f64) -> Self {
        Self {
            benchmark: "kernels",
            machine: Machine::this(),
            ipsec_mb: ipsec_mb_version(),
            openssl: openssl_version(),
            isa,
            tsc_ghz,
            burst: BURST,
            window: WINDOW,
            aad: 8,
            passes,
            rows: Vec::new(),
        }
    }

    /// The table for people.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "AES-GCM in place, bursts of {}, AAD of {} octets, data where an mbuf has them; {} passes in turns on one core\n\
             {}, TSC {:.2} GHz, ipsec-mb {}, {}\n\
             ns and cycles of the TSC a packet; ratio: how much faster than ipsec-mb in the same pass, median and quartiles\n",
            self.burst, self.aad, self.passes, self.machine, self.tsc_ghz, self.ipsec_mb, self.openssl
        );
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|row| row.block());
        let mut block = None;
        for row in rows {
            let next = row.block();
            if block.replace(next) != Some(next) {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "\n{} {}, {} SA\n  size  by                       ns    cycles   ratio",
                    row.algorithm.name(),
                    row.direction.name(),
                    row.keys
                );
            }
            for (n, cell) in row.cells.iter().enumerate() {
                let size = if n == 0 { row.size.to_string() } else { String::new() };
                let _ = write!(text, "{size:>6}  {:<18} {:>8.1} {:>9.1} {:>7.2}", cell.name, cell.ns, cell.cycles, cell.ratio);
                let _ = if n == 0 { writeln!(text) } else { writeln!(text, "  ({:.2} .. {:.2})", cell.ratio_q1, cell.ratio_q3) };
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_one_of_the_same_pass() {
        let peers = vec![("ipsec-mb".to_owned(), vec![20.0, 40.0, 80.0]), ("culvert".to_owned(), vec![10.0, 10.0, 80.0])];
        let row = Row::new(Algorithm::Aes128Gcm, Direction::Seal, Size::Imix, 1, peers, 2.0);
        let [yardstick, ours] = &row.cells[..] else { panic!("two cells") };
        let is = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
        is(yardstick.ns, 20.0);
        is(yardstick.cycles, 40.0);
        is(yardstick.ratio, 1.0);
        is(ours.cycles, 10.0);
        is(ours.ratio, 2.0);
        is(ours.ratio_q1, 1.0);
    }
}
