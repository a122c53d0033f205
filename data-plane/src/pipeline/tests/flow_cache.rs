//! What is remembered of flows and destinations against tables that are asked each time.

use packet::plain::Plain;
use proptest::prelude::*;

use super::super::flow_cache::{FlowCache, FlowKey, FlowKeyV4, Key, Way};
use super::*;

/// One packet's fields, from a few values each so that flows come again.
#[derive(Debug, Clone)]
struct Shape {
    source: u8,
    site: u8,
    destination: u8,
    protocol: u8,
    ports: (u8, u8),
    class: u8,
    ttl: u8,
    len: usize,
    dont_fragment: bool,
    fragment: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Out(Vec<Shape>),
    /// Sealed by the peer of the SA in a slot.
    In(u32, Vec<Shape>),
    Policies(usize),
    Install {
        slot: u32,
        policy: u32,
        active: bool,
        narrow: bool,
        few: bool,
    },
    Activate(u32),
    Retire(u32),
    Remove(u32),
    PathMtu(u32, Option<u16>),
    Retarget(u32, u8),
    Neighbors(bool),
    Own(bool),
    Later,
}

fn shape() -> impl Strategy<Value = Shape> {
    let hosts = (1_u8..4, 1_u8..4, 1_u8..4);
    let kind = (prop_oneof![Just(6_u8), Just(17), Just(1)], (0_u8..2, 0_u8..2), prop_oneof![3 => Just(0_u8), 1 => Just(0xb8)]);
    let ttl = prop_oneof![6 => Just(64_u8), 1 => Just(2), 1 => Just(1)];
    let len = prop_oneof![4 => Just(60_usize), 1 => Just(1250), 1 => Just(1460), 1 => Just(1500)];
    (hosts, kind, ttl, len, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |((source, site, destination), (protocol, ports, class), ttl, len, dont_fragment, fragment)| Shape {
            source,
            site,
            destination,
            protocol,
            ports,
            class,
            ttl,
            len,
            dont_fragment,
            fragment,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || 1_u32..5;
    let burst = || prop::collection::vec(shape(), 1..6);
    prop_oneof![
        12 => burst().prop_map(Step::Out),
        8 => (slot(), burst()).prop_map(|(slot, burst)| Step::In(slot, burst)),
        1 => (0_usize..3).prop_map(Step::Policies),
        4 => (slot(), 1_u32..3, any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(slot, policy, active, narrow, few)| Step::Install { slot, policy, active, narrow, few }),
        1 => slot().prop_map(Step::Activate),
        1 => slot().prop_map(Step::Retire),
        1 => slot().prop_map(Step::Remove),
        1 => (slot(), prop_oneof![Just(None), Just(Some(1300))]).prop_map(|(slot, mtu)| Step::PathMtu(slot, mtu)),
        1 => (slot(), 2_u8..4).prop_map(|(slot, host)| Step::Retarget(slot, host)),
        1 => any::<bool>().prop_map(Step::Neighbors),
        1 => any::<bool>().prop_map(Step::Own),
        1 => Just(Step::Later),
    ]
}

/// From site 1, or to it.
fn packet(shape: &Shape, outbound: bool) -> Vec<u8> {
    let (near, far) = ([10, 1, 0, shape.source], [10, shape.site, 0, shape.destination]);
    let (source, destination) = if outbound { (near, far) } else { (far, near) };
    let header = Ipv4Header {
        traffic_class: shape.class,
        ttl: shape.ttl,
        protocol: shape.protocol,
        dont_fragment: shape.dont_fragment,
        source: source.into(),
        destination: destination.into(),
        ..HEADER
    };
    let mut packet = ip_packet_with(&header, shape.len);
    packet[20..24].copy_from_slice(&[0, shape.ports.0, 0, shape.ports.1]);
    if shape.fragment {
        packet[6] |= 0x20;
        resum(&mut packet);
    }
    packet
}

fn policies(set: usize) -> Vec<Policy> {
    let local = "10.1.0.0/24";
    let protect = policy(1, PolicyAction::Protect, 5, local, "10.0.0.0/8");
    match set {
        0 => vec![protect],
        1 => vec![
            protect,
            policy(2, PolicyAction::Protect, 3, local, "10.2.0.0/24[udp/0-1]"),
            policy(3, PolicyAction::Discard, 2, local, "10.3.0.0/24[6]"),
        ],
        _ => vec![protect, policy(3, PolicyAction::Bypass, 4, local, "10.3.0.0/24")],
    }
}

/// A gateway, and what it is given.
struct Side {
    gateway: Gateway,
    /// Whether nothing is remembered from burst to burst.
    forgetful: bool,
    sas: std::collections::HashMap<u32, Arc<InstalledSa>>,
}

impl Side {
    fn new(forgetful: bool) -> Self {
        let mut gateway = Gateway::new(1);
        gateway.set_policies(policies(0));
        Self { gateway, forgetful, sas: std::collections::HashMap::new() }
    }

    fn receive(&mut self, port: PortId, frames: &[Vec<u8>]) -> Vec<(PortId, Vec<u8>)> {
        if !self.forgetful {
            return self.gateway.receive(port, frames.iter().map(Vec::as_slice));
        }
        self.gateway.pipeline.flows.forget();
        self.gateway.pipeline.deliveries.forget();
        self.gateway.receive(port, frames.iter().map(Vec::as_slice))
    }

    fn apply(&mut self, step: &Step, sealed: &[Vec<u8>]) -> Vec<(PortId, Vec<u8>)> {
        let slot = |number: u32| SaSlot::new(number).unwrap();
        match step {
            Step::Out(burst) => {
                let frames: Vec<_> = burst.iter().map(|shape| frame(PROTECTED, &packet(shape, true))).collect();
                return self.receive(PROTECTED, &frames);
            }
            Step::In(..) => return self.receive(UNPROTECTED, sealed),
            Step::Policies(set) => self.gateway.set_policies(policies(*set)),
            Step::Install { .. } => {
                if let Some(pair) = pair(step).filter(|pair| !self.sas.contains_key(&pair.slot)) {
                    let sa = self.gateway.install(&pair);
                    self.sas.insert(pair.slot, sa);
                }
            }
            Step::Activate(number) => drop(self.sas.get(number).map(|sa| sa.state.activate())),
            Step::Retire(number) => self.gateway.command(Command::RetireOutbound(slot(*number))),
            Step::Remove(number) => {
                self.sas.remove(number);
                self.gateway.command(Command::Remove(slot(*number)));
            }
            Step::PathMtu(number, mtu) => self.gateway.command(Command::PathMtu { slot: slot(*number), mtu: *mtu }),
            Step::Retarget(number, host) => {
                let ends = Ends::V4 { source: [192, 0, 2, 1].into(), destination: [192, 0, 2, *host].into() };
                let tunnel = Tunnel { ends, ..Pair::default().tunnel(1) };
                self.gateway.command(Command::Retarget { slot: slot(*number), tunnel });
            }
            Step::Neighbors(known) => {
                let all =
                    [(PROTECTED, [10, 1, 0, 2], HOST_MAC), (PROTECTED, [10, 1, 0, 3], HOST_MAC), (UNPROTECTED, [192, 0, 2, 2], PEER_MAC)];
                let known = all.into_iter().skip(usize::from(!known) * 2);
                let hops = known.map(|(port, address, mac)| (NextHop { port, address: IpAddr::from(address) }, mac));
                self.gateway.snapshot.neighbors = Arc::new(Neighbors::new(hops));
                self.gateway.publish();
            }
            Step::Own(more) => {
                let port = |role, mac, addresses: Vec<IpAddr>| PortInfo { role, mac, mtu: 1500, addresses };
                let inside = [[10, 1, 0, 1], [10, 1, 0, 3]].into_iter().take(1 + usize::from(*more)).map(IpAddr::from).collect();
                self.gateway.snapshot.ports = Arc::new(Ports::new(vec![
                    port(PortRole::Protected, PORT_MACS[0], inside),
                    port(PortRole::Unprotected, PORT_MACS[1], vec![[192, 0, 2, 1].into()]),
                ]));
                self.gateway.publish();
            }
            Step::Later => {
                self.gateway.now_ms += 1;
                self.gateway.pipeline.turn(self.gateway.now_ms, &mut self.gateway.wire);
            }
        }
        self.gateway.sent()
    }

    fn counted(&self) -> Counted {
        let selected = (1..4).map(|slot| self.gateway.handle.stats().policy(PolicySlot(slot))).collect();
        Counted { verdicts: self.gateway.counts(), selected, notices: self.gateway.notices() }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Counted {
    verdicts: Vec<(&'static str, u64)>,
    selected: Vec<crate::stats::PolicyCount>,
    notices: Vec<Notice>,
}

fn pair(step: &Step) -> Option<Pair> {
    let Step::Install { slot, policy, active, narrow, few } = *step else { return None };
    let remote = if narrow { "10.2.0.0/24[udp/0-1]" } else { "10.0.0.0/8" };
    let quota = if few { hard_limit(Some(12), None) } else { Quota::UNLIMITED };
    Some(Pair { slot, policy: PolicySlot(policy), active, remote, quota, ..Pair::default() })
}

proptest! {
    /// Octet for octet, in the same order, with the same counters and notices.
    #[test]
    fn what_is_remembered_is_what_the_tables_say(steps in prop::collection::vec(step(), 1..60)) {
        let mut sides = [Side::new(false), Side::new(true)];
        // The peers' halves: those of one slot may come and go.
        let mut peers: std::collections::HashMap<u32, (Pair, OutboundSa)> = std::collections::HashMap::new();
        for step in &steps {
            match pair(step) {
                Some(pair) if !peers.contains_key(&pair.slot) => {
                    let outbound = pair.outbound(2);
                    peers.insert(pair.slot, (pair, outbound));
                }
                _ => {}
            }
            if let Step::Remove(slot) = step {
                peers.remove(slot);
            }
            let sealed: Vec<_> = match step {
                Step::In(slot, burst) => peers.get(slot).map_or_else(Vec::new, |(pair, outbound)| {
                    burst.iter().map(|shape| sealed_by(pair, outbound, &packet(shape, false))).collect()
                }),
                _ => Vec::new(),
            };
            let [remembered, asked] = sides.each_mut().map(|side| side.apply(step, &sealed));
            prop_assert_eq!(remembered, asked, "{:?}", step);
            let [remembered, asked] = sides.each_ref().map(Side::counted);
            prop_assert_eq!(remembered, asked, "{:?}", step);
        }
    }
}

/// The test above says nothing unless packets do take the short way.
#[test]
fn the_second_packet_of_a_flow_is_found_until_a_command_comes() {
    let mut side = Side::new(false);
    side.apply(&Step::Install { slot: 1, policy: 1, active: true, narrow: false, few: false }, &[]);
    let shape = Shape {
        source: 2,
        site: 2,
        destination: 2,
        protocol: 17,
        ports: (0, 1),
        class: 0,
        ttl: 64,
        len: 60,
        dont_fragment: true,
        fragment: false,
    };
    let octets = packet(&shape, true);
    let found = |side: &Side| {
        let frame = frame(PROTECTED, &octets);
        let key = FlowKeyV4::from(&Plain::read_v4(&frame[HEADER_LEN..]).unwrap());
        let flows = &side.gateway.pipeline.flows;
        key.find(flows, key.place(flows)).and_then(|slot| Some((slot.index(), flows.way(slot)?.longest)))
    };
    assert_eq!(found(&side), None);
    assert_eq!(side.apply(&Step::Out(vec![shape.clone()]), &[]).len(), 1);
    assert_eq!(found(&side), Some((1, 1446)));
    side.apply(&Step::Retire(4), &[]);
    assert_eq!(found(&side), None);
}

#[test]
fn more_flows_than_places_push_one_another_out_and_none_is_taken_for_another() {
    let mut flows = FlowCache::new(16, 4096);
    let way = Way::new(1400, PROTECTED, [0; HEADER_LEN]);
    let (mut kept, mut all) = (0, 0);
    for number in 0_u16..2000 {
        let [high, low] = number.to_be_bytes();
        for six in [false, true] {
            let address = |last: u8| -> IpAddr {
                if six { [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low, last].into() } else { [10, high, low, last].into() }
            };
            let flow = ipsec_types::Flow {
                source: address(1),
                destination: address(2),
                protocol: 17,
                source_port: Some(number),
                destination_port: Some(9),
            };
            let slot = SaSlot::new(u32::from(number) * 2 + u32::from(six)).unwrap();
            flows.keep(&flow, Dscp::DEFAULT, slot, way);
            let key = FlowKey::of(&flow, Dscp::DEFAULT).unwrap();
            assert_eq!(key.find(&flows, key.place(&flows)), Some(slot));
            let other = FlowKey::of(&ipsec_types::Flow { source_port: Some(number + 1), ..flow }, Dscp::DEFAULT).unwrap();
            assert!(other.find(&flows, other.place(&flows)).is_none());
            let class = FlowKey::of(&flow, Dscp::new(46).unwrap()).unwrap();
            assert!(class.find(&flows, class.place(&flows)).is_none());
            all += 1;
        }
    }
    for number in 0_u16..2000 {
        let [high, low] = number.to_be_bytes();
        let address = |last: u8| -> IpAddr { [10, high, low, last].into() };
        let flow = ipsec_types::Flow {
            source: address(1),
            destination: address(2),
            protocol: 17,
            source_port: Some(number),
            destination_port: Some(9),
        };
        let key = FlowKey::of(&flow, Dscp::DEFAULT).unwrap();
        if let Some(slot) = key.find(&flows, key.place(&flows)) {
            assert_eq!(slot.index(), usize::from(number) * 2);
            kept += 1;
        }
    }
    assert!((10..=48).contains(&kept) && all == 4000, "{kept}");
    flows.forget();
    let flow = ipsec_types::Flow {
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
        protocol: 17,
        source_port: Some(0),
        destination_port: Some(9),
    };
    let key = FlowKey::of(&flow, Dscp::DEFAULT).unwrap();
    assert!(key.find(&flows, key.place(&flows)).is_none());
}
