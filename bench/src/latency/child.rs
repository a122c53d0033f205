//! One arrangement in a process of its own: this thread sends and receives on one core, a worker spins on another, net_ring lies in between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use culvert_data::table::PortRole;
use culvert_data::worker::{IdlePolicy, WorkerPort};
use dpdk::{Burst, Eal, Pool, PoolConfig, PortConfig, RxQueue, TxQueue};
use packet::ethernet::MacAddress;
use packet::{Buffer, ethernet};

use crate::eal::{self, Memory};
use crate::error::{Context, Failure};
use crate::realtime::Scheduling;
use crate::site::{self, Connection, Site, SitePort};
use crate::workers::{Seat, Workers};

/// What the child is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    pub(crate) inbound: bool,
    /// Octets of the inner frames.
    #[arg(long)]
    pub(crate) size: usize,
    /// Sleep when there is nothing to do instead of spinning.
    #[arg(long)]
    pub(crate) adaptive: bool,
    /// Packets a second.
    #[arg(long)]
    pub(crate) rate: u64,
    #[arg(long)]
    pub(crate) packets: usize,
    #[arg(long)]
    pub(crate) hugepages: bool,
    #[arg(long)]
    pub(crate) scheduling: Scheduling,
}

impl Arguments {
    /// Runs in a child process: nanoseconds of each packet, in the order they were sent.
    pub(crate) fn measure(&self) -> Result<Vec<u64>, Failure> {
        let mut words = vec!["latency-child".to_owned()];
        for (name, value) in [("--size", self.size as u64), ("--rate", self.rate), ("--packets", self.packets as u64)] {
            words.extend([name.to_owned(), value.to_string()]);
        }
        for (name, chosen) in [("--inbound", self.inbound), ("--adaptive", self.adaptive), ("--hugepages", self.hugepages)] {
            words.extend(chosen.then(|| name.to_owned()));
        }
        self.scheduling.run(&words)
    }
}

/// Outside of the gateway: where packets go in and come out.
struct Wire {
    pool: Pool,
    into: TxQueue,
    out: RxQueue,
}

/// Runs as the child: prints the nanoseconds.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    const CORES: [usize; 2] = [0, 1];
    let memory = Memory::of(arguments.hugepages);
    let devices = ["net_ring0", "net_ring1"].map(str::to_owned);
    let eal = Arc::new(Eal::init(eal::devices(memory, &devices)).context("DPDK")?);
    let _registration = dpdk::thread::register(&eal).ok();
    let pool = |name: &str, size, data_room| eal.pool(&PoolConfig { name: name.to_owned(), size, cache: 0, data_room }).context("DPDK");
    let (packets, large) = (pool("packets", 4095, 2176)?, pool("large", 63, 16_384)?);

    // A ring port gives back on its receive queue what was sent on the transmit queue of the same number: 0 into the gateway, 1 out of it.
    let mut lanes = Vec::new();
    for device in &devices {
        let port = eal.port(device).context("DPDK")?;
        let mac = MacAddress(port.mac_address().context("DPDK")?);
        let config = PortConfig { rx_queues: 2, tx_queues: 2, ..PortConfig::default() };
        let queues = port.start(&config, &packets).context("DPDK")?;
        let ([rx, out], [into, tx]) = (pair(queues.rx)?, pair(queues.tx)?);
        lanes.push((mac, WorkerPort { rx: Some(rx), tx }, into, out));
    }
    let [(inside, protected, into_protected, out_protected), (outside, unprotected, into_unprotected, out_unprotected)] = pair(lanes)?;
    let connection = Connection::plain(0, 1024);
    let ports = [SitePort { role: PortRole::Protected, mac: inside }, SitePort { role: PortRole::Unprotected, mac: outside }];
    let snapshot = site::snapshot(Site::Here, &ports, &[connection])?;
    let seat = Seat { core: Some(CORES[1]), ports: vec![protected, unprotected] };
    let idle = if arguments.adaptive { IdlePolicy::Adaptive } else { IdlePolicy::Spin };
    let mut gateway = Workers::start(&eal, [&packets, &large], Site::Here, snapshot, vec![seat], idle)?;
    gateway.install(&connection, 0)?;
    gateway.handles.iter().try_for_each(|handle| arguments.scheduling.promote(handle.stats().thread()))?;

    core_affinity::set_for_current(CoreId { id: CORES[0] }).then_some(()).context("cannot run on two cores")?;
    let (into, out, mac) =
        if arguments.inbound { (into_unprotected, out_protected, outside) } else { (into_protected, out_unprotected, inside) };
    let frames = frames(arguments, &connection, mac)?;
    let latencies = exchange(arguments, Wire { pool: packets, into, out }, &frames)
        .map_err(|error| Failure(format!("{error}; counters: {}", gateway.counters())))?;
    println!("{}", serde_json::to_string(&latencies).context("JSON")?);
    Ok(())
}

/// One frame for each packet, as each sequence number is accepted once.
fn frames(arguments: &Arguments, connection: &Connection, mac: MacAddress) -> Result<Vec<Vec<u8>>, Failure> {
    let from = if arguments.inbound { Site::There } else { Site::Here };
    let len = arguments.size.checked_sub(ethernet::HEADER_LEN).context("size")?;
    let peer = connection.outbound(from)?;
    let frame = |index: usize| {
        let packet = connection.packet(from, u16::try_from(index % 64).unwrap_or(0), len)?;
        let packet = if arguments.inbound { connection.sealed(from, &peer, &packet)? } else { packet };
        Ok(site::frame(mac, &packet))
    };
    (0..arguments.packets).map(frame).collect()
}

/// Sends each frame when it is due, whatever became of those before, and notes how long each was away.
fn exchange(arguments: &Arguments, mut wire: Wire, frames: &[Vec<u8>]) -> Result<Vec<u64>, Failure> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let interval = Duration::from_nanos(1_000_000_000 / arguments.rate.max(1));
    let (mut sent, mut under_way, mut latencies) = (0, VecDeque::with_capacity(frames.len()), Vec::with_capacity(frames.len()));
    let (mut out, mut into) = (Burst::new(), Burst::new());
    let mut due = Instant::now();
    while latencies.len() < frames.len() {
        if let Some(frame) = frames.get(sent)
            && Instant::now() >= due
        {
            let mut mbuf = wire.pool.alloc().context("the pool is empty")?;
            mbuf.append(frame.len()).context("the frame is too long")?.copy_from_slice(frame);
            into.push(mbuf).map_err(|_| Failure("the burst is full".to_owned()))?;
            (sent, due) = (sent + 1, due + interval);
            under_way.push_back(Instant::now());
            if wire.into.tx(&mut into) != 1 {
                return Err(Failure("the ring is full".to_owned()));
            }
        }
        if wire.out.rx(&mut out) > 0 {
            let now = Instant::now();
            for _ in out.drain() {
                let began = under_way.pop_front().context("a packet came that was not sent")?;
                latencies.push(u64::try_from((now - began).as_nanos()).unwrap_or(u64::MAX));
            }
        }
        if under_way.front().is_some_and(|began| began.elapsed() > PATIENCE) {
            return Err(Failure(format!("packet {} did not come back", latencies.len())));
        }
    }
    Ok(latencies)
}

fn pair<T>(items: Vec<T>) -> Result<[T; 2], Failure> {
    <[T; 2]>::try_from(items).ok().context("a port has two queues")
}
