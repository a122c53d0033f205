//! The pipeline by itself, without a worker's loop and queues: for what must be seen between two bursts.

use std::sync::Arc;

use culvert_data::command::{Command, PortId, QueueSizes, WorkerHandle, WorkerId, channel};
use culvert_data::pipeline::{Burst, Io, Limits, Pipeline};
use culvert_data::stats::WorkerStats;
use culvert_data::table::{PortRole, Snapshot};
use culvert_data::verdict::Verdict;
use dpdk::{Mbuf, Pool};
use esp::ReplayWindow;
use packet::Buffer;
use packet::ethernet::MacAddress;

use crate::error::{Context, Failure};
use crate::site::{self, Connection, SLOTS, Site, SitePort};

/// The ports of such a gateway.
pub(crate) const PROTECTED: PortId = PortId(0);
pub(crate) const UNPROTECTED: PortId = PortId(1);
/// What such a gateway sends is for another one.
pub(crate) const MAC: MacAddress = site::NEIGHBOR_MAC;

/// Sent frames, kept for whoever called the pipeline.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) frames: Vec<Mbuf>,
    pool: Pool,
}

impl Sent {
    /// With room for so many: nothing is allocated while packets are forwarded.
    pub(crate) fn new(pool: Pool, frames: usize) -> Self {
        Self { frames: Vec::with_capacity(frames), pool }
    }
}

impl Io<Mbuf> for Sent {
    fn allocate(&mut self, _: usize) -> Option<Mbuf> {
        self.pool.alloc()
    }

    #[inline]
    fn transmit(&mut self, stats: &WorkerStats, _: PortId, frame: Mbuf, verdict: Verdict) {
        stats.count(verdict);
        self.frames.push(frame);
    }

    fn hand_off(&mut self, _: &WorkerStats, _: WorkerId, packet: Mbuf) {
        drop(packet);
    }
}

/// A gateway's pipeline, and the server's end of its queues.
#[derive(Debug)]
pub(crate) struct Stages {
    pub(crate) pipeline: Pipeline<Mbuf>,
    pub(crate) handle: WorkerHandle,
}

/// What a gateway with one port on either side looks things up in.
pub(crate) fn snapshot(site: Site, connections: &[Connection]) -> Result<Snapshot, Failure> {
    let port = |role| SitePort { role, mac: MAC };
    site::snapshot(site, &[port(PortRole::Protected), port(PortRole::Unprotected)], connections)
}

impl Stages {
    /// As worker `id`; it owns the SAs that name it.
    pub(crate) fn new(id: u16, site: Site, connections: &[Connection]) -> Result<Self, Failure> {
        let (handle, end) = channel(WorkerId(id), QueueSizes::default(), SLOTS);
        let limits = Limits { sad_slots: SLOTS, policy_slots: SLOTS, ..Limits::default() };
        Ok(Self { pipeline: Pipeline::new(end, Arc::new(snapshot(site, connections)?), &limits), handle })
    }

    /// Installs an SA that other workers may have, too.
    pub(crate) fn install(
        &mut self,
        sa: &Arc<culvert_data::command::InstalledSa>,
        tunnel: esp::Tunnel,
        io: &mut Sent,
    ) -> Result<(), Failure> {
        let window = (sa.owner == self.handle.id()).then(|| ReplayWindow::new(sa.inbound.window_size()));
        let command = Command::Install { sa: Arc::clone(sa), tunnel, window };
        let ticket = self.handle.send(command).map_err(|_| Failure("the queue is full".to_owned()))?;
        self.pipeline.turn(1, io);
        self.handle.is_applied(ticket).then_some(()).context("the pipeline does not apply its commands")
    }

    /// What happened, by name.
    pub(crate) fn counters(&self) -> String {
        let stats = self.handle.stats();
        let counters = Verdict::ALL.iter().map(|verdict| (verdict.name(), stats.verdict(*verdict))).filter(|(_, count)| *count > 0);
        counters.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }
}

/// Fills a burst with these frames, in mbufs of their own.
pub(crate) fn fill<'a>(pool: &Pool, frames: impl Iterator<Item = &'a Vec<u8>>, burst: &mut Burst<Mbuf>) -> Result<(), Failure> {
    for frame in frames {
        let mut mbuf = pool.alloc().context("the pool is empty")?;
        mbuf.append(frame.len()).context("a frame is longer than an mbuf")?.copy_from_slice(frame);
        burst.push(mbuf).map_err(|_| Failure("the burst is full".to_owned()))?;
    }
    Ok(())
}
