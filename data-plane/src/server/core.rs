//! The state behind the services: a machine without tasks that is told the time, called by the services and polled by the server's loop.
//!
//! What programs it is in [`super::program`], what ages in [`super::expiry`], what comes from the network in [`super::network`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use culvert_proto::convert;
use culvert_proto::dataplane::v1;
use esp_crypto::Kernel;
use tokio::sync::mpsc;
use tonic::Status;

use crate::command::{Command, PortId, WorkerId};
use crate::config::{InterfaceAddress, Neighbor, Route};
use crate::neighbor::NeighborCache;
use crate::reassembly::Reassembler;
use crate::server::acquires::Acquires;
use crate::server::change::{Change, Draft};
use crate::server::counters::Counters;
use crate::server::explain::Inquiries;
use crate::server::load::Loads;
use crate::server::outcomes::Outcomes;
use crate::server::path_mtu::PathMtus;
use crate::server::policies::Policies;
use crate::server::program::Batch;
use crate::server::sad::Sad;
use crate::server::workers::{Barrier, Workers};
use crate::table::{self, Neighbors, NextHop, PolicySlots, PortInfo, PortRole, Ports, Routes, Snapshot};

/// How long SAs of an earlier controller wait to be claimed after an Attach.
pub const CLAIM_GRACE_MS: u64 = 30_000;
/// How often SAs are looked at for limits, timers and life.
const SWEEP_MS: u64 = 100;
/// Events that wait for a subscriber to fetch them.
const EVENT_BACKLOG: usize = 1024;

/// What the core is made of.
#[derive(Debug)]
pub struct Setup {
    /// Random at each start.
    pub boot_id: [u8; 16],
    /// Slots of the SAD, the same as in the workers.
    pub sad_slots: u32,
    /// Slots of the SPD, the same as in the workers.
    pub policy_slots: u32,
    /// The first generation of SPIs; `None` for a random one.
    pub first_generation: Option<u16>,
    /// Whether ICMP errors of routers say what the path to a peer lets pass.
    pub learn_path_mtu: bool,
    /// What computes AES-GCM.
    pub kernel: Kernel,
    /// Static neighbours.
    pub neighbors: Vec<Neighbor>,
    /// The ports, in the order of [`PortId`].
    pub ports: Vec<ServedPort>,
    /// What the workers were started with, of [`first_snapshot`].
    pub snapshot: Arc<Snapshot>,
    /// The workers.
    pub workers: Workers,
    /// Cores of the workers, in their order.
    pub cores: Vec<usize>,
}

/// A port as the server sees it.
pub struct ServedPort {
    /// The device's name.
    pub name: String,
    /// What the workers know of it.
    pub info: PortInfo,
    /// Its addresses with their subnets.
    pub subnets: Vec<InterfaceAddress>,
    /// Reads the device's counters.
    pub read: Box<dyn Fn() -> PortReading + Send>,
}

/// What a device says of itself at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct PortReading {
    /// Whether the link is up.
    pub link_up: bool,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets transmitted.
    pub tx_packets: u64,
    /// Octets received.
    pub rx_octets: u64,
    /// Octets transmitted.
    pub tx_octets: u64,
    /// Packets the device dropped on reception.
    pub rx_missed: u64,
    /// Packets the device could not send.
    pub tx_dropped: u64,
}

impl fmt::Debug for ServedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedPort").field("name", &self.name).field("info", &self.info).finish_non_exhaustive()
    }
}

/// The state.
#[derive(Debug)]
pub struct Core {
    pub(super) boot_id: [u8; 16],
    pub(super) epoch: u64,
    pub(super) now_ms: u64,
    pub(super) workers: Workers,
    pub(super) cores: Vec<usize>,
    pub(super) ports: Vec<ServedPort>,
    pub(super) snapshot: Snapshot,
    pub(super) slots: Arc<PolicySlots>,
    pub(super) policies: Arc<Policies>,
    pub(super) draft: Option<Draft>,
    pub(super) change: Option<Change>,
    pub(super) sad: Sad,
    pub(super) acquires: Acquires,
    pub(super) outcomes: Outcomes,
    pub(super) in_flight: HashSet<u64>,
    pub(super) batches: VecDeque<Batch>,
    pub(super) neighbors: NeighborCache,
    pub(super) reassembler: Reassembler,
    pub(super) path_mtus: PathMtus,
    pub(super) learn_path_mtu: bool,
    pub(super) kernel: Kernel,
    pub(super) spi_misses: HashMap<IpAddr, u64>,
    pub(super) claim_until_ms: Option<u64>,
    pub(super) counters: Counters,
    pub(super) loads: Loads,
    pub(super) inquiries: Inquiries,
    pub(super) punt: Option<mpsc::Sender<Result<v1::PuntResponse, Status>>>,
    /// Of the last packet of the gateway itself that may be fragmented.
    pub(super) identification: u32,
    events: Option<mpsc::Sender<Result<v1::Event, Status>>>,
    event_backlog: VecDeque<v1::Event>,
    next_sweep_ms: u64,
    /// Where the sweep goes on that is under way.
    pub(super) sweep_from: Option<usize>,
}

