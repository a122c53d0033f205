//! One SA on two workers: what a peer with a small replay window makes of the order in which packets leave.
//!
//! Two threads run the pipeline side by side on one outbound SA, and note when each burst leaves. Afterwards everything is opened in that order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use core_affinity::CoreId;
use culvert_data::command::WorkerId;
use culvert_data::pipeline::{BURST, Burst};
use dpdk::{Eal, Mbuf, Pool, PoolConfig};
use esp::open::{IpsecPacket, OpenError};
use esp::{ReplayWindow, open};
use packet::{Buffer, ethernet};
use serde::{Deserialize, Serialize};

use crate::eal::{self, Memory};
use crate::error::{Context, Failure};
use crate::realtime::{Scheduling, own_thread};
use crate::site::{self, Connection, Site};
use crate::stages::{self, PROTECTED, Sent, Stages};
use crate::traffic::Mix;

/// Packets that the peer remembers.
pub(crate) const WINDOW: u32 = 128;
/// Bursts of each worker in a round. All packets of a round are kept until its end.
const BURSTS: usize = 96;
/// A burst that takes longer was interrupted.
const INTERRUPTED_NS: u64 = 50_000;

/// What the child is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    pub(crate) rounds: usize,
    #[arg(long)]
    pub(crate) hugepages: bool,
    #[arg(long)]
    pub(crate) scheduling: Scheduling,
}

/// What the peer saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) packets: u64,
    pub(crate) opened: u64,
    pub(crate) out_of_window: u64,
    pub(crate) replayed: u64,
    /// Out of the window in a burst that was interrupted while it held numbers.
    pub(crate) out_of_window_interrupted: u64,
    /// Packets behind a higher number.
    pub(crate) reordered: u64,
    /// How far behind, at most, but for interrupted bursts.
    pub(crate) furthest: u64,
    pub(crate) interrupted_bursts: u64,
    pub(crate) bursts: u64,
}

impl Arguments {
    /// Runs in a child process.
    pub(crate) fn measure(&self) -> Result<Seen, Failure> {
        let mut words = vec!["window-child".to_owned(), "--rounds".to_owned(), self.rounds.to_string()];
        words.extend(self.hugepages.then(|| "--hugepages".to_owned()));
        self.scheduling.run(&words)
    }
}

/// A burst that has left.
struct Left {
    at_ns: u64,
    took_ns: u64,
    frames: Vec<Mbuf>,
}

/// Runs as the child: prints what was seen.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let memory = Memory::of(arguments.hugepages);
    let eal = Eal::init(eal::devices(memory, &[])).context("DPDK")?;
    let config = PoolConfig { name: "packets".to_owned(), size: 16_383, cache: 256, data_room: 2176 };
    let pool = eal.pool(&config).context("DPDK")?;
    let connection = Connection::plain(0, WINDOW);
    let mut seen = Seen::default();
    for _ in 0..arguments.rounds {
        round(&eal, &pool, &connection, arguments.scheduling, &mut seen)?;
    }
    println!("{}", serde_json::to_string(&seen).context("JSON")?);
    Ok(())
}

fn round(eal: &Eal, pool: &Pool, connection: &Connection, scheduling: Scheduling, seen: &mut Seen) -> Result<(), Failure> {
    let sa = Arc::new(connection.installed(Site::Here, WorkerId(0))?);
    let (ready, clock) = (AtomicU32::new(0), Instant::now());
    let mut left = thread::scope(|scope| {
        let workers = [0_u16, 1].map(|number| {
            let (sa, ready) = (&sa, &ready);
            scope.spawn(move || {
                let _registration = dpdk::thread::register(eal).context("DPDK")?;
                core_affinity::set_for_current(CoreId { id: number.into() }).then_some(()).context("cannot run on two cores")?;
                scheduling.promote(own_thread())?;
                let mut io = Sent::new(pool.clone(), BURST);
                let mut stages = Stages::new(number, Site::Here, std::slice::from_ref(connection))?;
                stages.install(sa, connection.tunnel(Site::Here)?, &mut io)?;
                let left = send(&mut stages, &mut io, pool, connection, number, ready, clock)?;
                Ok::<_, Failure>(left)
            })
        });
        let joined = workers.into_iter().map(|worker| worker.join().ok().context("a thread panicked")?);
        joined.collect::<Result<Vec<_>, _>>().map(|left| left.into_iter().flatten().collect::<Vec<_>>())
    })?;
    left.sort_by_key(|burst| burst.at_ns);
    receive(connection, left, seen)
}

