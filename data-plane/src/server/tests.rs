//! The core against workers that only apply commands, on a clock of the test's own.

mod dummies;
mod fragments;
mod over_socket;
mod path_mtu;
mod policies;
mod rekey;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::failure::Reason;
use culvert_proto::dataplane::v1::operation::Operation;
use culvert_proto::dataplane::v1::{event, outcome};
use ipsec_types::{ChildSaId, Flow, PolicyId, TrafficSelector};
use packet::ethernet::MacAddress;
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};

use crate::command::{self, Command, Notice, Origin, PortId, PuntClass, QueueSizes, Via, WorkerEnd, WorkerId};
use crate::config::InterfaceAddress;
use crate::punt::{self, Punted};
use crate::server::core::{self, CLAIM_GRACE_MS, Core, PortReading, ServedPort, Setup};
use crate::server::sad::REST_MS;
use crate::server::workers::Workers;
use crate::slow_path;
use crate::stats::Tally;
use crate::table::{NextHop, PolicySlot, PortInfo, PortRole, SaSlot};
use crate::verdict::Verdict;

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// A core with its workers' ends.
pub(super) struct Rig {
    pub(super) core: Core,
    ends: Vec<WorkerEnd>,
    now_ms: u64,
    /// Commands that the workers have applied, in their order.
    applied: Vec<(u16, Command)>,
    next_id: u64,
    epoch: u64,
}

fn port(name: &str, role: PortRole, mac: u8, address: Ipv4Addr) -> ServedPort {
    ServedPort {
        name: name.to_owned(),
        info: PortInfo { role, mac: MacAddress([2, 0, 0, 0, 0, mac]), mtu: 1500, addresses: vec![address.into()] },
        subnets: vec![InterfaceAddress { address: address.into(), prefix_len: 24 }],
        read: Box::new(|| PortReading { link_up: true, ..PortReading::default() }),
    }
}

const POLICIES: u32 = 1024;

pub(super) fn core(workers: u16, sizes: QueueSizes, sad_slots: u32, policy_slots: u32) -> (Core, Vec<WorkerEnd>) {
    let (handles, ends) = (0..workers).map(|id| command::channel(WorkerId(id), sizes, policy_slots as usize)).unzip();
    let ports = vec![port("inside", PortRole::Protected, 1, INSIDE), port("outside", PortRole::Unprotected, 2, OUTSIDE)];
    let core = Core::new(Setup {
        boot_id: [7; 16],
        sad_slots,
        policy_slots,
        first_generation: None,
        learn_path_mtu: true,
        kernel: esp_crypto::Kernel::best(),
        neighbors: Vec::new(),
        snapshot: core::first_snapshot(&ports, &[]),
        ports,
        workers: Workers::new(handles),
        cores: (0..workers.into()).collect(),
    });
    (core, ends)
}

impl Rig {
    fn new(workers: u16) -> Self {
        Self::sized(workers, QueueSizes::default(), 64)
    }

    fn sized(workers: u16, sizes: QueueSizes, sad_slots: u32) -> Self {
        let (core, ends) = core(workers, sizes, sad_slots, POLICIES);
        let mut rig = Self { core, ends, now_ms: 1, applied: Vec::new(), next_id: 0, epoch: 0 };
        rig.attach();
        rig
    }

    fn attach(&mut self) -> v1::AttachResponse {
        let answer = self.core.attach(&v1::AttachRequest { controller: "test".to_owned() });
        self.epoch = answer.epoch;
        answer
    }

    /// The server alone, with silent workers.
    fn poll(&mut self) {
        while self.core.poll(self.now_ms) {}
    }

    /// Server and workers in turn until neither has anything to do.
    fn settle(&mut self) {
        for _ in 0..200 {
            let mut busy = self.core.poll(self.now_ms);
            for end in &mut self.ends {
                while let Some(command) = end.command() {
                    self.applied.push((end.id().0, command));
                    end.applied();
                    busy = true;
                }
            }
            if !busy {
                return;
            }
        }
    }