impl Core {
    /// The state of a data plane that has just started.
    pub fn new(setup: Setup) -> Self {
        let [a, b, ..] = setup.boot_id;
        let generation = setup.first_generation.map_or_else(|| u16::from_be_bytes([a, b]), |first| first.saturating_sub(1));
        let neighbors = NeighborCache::with_static(setup.neighbors.iter().map(|neighbor| {
            let hop = NextHop { port: neighbor.port, address: neighbor.address };
            (hop, neighbor.mac)
        }));
        Self {
            boot_id: setup.boot_id,
            epoch: 0,
            now_ms: 0,
            workers: setup.workers,
            cores: setup.cores,
            ports: setup.ports,
            snapshot: (*setup.snapshot).clone(),
            slots: Arc::new(PolicySlots::new(setup.policy_slots)),
            policies: Arc::default(),
            draft: None,
            change: None,
            sad: Sad::new(setup.sad_slots, generation),
            acquires: Acquires::default(),
            outcomes: Outcomes::default(),
            in_flight: HashSet::new(),
            batches: VecDeque::new(),
            neighbors,
            reassembler: Reassembler::default(),
            path_mtus: PathMtus::default(),
            learn_path_mtu: setup.learn_path_mtu,
            kernel: setup.kernel,
            spi_misses: HashMap::new(),
            claim_until_ms: None,
            counters: Counters::default(),
            loads: Loads::default(),
            inquiries: Inquiries::default(),
            punt: None,
            identification: 0,
            events: None,
            event_backlog: VecDeque::new(),
            next_sweep_ms: 0,
            sweep_from: None,
        }
    }

    /// Does what there is to do at this time; true where there was anything, so that the caller asks again at once.
    pub fn poll(&mut self, now_ms: u64) -> bool {
        self.now_ms = now_ms;
        let mut busy = self.workers.poll(now_ms);
        // Notices first: what they report happened before the operations that are about to run.
        busy |= self.take_notices();
        busy |= self.take_punts();
        self.resolve_neighbors();
        busy |= self.run_operations();
        self.answer_inquiries();
        self.loads.sample(&self.workers, now_ms);
        if now_ms >= self.next_sweep_ms {
            self.next_sweep_ms = now_ms.saturating_add(SWEEP_MS);
            self.begin_sweep();
        }
        busy |= self.sweep();
        self.send_events();
        busy
    }

