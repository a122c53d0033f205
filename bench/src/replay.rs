//! What replay protection and extended sequence numbers cost a receiver: fresh packets are sealed, cross net_ring and are opened, and only the opening is
//! timed, from receive to transmit.
//!
//! A window cannot be measured on a capture that repeats: it would refuse every packet after the first round.

use std::fmt::Write;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use core_affinity::CoreId;
use culvert_data::command::WorkerId;
use culvert_data::pipeline::{BURST, Burst};
use culvert_data::verdict::Verdict;
use dpdk::{Eal, Mbuf, Pool, PoolConfig, PortConfig, RxQueue, TxQueue};
use ipsec_types::SequenceNumbers;
use packet::ethernet;
use serde::Serialize;

use crate::eal;
use crate::error::{Context, Failure};
use crate::machine::Machine;
use crate::measure::{Spread, quantile};
use crate::output::{Output, Pages};
use crate::site::{self, Connection, Site};
use crate::stages::{self, PROTECTED, Sent, Stages, UNPROTECTED};
use crate::traffic::Mix;

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pages: Pages,
}

/// A whole run.
#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    machine: Machine,
    hugepages: bool,
    rounds: usize,
    rows: Vec<Row>,
}

/// One size with one kind of SA.
#[derive(Debug, Serialize)]
struct Row {
    size: String,
    window: u32,
    esn: bool,
    ns: Spread,
    /// Of the same round without window and ESN.
    ratio: Spread,
    /// First and third quartile of that: of so many rounds the outermost say nothing.
    ratio_quartiles: [f64; 2],
}

/// The kinds of SAs; the first is what the others are compared to.
const KINDS: [(u32, SequenceNumbers); 4] =
    [(0, SequenceNumbers::Standard), (1024, SequenceNumbers::Standard), (0, SequenceNumbers::Extended), (1024, SequenceNumbers::Extended)];
const MIXES: [Mix; 3] = [Mix::Fixed(64), Mix::Imix, Mix::Fixed(1420)];
/// Bursts of a kind, one after the other; a dozen holds each burst of IMIX once.
const BURSTS: usize = 48;

/// Measures everything and prints the report.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let memory = arguments.pages.memory();
    let eal = Arc::new(Eal::init(eal::devices(memory, &["net_ring0".to_owned(), "net_null0,no-rx=1".to_owned()])).context("DPDK")?);
    let rounds = if arguments.output.quick { 20 } else { 1500 };
    let rows = thread::scope(|scope| scope.spawn(|| measure(&eal, rounds)).join()).ok().context("the worker panicked")??;
    let report = Report { benchmark: "replay", machine: Machine::this(), hugepages: arguments.pages.hugepages, rounds, rows };
    arguments.output.print(&report, report.table())
}

/// Both gateways, on one thread.
struct Bed {
    pool: Pool,
    sender: Stages,
    receiver: Stages,
    sealed: Sent,
    opened: Sent,
    into_ring: TxQueue,
    out_of_ring: RxQueue,
    sink: TxQueue,
}

fn measure(eal: &Eal, rounds: usize) -> Result<Vec<Row>, Failure> {
    let _registration = dpdk::thread::register(eal).context("DPDK")?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    core_affinity::set_for_current(CoreId { id: cores - 1 });
    let connections: Vec<_> =
        (0..).zip(KINDS).map(|(number, (window, numbers))| Connection { numbers, ..Connection::plain(number, window) }).collect();
    let mut bed = Bed::new(eal, &connections)?;
    let mut rows = Vec::new();
    for mix in MIXES {
        eprintln!("{mix}");
        let frames: Vec<_> = connections.iter().map(|connection| frames(connection, mix)).collect::<Result<_, _>>()?;
        let mut times: Vec<Vec<f64>> = KINDS.map(|_| Vec::with_capacity(rounds)).to_vec();
        for round in 0..rounds {
            // Each kind is first as often as the others: what ran before leaves its traces.
            for step in 0..KINDS.len() {
                let kind = (round + step) % KINDS.len();
                if let (Some(frames), Some(times)) = (frames.get(kind), times.get_mut(kind)) {
                    times.push(bed.open(frames)?);
                }
            }
        }
        let base = times.first().cloned().unwrap_or_default();
        rows.extend(KINDS.iter().zip(&times).map(|(&(window, numbers), times)| {
            let ratios: Vec<_> = times.iter().zip(&base).map(|(time, base)| time / base).collect();
            Row {
                size: mix.to_string(),
                window,
                esn: numbers == SequenceNumbers::Extended,
                ns: Spread::of(times.iter().copied()),
                ratio_quartiles: [1, 3].map(|part| quantile(&ratios, part, 4)),
                ratio: Spread::of(ratios.into_iter()),
            }
        }));
    }
    Ok(rows)
}

