//! A gateway in this process: the server's state and one worker's pipeline, joined by their queues, with as many tunnels as asked for.

use std::net::Ipv4Addr;
use std::sync::Arc;

use culvert_data::clock::{Clock, MICROS};
use culvert_data::command::{self, PortId, QueueSizes, WorkerId};
use culvert_data::config::{InterfaceAddress, Neighbor, Route};
use culvert_data::pipeline::{self, Io, Limits, Pipeline};
use culvert_data::server::core::{self, Core, PortReading, ServedPort, Setup};
use culvert_data::server::workers::Workers;
use culvert_data::stats::WorkerStats;
use culvert_data::table::{PortInfo, PortRole};
use culvert_data::verdict::Verdict;
use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::operation::Operation as Kind;
use culvert_proto::dataplane::v1::outcome::Outcome as Answer;
use dpdk::{Burst, Mbuf, Pool};
use packet::Buffer;
use packet::ethernet::MacAddress;

use crate::error::{Context, Failure};
use crate::gateway::{GATEWAY, PEER};
use crate::report::Direction;

/// Key and salt of every SA. Each half of each keeps a context of its own.
pub(crate) const KEYMAT: [u8; 20] = [0x0c; 20];
/// The one host behind the gateway; each tunnel leads to another one.
pub(crate) const LOCAL_HOST: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const ENCR_AES_GCM_16: u32 = 20;
const PROTECTED: PortId = PortId(0);
const UNPROTECTED: PortId = PortId(1);
/// Installs that the server is given at once.
const BATCH: u32 = 1000;

/// The host behind the peer of a tunnel, whose policy covers 16 addresses.
pub(crate) fn remote_host(tunnel: u32) -> Ipv4Addr {
    Ipv4Addr::from(remote_net(tunnel) + 2)
}

fn remote_net(tunnel: u32) -> u32 {
    u32::from(Ipv4Addr::new(11, 0, 0, 0)) + tunnel * 16
}

/// The peer of a tunnel.
pub(crate) fn peer(tunnel: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(20, 0, 0, 0)) + tunnel)
}

/// The SPI of the inbound half: the first generation of the slot of the same number.
pub(crate) const fn spi(tunnel: u32) -> u32 {
    1 << 20 | tunnel
}

/// Of the port where packets of a direction arrive.
pub(crate) const fn mac(direction: Direction) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, if matches!(direction, Direction::Outbound) { 1 } else { 2 }])
}

/// The server's side.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) core: Core,
    pub(crate) clock: Clock,
    epoch: u64,
    operations: u64,
}

/// The worker's side.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) pipeline: Pipeline<Mbuf>,
    pub(crate) outlet: Outlet,
    clock: Clock,
    burst: pipeline::Burst<Mbuf>,
}

/// Where frames leave: they are counted and freed, a burst at a time.
#[derive(Debug)]
pub(crate) struct Outlet {
    pool: Pool,
    frames: Burst,
}

impl Io<Mbuf> for Outlet {
    fn allocate(&mut self, len: usize) -> Option<Mbuf> {
        self.pool.alloc().filter(|mbuf| mbuf.tailroom() >= len)
    }

    #[inline]
    fn transmit(&mut self, stats: &WorkerStats, _port: PortId, frame: Mbuf, verdict: Verdict) {
        stats.count(verdict);
        if let Err(frame) = self.frames.push(frame) {
            self.frames.clear();
            let _ = self.frames.push(frame);
        }
    }

    fn hand_off(&mut self, stats: &WorkerStats, _worker: WorkerId, _packet: Mbuf) {
        stats.count(Verdict::HandOffOverflow);
    }
}

