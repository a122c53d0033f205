//! What the tests stand on: a gateway in a network of its own, its hosts and its peer, and a controller.
//!
//! ```text
//!   host 10.1.0.10 ---- lan 10.1.0.1  gateway  192.0.2.1 wan ---- peer 192.0.2.2 (10.0.0.0/8 behind it)
//! ```

mod child_sa;
mod controller;
mod guardian;
mod namespace;
mod process;
mod scapy;
mod wire;

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::policy::Action;
use tempfile::TempDir;

pub(crate) use child_sa::{ChildSa, Suite, WINDOW};
pub(crate) use controller::{Controller, Counters};
pub(crate) use guardian::Guardian;
use namespace::Network;
pub(crate) use process::Process;
use process::in_namespace;
pub(crate) use scapy::{Scapy, hex, unhex};
pub(crate) use wire::{Frame, Side, Wire};

/// How long anything may take before a test fails: far more than it needs, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const HOST: &str = "10.1.0.10";
pub(crate) const HOST_MAC: &str = "02:00:00:00:01:10";
pub(crate) const GATEWAY_LAN: &str = "10.1.0.1";
pub(crate) const GATEWAY_WAN: &str = "192.0.2.1";
pub(crate) const PEER: &str = "192.0.2.2";
pub(crate) const PEER_MAC: &str = "02:00:00:00:02:02";

/// The same in IPv6, with [`Options::ipv6`]; host and peer are the kernel's there.
pub(crate) const GATEWAY_LAN6: &str = "fd00:1::1";
pub(crate) const HOST6: &str = "fd00:1::10";
pub(crate) const GATEWAY_WAN6: &str = "2001:db8::1";
pub(crate) const PEER6: &str = "2001:db8::2";

/// The policies of [`Gateway::set_policies`], and a host behind the peer under each.
pub(crate) const PROTECTED: &str = "10.2.0.10";
pub(crate) const PROTECTED6: &str = "fd00:2::10";
pub(crate) const DISCARDED: &str = "10.3.0.10";
pub(crate) const BYPASSED: &str = "10.4.0.10";
pub(crate) const UNKNOWN: &str = "10.5.0.10";
pub(crate) const PROTECT: u32 = 1;

/// How a gateway is started.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The cores of its workers.
    pub(crate) workers: Vec<usize>,
    /// Where packets live: EAL arguments.
    pub(crate) memory: &'static [&'static str],
    /// DPDK's driver.
    pub(crate) driver: Driver,
    /// Whether the ports have IPv6 addresses, too, and the kernel outside is a host on both cables.
    pub(crate) ipv6: bool,
    /// Of both cables, at both ends.
    pub(crate) mtu: u16,
}

/// How the daemon reaches its two cables.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Driver {
    /// net_af_packet: the kernel puts IPv4 fragments together before the daemon sees them.
    AfPacket,
    /// net_pcap: it does not. One queue.
    Pcap,
}

impl Driver {
    const fn name(self) -> &'static str {
        match self {
            Self::AfPacket => "net_af_packet",
            Self::Pcap => "net_pcap",
        }
    }

    fn device(self, place: usize, interface: &str, queues: usize) -> String {
        let name = self.name();
        match self {
            Self::AfPacket => format!("{name}{place},iface={interface},qpairs={queues}"),
            Self::Pcap => format!("{name}{place},rx_iface_in={interface},tx_iface={interface}"),
        }
    }
}

impl Default for Options {
    /// One worker, without huge pages.
    fn default() -> Self {
        Self { workers: vec![0], memory: &["--no-huge", "-m", "256"], driver: Driver::AfPacket, ipv6: false, mtu: 1500 }
    }
}

/// A running daemon with everything around it.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) controller: Controller,
    pub(crate) attached: v1::AttachResponse,
    pub(crate) wire: Wire,
    pub(crate) scapy: Scapy,
    pub(crate) lan_mac: String,
    pub(crate) wan_mac: String,
    pub(crate) process: Process,
    pub(crate) folder: TempDir,
    network: Network,
}

impl Gateway {
    /// A gateway with one worker; host and peer answer ARP. It has no policies yet.
    pub(crate) fn start() -> Self {
        Self::start_with(&Options::default())
    }

    pub(crate) fn start_with(options: &Options) -> Self {
        let folder = tempfile::Builder::new().prefix("culvert-data-").tempdir().unwrap();
        let network = Network::new(folder.path(), options.ipv6, options.mtu);
        let device = |place, interface| options.driver.device(place, interface, options.workers.len());
        let (lan, wan) = (device(0, "lan"), device(1, "wan"));
        let common = ["--no-shconf", "--no-pci", "--no-telemetry", "--vdev", &lan, "--vdev", &wan];
        let eal: Vec<&str> = options.memory.iter().copied().chain(common).collect();
        // scapy takes its time to load: it does so while the daemon starts.
        let scapy = Scapy::new();
        let mut wire = Wire::new(&network.outside);
        let process = Process::start(&network.gateway, folder.path(), &config(&folder, options), &eal);
        let (mut controller, attached) = Controller::attach(&folder.path().join("data.sock"));
        let ports = controller.stats().ports;
        wire.add_host(Side::Lan, HOST.parse().unwrap(), HOST_MAC);
        wire.add_host(Side::Wan, PEER.parse().unwrap(), PEER_MAC);
        let (lan_mac, wan_mac) = (ports[0].mac.clone(), ports[1].mac.clone());
        Self { controller, attached, wire, scapy, lan_mac, wan_mac, process, folder, network }
    }

