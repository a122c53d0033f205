//! The stages on packets in vectors: two gateways whose unprotected ports are joined by the test.

mod clear;
mod cut;
mod explain;
mod flow_cache;
mod inbound;
mod ipv6;
mod mss;
mod outbound;
mod refuse;
mod stages;
mod tfc;
mod transport;
mod waiting;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use esp::{DontFragment, Ends, InboundSa, Layout, OutboundSa, ReplayWindow, SaKey, Selectors, Tunnel, UdpPorts, WindowSize};
use ipsec_types::{
    ChildSaId, Dscp, DscpSet, EncryptionAlgorithm, IntegrityAlgorithm, Mode, Policy, PolicyAction, PolicyId, Protection, SaKeys, Secret,
    SequenceNumbers, Spi, Tfc, TrafficSelector,
};
use packet::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, HEADER_LEN, MacAddress};
use packet::ipv4::{Ipv4, Ipv4Header};
use packet::{Buffer, VecBuffer};

use super::*;
use crate::command::{InstalledSa, PuntClass, QueueSizes, Quota, SaState, WorkerHandle, channel};
use crate::table::{Neighbors, NextHop, PolicySlot, PortInfo, PortRole, Ports, Route, Routes, SaSlot, Spd};

const PROTECTED: PortId = PortId(0);
const UNPROTECTED: PortId = PortId(1);
const HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x10]);
const PEER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x20]);
const PORT_MACS: [MacAddress; 2] = [MacAddress([2, 0, 0, 0, 0, 1]), MacAddress([2, 0, 0, 0, 0, 2])];

/// What has left.
#[derive(Debug, Default)]
struct Wire {
    sent: Vec<(PortId, Vec<u8>)>,
    handed: Vec<(WorkerId, VecBuffer)>,
    /// Packets that there is memory for; `None`: any number.
    room: Option<usize>,
}

impl Io<VecBuffer> for Wire {
    fn allocate(&mut self, len: usize) -> Option<VecBuffer> {
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(1)?;
        }
        Some(VecBuffer::new(&[], 128, len + 128))
    }

    fn transmit(&mut self, stats: &WorkerStats, port: PortId, frame: VecBuffer, verdict: Verdict) {
        stats.count(verdict);
        self.sent.push((port, frame.bytes().to_vec()));
    }

    fn hand_off(&mut self, stats: &WorkerStats, worker: WorkerId, packet: VecBuffer) {
        stats.add(Tally::HandedOff, 1);
        self.handed.push((worker, packet));
    }
}

/// A gateway of one worker: site `n` has hosts 10.n.0.0/24 and the outer address 192.0.2.n.
struct Gateway {
    site: u8,
    pipeline: Pipeline<VecBuffer>,
    handle: WorkerHandle,
    snapshot: Snapshot,
    wire: Wire,
    now_ms: u64,
}

impl Gateway {
    fn new(site: u8) -> Self {
        Self::worker(site, WorkerId(0), Limits { sad_slots: 64, policy_slots: 8, ..Limits::default() })
    }

    fn worker(site: u8, id: WorkerId, limits: Limits) -> Self {
        let (handle, end) = channel(id, QueueSizes { commands: 16, notices: 16, punts: 4, ..QueueSizes::default() }, limits.policy_slots);
        let snapshot = snapshot(site);
        let pipeline = Pipeline::new(end, Arc::new(snapshot.clone()), &limits);
        Self { site, pipeline, handle, snapshot, wire: Wire::default(), now_ms: 1 }
    }

    /// A gateway whose one policy protects traffic to the other sites.
    fn protecting(site: u8) -> Self {
        let mut gateway = Self::new(site);
        gateway.set_policies([policy(1, PolicyAction::Protect, site, &format!("10.{site}.0.0/24"), "10.0.0.0/8")]);
        gateway
    }

