//! What two workers make of what one does: many tunnels, the ring between them, and one tunnel on both.
//!
//! Every figure comes from child processes, one for each arrangement and round, and the rounds of all arrangements are interleaved.

pub(crate) mod child;
pub(crate) mod ring;
pub(crate) mod window;

use std::fmt::Write;

use serde::Serialize;

use crate::error::Failure;
use crate::machine::Machine;
use crate::measure::{Sample, Spread};
use crate::output::{Output, Pages};
use crate::realtime::Scheduling;
use child::{Pass, Spread as Receiving};

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pages: Pages,
    /// How workers are scheduled; real-time where permitted, unless said otherwise.
    #[arg(long)]
    scheduling: Option<Scheduling>,
}

/// A whole run.
#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    machine: Machine,
    hugepages: bool,
    scheduling: Scheduling,
    rounds: usize,
    unit: &'static str,
    arrangements: Vec<Row>,
    ring: Vec<Ring>,
    window: window::Seen,
}

/// One arrangement of two workers, against one worker in the same round.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    inbound: bool,
    tunnels: u8,
    size: String,
    receiving: Receiving,
    /// Millions of packets a second of CPU time: of one worker, and the sum over two.
    one_mpps: Spread,
    two_mpps: Spread,
    ratio: Spread,
    /// The same ratio of packets a second of wall time.
    wall_ratio: Spread,
    /// The part of the wall time for which each of two workers was on its core.
    on_core: f64,
    /// Of a hundred packets, how many crossed to the other worker, and how many found the ring full.
    handed_off_percent: f64,
    overflow_percent: f64,
}

/// What crossing costs, by itself.
#[derive(Debug, Serialize)]
struct Ring {
    burst: usize,
    /// Giving and taking together.
    ns: Spread,
}

/// What is arranged, and for how many tunnels.
struct Case {
    name: &'static str,
    inbound: bool,
    tunnels: u8,
    /// 0 for IMIX.
    size: usize,
    receiving: Receiving,
}

const CASES: [Case; 11] = [
    Case { name: "many tunnels, nothing shared", inbound: false, tunnels: 64, size: 64, receiving: Receiving::Apart },
    Case { name: "many tunnels, spread by tunnel", inbound: false, tunnels: 64, size: 64, receiving: Receiving::ByTunnel },
    Case { name: "many tunnels, spread by flow", inbound: false, tunnels: 64, size: 64, receiving: Receiving::ByFlow },
    Case { name: "many tunnels, spread by tunnel", inbound: false, tunnels: 64, size: 0, receiving: Receiving::ByTunnel },
    Case { name: "many tunnels, spread by flow", inbound: false, tunnels: 64, size: 0, receiving: Receiving::ByFlow },
    Case { name: "many tunnels, nothing shared", inbound: true, tunnels: 64, size: 64, receiving: Receiving::Apart },
    Case { name: "many tunnels, spread by tunnel", inbound: true, tunnels: 64, size: 64, receiving: Receiving::ByTunnel },
    Case { name: "many tunnels, spread by tunnel", inbound: true, tunnels: 64, size: 0, receiving: Receiving::ByTunnel },
    Case { name: "half of the packets handed off", inbound: true, tunnels: 64, size: 64, receiving: Receiving::Crossed },
    Case { name: "one tunnel, 64 flows", inbound: false, tunnels: 1, size: 0, receiving: Receiving::ByFlow },
    Case { name: "one tunnel, 64 flows", inbound: false, tunnels: 1, size: 64, receiving: Receiving::ByFlow },
];

/// Measures everything and prints the report.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let scheduling = arguments.scheduling.unwrap_or_else(Scheduling::best);
    let rounds = if arguments.output.quick { 1 } else { 9 };
    let mut passes: Vec<Vec<Round>> = CASES.iter().map(|_| Vec::new()).collect();
    let mut rings = BURSTS.map(|_| Vec::new());
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (case, passes) in CASES.iter().zip(&mut passes) {
            passes.push(case.measure(arguments, scheduling, round)?);
        }
        for (burst, samples) in BURSTS.into_iter().zip(&mut rings) {
            samples.extend(ring::Arguments { burst, passes: 3, scheduling }.measure()?);
        }
    }
    let rounds_of_window = if arguments.output.quick { 5 } else { 200 };
    let window = window::Arguments { rounds: rounds_of_window, hugepages: arguments.pages.hugepages, scheduling }.measure()?;
    let report = Report {
        benchmark: "cores",
        machine: Machine::this(),
        hugepages: arguments.pages.hugepages,
        scheduling,
        rounds,
        unit: "million packets per second of worker CPU time, summed over the workers",
        arrangements: CASES.iter().zip(&passes).map(|(case, rounds)| Row::new(case, rounds)).collect(),
        ring: BURSTS.into_iter().zip(&rings).map(|(burst, samples)| Ring { burst, ns: Spread::of(samples.iter().map(ns)) }).collect(),
        window,
    };
    arguments.output.print(&report, report.table())
}

const BURSTS: [usize; 3] = [32, 8, 1];

#[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
fn ns(sample: &Sample) -> f64 {
    sample.cpu_ns as f64 / sample.packets.max(1) as f64
}

/// What one round saw of an arrangement, and of one worker before and after it: once on either core, as cores differ.
struct Round {
    one: [Vec<Pass>; 2],
    two: Vec<Pass>,
}

impl Round {
    /// Of one worker, the mean over both cores.
    fn one(&self) -> f64 {
        self.one.iter().map(|passes| best(passes, 0)).sum::<f64>() / 2.0
    }

    /// The sum over both workers.
    fn two(&self) -> f64 {
        best(&self.two, 0) + best(&self.two, 1)
    }