/// A dozen bursts from a host of the sender.
fn frames(connection: &Connection, mix: Mix) -> Result<Vec<Vec<u8>>, Failure> {
    let frame = |index: usize| {
        let packet = connection.packet(Site::Here, u16::try_from(index % 64).unwrap_or(0), mix.size(index) - ethernet::HEADER_LEN)?;
        Ok(site::frame(stages::MAC, &packet))
    };
    (0..12 * BURST).map(frame).collect()
}

impl Bed {
    fn new(eal: &Eal, connections: &[Connection]) -> Result<Self, Failure> {
        let config = PoolConfig { name: "packets".to_owned(), size: 4095, cache: 256, data_room: 2176 };
        let pool = eal.pool(&config).context("DPDK")?;
        let port = |name: &str| eal.port(name).context("DPDK")?.start(&PortConfig::default(), &pool).context("DPDK");
        let (mut ring, mut sink) = (port("net_ring0")?, port("net_null0")?);
        let mut sealed = Sent::new(pool.clone(), BURST);
        let mut opened = Sent::new(pool.clone(), BURST);
        let mut sender = Stages::new(0, Site::Here, connections)?;
        let mut receiver = Stages::new(0, Site::There, connections)?;
        for connection in connections {
            let sa = |site| connection.installed(site, WorkerId(0)).map(Arc::new);
            sender.install(&sa(Site::Here)?, connection.tunnel(Site::Here)?, &mut sealed)?;
            receiver.install(&sa(Site::There)?, connection.tunnel(Site::There)?, &mut opened)?;
        }
        Ok(Self {
            sender,
            receiver,
            sealed,
            opened,
            into_ring: ring.tx.pop().context("the ring has no queue")?,
            out_of_ring: ring.rx.pop().context("the ring has no queue")?,
            sink: sink.tx.pop().context("the sink has no queue")?,
            pool,
        })
    }

    /// Seals and opens some bursts. Answers the nanoseconds a packet that opening took: receive, pipeline, transmit.
    fn open(&mut self, frames: &[Vec<u8>]) -> Result<f64, Failure> {
        let opened_before = self.receiver.handle.stats().verdict(Verdict::Opened);
        let mut ns = 0;
        for frames in frames.chunks(BURST).cycle().take(BURSTS) {
            let mut burst = Burst::new();
            stages::fill(&self.pool, frames.iter(), &mut burst)?;
            self.sender.pipeline.forward(PROTECTED, &mut burst, &mut self.sealed);
            let mut crossing = to_driver(&mut self.sealed)?;
            self.into_ring.tx(&mut crossing);

            let began = Instant::now();
            self.out_of_ring.rx(&mut crossing);
            let mut burst = Burst::new();
            for mbuf in crossing.drain() {
                drop(burst.push(mbuf));
            }
            self.receiver.pipeline.forward(UNPROTECTED, &mut burst, &mut self.opened);
            let mut leaving = to_driver(&mut self.opened)?;
            self.sink.tx(&mut leaving);
            ns += began.elapsed().as_nanos();
        }
        let packets = self.receiver.handle.stats().verdict(Verdict::Opened) - opened_before;
        if packets != (BURSTS * BURST) as u64 {
            return Err(Failure(format!("{packets} packets were opened of {}; {}", BURSTS * BURST, self.receiver.counters())));
        }
        #[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
        let each = ns as f64 / packets as f64;
        Ok(each)
    }
}

fn to_driver(sent: &mut Sent) -> Result<dpdk::Burst, Failure> {
    let mut burst = dpdk::Burst::new();
    sent.frames.drain(..).try_for_each(|mbuf: Mbuf| burst.push(mbuf)).map_err(|_| Failure("more packets left than came".to_owned()))?;
    Ok(burst)
}

impl Report {
    fn table(&self) -> String {
        let mut text = format!(
            "{}\nreceive -> open -> transmit, ns a packet; window 0 is no replay protection. Medians of {} interleaved rounds\n\n",
            self.machine, self.rounds
        );
        text += "size   window  ESN    ns/packet   (lowest)   against none (quartiles)\n";
        for row in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<6} {:>6}  {:<5} {:>10.1} {:>10.1} {:>13.3}x ({:.3}..{:.3})",
                row.size,
                row.window,
                if row.esn { "yes" } else { "no" },
                row.ns.median,
                row.ns.lowest,
                row.ratio.median,
                row.ratio_quartiles[0],
                row.ratio_quartiles[1]
            );
        }
        text
    }
}