    /// Lets both cables carry longer frames than the gateway sends.
    pub(crate) fn widen_cables(&self, mtu: u16) {
        self.network.widen(mtu);
    }

    /// Sets policies for the gateway's subnet, as seen from there: protect 10.2.0.0/16, discard 10.3.0.0/24, bypass 10.4.0.0/24.
    pub(crate) fn set_policies(&mut self) {
        self.controller.set_policies(vec![
            policy(PROTECT, Action::Protect, selector("10.2.0.0", "10.2.255.255")),
            policy(2, Action::Discard, selector("10.3.0.0", "10.3.0.255")),
            policy(3, Action::Bypass, selector("10.4.0.0", "10.4.0.255")),
        ]);
    }

    pub(crate) fn counters(&mut self) -> Counters {
        self.controller.counters()
    }

    pub(crate) fn expect_counters(&mut self, before: &Counters, rises: &[(&str, u64)]) {
        self.controller.expect_counters(before, rises);
    }

    /// Sends an IPv4 or IPv6 packet to the gateway.
    pub(crate) fn send_packet(&mut self, side: Side, packet: &[u8]) {
        let (source, destination) = match side {
            Side::Lan => (HOST_MAC, &self.lan_mac),
            Side::Wan => (PEER_MAC, &self.wan_mac),
        };
        let ethertype: &[u8] = if packet.first().is_some_and(|first| first >> 4 == 6) { &[0x86, 0xdd] } else { &[0x08, 0x00] };
        let frame = [&mac(destination)[..], &mac(source), ethertype, packet].concat();
        self.wire.send(side, &frame);
    }

    /// What a command says on a host outside. Panics where it fails.
    pub(crate) fn outside(&self, command: &str) -> String {
        let output = in_namespace(&self.network.outside).args(["sh", "-c", command]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Has scapy build a packet or frame, and sends it.
    pub(crate) fn send_built(&mut self, side: Side, packet: &str) -> Vec<u8> {
        let packet = self.scapy.build(packet);
        self.send_packet(side, &packet);
        packet
    }
}

/// An UDP packet from the host to `destination`, told apart by its text.
pub(crate) fn outbound(destination: &str, text: &str) -> String {
    inner(HOST, destination, 64, text)
}

/// An UDP packet, told apart by its text.
pub(crate) fn inner(source: &str, destination: &str, ttl: u8, text: &str) -> String {
    format!("IP(src='{source}', dst='{destination}', ttl={ttl}, tos=0xb8, id=7)/UDP(sport=1000, dport=2000)/b'{text}'")
}

pub(crate) fn policy(id: u32, action: Action, remote: v1::TrafficSelector) -> v1::Policy {
    v1::Policy {
        id,
        name: format!("policy {id}"),
        priority: id,
        action: action.into(),
        local: vec![selector("10.1.0.0", "10.1.0.255")],
        remote: vec![remote],
        dscp: Vec::new(),
    }
}

/// Every protocol and port of a range of addresses.
pub(crate) fn selector(first: &str, last: &str) -> v1::TrafficSelector {
    v1::TrafficSelector { first_address: address(first), last_address: address(last), protocol: 0, first_port: 0, last_port: 65_535 }
}

/// The octets of an address.
pub(crate) fn address(text: &str) -> Vec<u8> {
    culvert_proto::convert::address_octets(text.parse().unwrap())
}

/// Asks again and again until there is an answer.
pub(crate) fn within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn mac(text: &str) -> Vec<u8> {
    text.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect()
}

/// The path of one of our Python programs.
fn python(name: &str) -> String {
    format!("{}/tests/python/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn config(folder: &TempDir, options: &Options) -> String {
    let Options { workers, driver, ipv6, mtu, .. } = options;
    let mut text = format!("socket = '{}/data.sock'\nworkers = {workers:?}\nidle = 'adaptive'\n", folder.path().display());
    for (place, role, gateway, gateway6) in [(0, "protected", GATEWAY_LAN, GATEWAY_LAN6), (1, "unprotected", GATEWAY_WAN, GATEWAY_WAN6)] {
        let more = if *ipv6 { format!(", '{gateway6}/64'") } else { String::new() };
        write!(text, "[[port]]\nname = '{}{place}'\nrole = '{role}'\naddresses = ['{gateway}/24'{more}]\nmtu = {mtu}\n", driver.name())
            .unwrap();
    }
    write!(text, "[[route]]\nprefix = '10.0.0.0/8'\nvia = '{PEER}'\n").unwrap();
    if *ipv6 {
        write!(text, "[[route]]\nprefix = 'fd00::/8'\nvia = '{PEER6}'\n").unwrap();
    }
    text
}