    /// So much time passes, in which the server looks every tenth of a second, with silent workers.
    fn wait_for_silent_workers(&mut self, ms: u64) {
        for passed in (0..ms).step_by(100) {
            self.now_ms += (ms - passed).min(100);
            self.poll();
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.settle();
    }

    fn operation(&mut self, operation: Operation) -> v1::Operation {
        self.next_id += 1;
        v1::Operation { id: self.next_id, operation: Some(operation) }
    }

    fn submit(&mut self, operations: Vec<v1::Operation>) -> oneshot::Receiver<Result<v1::ProgramResponse, Status>> {
        self.core.submit(v1::ProgramRequest { epoch: self.epoch, operations })
    }

    fn program(&mut self, operations: Vec<v1::Operation>) -> Vec<outcome::Outcome> {
        let mut answer = self.submit(operations);
        self.settle();
        answer.try_recv().unwrap().unwrap().outcomes.into_iter().map(|o| o.outcome.unwrap()).collect()
    }

    fn run(&mut self, operation: Operation) -> outcome::Outcome {
        let operation = self.operation(operation);
        self.program(vec![operation]).pop().unwrap()
    }

    fn lease(&mut self, count: u32) -> Vec<u32> {
        match self.run(Operation::LeaseSpis(v1::LeaseSpis { count })) {
            outcome::Outcome::Spis(lease) => lease.spis,
            other => panic!("{other:?}"),
        }
    }

    fn set_policies(&mut self, ids: &[u32]) -> outcome::Outcome {
        let policies = ids.iter().map(|id| policy(*id)).collect();
        self.run(Operation::SetPolicies(v1::SetPolicies { policies, more: false }))
    }

    /// A Child SA of policy 1 is installed; answers its SPI.
    fn install(&mut self, child_sa: u64, change: impl FnOnce(&mut v1::Install)) -> u32 {
        let spi = self.lease(1)[0];
        let mut message = install(child_sa, spi);
        change(&mut message);
        assert_eq!(self.run(Operation::Install(message)), done());
        spi
    }

    fn installs(&self) -> Vec<(u16, u64, bool)> {
        let install = |(worker, command): &(u16, Command)| match command {
            Command::Install { sa, window, .. } => Some((*worker, sa.id.0, window.is_some())),
            _ => None,
        };
        self.applied.iter().filter_map(install).collect()
    }

    /// What the workers were given of an SA.
    fn installed_sa(&self, child_sa: u64) -> Arc<command::InstalledSa> {
        let sa = |(_, command): &(u16, Command)| match command {
            Command::Install { sa, .. } if sa.id == ChildSaId(child_sa) => Some(Arc::clone(sa)),
            _ => None,
        };
        self.applied.iter().find_map(sa).unwrap()
    }

    fn installed(&self) -> Vec<u64> {
        self.core.list().child_sas.iter().map(|status| status.child_sa).collect()
    }

    fn subscribe(&mut self) -> mpsc::Receiver<Result<v1::Event, Status>> {
        let (sender, receiver) = mpsc::channel(64);
        self.core.subscribe(self.epoch, sender).unwrap();
        receiver
    }

    fn counter(&self, name: &str) -> u64 {
        self.core.stats().counters.iter().find(|counter| counter.name == name).unwrap().value
    }
}

fn done() -> outcome::Outcome {
    outcome::Outcome::Done(v1::Done {})
}

fn reason(outcome: &outcome::Outcome) -> Option<Reason> {
    if let outcome::Outcome::Failure(failure) = outcome { Some(failure.reason()) } else { None }
}

fn selector(text: &str) -> Vec<v1::TrafficSelector> {
    vec![text.parse::<TrafficSelector>().unwrap().into()]
}

pub(super) fn policy(id: u32) -> v1::Policy {
    v1::Policy {
        id,
        name: format!("policy-{id}"),
        priority: id,
        action: v1::policy::Action::Protect.into(),
        local: selector("10.1.0.0/24"),
        remote: selector("10.2.0.0/24"),
        dscp: Vec::new(),
    }
}

pub(super) fn install(child_sa: u64, spi: u32) -> v1::Install {
    let keys = |octet| Some(v1::Keys { encryption: vec![octet; 20], integrity: Vec::new() });
    v1::Install {
        child_sa,
        policy: 1,
        inbound_spi: spi,
        outbound_spi: 0xc0de_0000 | u32::try_from(child_sa).unwrap(),
        local_address: OUTSIDE.octets().to_vec(),
        remote_address: PEER.octets().to_vec(),
        encryption: 20,
        encryption_key_length: 128,
        replay_window: 1024,
        inbound_keys: keys(1),
        outbound_keys: keys(2),
        local_selectors: selector("10.1.0.0/24"),
        remote_selectors: selector("10.2.0.0/24"),
        ..v1::Install::default()
    }
}

fn flow() -> Flow {
    Flow {
        source: [10, 1, 0, 9].into(),
        destination: [10, 2, 0, 9].into(),
        protocol: 1,
        source_port: Some(0x800),
        destination_port: Some(0x800),
    }
}

fn news(events: &mut mpsc::Receiver<Result<v1::Event, Status>>) -> Vec<event::Event> {
    std::iter::from_fn(|| events.try_recv().ok()).map(|event| event.unwrap().event.unwrap()).collect()
}

#[test]
fn an_older_epoch_is_refused_everywhere() {
    let mut rig = Rig::new(1);
    let mut events = rig.subscribe();
    let waiting = v1::ProgramRequest { epoch: rig.epoch, operations: vec![rig.operation(Operation::Claim(v1::Claim::default()))] };
    let mut waiting = rig.core.submit(waiting);
    let old = rig.epoch;
    assert_eq!(rig.attach().epoch, old + 1);
    assert_eq!(events.try_recv().unwrap_err(), mpsc::error::TryRecvError::Disconnected, "the old controller's stream ends");
    let mut late = rig.core.submit(v1::ProgramRequest { epoch: old, operations: Vec::new() });
    rig.settle();
    for answer in [waiting.try_recv(), late.try_recv()] {
        assert_eq!(answer.unwrap().unwrap_err().code(), Code::FailedPrecondition);
    }
    assert_eq!(rig.core.subscribe(old, mpsc::channel(1).0).unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(rig.core.open_punt(old, mpsc::channel(1).0).unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(rig.core.check_epoch(0).unwrap_err().code(), Code::FailedPrecondition);
}

#[test]
fn a_repeated_operation_answers_its_first_outcome_and_does_nothing() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    let lease = rig.operation(Operation::LeaseSpis(v1::LeaseSpis { count: 2 }));
    let first = rig.program(vec![lease.clone()]);
    assert_eq!(rig.program(vec![lease.clone(), lease]), [first.clone(), first.clone()].concat());
    let outcome::Outcome::Spis(lease) = first[0].clone() else { panic!("{first:?}") };

    let once = rig.operation(Operation::Install(install(5, lease.spis[0])));
    // Also within one batch, while the first is still under way.
    assert_eq!(rig.program(vec![once.clone(), once.clone()]), [done(), done()]);
    assert_eq!(rig.program(vec![once]), [done()]);
    assert_eq!(rig.installs(), [(0, 5, true)]);
    // Another operation, but the same Child SA: its keys must not be used again, however fresh the SPI.
    let again = rig.run(Operation::Install(install(5, lease.spis[1])));
    assert_eq!(reason(&again), Some(Reason::Invalid));
    assert_eq!(rig.run(Operation::Retire(v1::Retire { child_sa: 5, linger_ms: 0 })), done());
    assert_eq!(reason(&rig.run(Operation::Install(install(5, lease.spis[1])))), Some(Reason::Invalid), "nor after it is gone");
    assert_eq!(rig.installs().len(), 1);
}

#[test]
fn an_install_that_crosses_with_an_attach_has_an_outcome() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    let spi = rig.lease(1)[0];
    let (install, claim) = (rig.operation(Operation::Install(install(1, spi))), rig.operation(Operation::Claim(v1::Claim::default())));
    let mut answer = rig.submit(vec![install.clone()]);
    rig.poll();
    let answered = rig.attach();
    assert_eq!(answered.child_sas.len(), 1, "the new controller hears of it");
    rig.settle();
    assert_eq!(answer.try_recv().unwrap().unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(rig.program(vec![install, claim]), [done(), done()]);
    assert_eq!(rig.installs(), [(0, 1, true)]);
    assert_eq!(rig.installed(), [0; 0], "and did not claim it");
}

#[test]
fn an_spi_serves_once_and_only_if_leased() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    let spi = rig.lease(1)[0];
    assert_eq!(reason(&rig.run(Operation::Install(install(1, spi ^ 1 << 20)))), Some(Reason::SpiNotLeased), "another generation");
    assert_eq!(reason(&rig.run(Operation::Install(install(1, spi ^ 1)))), Some(Reason::SpiNotLeased), "another slot");
    assert_eq!(rig.run(Operation::Install(install(1, spi))), done());
    assert_eq!(reason(&rig.run(Operation::Install(install(2, spi)))), Some(Reason::SpiNotLeased), "used");
    let revoked = rig.lease(1)[0];
    rig.attach();
    assert_eq!(reason(&rig.run(Operation::Install(install(3, revoked)))), Some(Reason::SpiNotLeased), "of an earlier controller");
    for count in [0, 1025] {
        assert_eq!(reason(&rig.run(Operation::LeaseSpis(v1::LeaseSpis { count }))), Some(Reason::Invalid));
    }
    assert_eq!(rig.lease(1024).len(), 62, "what there is");
    assert_eq!(reason(&rig.run(Operation::LeaseSpis(v1::LeaseSpis { count: 1 }))), Some(Reason::Exhausted));
}

#[test]
fn a_refused_install_gives_its_lease_back() {
    let mut rig = Rig::sized(1, QueueSizes::default(), 1);
    rig.set_policies(&[1]);
    type Spoil = fn(&mut v1::Install);
    let cases: [Spoil; 3] = [|m| m.child_sa = 0, |m| m.policy = 9, |m| m.replay_window = u32::MAX];
    for spoil in cases {
        let spi = rig.lease(1)[0];
        let mut message = install(1, spi);
        spoil(&mut message);
        assert_eq!(reason(&rig.run(Operation::LeaseSpis(v1::LeaseSpis { count: 1 }))), Some(Reason::Exhausted), "all are leased");
        assert!(reason(&rig.run(Operation::Install(message))).is_some());
        assert_eq!(reason(&rig.run(Operation::Install(install(1, spi)))), Some(Reason::SpiNotLeased));
        assert_eq!(reason(&rig.run(Operation::LeaseSpis(v1::LeaseSpis { count: 1 }))), Some(Reason::Exhausted), "it rests");
        rig.wait(REST_MS);
    }
    rig.install(1, |_| ());
}

#[test]
fn what_the_data_plane_cannot_do_is_refused_by_name() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    type Spoil = fn(&mut v1::Install);
    let cases: [(&str, Spoil); 7] = [
        ("child_sa", |m| m.child_sa = 0),
        ("policy", |m| m.policy = 9),
        ("local_address", |m| m.local_address = vec![192, 0, 2, 77]),
        ("local_address", |m| m.local_address = INSIDE.octets().to_vec()),
        ("local_address", |m| (m.local_address, m.remote_address) = (vec![0xfd; 16], vec![0xfd; 16])),
        ("replay_window", |m| m.replay_window = u32::MAX),
        // 3DES.
        ("encryption", |m| (m.encryption, m.integrity) = (3, 12)),
    ];
    for (field, spoil) in cases {
        let mut message = install(1, rig.lease(1)[0]);
        spoil(&mut message);
        let outcome::Outcome::Failure(failure) = rig.run(Operation::Install(message)) else { panic!("{field}") };
        assert!(failure.detail.starts_with(field), "{}", failure.detail);
    }
    assert!(rig.installs().is_empty());
    // AES-CBC with HMAC-SHA2-256-128.
    rig.install(1, |m| {
        (m.encryption, m.integrity) = (12, 12);
        let keys = || Some(v1::Keys { encryption: vec![0; 16], integrity: vec![0; 32] });
        (m.inbound_keys, m.outbound_keys) = (keys(), keys());
    });
    assert_eq!(reason(&rig.run(Operation::Activate(v1::Activate { child_sa: 2 }))), Some(Reason::NotFound));
    let empty = rig.program(vec![v1::Operation { id: 999, operation: None }]);
    assert_eq!(reason(&empty[0]), Some(Reason::Invalid));
}