    fn set_policies(&mut self, policies: impl IntoIterator<Item = Policy>) {
        let slotted = policies.into_iter().map(|policy| (PolicySlot(policy.id.0), policy));
        self.snapshot.spd = Some(Arc::new(Spd::new(slotted)));
        self.publish();
        self.command(Command::PoliciesChanged((0..8).map(PolicySlot).collect()));
    }

    fn publish(&mut self) {
        self.command(Command::Snapshot(Arc::new(self.snapshot.clone())));
    }

    fn command(&mut self, command: Command) {
        let ticket = self.handle.send(command).unwrap();
        assert_eq!(self.pipeline.turn(self.now_ms, &mut self.wire), (Next::Continue, true));
        assert!(self.handle.is_applied(ticket));
    }

    fn later(&mut self, by_ms: u64) {
        self.now_ms += by_ms;
        assert_eq!(self.pipeline.turn(self.now_ms, &mut self.wire), (Next::Continue, false));
    }

    /// Frames arrive; answers what leaves.
    fn receive<'a>(&mut self, port: PortId, frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<(PortId, Vec<u8>)> {
        let mut burst = Burst::new();
        for frame in frames {
            burst.push(VecBuffer::from_packet(frame)).unwrap();
        }
        self.pipeline.forward(port, &mut burst, &mut self.wire);
        assert!(burst.is_empty());
        self.sent()
    }

    /// A frame arrives and ends in this verdict; answers what leaves.
    fn expect(&mut self, verdict: Verdict, port: PortId, frame: &[u8]) -> Vec<(PortId, Vec<u8>)> {
        let before = self.count(verdict);
        let total = self.total();
        let sent = self.receive(port, [frame]);
        assert_eq!(self.count(verdict), before + 1, "{verdict:?}: {:?}", self.counts());
        assert_eq!(self.total(), total + 1, "{:?}", self.counts());
        sent
    }

    fn sent(&mut self) -> Vec<(PortId, Vec<u8>)> {
        std::mem::take(&mut self.wire.sent)
    }

    fn count(&self, verdict: Verdict) -> u64 {
        self.handle.stats().verdict(verdict)
    }

    fn total(&self) -> u64 {
        Verdict::ALL.iter().map(|verdict| self.count(*verdict)).sum()
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        Verdict::ALL.iter().map(|verdict| (verdict.name(), self.count(*verdict))).filter(|(_, n)| *n > 0).collect()
    }

    fn notices(&self) -> Vec<Notice> {
        std::iter::from_fn(|| self.handle.notice()).collect()
    }

    fn install(&mut self, pair: &Pair) -> Arc<InstalledSa> {
        let sa = Arc::new(pair.installed(self.site));
        let window = (sa.owner == self.handle.id()).then(|| ReplayWindow::new(sa.inbound.window_size()));
        self.command(Command::Install { sa: Arc::clone(&sa), tunnel: pair.tunnel(self.site), window });
        sa
    }
}

fn snapshot(site: u8) -> Snapshot {
    let port = |role, mac, address: [u8; 4]| PortInfo { role, mac, mtu: 1500, addresses: vec![address.into()] };
    let route = |destination: [u8; 4], prefix, gateway: Option<[u8; 4]>, port| Route {
        destination: destination.into(),
        prefix,
        gateway: gateway.map(IpAddr::from),
        port,
    };
    let other = 3 - site;
    Snapshot {
        spd: None,
        ports: Arc::new(Ports::new(vec![
            port(PortRole::Protected, PORT_MACS[0], [10, site, 0, 1]),
            port(PortRole::Unprotected, PORT_MACS[1], [192, 0, 2, site]),
        ])),
        routes: Arc::new(Routes::new(vec![
            route([10, site, 0, 0], 24, None, PROTECTED),
            route([192, 0, 2, 0], 24, None, UNPROTECTED),
            route([0, 0, 0, 0], 0, Some([192, 0, 2, other]), UNPROTECTED),
        ])),
        neighbors: Arc::new(Neighbors::new([
            (NextHop { port: PROTECTED, address: [10, site, 0, 2].into() }, HOST_MAC),
            (NextHop { port: UNPROTECTED, address: [192, 0, 2, other].into() }, PEER_MAC),
        ])),
    }
}