    fn wall_ratio(&self) -> f64 {
        let one = self.one.iter().flatten().map(Pass::wall_mpps);
        Spread::of(self.two.iter().map(Pass::wall_mpps)).median / Spread::of(one).median
    }
}

/// A worker's rate in its best pass: what disturbs only slows down, and it would be chance whether one worker or two suffer from it.
fn best(passes: &[Pass], worker: usize) -> f64 {
    passes.iter().filter_map(|pass| pass.workers.get(worker)).map(|sample| sample.mpps()).fold(0.0, f64::max)
}

impl Case {
    fn measure(&self, arguments: &Arguments, scheduling: Scheduling, round: usize) -> Result<Round, Failure> {
        let child = |spread, first_core| child::Arguments {
            spread,
            inbound: self.inbound,
            tunnels: self.tunnels,
            size: self.size,
            first_core,
            cores: 2,
            hugepages: arguments.pages.hugepages,
            scheduling,
            warm_up_ms: 60,
            pass_ms: 60,
            passes: if arguments.output.quick { 1 } else { 5 },
        };
        let (first, second) = (round % 2, (round + 1) % 2);
        let before = child(Receiving::One, first).measure()?;
        let two = child(self.receiving, first).measure()?;
        let behind = child(Receiving::One, second).measure()?;
        Ok(Round { one: [before, behind], two })
    }
}

impl Row {
    fn new(case: &Case, rounds: &[Round]) -> Self {
        let spread = |of: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(of));
        let sum = |of: fn(&Pass) -> f64| rounds.iter().flat_map(|round| &round.two).map(of).sum::<f64>();
        let moved = sum(packets);
        Self {
            name: case.name,
            inbound: case.inbound,
            tunnels: case.tunnels,
            size: if case.size == 0 { "IMIX".to_owned() } else { case.size.to_string() },
            receiving: case.receiving,
            one_mpps: spread(&Round::one),
            two_mpps: spread(&Round::two),
            ratio: spread(&|round| round.two() / round.one()),
            wall_ratio: spread(&Round::wall_ratio),
            on_core: sum(cpu_ns) / (2.0 * sum(wall_ns)),
            handed_off_percent: 100.0 * sum(handed_off) / moved.max(1.0),
            overflow_percent: 100.0 * sum(overflow) / moved.max(1.0),
        }
    }
}

macro_rules! as_f64 {
    ($($name:ident: $pass:ident => $value:expr;)*) => {
        $(
            #[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
            fn $name($pass: &Pass) -> f64 {
                $value as f64
            }
        )*
    };
}

as_f64! {
    packets: pass => pass.workers.iter().map(|worker| worker.packets).sum::<u64>();
    cpu_ns: pass => pass.workers.iter().map(|worker| worker.cpu_ns).sum::<u64>();
    wall_ns: pass => pass.wall_ns;
    handed_off: pass => pass.handed_off;
    overflow: pass => pass.overflow;
}

impl Report {
    fn table(&self) -> String {
        let mut text = format!("{}\n{}; workers are scheduled {}\n\n", self.machine, self.unit, self.scheduling.name());
        text += "two workers against one         direction  size   one Mpps  two Mpps     ratio (lowest..highest)   wall   on core\n";
        // Writing to a string cannot fail.
        for row in &self.arrangements {
            let direction = if row.inbound { "inbound" } else { "outbound" };
            let _ = writeln!(
                text,
                "{:<31} {:<9} {:>5} {:>10.2} {:>9.2} {:>9.2} ({:.2}..{:.2}) {:>14.2} {:>8.0}%",
                row.name,
                direction,
                row.size,
                row.one_mpps.median,
                row.two_mpps.median,
                row.ratio.median,
                row.ratio.lowest,
                row.ratio.highest,
                row.wall_ratio.median,
                row.on_core * 100.0,
            );
        }
        text += &self.hand_off();
        let Self { window: seen, .. } = self;
        let _ = writeln!(
            text,
            "\none SA on two workers, opened in the order in which packets left, replay window {}:\n{} packets, {} opened, {} out of the window ({} of \
             them in bursts that were interrupted), {} replayed\n{} came behind a higher number, {} behind at most; {} of {} bursts were interrupted",
            window::WINDOW,
            seen.packets,
            seen.opened,
            seen.out_of_window,
            seen.out_of_window_interrupted,
            seen.replayed,
            seen.reordered,
            seen.furthest,
            seen.interrupted_bursts,
            seen.bursts
        );
        text
    }

    fn hand_off(&self) -> String {
        let mut text = "\nhand-off, ns a packet for giving and taking together\n".to_owned();
        for ring in &self.ring {
            let _ = writeln!(
                text,
                "ring alone, {:>2} published together {:>6.1} ({:.1}..{:.1})",
                ring.burst, ring.ns.median, ring.ns.lowest, ring.ns.highest
            );
        }
        let find = |receiving| self.arrangements.iter().find(|row| row.inbound && row.size == "64" && row.receiving == receiving);
        if let (Some(local), Some(crossed)) = (find(Receiving::ByTunnel), find(Receiving::Crossed)) {
            let ns = |row: &Row| 2e3 / row.two_mpps.median;
            let _ = writeln!(
                text,
                "whole path, 64 octets: {:.1} ns a packet when each worker receives what it owns, {:.1} when it hands off {:.0} of 100, {:.1} more for each \
                 that crosses; {:.1} of 100 found the ring full",
                ns(local),
                ns(crossed),
                crossed.handed_off_percent,
                (ns(crossed) - ns(local)) * 100.0 / crossed.handed_off_percent.max(1.0),
                crossed.overflow_percent
            );
        }
        text
    }
}