    /// Makes the caller the one controller.
    pub fn attach(&mut self, request: &v1::AttachRequest) -> v1::AttachResponse {
        self.epoch += 1;
        tracing::info!(controller = %request.controller.escape_debug(), epoch = self.epoch, "attached");
        self.punt = None;
        self.events = None;
        self.event_backlog.clear();
        self.draft = None;
        self.sad.revoke_leases(self.now_ms);
        self.sad.report_soft_limits_anew();
        self.claim_until_ms = (self.sad.len() > 0).then(|| self.now_ms.saturating_add(CLAIM_GRACE_MS));
        let unprotected = self.ports.iter().filter(|port| port.info.role == PortRole::Unprotected);
        v1::AttachResponse {
            boot_id: self.boot_id.to_vec(),
            epoch: self.epoch,
            child_sas: self.list().child_sas,
            local_addresses: unprotected.flat_map(|port| port.info.global_addresses()).map(|a| convert::address_octets(*a)).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Refuses every epoch but the present one.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`.
    pub fn check_epoch(&self, epoch: u64) -> Result<(), Status> {
        if epoch == self.epoch && epoch != 0 {
            return Ok(());
        }
        let advice = "attach again: another controller may have";
        Err(Status::failed_precondition(format!("epoch {epoch} is not the present one, {}; {advice}", self.epoch)))
    }

    /// Events go to this subscriber from now on; first every Acquire that has no answer.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` for an epoch that is not the present one.
    pub fn subscribe(&mut self, epoch: u64, events: mpsc::Sender<Result<v1::Event, Status>>) -> Result<(), Status> {
        self.check_epoch(epoch)?;
        self.events = Some(events);
        self.acquires.resend();
        Ok(())
    }

    /// Punted datagrams go to this stream from now on.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` for an epoch that is not the present one.
    pub fn open_punt(&mut self, epoch: u64, datagrams: mpsc::Sender<Result<v1::PuntResponse, Status>>) -> Result<(), Status> {
        self.check_epoch(epoch)?;
        self.punt = Some(datagrams);
        Ok(())
    }

    /// Child SAs with their counters.
    pub fn list(&self) -> v1::ListChildSasResponse {
        let mut child_sas: Vec<_> = self.sad.entries().map(|entry| entry.status(self.now_ms)).collect();
        child_sas.sort_by_key(|status| status.child_sa);
        v1::ListChildSasResponse { child_sas }
    }

    /// Ends the streams and tells the workers to stop.
    pub fn shut_down(&mut self) {
        self.events = None;
        self.punt = None;
        self.batches.clear();
        let _stopped = self.workers.broadcast(WorkerId(0), |_| Command::Stop);
    }

    /// Whether commands, [`Command::Stop`] among them, wait for room in a worker's queue.
    pub(super) fn has_more_to_tell(&self) -> bool {
        self.workers.is_backlogged()
    }

    /// Gives the workers what is configured and learnt, as it stands.
    pub(super) fn publish(&mut self) -> Barrier {
        let snapshot = Arc::new(self.snapshot.clone());
        self.workers.broadcast(WorkerId(0), |_| Command::Snapshot(Arc::clone(&snapshot)))
    }

    /// Queues an event for the subscriber. Without one, the queue keeps the newest.
    pub(super) fn emit(&mut self, event: v1::event::Event) {
        // News that is stale a second later waits for nobody.
        if self.events.is_none() && matches!(event, v1::event::Event::LastInbound(_) | v1::event::Event::SpiMiss(_)) {
            return;
        }
        if self.event_backlog.len() >= EVENT_BACKLOG {
            self.event_backlog.pop_front();
            self.counters.events_lost += 1;
        }
        self.event_backlog.push_back(v1::Event { event: Some(event) });
    }

    fn send_events(&mut self) {
        if self.events.as_ref().is_some_and(mpsc::Sender::is_closed) {
            self.events = None;
        }
        let events = &self.events;
        let send = |event: v1::Event| events.as_ref().is_some_and(|events| events.try_send(Ok(event)).is_ok());
        while let Some(event) = self.event_backlog.front() {
            if !send(event.clone()) {
                break;
            }
            self.event_backlog.pop_front();
        }
        self.acquires.poll(self.now_ms, |acquire| send(v1::Event { event: Some(v1::event::Event::Acquire(acquire)) }));
    }
}

/// What workers start with: ports and routes, no policies, so that nothing is forwarded.
pub fn first_snapshot(ports: &[ServedPort], fixed: &[Route]) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        spd: None,
        ports: Arc::new(Ports::new(ports.iter().map(|port| port.info.clone()).collect())),
        routes: Arc::new(routes(ports, fixed)),
        neighbors: Arc::new(Neighbors::default()),
    })
}

/// Routes to the ports' own subnets, and the static ones.
fn routes(ports: &[ServedPort], fixed: &[Route]) -> Routes {
    let connected = (0..=u8::MAX).map(PortId).zip(ports).flat_map(|(id, port)| {
        let route = move |s: &InterfaceAddress| table::Route { destination: s.address, prefix: s.prefix_len, gateway: None, port: id };
        // Link-local addresses are the same on every link.
        port.subnets.iter().filter(|subnet| !subnet.is_link_local()).map(route)
    });
    let fixed = fixed.iter().map(|route| {
        let gateway = Some(route.via);
        table::Route { destination: route.destination, prefix: route.prefix_len, gateway, port: route.port }
    });
    Routes::new(connected.chain(fixed).collect())
}
