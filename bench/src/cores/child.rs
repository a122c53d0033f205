//! One arrangement of workers in a process of its own, since EAL starts once: sources that replay captures for ever, one for each worker, and a sink.

use std::env;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use culvert_data::stats::Tally;
use culvert_data::table::PortRole;
use culvert_data::verdict::Verdict;
use culvert_data::worker::{IdlePolicy, WorkerPort};
use dpdk::{Eal, Pool, PoolConfig, PortConfig};
use packet::ethernet::{self, MacAddress};
use serde::{Deserialize, Serialize};

use crate::eal::{self, Memory};
use crate::error::{Context, Failure};
use crate::measure::Sample;
use crate::realtime::Scheduling;
use crate::report::Direction;
use crate::site::{self, Connection, Site, SitePort};
use crate::traffic::{FRAMES, Mix, write_pcap};
use crate::workers::{Seat, Workers};

/// Every so manyth queue of the sink is used: net_null keeps the counters of neighbouring ones in the same cache lines.
const APART: u16 = 8;

/// Who receives what, and from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Spread {
    /// One worker receives everything.
    One,
    /// Each of two workers receives the packets of half of the tunnels, which it owns.
    ByTunnel,
    /// Each of two workers receives half of the flows of every tunnel.
    ByFlow,
    /// Each of two workers receives all tunnels and owns half of them: the other half it hands off.
    Crossed,
    /// Two gateways that share nothing, each with one worker and half of the tunnels: what the machine itself makes of two workers.
    Apart,
}

/// What the child is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    pub(crate) spread: Spread,
    #[arg(long)]
    pub(crate) inbound: bool,
    #[arg(long)]
    pub(crate) tunnels: u8,
    /// Octets of the inner frames; 0 for IMIX.
    #[arg(long)]
    pub(crate) size: usize,
    /// Where the first worker runs.
    #[arg(long)]
    pub(crate) first_core: usize,
    /// How many cores workers run on.
    #[arg(long, default_value_t = 2)]
    pub(crate) cores: usize,
    #[arg(long)]
    pub(crate) hugepages: bool,
    #[arg(long)]
    pub(crate) scheduling: Scheduling,
    #[arg(long)]
    pub(crate) warm_up_ms: u64,
    #[arg(long)]
    pub(crate) pass_ms: u64,
    #[arg(long)]
    pub(crate) passes: usize,
}

/// One pass.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pass {
    pub(crate) wall_ns: u64,
    /// Packets that were sealed or opened by each worker, and its CPU time.
    pub(crate) workers: Vec<Sample>,
    pub(crate) handed_off: u64,
    /// Packets that found the ring between workers full.
    pub(crate) overflow: u64,
}

impl Pass {
    /// Millions of packets a second of wall time, of all workers together.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    pub(crate) fn wall_mpps(&self) -> f64 {
        self.workers.iter().map(|sample| sample.packets).sum::<u64>() as f64 * 1e3 / self.wall_ns.max(1) as f64
    }
}

impl Arguments {
    fn mix(&self) -> Mix {
        if self.size == 0 { Mix::Imix } else { Mix::Fixed(self.size) }
    }

    fn direction(&self) -> Direction {
        if self.inbound { Direction::Inbound } else { Direction::Outbound }
    }

    /// Runs this arrangement in a child process.
    pub(crate) fn measure(&self) -> Result<Vec<Pass>, Failure> {
        let spread = clap::ValueEnum::to_possible_value(&self.spread).context("spread")?;
        let mut words = vec!["cores-child".to_owned(), "--spread".to_owned(), spread.get_name().to_owned()];
        for (name, value) in [
            ("--tunnels", u64::from(self.tunnels)),
            ("--size", self.size as u64),
            ("--first-core", self.first_core as u64),
            ("--cores", self.cores as u64),
            ("--warm-up-ms", self.warm_up_ms),
            ("--pass-ms", self.pass_ms),
            ("--passes", self.passes as u64),
        ] {
            words.extend([name.to_owned(), value.to_string()]);
        }
        words.extend(self.inbound.then(|| "--inbound".to_owned()));
        words.extend(self.hugepages.then(|| "--hugepages".to_owned()));
        self.scheduling.run(&words)
    }
}

/// A gateway to be: its tunnels, and what each of its workers receives.
struct Arrangement {
    tunnels: Vec<Connection>,
    sources: Vec<Vec<Vec<u8>>>,
    first_worker: usize,
}

