use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipsec_types::{AddressRange, PortRange};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;

/// A selector and a packet's side of it as plain numbers, for a search written without the types under test.
type Side = ((u8, u8), u8, (u16, u16));

/// Few addresses, protocols and ports, so that everything overlaps.
fn side() -> impl Strategy<Value = Side> {
    let range = (0u8..8, 0u8..8).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let ports = prop_oneof![Just((0, u16::MAX)), (0u16..4, 0u16..4).prop_map(|(a, b)| (a.min(b), a.max(b)))];
    (range, prop_oneof![Just(0), Just(6), Just(17)], ports)
        .prop_map(|(range, protocol, ports)| (range, protocol, if protocol == 0 { (0, u16::MAX) } else { ports }))
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn selector(&((first, last), protocol, ports): &Side) -> TrafficSelector {
    let range = AddressRange::new(address(first), address(last)).unwrap();
    TrafficSelector::new(range, protocol, PortRange::new(ports.0, ports.1).unwrap()).unwrap()
}

fn selects(sides: &[Side], host: u8, protocol: u8, port: u16) -> bool {
    sides.iter().any(|&((first, last), wanted, (low, high))| {
        (first..=last).contains(&host) && (wanted == 0 || wanted == protocol) && (low..=high).contains(&port)
    })
}

proptest! {
    #[test]
    fn the_lowest_priority_value_that_selects_decides_in_either_direction(
        policies in prop::collection::vec((0u32..4, prop::collection::vec(side(), 0..3), prop::collection::vec(side(), 0..3), 1u8..16), 0..12),
        (local, remote, protocol) in (0u8..8, 0u8..8, prop_oneof![Just(1u8), Just(6), Just(17)]),
        (local_port, remote_port, class) in (0u16..4, 0u16..4, 0u8..4),
    ) {
        let spd = Spd::new((0u32..).zip(&policies).map(|(n, (priority, locals, remotes, classes))| {
            let (local, remote) = (locals.iter().map(selector).collect(), remotes.iter().map(selector).collect());
            let policy = Policy {
                id: PolicyId(n),
                name: String::new(),
                priority: *priority,
                action: PolicyAction::Discard,
                local,
                remote,
                dscp: (0..4).filter(|class| classes >> class & 1 == 1).filter_map(Dscp::new).collect(),
            };
            (PolicySlot(n), policy)
        }));
        let naive = |classes_count: bool| (0..4).find_map(|wanted| {
            (0..).zip(&policies).find_map(|(n, (priority, locals, remotes, classes))| {
                let selected = selects(locals, local, protocol, local_port) && selects(remotes, remote, protocol, remote_port);
                let of_class = !classes_count || [1, 2, 4, 8][usize::from(class)] & classes != 0;
                (*priority == wanted && selected && of_class).then_some(PolicySlot(n))
            })
        });
        let out = Flow { source: address(local), destination: address(remote), protocol, source_port: Some(local_port), destination_port: Some(remote_port) };
        let into = Flow { source: address(remote), destination: address(local), protocol, source_port: Some(remote_port), destination_port: Some(local_port) };
        prop_assert_eq!(spd.outbound(&out, Dscp::new(class).unwrap()).map(|entry| entry.slot), naive(true));
        prop_assert_eq!(spd.inbound(&into).map(|entry| entry.slot), naive(false));
    }
}

/// Seeds of addresses, few or many, so that ranges overlap in every way.
fn any_address(family: bool, seed: u32) -> IpAddr {
    // Narrow, wide, or at the ends of the address space.
    let low = match seed >> 30 {
        0 => seed % 32,
        1 => seed % 4096,
        2 => seed << 8,
        _ => u32::MAX - seed % 4,
    };
    let high = if seed >> 30 == 3 { u128::MAX << 32 } else { 0x2001_0db8 << 96 };
    if family { Ipv4Addr::from(low).into() } else { Ipv6Addr::from(high | u128::from(low)).into() }
}

fn any_side(family: bool) -> impl Strategy<Value = TrafficSelector> {
    let addresses = (any::<u32>(), any::<u32>(), 0..4u8).prop_map(move |(a, b, kind)| {
        let (a, b) = (any_address(family, a), any_address(family, b));
        match kind {
            0 => AddressRange::single(a),
            1 => AddressRange::prefix(a, if family { 28 } else { 120 }).unwrap(),
            2 => AddressRange::prefix(a, 0).unwrap(),
            _ => AddressRange::new(a.min(b), a.max(b)).unwrap(),
        }
    });
    let ports = prop_oneof![Just((0, u16::MAX)), (any::<u16>(), any::<u16>()), (0u16..4, 0u16..4), Just((80, 80))];
    (addresses, prop_oneof![Just(0u8), Just(6), Just(17), Just(255)], ports).prop_map(|(addresses, protocol, (a, b))| {
        let ports = if protocol == 0 { PortRange::ANY } else { PortRange::new(a.min(b), a.max(b)).unwrap() };
        TrafficSelector::new(addresses, protocol, ports).unwrap()
    })
}

/// Mostly a selector or two, now and then more pairs than have boxes of their own; one family or both.
fn any_sides() -> impl Strategy<Value = Vec<TrafficSelector>> {
    let side = || any::<bool>().prop_flat_map(any_side);
    prop_oneof![8 => prop::collection::vec(side(), 1..3), 1 => prop::collection::vec(side(), 0..24)]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let classes = prop_oneof![3 => Just(DscpSet::ALL), 1 => (0u8..4).prop_map(|class| Dscp::new(class).into_iter().collect())];
    let action = prop_oneof![Just(PolicyAction::Protect), Just(PolicyAction::Bypass), Just(PolicyAction::Discard)];
    (0u32..6, any_sides(), any_sides(), classes, action).prop_map(|(priority, local, remote, dscp, action)| {
        let priority = if priority == 5 { u32::MAX } else { priority };
        Policy { id: PolicyId(0), name: String::new(), priority, action, local, remote, dscp }
    })
}

/// A packet near the ends of selectors: the seeds pick a policy and one side of each of its lists, and move by one at most.
fn packet(policies: &[(PolicySlot, Policy)], seeds: (usize, usize, u8, u8, u16)) -> Flow {
    let (which, side, address_step, kind, port) = seeds;
    let near = |list: &[TrafficSelector], step: u8| -> Option<(IpAddr, u8, u16)> {
        let selector = list.get(side.checked_rem(list.len())?)?;
        let end = if step & 1 == 0 { selector.addresses().first() } else { selector.addresses().last() };
        let moved = match (end, step >> 1 & 3) {
            (IpAddr::V4(a), 1) => Ipv4Addr::from(u32::from(a).wrapping_add(1)).into(),
            (IpAddr::V4(a), 2) => Ipv4Addr::from(u32::from(a).wrapping_sub(1)).into(),
            (IpAddr::V6(a), 1) => Ipv6Addr::from(u128::from(a).wrapping_add(1)).into(),
            (IpAddr::V6(a), 2) => Ipv6Addr::from(u128::from(a).wrapping_sub(1)).into(),
            (end, _) => end,
        };
        let port = match step >> 3 & 3 {
            0 => selector.ports().first(),
            1 => selector.ports().last(),
            2 => selector.ports().first().wrapping_sub(1),
            _ => selector.ports().last().wrapping_add(1),
        };
        Some((moved, selector.protocol(), port))
    };
    let policy = which.checked_rem(policies.len()).and_then(|which| policies.get(which)).map(|(_, policy)| policy);
    let source = policy.and_then(|policy| near(&policy.local, address_step)).unwrap_or_else(|| (address(1), 6, 1));
    let destination = policy.and_then(|policy| near(&policy.remote, address_step.rotate_left(3))).unwrap_or_else(|| (address(2), 6, 1));
    let destination = if source.0.is_ipv4() == destination.0.is_ipv4() { destination } else { source };
    let protocol = match kind & 3 {
        0 => source.1,
        1 => destination.1,
        2 => 6,
        _ => 1,
    };
    let ports = kind & 4 == 0;
    let pick = |near: u16, own: bool| ports.then_some(if own { near } else { port });
    Flow {
        source: source.0,
        destination: destination.0,
        protocol,
        source_port: pick(source.2, kind & 8 == 0),
        destination_port: pick(destination.2, kind & 16 == 0),
    }
}

/// The search as RFC 4301 words it: one entry after the other.
fn linear(policies: &[(PolicySlot, Policy)], selects: impl Fn(&Policy) -> bool) -> Option<SpdEntry> {
    let mut ordered: Vec<_> = policies.iter().collect();
    ordered.sort_by_key(|(_, policy)| policy.priority);
    let (slot, policy) = ordered.into_iter().find(|(_, policy)| selects(policy))?;
    Some(SpdEntry { id: policy.id, slot: *slot, action: policy.action })
}

fn agrees(spd: &Spd, policies: &[(PolicySlot, Policy)], flow: &Flow, dscp: Dscp) {
    let source = |list: &[TrafficSelector]| list.iter().any(|s| s.matches(flow.source, flow.protocol, flow.source_port));
    let destination = |list: &[TrafficSelector]| list.iter().any(|s| s.matches(flow.destination, flow.protocol, flow.destination_port));
    let outbound = linear(policies, |policy| policy.dscp.contains(dscp) && source(&policy.local) && destination(&policy.remote));
    assert_eq!(spd.outbound(flow, dscp).copied(), outbound, "{flow}");
    let inbound = linear(policies, |policy| destination(&policy.local) && source(&policy.remote));
    assert_eq!(spd.inbound(flow).copied(), inbound, "{flow}");
}

/// What one set of policies becomes in the next: which go, which change places, which come.
type Change = (Vec<usize>, Vec<(usize, usize)>, Vec<(usize, Policy)>);

fn change() -> impl Strategy<Value = Change> {
    let index = 0..10_000usize;
    let swaps = prop::collection::vec((index.clone(), index.clone()), 0..3);
    (prop::collection::vec(index.clone(), 0..12), swaps, prop::collection::vec((index, any_policy()), 0..16))
}

/// Applies a change: a policy keeps its slot, a new one gets the lowest that is free.
fn apply(policies: &mut Vec<(PolicySlot, Policy)>, next_id: &mut u32, (gone, swaps, new): Change) {
    for index in gone {
        if let Some(index) = index.checked_rem(policies.len()) {
            policies.remove(index);
        }
    }
    for (a, b) in swaps {
        if let (Some(a), Some(b)) = (a.checked_rem(policies.len()), b.checked_rem(policies.len())) {
            policies.swap(a, b);
        }
    }
    for (place, policy) in new {
        let slot = (0..).map(PolicySlot).find(|slot| policies.iter().all(|(taken, _)| taken != slot)).unwrap();
        *next_id += 1;
        policies.insert(place % (policies.len() + 1), (slot, Policy { id: PolicyId(*next_id), ..policy }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However policies came, the search finds what asking one after the other finds; and who still has the former database reads that.
    #[test]
    fn changes_lead_where_a_new_database_would(
        begin in prop::collection::vec((0..10_000usize, any_policy()), 0..150),
        changes in prop::collection::vec(change(), 1..8),
        seeds in prop::collection::vec(any::<(usize, usize, u8, u8, u16)>(), 40),
    ) {
        let (mut policies, mut next_id) = (Vec::new(), 0);
        apply(&mut policies, &mut next_id, (Vec::new(), Vec::new(), begin));
        let mut spd = Spd::new(policies.iter().cloned());
        for change in changes {
            let (former, before) = (spd.clone(), policies.clone());
            apply(&mut policies, &mut next_id, change);
            let (changed, slots) = former.changed_to(&policies);
            spd = changed;
            for &seeds in &seeds {
                let dscp = Dscp::new(seeds.3 >> 6).unwrap();
                agrees(&spd, &policies, &packet(&policies, seeds), dscp);
                agrees(&former, &before, &packet(&before, seeds), dscp);
            }
            for slot in (0..400).map(PolicySlot) {
                let there = policies.iter().find(|(taken, _)| *taken == slot);
                prop_assert_eq!(spd.entry(slot).map(|entry| entry.id), there.map(|(_, policy)| policy.id));
                let stays = there == before.iter().find(|(taken, _)| *taken == slot);
                prop_assert!(stays || slots.contains(&slot));
            }
            prop_assert_eq!(spd.entries().count(), policies.len());
        }
    }
}

/// Thousands of policies, in and out one at a time, so that every part of the tree is chosen anew.
#[test]
fn thousands_of_ranges_and_ports_come_and_go() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut draw = |count: usize| prop::collection::vec(any_policy(), count).new_tree(&mut runner).unwrap().current();
    let number = |(slot, policy): (u32, Policy)| (PolicySlot(slot), Policy { id: PolicyId(slot), ..policy });
    let mut policies: Vec<_> = (0..).zip(draw(3000)).map(number).collect();
    let mut spd = Spd::new(policies.iter().cloned());
    let fresh = draw(2000);
    let octet = |n: usize, modulus: usize| u8::try_from(n % modulus).unwrap();
    let seeds = |n: usize| (n * 7919, n, octet(n, 251), octet(n, 241), u16::try_from(n * 31 % 65_521).unwrap());
    for (n, policy) in fresh.into_iter().enumerate() {
        let (slot, _) = policies.remove(n * 7919 % policies.len());
        if n % 3 != 0 {
            policies.push(number((slot.0, policy)));
        }
        let (changed, slots) = spd.changed_to(&policies);
        assert_eq!(slots, [slot]);
        spd = changed;
        for n in n..n + 3 {
            agrees(&spd, &policies, &packet(&policies, seeds(n)), Dscp::new(octet(n, 4)).unwrap());
        }
    }
    let (empty, _) = spd.changed_to(&[]);
    assert!(empty.entries().next().is_none() && empty.outbound(&packet(&policies, seeds(1)), Dscp::new(0).unwrap()).is_none());
}

/// Policies that nothing tells apart but their order, and policies each wider than the one before.
#[test]
fn boxes_that_cannot_be_cut_are_still_found_in_order() {
    let any = || TrafficSelector::addresses_only(AddressRange::ALL_IPV4);
    let nested = |n: u8| TrafficSelector::addresses_only(AddressRange::new(address(n), address(255 - n)).unwrap());
    let policy = |n: u32, local| {
        let policy = Policy {
            id: PolicyId(n),
            name: String::new(),
            priority: 0,
            action: PolicyAction::Protect,
            local: vec![local],
            remote: vec![any()],
            dscp: DscpSet::ALL,
        };
        (PolicySlot(n), policy)
    };
    let mut policies: Vec<_> = (0..120u8).rev().map(|n| policy(n.into(), nested(n))).collect();
    policies.extend((200..400).map(|n| policy(n, any())));
    let spd = Spd::new(policies.iter().cloned());
    let (grown, _) = policies.iter().fold((Spd::default(), 0), |(spd, n), _| (spd.changed_to(&policies[..=n]).0, n + 1));
    for host in 0..=255 {
        let flow = Flow { source: address(host), destination: address(0), protocol: 6, source_port: Some(1), destination_port: None };
        agrees(&spd, &policies, &flow, Dscp::new(0).unwrap());
        agrees(&grown, &policies, &flow, Dscp::new(0).unwrap());
    }
}