/// Where the workers were told that the SA leads, one after the other.
fn tunnels(rig: &Rig) -> Vec<(u16, esp::Tunnel)> {
    let retarget =
        |(worker, command): &(u16, Command)| if let Command::Retarget { tunnel, .. } = command { Some((*worker, *tunnel)) } else { None };
    rig.applied.iter().filter_map(retarget).collect()
}

#[test]
fn an_sa_follows_its_peer_on_every_worker_and_counts_on() {
    let mut rig = Rig::new(2);
    rig.set_policies(&[1]);
    let spi = rig.install(1, |m| {
        m.encapsulation = Some(v1::UdpEncapsulation { local_port: 4500, remote_port: 4500 });
        (m.dont_fragment, m.copy_dscp) = (v1::DontFragment::Clear.into(), true);
    });
    let sa = rig.installed_sa(1);
    assert_eq!(sa.outbound.take_one().map(|number| number.value()), Ok(1));
    let moved = v1::Retarget {
        child_sa: 1,
        local_address: OUTSIDE.octets().to_vec(),
        remote_address: vec![198, 51, 100, 7],
        encapsulation: Some(v1::UdpEncapsulation { local_port: 4500, remote_port: 61_234 }),
    };
    assert_eq!(rig.run(Operation::Retarget(moved.clone())), done());
    let tunnel = esp::Tunnel {
        ends: esp::Ends::V4 { source: OUTSIDE, destination: [198, 51, 100, 7].into() },
        udp: Some(esp::UdpPorts { source: 4500, destination: 61_234 }),
        dont_fragment: esp::DontFragment::Clear,
        copy_dscp: true,
    };
    assert_eq!(tunnels(&rig), [(0, tunnel), (1, tunnel)]);
    assert_eq!(rig.installs().len(), 2, "one for each worker: nothing is installed anew");
    let status = rig.core.list().child_sas.remove(0);
    assert_eq!((status.local_address, status.remote_address), (moved.local_address, moved.remote_address));
    assert_eq!((status.encapsulation, status.inbound_spi, status.outbound_sequence), (moved.encapsulation, spi, 2));
    assert_eq!(sa.outbound.take_one().map(|number| number.value()), Ok(2));
}

