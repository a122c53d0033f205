//! Workers on their hot path neither allocate nor free: real ones, with everything that packets and commands can make them do, watched by
//! [`crate::allocator`].

use std::env;
use std::iter;
use std::process::Command as Process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use culvert_data::command::{Command, Frame, Garbage, PortId, PuntClass, Via, WorkerId};
use culvert_data::pipeline::Inquiry;
use culvert_data::stats::Tally;
use culvert_data::table::{PortRole, Spd};
use culvert_data::verdict::Verdict;
use culvert_data::worker::{IdlePolicy, WorkerPort};
use dpdk::{Burst, Eal, Pool, PoolConfig, PortConfig, RxQueue, TxQueue};
use esp::{OutboundSa, ReplayWindow};
use ipsec_types::SequenceNumbers;
use packet::Buffer;
use packet::ethernet::{ETHERTYPE_ARP, EthernetHeader, MacAddress};

use crate::allocator;
use crate::eal::{self, Memory};
use crate::site::{self, Connection, NEIGHBOR_MAC, Site, SitePort};
use crate::workers::{Seat, Workers, wait_for};

/// Of the gateway, in the order of its ports.
const PROTECTED: usize = 0;
const UNPROTECTED: usize = 1;
/// Two workers: what one receives may be for an SA of the other.
const WORKERS: usize = 2;

/// IPv4 and IPv6, plain and in UDP, with and without ESN; the owner is one worker or the other.
fn connections() -> Vec<Connection> {
    (0..16)
        .map(|number| Connection {
            number,
            ipv6: number & 1 != 0,
            udp: number & 2 != 0,
            numbers: if number & 4 != 0 { SequenceNumbers::Extended } else { SequenceNumbers::Standard },
            window: 1024,
        })
        .collect()
}

fn owner(connection: &Connection) -> u16 {
    u16::from(connection.number / 8)
}

/// A port of the gateway from outside: what is put in arrives at one worker, and what comes out was sent by one.
struct Wire {
    mac: MacAddress,
    into: Vec<TxQueue>,
    out: Vec<RxQueue>,
}

/// The gateway, and everything around it.
struct Bed {
    workers: Workers,
    wires: [Wire; 2],
    pool: Pool,
    frames: Vec<Vec<u8>>,
    /// What the peer seals with, by connection.
    peers: Vec<OutboundSa>,
}

impl Bed {
    fn new(connections: &[Connection]) -> Self {
        let devices = ["net_ring0", "net_ring1"].map(str::to_owned);
        let eal = Arc::new(Eal::init(eal::devices(Memory::Ordinary, &devices)).unwrap());
        let pool = |name: &str, size, data_room| eal.pool(&PoolConfig { name: name.to_owned(), size, cache: 64, data_room }).unwrap();
        let (own, packets, large) = (pool("own", 4095, 2176), pool("packets", 4095, 2176), pool("large", 255, 16384));
        let mut seats: Vec<_> = (0..WORKERS).map(|_| Seat { core: None, ports: Vec::new() }).collect();
        let wires = [0, 1].map(|place| {
            // A ring port gives back on its receive queue what was sent on the transmit queue of the same number.
            let port = eal.port(&devices[place]).unwrap();
            let queues = u16::try_from(2 * WORKERS).unwrap();
            let mac = MacAddress(port.mac_address().unwrap());
            let mut queues = port.start(&PortConfig { rx_queues: queues, tx_queues: queues, ..PortConfig::default() }, &packets).unwrap();
            let (out, sent) = (queues.rx.split_off(WORKERS), queues.tx.split_off(WORKERS));
            for (seat, (rx, tx)) in seats.iter_mut().zip(queues.rx.into_iter().zip(sent)) {
                seat.ports.push(WorkerPort { rx: Some(rx), tx });
            }
            Wire { mac, into: queues.tx, out }
        });
        let roles = [PortRole::Protected, PortRole::Unprotected];
        let ports: Vec<_> = roles.into_iter().zip(&wires).map(|(role, wire)| SitePort { role, mac: wire.mac }).collect();
        let snapshot = site::snapshot(Site::Here, &ports, connections).unwrap();
        let mut workers = Workers::start(&eal, [&packets, &large], Site::Here, snapshot, seats, IdlePolicy::Adaptive).unwrap();
        for connection in connections {
            workers.install(connection, owner(connection)).unwrap();
        }
        let peers = connections.iter().map(|connection| connection.outbound(Site::There).unwrap()).collect();
        Self { workers, wires, pool: own, frames: Vec::new(), peers }
    }