/// A worker's part: half of the flows. Answers the bursts it sent.
fn send(
    stages: &mut Stages,
    io: &mut Sent,
    pool: &Pool,
    connection: &Connection,
    number: u16,
    ready: &AtomicU32,
    clock: Instant,
) -> Result<Vec<Left>, Failure> {
    let frame = |index: usize| {
        let flow = u16::try_from(index % 32 * 2).unwrap_or(0) + number;
        let packet = connection.packet(Site::Here, flow, Mix::Imix.size(index) - ethernet::HEADER_LEN)?;
        Ok(site::frame(stages::MAC, &packet))
    };
    let frames: Vec<_> = (0..BURST * 12).map(frame).collect::<Result<_, Failure>>()?;
    let mut left: Vec<_> = (0..BURSTS).map(|_| Left { at_ns: 0, took_ns: 0, frames: Vec::with_capacity(BURST) }).collect();
    let now = || u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
    // Both begin at once.
    ready.fetch_add(1, Ordering::SeqCst);
    while ready.load(Ordering::SeqCst) < 2 {
        std::hint::spin_loop();
    }
    for (place, left) in left.iter_mut().enumerate() {
        let mut burst = Burst::new();
        stages::fill(pool, frames.iter().cycle().skip(place % 12 * BURST).take(BURST), &mut burst)?;
        let began = now();
        stages.pipeline.forward(PROTECTED, &mut burst, io);
        left.at_ns = now();
        left.took_ns = left.at_ns - began;
        left.frames.append(&mut io.frames);
    }
    Ok(left)
}

/// The peer's part.
fn receive(connection: &Connection, left: Vec<Left>, seen: &mut Seen) -> Result<(), Failure> {
    let sa = connection.inbound(Site::There)?;
    let mut window = ReplayWindow::new(sa.window_size());
    for burst in left {
        let interrupted = burst.took_ns > INTERRUPTED_NS;
        seen.bursts += 1;
        seen.interrupted_bursts += u64::from(interrupted);
        for mut packet in burst.frames {
            seen.packets += 1;
            packet.trim_front(ethernet::HEADER_LEN).context("a frame without a header")?;
            let before = window.top();
            match accept(&sa, &mut window, &mut packet) {
                Ok(number) => {
                    seen.opened += 1;
                    if number < before {
                        seen.reordered += 1;
                        seen.furthest = seen.furthest.max(if interrupted { 0 } else { before - number });
                    }
                }
                Err(OpenError::OutOfWindow) => {
                    seen.out_of_window += 1;
                    seen.out_of_window_interrupted += u64::from(interrupted);
                }
                Err(OpenError::Replay) => seen.replayed += 1,
                Err(error) => return Err(Failure(format!("the peer refuses a packet: {error}"))),
            }
        }
    }
    Ok(())
}

fn accept(sa: &esp::InboundSa, window: &mut ReplayWindow, packet: &mut Mbuf) -> Result<u64, OpenError> {
    let parsed = IpsecPacket::parse(packet.bytes())?;
    let plan = open::prepare(sa, window, &parsed, packet)?;
    let verified = match plan.job(packet) {
        Some(job) => esp_crypto::open_burst(&mut [job]).contains(0),
        None => false,
    };
    plan.finish(verified, window, packet).map(|opened| opened.number)
}