#[test]
fn a_retarget_to_nowhere_is_refused_by_name_and_changes_nothing() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    rig.install(1, |_| ());
    let before = rig.core.list();
    let good = || v1::Retarget {
        child_sa: 1,
        local_address: OUTSIDE.octets().to_vec(),
        remote_address: PEER.octets().to_vec(),
        encapsulation: None,
    };
    let ports = |remote_port| Some(v1::UdpEncapsulation { local_port: 4500, remote_port });
    let cases = [
        ("child_sa", Reason::Invalid, v1::Retarget { child_sa: 0, ..good() }),
        ("no Child SA", Reason::NotFound, v1::Retarget { child_sa: 2, ..good() }),
        ("local_address", Reason::Invalid, v1::Retarget { local_address: INSIDE.octets().to_vec(), ..good() }),
        ("local_address", Reason::Invalid, v1::Retarget { local_address: Vec::new(), ..good() }),
        ("remote_address", Reason::Invalid, v1::Retarget { remote_address: vec![0xfd; 16], ..good() }),
        ("encapsulation.remote_port", Reason::Invalid, v1::Retarget { encapsulation: ports(65_536), ..good() }),
    ];
    for (field, expected, message) in cases {
        let outcome = rig.run(Operation::Retarget(message));
        let outcome::Outcome::Failure(failure) = &outcome else { panic!("{field}") };
        assert!(failure.detail.starts_with(field), "{}", failure.detail);
        assert_eq!(reason(&outcome), Some(expected));
    }
    assert_eq!((rig.core.list(), tunnels(&rig)), (before, Vec::new()));
    assert_eq!(rig.run(Operation::Retire(v1::Retire { child_sa: 1, linger_ms: 1000 })), done());
    assert_eq!(rig.run(Operation::Retarget(good())), done(), "its inbound half is there");
    rig.wait(1100);
    assert_eq!(reason(&rig.run(Operation::Retarget(good()))), Some(Reason::NotFound));
}

#[test]
fn a_claim_removes_what_it_does_not_name() {
    let mut rig = Rig::new(2);
    rig.set_policies(&[1]);
    (1..=3).for_each(|id| _ = rig.install(id, |_| ()));
    let answer = rig.attach();
    assert_eq!(answer.child_sas.iter().map(|s| s.child_sa).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(answer.local_addresses, [OUTSIDE.octets().to_vec()]);
    rig.install(4, |_| ());
    assert_eq!(rig.run(Operation::Claim(v1::Claim { child_sas: vec![2, 77] })), done());
    assert_eq!(rig.installed(), [2, 4], "what this controller installed itself needs no claim");
    assert_eq!(rig.applied.iter().filter(|(_, command)| matches!(command, Command::Remove(_))).count(), 4, "two SAs, two workers");
    rig.wait(CLAIM_GRACE_MS);
    assert_eq!(rig.installed(), [2, 4]);
}

#[test]
fn what_nobody_claims_goes_after_the_grace_period() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    rig.install(1, |_| ());
    rig.attach();
    rig.wait(CLAIM_GRACE_MS - 1);
    assert_eq!(rig.installed(), [1]);
    rig.wait(101);
    assert_eq!(rig.installed(), [0; 0]);
}

#[test]
fn a_worker_silent_for_a_second_fails_installs() {
    let mut rig = Rig::new(2);
    rig.set_policies(&[1]);
    let spis = rig.lease(3);
    let operation = rig.operation(Operation::Install(install(1, spis[0])));
    let mut answer = rig.submit(vec![operation]);
    rig.poll();
    rig.wait_for_silent_workers(999);
    assert!(answer.try_recv().is_err(), "not yet");
    rig.wait_for_silent_workers(1);
    let outcomes = answer.try_recv().unwrap().unwrap().outcomes;
    assert_eq!(reason(outcomes[0].outcome.as_ref().unwrap()), Some(Reason::WorkerSilent));
    assert_eq!(rig.installed(), [0; 0]);

    let operation = rig.operation(Operation::Install(install(2, spis[1])));
    let mut answer = rig.submit(vec![operation]);
    rig.wait_for_silent_workers(1);
    let outcomes = answer.try_recv().unwrap().unwrap().outcomes;
    assert_eq!(reason(outcomes[0].outcome.as_ref().unwrap()), Some(Reason::WorkerSilent), "at once while it is known to be silent");
    assert_eq!(rig.counter("silent_installs"), 2);
    // Back again, the worker is told to forget what was answered as failed.
    rig.settle();
    let last = rig.applied.iter().filter(|(worker, _)| *worker == 1).map(|(_, command)| command).next_back();
    assert!(matches!(last, Some(Command::Remove(_))), "{last:?}");
    assert_eq!(rig.run(Operation::Install(install(3, spis[2]))), done());
}

/// A poll may take long, or the thread wait for its core: workers that were given commands at the end of it have had no time at all, and cannot go on
/// where the server has not taken back what they threw away.
#[test]
fn no_worker_is_silent_while_the_server_does_not_look() {
    let mut rig = Rig::sized(1, QueueSizes { commands: 1, ..QueueSizes::default() }, 64);
    rig.set_policies(&[1]);
    let spis = rig.lease(2);
    for (child_sa, spi) in (1..).zip(spis) {
        let operation = rig.operation(Operation::Install(install(child_sa, spi)));
        let mut answer = rig.submit(vec![operation]);
        for _ in 0..3 {
            rig.poll();
            rig.now_ms += 60_000;
        }
        rig.poll();
        assert!(answer.try_recv().is_err(), "neither refused nor done");
        rig.settle();
        assert_eq!(answer.try_recv().unwrap().unwrap().outcomes[0].outcome, Some(done()));
    }
    assert_eq!(rig.counter("silent_installs"), 0);
}