    /// Each worker receives the frames on a port in turn, a burst of so many at a time. Answers what came out of both ports.
    fn exchange(&mut self, port: usize, frames: &[Vec<u8>], burst: usize) -> [Vec<Vec<u8>>; 2] {
        let before = self.received();
        for worker in 0..WORKERS {
            for frames in frames.chunks(burst) {
                let mut burst = Burst::new();
                for frame in frames {
                    let mut mbuf = self.pool.alloc().unwrap();
                    mbuf.append(frame.len()).unwrap().copy_from_slice(frame);
                    burst.push(mbuf).unwrap();
                }
                self.wires[port].into[worker].tx(&mut burst);
            }
        }
        let expected = before + (WORKERS * frames.len()) as u64;
        wait_for(|| self.received() == expected).unwrap();
        self.settle();
        let out = [PROTECTED, UNPROTECTED].map(|port| self.drain(port));
        self.frames.extend(out.iter().flatten().cloned());
        out
    }

    fn received(&self) -> u64 {
        self.workers.handles.iter().map(|handle| handle.stats().tally(Tally::Packets)).sum()
    }

    /// Waits until the workers have been through their loops, hand-off included.
    fn settle(&self) {
        let rounds = || self.workers.handles.iter().map(|handle| handle.stats().tally(Tally::Iterations)).collect::<Vec<_>>();
        let before = rounds();
        wait_for(|| rounds().iter().zip(&before).all(|(now, before)| now - before > 4)).unwrap();
    }

    fn drain(&mut self, port: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for queue in &mut self.wires[port].out {
            loop {
                let mut burst = Burst::new();
                if queue.rx(&mut burst) == 0 {
                    break;
                }
                frames.extend(burst.drain().map(|mbuf| mbuf.bytes().to_vec()));
            }
        }
        frames
    }

    fn counted(&self, verdict: Verdict, by: u64, action: &str) {
        let count = self.workers.verdict(verdict);
        assert!(count >= by, "{action}: {verdict:?} {count} times, at least {by} expected; {}", self.workers.counters());
    }

    /// As the server does: takes notices, punted packets and garbage, and gives frames back.
    fn serve(&self) -> Vec<Garbage> {
        for handle in &self.workers.handles {
            iter::from_fn(|| handle.notice()).for_each(drop);
            for class in PuntClass::ALL {
                iter::from_fn(|| handle.punted(class)).for_each(|frame| handle.recycle(frame));
            }
        }
        self.workers.garbage()
    }

    fn threads(&self) -> Vec<u32> {
        self.workers.handles.iter().map(|handle| handle.stats().thread()).collect()
    }
}

#[test]
fn workers_neither_allocate_nor_free_whatever_packets_and_commands_arrive() {
    let connections = connections();
    let mut bed = Bed::new(&connections);
    let _watch = allocator::watch(bed.threads());
    for burst in [1, 7, 32] {
        outbound(&mut bed, &connections, burst);
        inbound(&mut bed, &connections, burst);
        refused(&mut bed, &connections, burst);
        drop(bed.serve());
    }
    commands(&mut bed, &connections);
    without_sa_or_neighbor(&mut bed, &connections);
    // Ends before the workers, which then free what they have.
}