/// A gateway without policies, with room for so many tunnels and some more.
pub(crate) fn start(pool: &Pool, tunnels: u32, spare: u32) -> Result<(Server, Worker), Failure> {
    let slots = tunnels + spare;
    let size = usize::try_from(slots).context("tunnels")?;
    let (handle, end) = command::channel(WorkerId(0), QueueSizes::default(), size);
    let port = |name: &str, role, direction, address: Ipv4Addr, prefix_len| ServedPort {
        name: name.to_owned(),
        info: PortInfo { role, mac: mac(direction), mtu: 1500, addresses: vec![address.into()] },
        subnets: vec![InterfaceAddress { address: address.into(), prefix_len }],
        read: Box::new(PortReading::default),
    };
    let ports = vec![
        port("inside", PortRole::Protected, Direction::Outbound, Ipv4Addr::new(10, 1, 0, 1), 16),
        port("outside", PortRole::Unprotected, Direction::Inbound, GATEWAY, 24),
    ];
    let default = Route { destination: Ipv4Addr::UNSPECIFIED.into(), prefix_len: 0, via: PEER.into(), port: UNPROTECTED };
    let snapshot = core::first_snapshot(&ports, &[default]);
    let neighbor = |address: Ipv4Addr, port| Neighbor { address: address.into(), mac: MacAddress([2, 0, 0, 0, 0, 0xee]), port };
    let core = Core::new(Setup {
        boot_id: [7; 16],
        sad_slots: slots,
        policy_slots: slots,
        first_generation: Some(1),
        learn_path_mtu: true,
        kernel: esp_crypto::Kernel::best(),
        neighbors: vec![neighbor(PEER, UNPROTECTED), neighbor(LOCAL_HOST, PROTECTED)],
        ports,
        snapshot: Arc::clone(&snapshot),
        workers: Workers::new(vec![handle]),
        cores: vec![0],
    });
    let limits = Limits::for_slots(size, size);
    let clock = Clock::start();
    let outlet = Outlet { pool: pool.clone(), frames: Burst::new() };
    let worker = Worker { pipeline: Pipeline::new(end, snapshot, &limits), outlet, clock, burst: pipeline::Burst::new() };
    let mut server = Server { core, clock, epoch: 0, operations: 0 };
    server.epoch = server.core.attach(&v1::AttachRequest { controller: "bench".to_owned() }).epoch;
    Ok((server, worker))
}

impl Server {
    /// Whether there was anything to do.
    pub(crate) fn poll(&mut self) -> bool {
        self.core.poll(self.clock.now_ms())
    }

    pub(crate) fn submit(&mut self, operations: Vec<Kind>) -> Pending {
        let number = |operation| {
            self.operations += 1;
            v1::Operation { id: self.operations, operation: Some(operation) }
        };
        let operations = operations.into_iter().map(number).collect();
        Pending(self.core.submit(v1::ProgramRequest { epoch: self.epoch, operations }))
    }

    /// Sends operations and lets server and worker take turns until they are in force.
    fn program(&mut self, worker: &mut Worker, operations: Vec<Kind>) -> Result<Vec<Answer>, Failure> {
        let mut pending = self.submit(operations);
        loop {
            self.poll();
            worker.turn();
            if let Some(answers) = pending.poll()? {
                return Ok(answers);
            }
        }
    }

    /// Puts policies in force for tunnels 0 to `tunnels`.
    pub(crate) fn set_policies(&mut self, worker: &mut Worker, tunnels: u32) -> Result<(), Failure> {
        let policies = (0..tunnels).map(policy).collect();
        self.program(worker, vec![Kind::SetPolicies(v1::SetPolicies { policies, more: false })]).map(drop)
    }

    /// Installs the SAs of tunnels 0 to `tunnels`.
    pub(crate) fn install(&mut self, worker: &mut Worker, tunnels: u32) -> Result<(), Failure> {
        for from in (0..tunnels).step_by(BATCH as usize) {
            let batch = from..tunnels.min(from + BATCH);
            let lease = Kind::LeaseSpis(v1::LeaseSpis { count: batch.end - from });
            let answers = self.program(worker, vec![lease])?;
            let Some(Answer::Spis(lease)) = answers.first() else { return Err(Failure(format!("LeaseSpis: {answers:?}"))) };
            if !lease.spis.iter().copied().eq(batch.clone().map(spi)) {
                return Err(Failure("the SPIs are not those that the source writes".to_owned()));
            }
            self.program(worker, batch.map(|tunnel| install(tunnel, spi(tunnel))).collect())?;
        }
        Ok(())
    }
}