#[test]
fn a_batch_longer_than_the_queues_is_done_in_order() {
    let mut rig = Rig::sized(2, QueueSizes { commands: 4, notices: 4, punts: 4, ..QueueSizes::default() }, 64);
    rig.set_policies(&[1]);
    let spis = rig.lease(30);
    let operations: Vec<_> =
        (1..).zip(&spis).map(|(id, spi)| v1::Operation { id: 1000 + id, operation: Some(Operation::Install(install(id, *spi))) }).collect();
    assert_eq!(rig.program(operations), vec![done(); 30]);
    for worker in 0..2 {
        let ids: Vec<u64> = rig.installs().iter().filter(|(w, ..)| *w == worker).map(|(_, id, _)| *id).collect();
        assert_eq!(ids, (1..=30).collect::<Vec<_>>());
    }
}

#[test]
fn the_owner_alone_gets_the_window_and_a_rekeyed_sa_keeps_it() {
    let mut rig = Rig::new(3);
    rig.set_policies(&[1]);
    rig.install(1, |_| ());
    rig.install(2, |_| ());
    let owner = |rig: &Rig, id: u64| {
        let owners: Vec<u16> = rig.installs().iter().filter(|(_, sa, window)| *sa == id && *window).map(|(w, ..)| *w).collect();
        assert_eq!(owners.len(), 1);
        owners[0]
    };
    assert_ne!(owner(&rig, 1), owner(&rig, 2), "SAs are spread");
    (3..=5).for_each(|id| _ = rig.install(id, |message| message.predecessor = id - 1));
    assert!((3..=5).all(|id| owner(&rig, id) == owner(&rig, 2)));
    assert_eq!(rig.installs().len(), 15, "every worker knows every SA");
}

#[test]
fn an_acquire_is_one_however_many_workers_ask_and_sent_again_to_each_subscriber() {
    let mut rig = Rig::new(2);
    rig.set_policies(&[1]);
    let acquire = Notice::Acquire { policy: PolicyId(1), slot: PolicySlot(0), flow: flow() };
    rig.ends.iter().for_each(|end| assert!(end.notify(acquire)));
    rig.settle();
    let expected = [event::Event::Acquire(v1::Acquire { id: 1, policy: 1, flow: Some(flow().into()) })];
    let mut events = rig.subscribe();
    rig.settle();
    assert_eq!(news(&mut events), expected);
    rig.settle();
    assert_eq!(news(&mut events), []);
    rig.attach();
    let mut events = rig.subscribe();
    rig.settle();
    assert_eq!(news(&mut events), expected);

    rig.install(1, |_| ());
    // This one crossed with the Install.
    rig.ends[1].notify(acquire);
    rig.settle();
    let mut events = rig.subscribe();
    rig.settle();
    assert_eq!(news(&mut events), []);
}

#[test]
fn an_acquire_the_controller_left_unanswered_is_sent_again_when_a_worker_asks_again() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    let mut events = rig.subscribe();
    let acquire = Notice::Acquire { policy: PolicyId(1), slot: PolicySlot(0), flow: flow() };
    let mut ask = |rig: &mut Rig| {
        rig.ends[0].notify(acquire);
        rig.settle();
        news(&mut events)
    };
    let expected = [event::Event::Acquire(v1::Acquire { id: 1, policy: 1, flow: Some(flow().into()) })];
    assert_eq!(ask(&mut rig), expected);
    rig.wait(1999);
    assert_eq!(ask(&mut rig), [], "the answer may be under way");
    rig.wait(1);
    assert_eq!(ask(&mut rig), expected);
    assert_eq!(ask(&mut rig), []);
    rig.wait(5000);
    assert_eq!(news(&mut events), [], "nobody asks any more");
}

#[test]
fn a_refused_acquire_is_told_to_all_workers_once() {
    let mut rig = Rig::new(2);
    rig.set_policies(&[1]);
    let mut events = rig.subscribe();
    rig.ends[0].notify(Notice::Acquire { policy: PolicyId(1), slot: PolicySlot(0), flow: flow() });
    rig.settle();
    assert_eq!(news(&mut events).len(), 1);
    let refusal = Operation::RefuseAcquire(v1::RefuseAcquire { acquire: 1, retry_after_ms: 5000 });
    assert_eq!(rig.run(refusal.clone()), done());
    let told = |(_, c): &&(u16, Command)| matches!(c, Command::RefuseAcquire { policy: PolicySlot(0), retry_after } if retry_after.as_millis() == 5000);
    assert_eq!(rig.applied.iter().filter(told).count(), 2);
    assert_eq!(reason(&rig.run(refusal)), Some(Reason::NotFound));
}

#[test]
fn an_acquire_for_a_policy_that_is_gone_is_ignored() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    let mut events = rig.subscribe();
    let mut ask = |rig: &mut Rig, id, slot| {
        rig.ends[0].notify(Notice::Acquire { policy: PolicyId(id), slot: PolicySlot(slot), flow: flow() });
        rig.settle();
        news(&mut events).len()
    };
    assert_eq!([(2, 0), (1, 1), (1, 0)].map(|(id, slot)| ask(&mut rig, id, slot)), [0, 0, 1]);
    let bypass = v1::Policy { action: v1::policy::Action::Bypass.into(), ..policy(1) };
    assert_eq!(rig.run(Operation::SetPolicies(v1::SetPolicies { policies: vec![bypass], more: false })), done());
    assert_eq!(ask(&mut rig, 1, 0), 0, "it does not protect any more");
    let refusal = Operation::RefuseAcquire(v1::RefuseAcquire { acquire: 1, retry_after_ms: 5000 });
    assert_eq!(reason(&rig.run(refusal)), Some(Reason::NotFound));
}

