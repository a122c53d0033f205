//! The tables.

use std::fmt;

use dpdk::Pool;
use serde::Serialize;

use super::source::Source;
use super::turns::Turns;
use super::{Plan, spd};
use crate::eal::Memory;
use crate::error::Failure;
use crate::machine::Machine;
use crate::measure::{Spread, median};
use crate::report::Direction;
use crate::traffic::Mix;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    benchmark: &'static str,
    machine: Machine,
    dpdk: String,
    pages: &'static str,
    passes: usize,
    pass_ms: u128,
    pub(super) cells: Vec<Cell>,
    pub(super) memory_of_tunnels: Vec<Footprint>,
    pub(super) turns: Option<Turns>,
    pub(super) spd: Vec<spd::Row>,
}

/// One direction and size with so many tunnels: nanoseconds of worker CPU time a packet, with and without the gateway, pass by pass.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(super) direction: Direction,
    pub(super) size: Mix,
    pub(super) tunnels: u32,
    pub(super) total_ns: Vec<f64>,
    pub(super) source_ns: Vec<f64>,
}

/// What the process grew by.
#[derive(Debug, Serialize)]
pub(crate) struct Footprint {
    tunnels: u32,
    octets_a_policy: f64,
    octets_an_sa_pair: f64,
    /// Seconds to set all policies, and to install all SAs.
    policies_s: f64,
    sas_s: f64,
}

impl Footprint {
    #[expect(clippy::cast_precision_loss, reason = "octets of memory are few enough")]
    pub(super) fn new(tunnels: u32, policies: u64, sas: u64, policies_s: f64, sas_s: f64) -> Self {
        let each = |octets: u64| octets as f64 / f64::from(tunnels);
        Self { tunnels, octets_a_policy: each(policies), octets_an_sa_pair: each(sas), policies_s, sas_s }
    }
}

impl Cell {
    pub(super) fn new(direction: Direction, size: Mix, tunnels: u32) -> Self {
        Self { direction, size, tunnels, total_ns: Vec::new(), source_ns: Vec::new() }
    }

    pub(super) fn source(&self, pool: &Pool) -> Result<Source, Failure> {
        Source::new(pool, self.direction, self.size, self.tunnels)
    }

    /// What the gateway alone takes, pass by pass.
    fn net_ns(&self) -> impl Iterator<Item = f64> {
        self.total_ns.iter().zip(&self.source_ns).map(|(total, source)| total - source)
    }
}

impl Report {
    pub(super) fn new(memory: Memory, plan: Plan) -> Self {
        Self {
            benchmark: "scale",
            machine: Machine::this(),
            dpdk: dpdk::version(),
            pages: match memory {
                Memory::Ordinary => "ordinary pages for packets (--no-huge)",
                Memory::Huge => "huge pages for packets (--in-memory)",
            },
            passes: plan.passes,
            pass_ms: plan.pass.as_millis(),
            cells: Vec::new(),
            memory_of_tunnels: Vec::new(),
            turns: None,
            spd: Vec::new(),
        }
    }

    /// The cell with fewest tunnels of the same direction and size.
    fn base(&self, cell: &Cell) -> Option<&Cell> {
        let alike = self.cells.iter().filter(|other| other.direction == cell.direction && other.size == cell.size);
        alike.min_by_key(|other| other.tunnels)
    }

    fn rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "direction   size  tunnels   Mpps   ns/packet (least-most)   source   net ns   rate to that of the fewest tunnels: net (least-most), with source"
        )?;
        for cell in &self.cells {
            let (total, source, net) = (median(cell.total_ns.clone()), median(cell.source_ns.clone()), median(cell.net_ns().collect()));
            let (least, most) = cell.total_ns.iter().fold((f64::MAX, 0.0_f64), |(a, b), &ns| (a.min(ns), b.max(ns)));
            let base = self.base(cell).unwrap_or(cell);
            // Pass by pass: what slowed the whole machine down slowed both.
            let net_ratio = Spread::of(base.net_ns().zip(cell.net_ns()).map(|(base, ns)| base / ns));
            let ratio = median(base.total_ns.iter().zip(&cell.total_ns).map(|(base, ns)| base / ns).collect());
            writeln!(
                f,
                "{:<9} {:>6} {:>8} {:>6.2} {:>11.1} ({least:.1}-{most:.1}) {source:>12.1} {net:>8.1} {:>10.2} ({:.2}-{:.2}) {ratio:>8.2}",
                cell.direction.name(),
                cell.size,
                cell.tunnels,
                1e3 / net,
                total,
                net_ratio.median,
                net_ratio.lowest,
                net_ratio.highest,
            )?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "aes128gcm16, tunnel mode, IPv4, replay window 64, one policy a tunnel; packets of tunnels in random order, made in place"
        )?;
        writeln!(f, "{}, {}, {}, {} passes of {} ms", self.machine, self.dpdk, self.pages, self.passes, self.pass_ms)?;
        writeln!(
            f,
            "rates are packets per second of worker CPU time, without the source; size is the inner Ethernet frame's, without FCS\n"
        )?;
        if !self.cells.is_empty() {
            self.rates(f)?;
        }
        for of in self.memory_of_tunnels.iter().filter(|of| of.tunnels >= 1000) {
            writeln!(
                f,
                "{} tunnels: {:.0} octets of memory an SA pair, {:.0} a policy; set in {:.2} s, installed in {:.2} s",
                of.tunnels, of.octets_an_sa_pair, of.octets_a_policy, of.policies_s, of.sas_s
            )?;
        }
        if let Some(turns) = &self.turns {
            writeln!(
                f,
                "\n{} tunnels, {:.0} policies with their SAs and {:.0} more SAs a second replaced: {} turns with commands, median {:.1} us, 99 % {:.1} us, longest {:.1} us; longest poll of the server {:.1} ms",
                turns.tunnels,
                turns.policies_per_second,
                turns.rekeys_per_second,
                turns.turns,
                turns.median_us,
                turns.p99_us,
                turns.longest_us,
                turns.server_longest_ms
            )?;
        }
        if !self.spd.is_empty() {
            writeln!(
                f,
                "\nSPD               policies   lookup ns: all (least-most)   64 policies (least-most)   insert us  remove us  build ms"
            )?;
        }
        for row in &self.spd {
            let [all, few] = [row.all_ns, row.few_ns].map(|[median, least, most]| format!("{median:.1} ({least:.1}-{most:.1})"));
            let (shape, policies, insert, remove) = (row.shape, row.policies, row.insert_us, row.remove_us);
            writeln!(f, "{shape:<16} {policies:>9} {all:>28} {few:>26} {insert:>11.1} {remove:>10.1} {:>9.1}", row.build_ms)?;
        }
        Ok(())
    }
}