/// Operations that wait for their answers.
#[derive(Debug)]
pub(crate) struct Pending(tokio::sync::oneshot::Receiver<Result<v1::ProgramResponse, tonic::Status>>);

impl Pending {
    /// The answers, once they are there.
    pub(crate) fn poll(&mut self) -> Result<Option<Vec<Answer>>, Failure> {
        let response = match self.0.try_recv() {
            Ok(response) => response.context("Program")?,
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => return Ok(None),
            Err(error) => return Err(Failure(format!("Program: {error}"))),
        };
        let answers: Vec<_> = response.outcomes.into_iter().filter_map(|outcome| outcome.outcome).collect();
        match answers.iter().find(|answer| matches!(answer, Answer::Failure(_))) {
            Some(failure) => Err(Failure(format!("Program: {failure:?}"))),
            None => Ok(Some(answers)),
        }
    }
}

impl Worker {
    /// What a worker does between two bursts; whether there was anything to do.
    #[inline]
    pub(crate) fn turn(&mut self) -> bool {
        self.pipeline.turn(self.clock.now_us() / MICROS, &mut self.outlet).1
    }

    /// One round of a worker's loop.
    #[inline]
    pub(crate) fn round(&mut self, direction: Direction, received: &mut Burst) {
        self.turn();
        for mbuf in received.drain() {
            // There is room for a burst.
            let _ = self.burst.push(mbuf);
        }
        let port = if direction == Direction::Outbound { PROTECTED } else { UNPROTECTED };
        self.pipeline.forward(port, &mut self.burst, &mut self.outlet);
        self.outlet.frames.clear();
    }

    /// Packets that have crossed so far.
    pub(crate) fn crossed(&self) -> u64 {
        let stats = self.pipeline.end().stats();
        stats.verdict(Verdict::Sealed) + stats.verdict(Verdict::Opened)
    }

    /// All verdicts, for whoever looks for a missing packet.
    pub(crate) fn counters(&self) -> String {
        let stats = self.pipeline.end().stats();
        let counters = Verdict::ALL.iter().map(|verdict| (verdict.name(), stats.verdict(*verdict))).filter(|(_, count)| *count > 0);
        counters.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }
}

/// The policy of a tunnel.
pub(crate) fn policy(tunnel: u32) -> v1::Policy {
    v1::Policy {
        id: tunnel + 1,
        name: format!("tunnel-{tunnel}"),
        priority: 1000 + tunnel,
        action: v1::policy::Action::Protect.into(),
        local: vec![selector(u32::from(Ipv4Addr::new(10, 1, 0, 0)), 1 << 16)],
        remote: vec![selector(remote_net(tunnel), 16)],
        dscp: Vec::new(),
    }
}

/// The SA of a tunnel.
pub(crate) fn install(tunnel: u32, inbound_spi: u32) -> Kind {
    let keys = || Some(v1::Keys { encryption: KEYMAT.to_vec(), integrity: Vec::new() });
    let v1::Policy { id, local, remote, .. } = policy(tunnel);
    Kind::Install(v1::Install {
        child_sa: u64::from(tunnel) + 1,
        policy: id,
        inbound_spi,
        outbound_spi: 0x2000_0000 + tunnel,
        local_address: GATEWAY.octets().to_vec(),
        remote_address: peer(tunnel).octets().to_vec(),
        encryption: ENCR_AES_GCM_16,
        encryption_key_length: 128,
        inbound_keys: keys(),
        outbound_keys: keys(),
        local_selectors: local,
        remote_selectors: remote,
        copy_dscp: true,
        replay_window: 64,
        ..v1::Install::default()
    })
}

fn selector(first: u32, addresses: u32) -> v1::TrafficSelector {
    let octets = |address: u32| address.to_be_bytes().to_vec();
    v1::TrafficSelector {
        first_address: octets(first),
        last_address: octets(first + addresses - 1),
        protocol: 0,
        first_port: 0,
        last_port: 65_535,
    }
}
