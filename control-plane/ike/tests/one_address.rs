//! Several peers behind one NAT: one address, a port for each (RFC 7296 section 2.23, RFC 3948 section 5). And who gets what two of them ask for.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::Endpoint;
use ike::config::{Config, StartAction, Unique};
use ike::error::Failure;
use ike::io::{Command, Datagram, Dataplane, Event, Input, Output, RequestId, Target};
use ike_wire::NotifyType;
use ipsec_types::{ChildSa, ChildSaId, Instant, Mode, Spi};
use pair::Side::{A, B};
use pair::{Numbers, config};

const GATEWAY: &str = "192.0.2.2";
const OUTSIDE: &str = "192.0.2.254";

struct Node {
    endpoint: Endpoint,
    random: Numbers,
    address: IpAddr,
    installed: BTreeMap<ChildSaId, ChildSa>,
    events: Vec<Event>,
    last_spi: u32,
}

/// The gateway is the first; all others are behind the NAT, which gives each ports from another multiple of 10000 on.
struct World {
    now: Instant,
    nodes: Vec<Node>,
    wire: VecDeque<(usize, Datagram)>,
    requests: u64,
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl World {
    fn new(configs: Vec<(IpAddr, Config)>) -> Self {
        let node = |(number, address): (usize, IpAddr)| Node {
            endpoint: Endpoint::new(ike_crypto::provider()),
            random: Numbers(number as u64 + 70),
            address,
            installed: BTreeMap::new(),
            events: vec![],
            last_spi: 0x1000,
        };
        let nodes = configs.iter().map(|(address, _)| *address).enumerate().map(node).collect();
        let mut world = Self { now: Instant::from_nanos(1_000_000_000), nodes, wire: VecDeque::new(), requests: 0 };
        for (number, (address, config)) in configs.into_iter().enumerate() {
            let attached = Dataplane::Attached { boot: [1; 16], epoch: 1, child_sas: vec![], local_addresses: vec![address] };
            world.input(number, Input::Dataplane(attached));
            world.input(number, Input::Command(Command::Configure(Box::new(config))));
        }
        world
    }

    fn input(&mut self, number: usize, input: Input) {
        let now = self.now;
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let node = &mut self.nodes[number];
            node.endpoint.handle(now, input, &mut node.random);
            while let Some(output) = node.endpoint.poll_output() {
                match output {
                    Output::Transmit(datagram) => self.wire.extend(through(number, datagram)),
                    Output::LeaseSpis(count) => {
                        let first = node.last_spi;
                        node.last_spi += count;
                        inputs.push_back(Input::SpisLeased((first..first + count).map(|spi| Spi::new(spi).unwrap()).collect()));
                    }
                    Output::Install(sa) => {
                        inputs.push_back(Input::Installed { child: sa.id, result: Ok(()) });
                        node.installed.insert(sa.id, *sa);
                    }
                    Output::Retire { child, .. } => _ = node.installed.remove(&child),
                    Output::Job { id, job } => inputs.push_back(Input::JobDone { id, result: job.run(&ike_crypto::provider()) }),
                    Output::Event(event) => node.events.push(event),
                    _ => {}
                }
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while let Some((to, mut datagram)) = self.wire.pop_front() {
                if to > 0 {
                    datagram.local.set_ip(self.nodes[to].address);
                }
                self.input(to, Input::Datagram(datagram));
            }
            let due = self.nodes.iter().enumerate().filter_map(|(number, node)| Some((node.endpoint.next_timeout()?, number))).min();
            let Some((at, number)) = due.filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.input(number, Input::Timeout);
        }
        self.now = end;
    }

    fn initiate(&mut self, number: usize) {
        self.requests += 1;
        self.input(number, Input::Command(Command::Initiate { request: RequestId(self.requests), child: "net".into() }));
        self.run(Duration::from_secs(3));
    }

    fn terminate(&mut self, number: usize) {
        self.requests += 1;
        self.input(
            number,
            Input::Command(Command::Terminate { request: RequestId(self.requests), target: Target::Connection("lab".into()) }),
        );
        self.run(Duration::from_secs(3));
    }

    /// What the gateway has installed: the port it goes to, and the peer's addresses.
    fn installed(&self) -> Vec<(u16, String)> {
        let shown = |sa: &ChildSa| {
            assert_eq!(sa.remote, address(OUTSIDE));
            (sa.encapsulation.unwrap().remote_port, sa.remote_selectors[0].to_string())
        };
        self.nodes[0].installed.values().map(shown).collect()
    }

    fn failures(&self, number: usize) -> Vec<Failure> {
        let failed = |event: &Event| if let Event::NegotiationFailed { failure, .. } = event { Some(failure.clone()) } else { None };
        self.nodes[number].events.iter().filter_map(failed).collect()
    }
}

/// Where a datagram comes to, with the addresses that it has there; behind the NAT its destination is told later.
fn through(from: usize, datagram: Datagram) -> Option<(usize, Datagram)> {
    let Datagram { local, remote, payload } = datagram;
    if from > 0 {
        let outside = SocketAddr::new(address(OUTSIDE), u16::try_from(from * 10_000).unwrap() + local.port());
        return Some((0, Datagram { local: remote, remote: outside, payload }));
    }
    let (to, port) = (usize::from(remote.port() / 10_000), remote.port() % 10_000);
    (to > 0).then(|| (to, Datagram { local: SocketAddr::new(remote.ip(), port), remote: local, payload }))
}

/// A peer at a private address, with a network behind it.
fn peer(number: usize, private: &str, net: &str) -> (IpAddr, Config) {
    let mut config = config(A);
    let connection = &mut config.connections[0];
    connection.local_addrs = vec![address(private)];
    connection.local_identity = format!("peer-{number}.lab.test").parse().unwrap();
    let child = &mut connection.children[0];
    (child.start_action, child.local_selectors) = (StartAction::None, vec![net.parse().unwrap()]);
    (address(private), config)
}

/// One connection for all of them.
fn gateway() -> (IpAddr, Config) {
    let mut config = config(B);
    let connection = &mut config.connections[0];
    (connection.remote_addrs, connection.remote_identity) = (vec![], Some("*.lab.test".parse().unwrap()));
    let child = &mut connection.children[0];
    (child.start_action, child.remote_selectors) = (StartAction::None, vec!["10.1.0.0/16".parse().unwrap()]);
    (address(GATEWAY), config)
}

#[test]
fn peers_behind_one_address_have_a_port_each_and_leave_each_other_alone() {
    let mut world = World::new(vec![gateway(), peer(1, "10.0.0.2", "10.1.1.0/24"), peer(2, "10.0.0.3", "10.1.2.0/24")]);
    world.initiate(1);
    world.initiate(2);
    assert_eq!(world.installed(), [(14_500, "10.1.1.0/24".into()), (24_500, "10.1.2.0/24".into())]);
    assert!(world.failures(0).is_empty());
    // One is rekeyed from either side, IKE SA and Child SA.
    for (number, target) in [(1, Target::Connection("lab".into())), (1, Target::Child { connection: None, name: "net".into() })] {
        world.requests += 1;
        world.input(number, Input::Command(Command::Rekey { request: RequestId(world.requests), target }));
        world.run(Duration::from_secs(10));
    }
    assert_eq!(world.installed(), [(24_500, "10.1.2.0/24".into()), (14_500, "10.1.1.0/24".into())]);
    world.terminate(2);
    assert_eq!(world.installed(), [(14_500, "10.1.1.0/24".into())]);
    world.initiate(2);
    assert_eq!(world.installed().len(), 2);
}

/// Two home networks with the same addresses: RFC 3948 section 5.1.
#[test]
fn who_asks_for_what_another_has_is_refused_and_told_why() {
    for second in ["10.1.1.0/24", "10.1.1.128/25", "10.1.0.0/16"] {
        let mut world = World::new(vec![gateway(), peer(1, "10.0.0.2", "10.1.1.0/24"), peer(2, "10.0.0.3", second)]);
        world.initiate(1);
        world.initiate(2);
        assert_eq!(world.installed(), [(14_500, "10.1.1.0/24".into())], "{second}");
        let failures = world.failures(0);
        let [Failure::Incompatible(NotifyType::TS_UNACCEPTABLE, detail)] = failures.as_slice() else { panic!("{failures:?}") };
        assert_eq!(detail.summary, "peer-2.lab.test asks for traffic that peer-1.lab.test has");
        assert!(detail.ours.contains("10.1.1.0/24 is that of peer-1.lab.test, with IKE SA 1"), "{detail}");
        assert!(detail.remedy.contains("pools") && detail.remedy.contains("culvert terminate --ike-sa 1"), "{detail}");
        let refused = |failure: &Failure| matches!(failure, Failure::Refused(NotifyType::TS_UNACCEPTABLE, _));
        assert!(world.failures(2).iter().any(refused), "{:?}", world.failures(2));
        // The first has it as long as it wants.
        world.terminate(1);
        world.terminate(2);
        world.initiate(2);
        assert_eq!(world.installed(), [(24_500, second.to_owned())]);
    }
}

/// Whoever comes back is no other peer, though the gateway knows it still.
#[test]
fn the_same_peer_may_have_its_own_again() {
    for unique in [Unique::No, Unique::Replace] {
        let mut responder = gateway();
        responder.1.connections[0].unique = unique;
        // From another port, with the same identity and without INITIAL_CONTACT.
        let mut again = peer(1, "10.0.0.3", "10.1.1.0/24");
        again.1.connections[0].unique = Unique::Never;
        let mut world = World::new(vec![responder, peer(1, "10.0.0.2", "10.1.1.0/24"), again]);
        world.initiate(1);
        world.initiate(2);
        assert!(world.failures(0).is_empty(), "{:?}", world.failures(0));
        let ports: Vec<u16> = world.installed().iter().map(|(port, _)| *port).collect();
        assert_eq!(ports, if unique == Unique::Replace { vec![24_500] } else { vec![14_500, 24_500] });
    }
}

/// A peer for transport mode, for all traffic or for one port of UDP.
fn host(number: usize, private: &str, port: &str) -> (IpAddr, Config) {
    let (own, mut config) = peer(number, private, &format!("{private}{port}"));
    let child = &mut config.connections[0].children[0];
    (child.mode, child.remote_selectors) = (Mode::Transport, vec![GATEWAY.parse().unwrap()]);
    (own, config)
}

/// Both have the same private address, behind routers of their own; to the gateway both have the NAT's. What it has for one cannot be told from
/// what it has for the other: RFC 3948 section 5.2 and appendix A.
#[test]
fn in_transport_mode_two_hosts_behind_one_address_need_ports_that_differ() {
    let transport = || {
        let (own, mut config) = gateway();
        let connection = &mut config.connections[0];
        connection.remote_addrs = vec![address(OUTSIDE)];
        let child = &mut connection.children[0];
        (child.mode, child.local_selectors) = (Mode::Transport, vec![GATEWAY.parse().unwrap()]);
        child.remote_selectors = vec![OUTSIDE.parse().unwrap()];
        (own, config)
    };
    let mut world = World::new(vec![transport(), host(1, "10.0.0.2", ""), host(2, "10.0.0.2", "")]);
    world.initiate(1);
    world.initiate(2);
    assert_eq!(world.installed(), [(14_500, OUTSIDE.into())], "{:?}", world.failures(0));
    let failures = world.failures(0);
    let [Failure::Incompatible(NotifyType::TS_UNACCEPTABLE, detail)] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!(detail.summary, "peer-2.lab.test asks for traffic that peer-1.lab.test has");

    let mut world = World::new(vec![transport(), host(1, "10.0.0.2", "[udp/5001]"), host(2, "10.0.0.2", "[udp/5002]")]);
    world.initiate(1);
    world.initiate(2);
    let expected = [(14_500, format!("{OUTSIDE}[udp/5001]")), (24_500, format!("{OUTSIDE}[udp/5002]"))];
    assert_eq!(world.installed(), expected, "{:?}", world.failures(0));
}