/// Runs as the child: prints the passes as JSON.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = env::temp_dir().join(format!("culvert-cores-{}", std::process::id()));
    fs::create_dir_all(&folder).context(folder.display())?;
    let passes = measure(arguments, &folder);
    let _ = fs::remove_dir_all(&folder);
    println!("{}", serde_json::to_string(&passes?).context("JSON")?);
    Ok(())
}

fn measure(arguments: &Arguments, folder: &std::path::Path) -> Result<Vec<Pass>, Failure> {
    let arrangements = arrange(arguments)?;
    let mut devices = Vec::new();
    for (gateway, arrangement) in arrangements.iter().enumerate() {
        let mut source = format!("net_pcap{gateway},infinite_rx=1");
        for (worker, frames) in arrangement.sources.iter().enumerate() {
            let path = folder.join(format!("{gateway}-{worker}.pcap"));
            write_pcap(&path, frames).context(path.display())?;
            source += &format!(",rx_pcap={},tx_pcap=/dev/null", path.display());
        }
        devices.extend([source, format!("net_null{gateway},no-rx=1")]);
    }
    let memory = Memory::of(arguments.hugepages);
    let eal = Arc::new(Eal::init(eal::devices(memory, &devices)).context("DPDK")?);
    let gateways = arrangements.iter().enumerate().map(|(number, arrangement)| start(&eal, number, arrangement, arguments));
    let gateways = gateways.collect::<Result<Vec<_>, _>>()?;
    gateways.iter().flat_map(|gateway| &gateway.handles).try_for_each(|handle| arguments.scheduling.promote(handle.stats().thread()))?;
    thread::sleep(Duration::from_millis(arguments.warm_up_ms));
    let mut passes = Vec::new();
    for _ in 0..arguments.passes {
        let before = Reading::take(&gateways, arguments.direction())?;
        thread::sleep(Duration::from_millis(arguments.pass_ms));
        passes.push(Reading::take(&gateways, arguments.direction())?.since(&before));
    }
    let counters = gateways.iter().map(Workers::counters).collect::<Vec<_>>().join("; ");
    let all_moved = passes.iter().all(|pass| pass.workers.iter().all(|sample| sample.packets > 0));
    all_moved.then_some(passes).context(format_args!("a worker moved no packet: {counters}"))
}

/// Who gets which frames.
fn arrange(arguments: &Arguments) -> Result<Vec<Arrangement>, Failure> {
    let tunnels: Vec<_> = (0..arguments.tunnels).map(|number| Connection::plain(number, 0)).collect();
    let mut frames = Vec::new();
    let from = match arguments.direction() {
        Direction::Outbound => Site::Here,
        Direction::Inbound => Site::There,
    };
    let peers = tunnels.iter().map(|tunnel| tunnel.outbound(from)).collect::<Result<Vec<_>, _>>()?;
    for index in 0..FRAMES {
        let place = index % tunnels.len();
        let (Some(tunnel), Some(peer)) = (tunnels.get(place), peers.get(place)) else { continue };
        // 37 has no divisor in common with 64: flows come in another order than tunnels.
        let flow = u16::try_from(index / tunnels.len() * 37 % 64).unwrap_or(0);
        let len = arguments.mix().size(index).checked_sub(ethernet::HEADER_LEN).context("size")?;
        let packet = tunnel.packet(from, flow, len)?;
        let packet = if arguments.inbound { tunnel.sealed(from, peer, &packet)? } else { packet };
        frames.push((tunnel.number, flow, packet));
    }
    let part = |gateway: u8, takes: &dyn Fn(u8, u16) -> bool| -> Vec<Vec<u8>> {
        let mac = source_mac(gateway);
        frames.iter().filter(|(tunnel, flow, _)| takes(*tunnel, *flow)).map(|(_, _, packet)| site::frame(mac, packet)).collect()
    };
    let parity = |number: u16, side: u16| number % 2 == side;
    let one = |tunnels, sources| vec![Arrangement { tunnels, sources, first_worker: 0 }];
    Ok(match arguments.spread {
        Spread::One => one(tunnels, vec![part(0, &|_, _| true)]),
        Spread::Crossed => one(tunnels, vec![part(0, &|_, _| true), part(0, &|_, _| true)]),
        Spread::ByTunnel => one(tunnels, [0, 1].map(|side| part(0, &|tunnel, _| parity(tunnel.into(), side))).to_vec()),
        Spread::ByFlow => one(tunnels, [0, 1].map(|side| part(0, &|_, flow| parity(flow, side))).to_vec()),
        Spread::Apart => [0_u8, 1]
            .map(|side| Arrangement {
                tunnels: tunnels.iter().copied().filter(|tunnel| parity(tunnel.number.into(), side.into())).collect(),
                sources: vec![part(side, &|tunnel, _| parity(tunnel.into(), side.into()))],
                first_worker: side.into(),
            })
            .into_iter()
            .collect(),
    })
}