/// RFC 4301 section 4.4.2.1: time, octets and packets, soft and hard, and for the latter two whichever half reaches them first.
#[test]
fn each_limit_is_reached_at_its_edge_by_either_half() {
    const EDGE: u64 = 1000;
    let limits = |unit| match unit {
        "time" => v1::Limits { time_ms: EDGE, ..v1::Limits::default() },
        "octets" => v1::Limits { octets: EDGE, ..v1::Limits::default() },
        _ => v1::Limits { packets: EDGE, ..v1::Limits::default() },
    };
    for (unit, hard, inbound) in ["time", "octets", "packets"]
        .into_iter()
        .flat_map(|unit| [(false, false), (false, true), (true, false), (true, true)].map(move |(hard, inbound)| (unit, hard, inbound)))
    {
        let mut rig = Rig::new(1);
        rig.set_policies(&[1]);
        let mut events = rig.subscribe();
        rig.install(1, |m| *if hard { &mut m.hard } else { &mut m.soft } = Some(limits(unit)));
        let sa = rig.installed_sa(1);
        let now_ms = rig.now_ms;
        let carry = |octets| {
            let _more = if inbound { sa.state.count_inbound(octets, now_ms) } else { sa.state.count_outbound(1, octets as u64) };
        };
        let use_up = |rig: &mut Rig, amount: u64| match unit {
            "time" => rig.wait(amount),
            "octets" => carry(usize::try_from(amount).unwrap()),
            _ => (0..amount).for_each(|_| carry(0)),
        };
        use_up(&mut rig, EDGE - 1);
        // What has no limit does not count: the packet that carries all those octets, and the time until the server looks.
        rig.wait(if unit == "time" { 0 } else { 100 });
        let is_limit = |event: &event::Event| !matches!(event, event::Event::LastInbound(_));
        assert!(!news(&mut events).iter().any(is_limit), "{unit} {hard} {inbound}: one before");
        use_up(&mut rig, 1);
        rig.wait(100);
        let expected = match hard {
            false => event::Event::SoftExpire(v1::SoftExpire { child_sa: 1 }),
            true => event::Event::HardExpire(v1::HardExpire { child_sa: 1 }),
        };
        let told: Vec<_> = news(&mut events).into_iter().filter(is_limit).collect();
        assert_eq!(told, [expected], "{unit} {hard} {inbound}");
        assert_eq!(rig.installed().is_empty(), hard, "{unit} {inbound}");
        rig.wait(100_000);
        assert!(!news(&mut events).iter().any(is_limit), "{unit} {hard} {inbound}: once");
    }
}

/// RFC 4303 section 3.3.3: numbers never wrap, so there must be others in time. With ESN there are enough.
#[test]
fn an_sa_whose_numbers_run_out_asks_for_a_successor_and_then_ends() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    let mut events = rig.subscribe();
    rig.install(1, |_| ());
    rig.install(2, |m| m.extended_sequence_numbers = true);
    let [standard, extended] = [1, 2].map(|id| rig.installed_sa(id));
    const SOFT: u64 = 3 << 30;
    for (next, told) in [(SOFT, vec![]), (SOFT + 1, vec![event::Event::SoftExpire(v1::SoftExpire { child_sa: 1 })])] {
        standard.outbound.skip_to(next);
        extended.outbound.skip_to(next);
        rig.wait(100);
        assert_eq!(news(&mut events), told, "{next}");
    }
    standard.outbound.skip_to(1 << 32);
    extended.outbound.skip_to(1 << 33);
    rig.wait(100);
    assert_eq!(news(&mut events), [], "that nothing is left shows when a packet comes");
    rig.ends[0].notify(Notice::Spent(ChildSaId(1)));
    rig.settle();
    assert_eq!(news(&mut events), [event::Event::HardExpire(v1::HardExpire { child_sa: 1 })]);
    assert_eq!(rig.installed(), [2]);
}

/// The controller has its successor already.
#[test]
fn the_hard_limit_of_a_retired_sa_is_no_news() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    let mut events = rig.subscribe();
    rig.install(1, |m| m.hard = Some(v1::Limits { packets: 1, ..v1::Limits::default() }));
    rig.install(2, |_| ());
    for id in [1, 2] {
        assert_eq!(rig.run(Operation::Retire(v1::Retire { child_sa: id, linger_ms: 5000 })), done());
    }
    assert!(rig.installed_sa(1).state.count_inbound(64, 0));
    rig.ends[0].notify(Notice::Spent(ChildSaId(2)));
    rig.wait(100);
    assert_eq!((rig.installed(), news(&mut events)), (vec![], vec![]));
}

#[test]
fn limits_are_reported_softly_and_enforced_hard() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    let mut events = rig.subscribe();
    rig.install(1, |m| {
        m.soft = Some(v1::Limits { time_ms: 5000, ..v1::Limits::default() });
        m.hard = Some(v1::Limits { time_ms: 9000, packets: 3, ..v1::Limits::default() });
    });
    rig.install(2, |m| m.hard = Some(v1::Limits { packets: 3, ..v1::Limits::default() }));
    rig.wait(4999);
    assert_eq!(news(&mut events), []);
    rig.wait(101);
    rig.wait(1000);
    assert_eq!(news(&mut events), [event::Event::SoftExpire(v1::SoftExpire { child_sa: 1 })], "once");
    let sa = rig.installed_sa(2);
    assert_eq!([(); 3].map(|()| sa.state.count_outbound(1, 64)), [true, true, false]);
    rig.wait(100);
    assert_eq!(news(&mut events), [event::Event::HardExpire(v1::HardExpire { child_sa: 2 })]);
    rig.wait(3000);
    assert_eq!(news(&mut events), [event::Event::HardExpire(v1::HardExpire { child_sa: 1 })]);
    assert_eq!(rig.installed(), [0; 0]);
    rig.install(3, |_| ());
    rig.ends[0].notify(Notice::Spent(ChildSaId(3)));
    rig.settle();
    assert_eq!(news(&mut events), [event::Event::HardExpire(v1::HardExpire { child_sa: 3 })]);
}