fn policy(id: u32, action: PolicyAction, priority: u8, local: &str, remote: &str) -> Policy {
    let selectors = |text: &str| vec![text.parse::<TrafficSelector>().unwrap()];
    let (local, remote) = (selectors(local), selectors(remote));
    Policy { id: PolicyId(id), name: format!("policy {id}"), priority: priority.into(), action, local, remote, dscp: DscpSet::ALL }
}

/// The two SAs between site 1 and site 2, as both ends have them.
#[derive(Clone)]
struct Pair {
    /// AH has none.
    algorithm: Option<EncryptionAlgorithm>,
    integrity: Option<IntegrityAlgorithm>,
    mode: Mode,
    tfc: Tfc,
    numbers: SequenceNumbers,
    udp: bool,
    active: bool,
    owner: WorkerId,
    slot: u32,
    policy: PolicySlot,
    window: u32,
    remote: &'static str,
    quota: Quota,
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            algorithm: Some(EncryptionAlgorithm::AesGcm128),
            integrity: None,
            mode: Mode::Tunnel,
            tfc: Tfc::default(),
            numbers: SequenceNumbers::Extended,
            udp: false,
            active: true,
            owner: WorkerId(0),
            slot: 5,
            policy: PolicySlot(1),
            window: 64,
            remote: "10.0.0.0/8",
            quota: Quota::UNLIMITED,
        }
    }
}

impl Pair {
    /// The SPI of packets towards a site.
    fn spi(&self, site: u8) -> Spi {
        SaSlot::new(self.slot).unwrap().spi(u16::from(site) + 7).unwrap()
    }

    /// Towards a site.
    fn key(&self, site: u8) -> SaKey {
        let key = |len: usize| Secret::new((0..len).map(|n| u8::try_from(n).unwrap() ^ (site << 6)).collect());
        let encryption = key(self.algorithm.map_or(0, EncryptionAlgorithm::keymat_len));
        let integrity = self.integrity.map(|integrity| key(integrity.key_len()));
        SaKey::new(self.protection(), &SaKeys { encryption, integrity }).unwrap()
    }

    fn layout(&self) -> Layout {
        Layout::new(self.protection())
    }

    fn protection(&self) -> Protection {
        match (self.algorithm, self.integrity) {
            (Some(encryption), integrity) => Protection::Esp { encryption, integrity },
            (None, Some(integrity)) => Protection::Ah { integrity },
            (None, None) => panic!("an SA that protects nothing"),
        }
    }

    fn tunnel(&self, from: u8) -> Tunnel {
        Tunnel {
            ends: Ends::V4 { source: [192, 0, 2, from].into(), destination: [192, 0, 2, 3 - from].into() },
            udp: self.udp.then_some(UdpPorts { source: 4500, destination: 4500 }),
            dont_fragment: DontFragment::Copy,
            copy_dscp: true,
        }
    }

    fn outbound(&self, from: u8) -> OutboundSa {
        OutboundSa::new(self.spi(3 - from), self.key(3 - from), self.numbers).in_mode(self.mode)
    }

    fn installed(&self, site: u8) -> InstalledSa {
        let selector = |text: &str| vec![text.parse().unwrap()];
        let (ours, theirs) = match self.mode {
            Mode::Tunnel => (format!("10.{site}.0.0/24"), self.remote.to_owned()),
            Mode::Transport => (format!("192.0.2.{site}"), format!("192.0.2.{}", 3 - site)),
        };
        InstalledSa {
            id: ChildSaId(u64::from(self.slot) + 100),
            slot: SaSlot::new(self.slot).unwrap(),
            policy: self.policy,
            owner: self.owner,
            inbound: InboundSa::new(
                self.spi(site),
                self.key(site),
                self.numbers,
                WindowSize::new(self.window).unwrap(),
                Selectors::new(selector(&theirs), selector(&ours)),
            )
            .in_mode(self.mode),
            outbound: self.outbound(site),
            outbound_selectors: Selectors::new(selector(&ours), selector(&theirs)),
            tfc: self.tfc,
            state: SaState::new(self.active, self.quota),
        }
    }
}