/// Packets of every tunnel and length are sealed, short and long, and cut where they are too long and may be.
fn outbound(bed: &mut Bed, connections: &[Connection], burst: usize) {
    let mac = bed.wires[PROTECTED].mac;
    let sealed = bed.workers.verdict(Verdict::Sealed);
    let mut frames = Vec::new();
    for len in [64, 70, 128, 576, 1400] {
        for connection in connections {
            frames.push(site::frame(mac, &connection.packet(Site::Here, len, len.into()).unwrap()));
        }
    }
    let [_, out] = bed.exchange(PROTECTED, &frames, burst);
    assert_eq!(out.len(), WORKERS * frames.len(), "{}", bed.workers.counters());
    bed.counted(Verdict::Sealed, sealed + out.len() as u64, "packets from hosts");
    let may_be_cut = |connection: &Connection| {
        let mut packet = connection.packet(Site::Here, 1, 1490).unwrap();
        packet[6] &= !0x40;
        resum(&mut packet);
        site::frame(mac, &packet)
    };
    let long: Vec<_> = connections.iter().filter(|connection| !connection.ipv6).map(may_be_cut).collect();
    let [_, out] = bed.exchange(PROTECTED, &long, burst);
    assert_eq!(out.len(), 2 * WORKERS * long.len(), "{}", bed.workers.counters());
}

/// Packets of every tunnel are opened, those too that arrive at a worker that does not own their SA. Late ones, and none twice.
fn inbound(bed: &mut Bed, connections: &[Connection], burst: usize) {
    let mac = bed.wires[UNPROTECTED].mac;
    let (opened, handed) = (bed.workers.verdict(Verdict::Opened), handed_off(bed));
    let mut frames = Vec::new();
    for len in [64, 576, 1400] {
        for (connection, sa) in connections.iter().zip(&bed.peers) {
            let packet = connection.packet(Site::There, len, len.into()).unwrap();
            frames.push(site::frame(mac, &connection.sealed(Site::There, sa, &packet).unwrap()));
        }
    }
    frames.reverse();
    let [out, _] = bed.exchange(UNPROTECTED, &frames, burst);
    // Both workers were given all of them: each is accepted once.
    assert_eq!(out.len(), frames.len(), "{}", bed.workers.counters());
    bed.counted(Verdict::Opened, opened + frames.len() as u64, "packets from the peer");
    bed.counted(Verdict::Replay, frames.len() as u64, "packets from the peer, once more");
    assert!(handed_off(bed) >= handed + frames.len() as u64);
}