#[test]
fn a_new_controller_hears_of_soft_limits_that_were_reported_to_the_old_one() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    rig.install(1, |m| m.soft = Some(v1::Limits { time_ms: 5000, ..v1::Limits::default() }));
    let expected = [event::Event::SoftExpire(v1::SoftExpire { child_sa: 1 })];
    let mut events = rig.subscribe();
    rig.wait(5100);
    assert_eq!(news(&mut events), expected);
    rig.attach();
    let mut events = rig.subscribe();
    rig.run(Operation::Claim(v1::Claim { child_sas: vec![1] }));
    rig.wait(1000);
    assert_eq!(news(&mut events), expected);
}

#[test]
fn a_parked_half_starts_by_command_or_by_itself() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    let park = |fallback_ms| move |m: &mut v1::Install| m.parked = Some(v1::Parked { fallback_ms });
    rig.install(1, park(0));
    rig.install(2, park(1000));
    let parked = |rig: &Rig| rig.core.list().child_sas.iter().filter(|s| s.outbound_parked).map(|s| s.child_sa).collect::<Vec<_>>();
    rig.wait(999);
    assert_eq!(parked(&rig), [1, 2]);
    rig.wait(101);
    assert_eq!(parked(&rig), [1]);
    rig.wait(100_000);
    assert_eq!(parked(&rig), [1], "0 waits for ever");
    assert_eq!(rig.run(Operation::Activate(v1::Activate { child_sa: 1 })), done());
    assert_eq!(parked(&rig), [0; 0]);
}

#[test]
fn a_retired_sa_lingers_inbound() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    rig.install(1, |_| ());
    assert_eq!(rig.run(Operation::Retire(v1::Retire { child_sa: 1, linger_ms: 5000 })), done());
    assert!(matches!(rig.applied.last(), Some((0, Command::RetireOutbound(_)))));
    assert!(rig.core.list().child_sas[0].retiring);
    rig.wait(4999);
    assert_eq!(rig.installed(), [1]);
    rig.wait(101);
    assert_eq!(rig.installed(), [0; 0]);
    assert!(matches!(rig.applied.last(), Some((0, Command::Remove(_)))));
}

#[test]
fn a_neighbour_is_asked_for_and_published() {
    let mut rig = Rig::new(2);
    rig.ends[0].notify(Notice::NeighborMiss { port: PortId(1), address: PEER.into() });
    rig.ends[1].notify(Notice::NeighborMiss { port: PortId(1), address: PEER.into() });
    rig.settle();
    let sent: Vec<_> = rig.applied.drain(..).collect();
    let [(_, Command::Transmit { via: Via::Port(PortId(1)), frame })] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(frame.bytes(), slow_path::arp_request(MacAddress([2, 0, 0, 0, 0, 2]), OUTSIDE, PEER));

    // Its answer, as the peer's own stack would write it: the request turned round.
    let mut reply = slow_path::arp_request(MacAddress([2, 0, 0, 0, 0, 9]), PEER, OUTSIDE);
    reply[21] = 2;
    rig.ends[1].punt(PuntClass::SlowPath, Origin::Port(PortId(1)), &reply);
    rig.settle();
    let hop = NextHop { port: PortId(1), address: PEER.into() };
    let known =
        |(_, c): &(u16, Command)| matches!(c, Command::Snapshot(s) if s.neighbors.lookup(hop) == Some(MacAddress([2, 0, 0, 0, 0, 9])));
    assert_eq!(rig.applied.iter().filter(|c| known(c)).count(), 2);
}

#[test]
fn a_sender_outside_the_subnets_is_no_neighbour() {
    let mut rig = Rig::new(1);
    for (sender, learnt) in [(Ipv4Addr::new(198, 51, 100, 1), false), (INSIDE, false), (PEER, true)] {
        let request = slow_path::arp_request(MacAddress([2, 0, 0, 0, 0, 9]), sender, OUTSIDE);
        rig.ends[0].punt(PuntClass::SlowPath, Origin::Port(PortId(1)), &request);
        rig.settle();
        let [replies, others] =
            [true, false].map(|reply| rig.applied.iter().filter(|(_, c)| matches!(c, Command::Transmit { .. }) == reply).count());
        assert_eq!((replies, others > 0), (1, learnt), "{sender}");
        rig.applied.clear();
    }
}

#[test]
fn ike_crosses_in_both_directions() {
    let mut rig = Rig::new(1);
    let datagram = v1::Datagram {
        local_address: OUTSIDE.octets().to_vec().into(),
        local_port: 4500,
        remote_address: PEER.octets().to_vec().into(),
        remote_port: 4500,
        payload: b"ike".to_vec().into(),
    };
    let mirrored =
        v1::Datagram { local_address: datagram.remote_address.clone(), remote_address: datagram.local_address.clone(), ..datagram.clone() };
    let packet = punt::to_packet(&mirrored, |_| true, 1).unwrap();
    let frame = [&[0; 12][..], &[8, 0], &packet].concat();
    rig.ends[0].punt(PuntClass::IkeInit, Origin::Port(PortId(1)), &frame);
    rig.settle();
    assert_eq!(rig.counter("ike_without_controller"), 1);

    let (sender, mut stream) = mpsc::channel(1);
    rig.core.open_punt(rig.epoch, sender).unwrap();
    for _ in 0..2 {
        rig.ends[0].punt(PuntClass::IkeSession, Origin::Port(PortId(1)), &frame);
        rig.settle();
    }
    assert_eq!(stream.try_recv().unwrap().unwrap().datagrams, std::slice::from_ref(&datagram));
    assert_eq!((rig.counter("ike_received"), rig.counter("ike_overflow")), (1, 1), "bounded, and counted");
    rig.ends[0].punt(PuntClass::IkeSession, Origin::Port(PortId(1)), &frame[..frame.len() - 1]);
    rig.settle();
    assert_eq!(rig.counter("ike_malformed"), 1);

    rig.core.send_datagrams(&[datagram.clone(), v1::Datagram { local_address: PEER.octets().to_vec().into(), ..datagram.clone() }]);
    rig.settle();
    let Some((_, Command::Transmit { via: Via::Route, frame })) = rig.applied.last() else { panic!("{:?}", rig.applied) };
    assert_eq!(punt::sort(Origin::Tunnel(ChildSaId(1)), frame.bytes()), Punted::Ike(mirrored));
    assert_eq!((rig.counter("ike_sent"), rig.counter("ike_refused")), (1, 1), "never from a foreign address");
}