/// A UDP packet without meaning, from an address to another, of `len` octets in all.
fn ip_packet(source: [u8; 4], destination: [u8; 4], len: usize) -> Vec<u8> {
    ip_packet_with(&Ipv4Header { source: source.into(), destination: destination.into(), ..HEADER }, len)
}

const HEADER: Ipv4Header = Ipv4Header {
    traffic_class: 0,
    identification: 7,
    dont_fragment: false,
    ttl: 64,
    protocol: 17,
    source: Ipv4Addr::UNSPECIFIED,
    destination: Ipv4Addr::UNSPECIFIED,
};

fn ip_packet_with(header: &Ipv4Header, len: usize) -> Vec<u8> {
    let mut packet = header.to_octets(len - 20).unwrap().to_vec();
    packet.extend((20..len).map(|n| u8::try_from(n % 251).unwrap()));
    packet
}

fn resum(packet: &mut [u8]) {
    packet[10..12].copy_from_slice(&[0, 0]);
    let checksum = packet::checksum::internet(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// In a frame to the gateway's port.
fn frame(port: PortId, packet: &[u8]) -> Vec<u8> {
    let (destination, source) = (PORT_MACS[usize::from(port.0)], if port == PROTECTED { HOST_MAC } else { PEER_MAC });
    [&EthernetHeader { destination, source, ethertype: ethertype(packet) }.to_octets()[..], packet].concat()
}

/// The packet in a frame that left, given its header is as it should be.
fn packet_of(sent: &(PortId, Vec<u8>)) -> &[u8] {
    let header = EthernetHeader::parse(&sent.1).unwrap();
    let neighbor = if sent.0 == PROTECTED { HOST_MAC } else { PEER_MAC };
    let packet = &sent.1[HEADER_LEN..];
    assert_eq!((header.destination, header.source, header.ethertype), (neighbor, PORT_MACS[usize::from(sent.0.0)], ethertype(packet)));
    packet
}

fn ethertype(packet: &[u8]) -> u16 {
    if packet.first().is_some_and(|first| first >> 4 == 6) { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 }
}

const A: [u8; 4] = [10, 1, 0, 2];
const B: [u8; 4] = [10, 2, 0, 2];

/// What site 1 puts on the wire for a packet from host A to host B.
fn sealed_by(pair: &Pair, outbound: &OutboundSa, inner: &[u8]) -> Vec<u8> {
    sealed_in(&pair.tunnel(1), outbound, inner)
}

/// The same through another tunnel.
fn sealed_in(tunnel: &Tunnel, outbound: &OutboundSa, inner: &[u8]) -> Vec<u8> {
    let mut buffer = VecBuffer::from_packet(inner);
    let template = esp::Template::new(outbound, tunnel);
    let plan = esp::seal::parse_and_prepare(outbound.take_one().unwrap(), &template, &mut buffer).unwrap();
    esp_crypto::seal_burst(&mut [plan.job(&mut buffer).unwrap()]);
    esp::seal::finish(&template, &mut buffer).unwrap();
    frame(UNPROTECTED, buffer.bytes())
}

fn hard_limit(packets: Option<u64>, octets: Option<u64>) -> Quota {
    Quota::from(&ipsec_types::Limits { time: None, octets, packets })
}

fn refuse(policy: u32, retry_after: u64) -> Command {
    Command::RefuseAcquire { policy: PolicySlot(policy), retry_after: Duration::from_millis(retry_after) }
}