/// The checksum of a changed IPv4 header.
fn resum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let checksum = packet::checksum::internet(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

fn handed_off(bed: &Bed) -> u64 {
    bed.workers.handles.iter().map(|handle| handle.stats().tally(Tally::HandedOff)).sum()
}

/// What is dropped, counted, reported and punted.
fn refused(bed: &mut Bed, connections: &[Connection], burst: usize) {
    let (inside, outside) = (bed.wires[PROTECTED].mac, bed.wires[UNPROTECTED].mac);
    let connection = &connections[0];
    let good = connection.packet(Site::Here, 1, 100).unwrap();
    let changed = |packet: &[u8], at: usize, to: u8| {
        let mut packet = packet.to_vec();
        packet[at] = to;
        resum(&mut packet);
        packet
    };
    let broadcast = MacAddress([0xff; 6]);
    let arp = EthernetHeader { destination: broadcast, source: NEIGHBOR_MAC, ethertype: ETHERTYPE_ARP }.to_octets();
    let too_long = connection.packet(Site::Here, 1, 1500).unwrap();
    let from_hosts = [
        site::frame(inside, &changed(&good, 8, 1)),
        site::frame(inside, &changed(&good, 16, 99)),
        site::frame(inside, &changed(&good, 0, 0x44)),
        site::frame(inside, &changed(&good, 19, 255)),
        site::frame(NEIGHBOR_MAC, &good),
        site::frame(inside, &too_long),
        site::frame(inside, &[0x45; 30]),
        [&arp[..], &[0; 46]].concat(),
        vec![1, 2, 3],
    ];
    bed.exchange(PROTECTED, &from_hosts, burst);
    let packet = connection.packet(Site::There, 1, 200).unwrap();
    let sealed = connection.sealed(Site::There, &bed.peers[0], &packet).unwrap();
    let from_peer = [
        site::frame(outside, &changed(&sealed, sealed.len() - 1, sealed[sealed.len() - 1] ^ 1)),
        site::frame(outside, &changed(&sealed, 21, 0xff)),
        site::frame(outside, &changed(&sealed, 3, 30)),
        site::frame(outside, &packet),
        site::frame(outside, &connections[2].sealed(Site::There, &bed.peers[2], &packet).unwrap()),
    ];
    bed.exchange(UNPROTECTED, &from_peer, burst);
    for verdict in [Verdict::TtlExceeded, Verdict::NoPolicy, Verdict::FragmentationNeeded, Verdict::MalformedFrame, Verdict::NotForUs] {
        bed.counted(verdict, 1, "what hosts must not send");
    }
    for verdict in [Verdict::Integrity, Verdict::SpiUnknown, Verdict::CleartextProtected, Verdict::SelectorMismatch] {
        bed.counted(verdict, 1, "what a peer must not send");
    }
}

/// Every command, while packets flow. Boxes move, nothing is made or freed: that is the server's.
fn commands(bed: &mut Bed, connections: &[Connection]) {
    let connection = &connections[4];
    let packet = connection.packet(Site::Here, 1, 100).unwrap();
    let into_tunnel = site::frame(bed.wires[PROTECTED].mac, &packet);
    let from_peer = |bed: &Bed| {
        let packet = connection.packet(Site::There, 1, 100).unwrap();
        site::frame(bed.wires[UNPROTECTED].mac, &connection.sealed(Site::There, &bed.peers[4], &packet).unwrap())
    };
    let slot = connection.slot().unwrap();
    for worker in 0..WORKERS {
        let tell = |bed: &mut Bed, command: Command| {
            bed.workers.tell(worker, command).unwrap();
            bed.exchange(PROTECTED, std::slice::from_ref(&into_tunnel), 1);
        };
        tell(bed, Command::Retarget { slot, tunnel: connection.tunnel(Site::Here).unwrap() });
        tell(bed, Command::PathMtu { slot, mtu: Some(1400) });
        tell(bed, Command::PathMtu { slot, mtu: None });
        tell(bed, Command::Transmit { via: Via::Policy, frame: Frame::outgoing(packet.clone()) });
        tell(bed, Command::Transmit { via: Via::Port(PortId(0)), frame: Frame::outgoing(into_tunnel.clone()) });
        let sealed = from_peer(bed);
        tell(bed, Command::Receive { port: PortId(1), frame: Frame::outgoing(sealed) });
        tell(bed, Command::SendDummies { slot, random: [1, 200, 65_535].into_iter().collect() });
        let inquiry = Inquiry { id: 1, port: PortId(0), frame: into_tunnel.clone(), len: None, explanation: None };
        tell(bed, Command::Explain(Box::new(inquiry)));
        let snapshot = snapshot(bed, connections);
        tell(bed, Command::Snapshot(Arc::new(snapshot)));
        let kinds: Vec<_> = bed.serve().iter().map(std::mem::discriminant).collect();
        assert!(kinds.len() >= 5, "frames, an inquiry and a snapshot come back: {kinds:?}");
    }
    // A rekey: a new SA beside the old one, which is taken out and comes back.
    let newer = Connection { number: 200, ..*connection };
    let mut sa = newer.installed(Site::Here, WorkerId(owner(connection))).unwrap();
    sa.policy = connection.policy_slot();
    let (sa, tunnel) = (Arc::new(sa), newer.tunnel(Site::Here).unwrap());
    for worker in [usize::from(owner(connection)), 1 - usize::from(owner(connection))] {
        let window = (worker == usize::from(owner(connection))).then(|| ReplayWindow::new(sa.inbound.window_size()));
        bed.workers.tell(worker, Command::Install { sa: Arc::clone(&sa), tunnel, window }).unwrap();
        bed.exchange(PROTECTED, std::slice::from_ref(&into_tunnel), 1);
        bed.workers.tell(worker, Command::RetireOutbound(slot)).unwrap();
        bed.exchange(PROTECTED, std::slice::from_ref(&into_tunnel), 1);
        bed.workers.tell(worker, Command::Remove(slot)).unwrap();
        bed.exchange(PROTECTED, std::slice::from_ref(&into_tunnel), 1);
        // A slot that is taken: the SA comes back at once.
        bed.workers.tell(worker, Command::Install { sa: Arc::clone(&sa), tunnel, window: None }).unwrap();
    }
    // Here the last reference goes: on a worker it would have freed.
    drop(sa);
    let removed = bed.serve().iter().filter(|garbage| matches!(garbage, Garbage::Sa { .. })).count();
    assert_eq!(removed, 2 * WORKERS);
}

fn snapshot(bed: &Bed, connections: &[Connection]) -> culvert_data::table::Snapshot {
    let roles = [PortRole::Protected, PortRole::Unprotected];
    let ports: Vec<_> = roles.into_iter().zip(&bed.wires).map(|(role, wire)| SitePort { role, mac: wire.mac }).collect();
    site::snapshot(Site::Here, &ports, connections).unwrap()
}

/// Packets wait for an SA and for their neighbour, are released, refused, and given up.
fn without_sa_or_neighbor(bed: &mut Bed, connections: &[Connection]) {
    let connection = &connections[8];
    let frames: Vec<_> =
        (0..40).map(|flow| site::frame(bed.wires[PROTECTED].mac, &connection.packet(Site::Here, flow, 100).unwrap())).collect();
    let slot = connection.slot().unwrap();
    for worker in 0..WORKERS {
        bed.workers.tell(worker, Command::Remove(slot)).unwrap();
    }
    bed.exchange(PROTECTED, &frames, 32);
    assert!(bed.workers.handles.iter().all(|handle| handle.stats().tally(Tally::AcquireQueued) > 0));
    // One worker gets its SA, the other a refusal; whatever comes after that is refused at once.
    let sa = Arc::new(connection.installed(Site::Here, WorkerId(1)).unwrap());
    let (tunnel, window) = (connection.tunnel(Site::Here).unwrap(), Some(ReplayWindow::new(sa.inbound.window_size())));
    bed.workers.tell(1, Command::Install { sa, tunnel, window }).unwrap();
    bed.workers.tell(0, Command::RefuseAcquire { policy: connection.policy_slot(), retry_after: Duration::from_secs(9) }).unwrap();
    bed.exchange(PROTECTED, &frames, 32);
    bed.counted(Verdict::AcquireRefused, 1, "packets without an SA");
    // Nobody knows where the peer is any more.
    let mut blind = snapshot(bed, connections);
    blind.neighbors = Arc::default();
    for worker in 0..WORKERS {
        bed.workers.tell(worker, Command::Snapshot(Arc::new(blind.clone()))).unwrap();
    }
    let others = |bed: &Bed| {
        connections[1..4].iter().map(|c| site::frame(bed.wires[PROTECTED].mac, &c.packet(Site::Here, 1, 100).unwrap())).collect::<Vec<_>>()
    };
    let frames = others(bed);
    bed.exchange(PROTECTED, &frames, 32);
    assert!(bed.workers.handles.iter().all(|handle| handle.stats().tally(Tally::NeighborQueued) > 0));
    let seeing = Arc::new(snapshot(bed, connections));
    bed.workers.tell(0, Command::Snapshot(Arc::clone(&seeing))).unwrap();
    // The other worker's packets are given up after a while. Then the policies change under it.
    wait_for(|| bed.workers.verdict(Verdict::NeighborTimeout) > 0).unwrap();
    let mut open = (*seeing).clone();
    open.spd = Some(Arc::new(Spd::default()));
    bed.workers.tell(1, Command::Snapshot(Arc::new(open))).unwrap();
    bed.settle();
    drop(bed.serve());
    drop(seeing);
}

/// In a process of its own, which it ends.
#[test]
#[ignore = "started by the test below"]
fn a_watched_thread_allocates() {
    let thread = thread::spawn(|| {
        let own = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        let watch = allocator::watch([own]);
        let memory = std::hint::black_box(vec![1_u8; 777]);
        drop(watch);
        drop(memory);
    });
    thread.join().unwrap();
}

#[test]
fn an_allocation_on_a_watched_thread_ends_the_process_and_says_where() {
    let own = env::current_exe().unwrap();
    let output = Process::new(own).args(["--exact", "hot_path::a_watched_thread_allocates", "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("is on the hot path and allocates 777 octets") && text.contains("hot_path"), "{text}");
}