#[test]
fn unknown_spis_and_life_are_reported_once_a_second() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    rig.install(1, |_| ());
    let mut events = rig.subscribe();
    let miss = |remote: Ipv4Addr| Notice::SpiMiss { spi: 0x1234, local: OUTSIDE.into(), remote: remote.into() };
    for _ in 0..5 {
        rig.ends[0].notify(miss(PEER));
        rig.wait(100);
    }
    rig.ends[0].notify(miss(Ipv4Addr::new(192, 0, 2, 3)));
    rig.settle();
    assert_eq!(news(&mut events).len(), 2, "one for each peer");
    let sa = rig.installed_sa(1);
    for _ in 0..20 {
        assert!(sa.state.count_inbound(64, rig.now_ms));
        rig.wait(100);
    }
    let life = news(&mut events);
    assert_eq!(life.len(), 2, "{life:?}");
    assert!(life.iter().all(|e| matches!(e, event::Event::LastInbound(v1::LastInbound { child_sa: 1, age_ms }) if *age_ms <= 100)));
    rig.wait(5000);
    assert_eq!(news(&mut events).len(), 1, "the last packets, and then silence");
}

#[test]
fn what_is_reported_adds_up() {
    let mut rig = Rig::new(2);
    rig.set_policies(&[1]);
    rig.install(1, |_| ());
    let stats = rig.core.stats();
    assert_eq!((stats.boot_id.as_slice(), stats.epoch), (&[7; 16][..], 1));
    assert_eq!(
        stats.ports.iter().map(|p| (p.name.as_str(), p.role.as_str())).collect::<Vec<_>>(),
        [("inside", "protected"), ("outside", "unprotected")]
    );
    assert!(stats.ports[0].link_up && stats.workers.len() == 2 && stats.policies.len() == 1);
    assert_eq!(stats.ports[0].addresses, ["10.1.0.1/24"]);
    let told = v1::PolicyStatus {
        id: 1,
        name: "policy-1".to_owned(),
        action: v1::policy::Action::Protect.into(),
        priority: 1,
        local: selector("10.1.0.0/24"),
        remote: selector("10.2.0.0/24"),
        child_sas: 1,
        ..v1::PolicyStatus::default()
    };
    assert_eq!(stats.policies, [told]);
    assert!(stats.counters.iter().all(|counter| !counter.meaning.is_empty()));
    let status = &rig.core.list().child_sas[0];
    assert_eq!((status.outbound_sequence, status.inbound_packets, status.replay_window), (1, 0, 1024));
}

#[test]
fn workers_say_how_busy_they_are_and_what_waits_for_them() {
    let mut rig = Rig::new(2);
    rig.wait(2000);
    rig.ends[1].stats().add(Tally::BusyMicroseconds, 250_000);
    rig.ends[1].stats().count(Verdict::PuntOverflow);
    rig.wait(999);
    assert_eq!(rig.core.stats().workers[1].load_permille, 0, "the second is not over");
    rig.wait(1);
    let set = rig.operation(Operation::SetPolicies(v1::SetPolicies { policies: vec![policy(1)], more: false }));
    drop(rig.submit(vec![set]));
    rig.poll();
    let workers = rig.core.stats().workers;
    let told: Vec<_> = workers.iter().map(|w| (w.index, w.core, w.load_permille, w.commands_queued, w.punt_drops)).collect();
    assert_eq!(told, [(0, 0, 0, 1, 0), (1, 1, 250, 1, 1)]);
    rig.wait(1000);
    let workers = rig.core.stats().workers;
    assert_eq!(workers.iter().map(|w| (w.load_permille, w.commands_queued)).collect::<Vec<_>>(), [(0, 0), (0, 0)]);
}

/// What is quoted was to be protected: it goes to a host behind a protected port or nowhere.
#[test]
fn an_icmp_error_goes_to_one_other_host_on_the_protected_side() {
    let mut rig = Rig::new(1);
    let refusal = command::Refusal::TooBig { mtu: 1438 };
    let refuse = |rig: &mut Rig, sender: Ipv4Addr| {
        assert!(rig.ends[0].punt(PuntClass::Refused, Origin::Refused { sender: sender.into(), refusal }, &[0x45; 100]));
        rig.settle();
        rig.applied.drain(..).find_map(|(_, command)| match command {
            Command::Transmit { via, frame } => Some((via, frame.bytes().to_vec())),
            _ => None,
        })
    };
    let host = Ipv4Addr::new(10, 1, 0, 2);
    let error = slow_path::icmp_error(refusal, &[0x45; 100], INSIDE.into(), host.into(), 1).unwrap();
    assert_eq!(refuse(&mut rig, host), Some((Via::Route, error)));
    for nobody in [PEER, INSIDE, OUTSIDE, [10, 1, 0, 255].into(), [10, 1, 0, 0].into(), [198, 51, 100, 1].into()] {
        assert_eq!(refuse(&mut rig, nobody), None, "{nobody}");
    }
    assert_eq!(["icmp_too_big", "icmp_errors_unroutable"].map(|name| rig.counter(name)), [1, 6]);
    // A sender behind the peer is told through the SPD, by the address that its receiver knows.
    let sender = IpAddr::from([10, 2, 0, 9]);
    assert!(rig.ends[0].punt(PuntClass::Refused, Origin::RefusedInside { sender, receiver: host.into(), refusal }, &[0x45; 100]));
    rig.settle();
    let told = rig.applied.drain(..).find_map(|(_, command)| match command {
        Command::Transmit { via, frame } => Some((via, frame.bytes().to_vec())),
        _ => None,
    });
    let identification = 8;
    assert_eq!(told, Some((Via::Policy, slow_path::icmp_error(refusal, &[0x45; 100], INSIDE.into(), sender, identification).unwrap())));
}
