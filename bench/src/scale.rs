//! Tables at scale: what 1 to 100,000 tunnels cost in speed and memory, how long commands keep a worker from its packets, and how fast the SPD is.

mod gateway;
mod report;
mod source;
mod spd;
mod turns;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use dpdk::{Burst, Eal, Pool, PoolConfig};

use crate::eal;
use crate::error::{Context, Failure};
use crate::measure::own_cpu_time;
use crate::output::{Output, Pages};
use crate::report::Direction;
use crate::traffic::Mix;
use gateway::{Server, Worker};
use report::{Cell, Footprint, Report};
use source::Source;

/// Packets per second of worker CPU time and memory with up to 100,000 Child SAs and as many policies; what installing and removing costs a worker; SPD lookups.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pages: Pages,
    /// Only this part.
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// Numbers of tunnels.
    #[arg(long, value_delimiter = ',')]
    tunnels: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Rates and memory.
    Rates,
    /// Turns of a worker while policies and SAs come and go.
    Turns,
    /// SPD lookups.
    Spd,
}

/// How long and how often is measured.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Passes over everything, one after the other.
    passes: usize,
    /// Time of a pass of one cell, and before it, so that its tables are in the caches as far as they fit.
    pass: Duration,
    warm_up: Duration,
}

/// Sizes of inner frames.
const MIXES: [Mix; 2] = [Mix::Fixed(64), Mix::Imix];
const DIRECTIONS: [Direction; 2] = [Direction::Outbound, Direction::Inbound];

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let memory = arguments.pages.memory();
    let (passes, pass) = if arguments.output.quick { (1, 20) } else { (9, 60) };
    let pass = Duration::from_millis(pass);
    let plan = Plan { passes, pass, warm_up: pass };
    let tunnels = match (arguments.tunnels.as_slice(), arguments.output.quick) {
        ([], true) => vec![1, 1000, 10_000],
        ([], false) => vec![1, 1000, 10_000, 100_000],
        (chosen, _) => chosen.to_vec(),
    };
    let wanted = |part| arguments.part.is_none_or(|only| only == part);
    let mut report = Report::new(memory, plan);
    if wanted(Part::Spd) {
        report.spd = spd::measure(arguments.output.quick)?;
    }
    if wanted(Part::Rates) || wanted(Part::Turns) {
        let eal = Eal::init(eal::devices(memory, &[])).context("DPDK")?;
        let pool = eal.pool(&PoolConfig { name: "packets".to_owned(), size: 2047, cache: 256, data_room: 2176 }).context("DPDK")?;
        let core = thread::available_parallelism().map_or(1, usize::from) - 1;
        let measured = thread::scope(|scope| {
            let work = || {
                let _registration = dpdk::thread::register(&eal).context("DPDK")?;
                if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
                    return Err(Failure(format!("cannot run on core {core}")));
                }
                if wanted(Part::Rates) {
                    rates(&pool, &tunnels, plan, &mut report)?;
                }
                if wanted(Part::Turns) {
                    let most = tunnels.iter().copied().max().unwrap_or(1);
                    report.turns = Some(turns::measure(&pool, most, arguments.output.quick)?);
                }
                Ok(())
            };
            scope.spawn(work).join()
        });
        measured.map_err(|_| Failure("the worker panicked".to_owned()))??;
    }
    arguments.output.print(&report, &report)
}

/// Gateways of all sizes at once, in the same process, each in turn for a short time.
fn rates(pool: &Pool, tunnels: &[u32], plan: Plan, report: &mut Report) -> Result<(), Failure> {
    let mut gateways = Vec::new();
    for &tunnels in tunnels {
        eprintln!("{tunnels} tunnels");
        let ((server, worker), footprint) = filled(pool, tunnels)?;
        report.memory_of_tunnels.push(footprint);
        gateways.push((server, worker, 0));
    }
    let mut cells: Vec<Cell> = Vec::new();
    for direction in DIRECTIONS {
        for mix in MIXES {
            cells.extend(tunnels.iter().map(|&tunnels| Cell::new(direction, mix, tunnels)));
        }
    }
    let mut sources = cells.iter().map(|cell| cell.source(pool)).collect::<Result<Vec<_>, _>>()?;
    for pass in 0..plan.passes {
        eprintln!("pass {} of {}", pass + 1, plan.passes);
        for (cell, source) in cells.iter_mut().zip(&mut sources) {
            let place = tunnels.iter().position(|tunnels| *tunnels == cell.tunnels).context("tunnels")?;
            let (server, worker, number) = gateways.get_mut(place).context("tunnels")?;
            // Where the source of another size has ended.
            source.sequence = source.sequence.max(*number);
            cell.source_ns.push(source_alone(source, plan)?);
            cell.total_ns.push(through(worker, source, cell.direction, plan)?);
            *number = source.sequence;
            server.poll();
        }
    }
    report.cells = cells;
    Ok(())
}

/// A gateway with its tunnels, and the memory they took.
fn filled(pool: &Pool, tunnels: u32) -> Result<((Server, Worker), Footprint), Failure> {
    let (mut server, mut worker) = gateway::start(pool, tunnels, 0)?;
    let empty = resident()?;
    let start = Instant::now();
    server.set_policies(&mut worker, tunnels)?;
    let (policies_s, policies) = (start.elapsed().as_secs_f64(), resident()?);
    let start = Instant::now();
    server.install(&mut worker, tunnels)?;
    let sas_s = start.elapsed().as_secs_f64();
    let footprint = Footprint::new(tunnels, policies.saturating_sub(empty), resident()?.saturating_sub(policies), policies_s, sas_s);
    Ok(((server, worker), footprint))
}

/// Octets of this process in memory (proc_pid_statm(5)).
fn resident() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/self/statm").context("/proc/self/statm")?;
    let pages: u64 = text.split_whitespace().nth(1).context("/proc/self/statm")?.parse().context("/proc/self/statm")?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Nanoseconds of CPU time a packet that is made and freed.
fn source_alone(source: &mut Source, plan: Plan) -> Result<f64, Failure> {
    let mut burst = Burst::new();
    for_a_while(plan, || {
        source.fill(&mut burst)?;
        burst.clear();
        Ok(())
    })
}

/// Nanoseconds of CPU time a packet that is made, crosses the gateway, and is freed.
fn through(worker: &mut Worker, source: &mut Source, direction: Direction, plan: Plan) -> Result<f64, Failure> {
    let mut burst = Burst::new();
    let (before, mut made) = (worker.crossed(), 0);
    let ns = for_a_while(plan, || {
        source.fill(&mut burst)?;
        made += burst.len() as u64;
        worker.round(direction, &mut burst);
        Ok(())
    })?;
    let crossed = worker.crossed() - before;
    if crossed != made {
        return Err(Failure(format!("of {made} packets {crossed} crossed; counters: {}", worker.counters())));
    }
    Ok(ns)
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn for_a_while(plan: Plan, mut burst: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    /// Bursts between two looks at the clock.
    const ROUNDS: u64 = 64;
    let mut run = |time: Duration| {
        let (start, mut bursts) = (Instant::now(), 0);
        while start.elapsed() < time {
            (0..ROUNDS).try_for_each(|_| burst())?;
            bursts += ROUNDS;
        }
        Ok::<_, Failure>(bursts)
    };
    run(plan.warm_up)?;
    let before = own_cpu_time()?;
    let bursts = run(plan.pass)?;
    Ok((own_cpu_time()? - before) as f64 / (bursts * dpdk::BURST as u64) as f64)
}