/// What DPDK's net_pcap calls its ports.
fn source_mac(number: u8) -> MacAddress {
    let [a, b, c, d, e, _] = *b"\x02pcap\0";
    MacAddress([a, b, c, d, e, number])
}

fn start(eal: &Arc<Eal>, number: usize, arrangement: &Arrangement, arguments: &Arguments) -> Result<Workers, Failure> {
    let workers = arrangement.sources.len();
    let queues = u16::try_from(workers).context("queues")?;
    let pool = |name: &str, size, data_room| -> Result<Pool, Failure> {
        eal.pool(&PoolConfig { name: format!("{name} {number}"), size, cache: 256, data_room }).context("DPDK")
    };
    // The sources keep all frames, and copy each into a new mbuf.
    let (packets, large) = (pool("packets", 8191, 2176)?, pool("large", 511, 16_384)?);
    let open = |name: String| eal.port(&name).context("DPDK");
    let (source, sink) = (open(format!("net_pcap{number}"))?, open(format!("net_null{number}"))?);
    let config = PortConfig { rx_queues: queues, tx_queues: queues, ..PortConfig::default() };
    let source_queues = source.start(&config, &packets).context("DPDK")?;
    let sink_config = PortConfig { rx_queues: 1, tx_queues: queues * APART, ..config };
    let sink_queues = sink.start(&sink_config, &packets).context("DPDK")?;
    let inbound = arguments.inbound;
    let (source_role, sink_role) = match arguments.direction() {
        Direction::Outbound => (PortRole::Protected, PortRole::Unprotected),
        Direction::Inbound => (PortRole::Unprotected, PortRole::Protected),
    };
    let mac = |port: &dpdk::Port| port.mac_address().map(MacAddress).context("DPDK");
    let ports = [SitePort { role: source_role, mac: mac(&source)? }, SitePort { role: sink_role, mac: mac(&sink)? }];
    let lanes = source_queues.rx.into_iter().zip(source_queues.tx).zip(sink_queues.tx.into_iter().step_by(APART.into()));
    let seats = lanes.enumerate().map(|(worker, ((rx, tx), sink))| Seat {
        core: Some((arguments.first_core + arrangement.first_worker + worker) % arguments.cores),
        ports: vec![WorkerPort { rx: Some(rx), tx }, WorkerPort { rx: None, tx: sink }],
    });
    let snapshot = site::snapshot(Site::Here, &ports, &arrangement.tunnels)?;
    let mut gateway = Workers::start(eal, [&packets, &large], Site::Here, snapshot, seats.collect(), IdlePolicy::Spin)?;
    for tunnel in &arrangement.tunnels {
        // As the server does when an SA is negotiated on the worker that its packets will arrive at.
        let owner = if inbound && workers > 1 { u16::from(tunnel.number % 2) } else { 0 };
        gateway.install(tunnel, owner)?;
    }
    Ok(gateway)
}

/// The counters at one moment.
struct Reading {
    at: Instant,
    workers: Vec<Sample>,
    handed_off: u64,
    overflow: u64,
}

impl Reading {
    fn take(gateways: &[Workers], direction: Direction) -> Result<Self, Failure> {
        let verdict = match direction {
            Direction::Outbound => Verdict::Sealed,
            Direction::Inbound => Verdict::Opened,
        };
        let workers = gateways.iter().map(|gateway| gateway.samples(verdict)).collect::<Result<Vec<_>, _>>()?.concat();
        let handles = || gateways.iter().flat_map(|gateway| &gateway.handles);
        Ok(Self {
            at: Instant::now(),
            workers,
            handed_off: handles().map(|handle| handle.stats().tally(Tally::HandedOff)).sum(),
            overflow: gateways.iter().map(|gateway| gateway.verdict(Verdict::HandOffOverflow)).sum(),
        })
    }

    fn since(&self, before: &Self) -> Pass {
        Pass {
            wall_ns: u64::try_from((self.at - before.at).as_nanos()).unwrap_or(u64::MAX),
            workers: self.workers.iter().zip(&before.workers).map(|(now, before)| now.since(*before)).collect(),
            handed_off: self.handed_off - before.handed_off,
            overflow: self.overflow - before.overflow,
        }
    }
}
