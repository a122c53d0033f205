//! Peers that call from addresses of one pool, under several connections: none hides another in the SPD (RFC 4301 section 4.4.1.1).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, Pool, StartAction};
use ike::io::{Command, Dataplane, Input};
use ipsec_types::{ChildSa, Flow, Policy, PolicyAction, PolicyId};
use pair::Side::{A, B};
use pair::{Pair, Side, config};

const RANGE: &str = "10.3.0.0/24";

/// A is two users, each of whom wants any address, and B has a connection for each, with the same pool. The second reaches more of B's network.
fn users(side: Side) -> Config {
    let mut both = config(side);
    let pool = Arc::new(Pool { name: "v4".into(), addresses: RANGE.parse().unwrap(), dns: vec![], networks: vec![] });
    for (number, net) in [(1, "10.2.0.0/24"), (2, "10.2.0.0/16")] {
        let mut connection = config(side).connections.remove(0);
        connection.name = format!("user-{number}");
        let user = format!("user-{number}.lab.test").parse().unwrap();
        let child = &mut connection.children[0];
        (child.start_action, child.policy, child.priority) = (StartAction::None, PolicyId(number), 100 + number);
        match side {
            A => {
                connection.local_identity = user;
                connection.virtual_addresses = vec!["0.0.0.0".parse().unwrap()];
                (child.local_selectors, child.local_dynamic) = (vec!["0.0.0.0/0".parse().unwrap()], true);
                child.remote_selectors = vec![net.parse().unwrap()];
            }
            B => {
                connection.remote_identity = Some(user);
                connection.remote_addrs = vec![];
                connection.pools = vec![Arc::clone(&pool)];
                (child.remote_selectors, child.remote_dynamic) = (vec![RANGE.parse().unwrap()], true);
                child.local_selectors = vec![net.parse().unwrap()];
            }
        }
        if number == 1 {
            both.connections.clear();
        }
        both.connections.push(connection);
    }
    if side == B {
        both.share_entries(&Config::default());
    }
    both
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn connect(pair: &mut Pair, user: u32) {
    pair.input(
        A,
        Input::Command(Command::Initiate { request: ike::io::RequestId(u64::from(user) + 70), child: format!("user-{user}/net") }),
    );
    pair.run(Duration::from_secs(2));
}

fn both() -> Pair {
    let mut pair = Pair::new(3, users(A), users(B));
    for user in [1, 2] {
        connect(&mut pair, user);
    }
    assert_eq!((pair.established(B), pair.installed(B)), (2, 2), "{:?} {:?}", pair.failures(A), pair.failures(B));
    pair
}

fn flow(source: &str, destination: &str) -> Flow {
    let [source, destination]: [IpAddr; 2] = [source, destination].map(|address| address.parse().unwrap());
    Flow { source, destination, protocol: 17, source_port: Some(1), destination_port: Some(2) }
}

/// The first entry that selects an outbound packet, and of its SAs the newest that does, as the data plane finds them.
fn carrier<'p>(pair: &'p mut Pair, flow: &Flow) -> Option<&'p ChildSa> {
    let data_plane = &pair.gateway(B).data_plane;
    let mut ordered: Vec<&Policy> = data_plane.policies.iter().collect();
    ordered.sort_by_key(|policy| policy.priority);
    let select = |local: &[ipsec_types::TrafficSelector], remote: &[ipsec_types::TrafficSelector]| {
        local.iter().any(|selector| selector.matches(flow.source, flow.protocol, flow.source_port))
            && remote.iter().any(|selector| selector.matches(flow.destination, flow.protocol, flow.destination_port))
    };
    let entry = ordered.into_iter().find(|policy| select(&policy.local, &policy.remote))?;
    let mut sas = data_plane.installed.values().rev().filter(|sa| sa.policy == entry.id);
    sas.find(|sa| select(&sa.local_selectors, &sa.remote_selectors))
}

#[test]
fn both_users_are_reached_in_both_directions_at_the_same_time() {
    let mut pair = both();
    for (user, address) in [(1, "10.3.0.1"), (2, "10.3.0.2")] {
        // To the user, from an address that both connections are for.
        let there = carrier(&mut pair, &flow("10.2.0.7", address)).unwrap_or_else(|| panic!("user {user} cannot be reached"));
        assert_eq!(there.remote_selectors, [address.parse().unwrap()]);
        // From the user: the other half of the same pair of SAs, in which nothing of the other user's fits.
        let (spi, local) = (there.inbound_spi, there.local_selectors.clone());
        let back = pair.gateway(A).data_plane.installed.values().find(|sa| sa.outbound_spi == spi).unwrap();
        assert_eq!((texts(&back.local_selectors), &back.remote_selectors), (vec![address.to_owned()], &local), "user {user}");
    }
    // What only the second is for is none of the first's.
    assert!(carrier(&mut pair, &flow("10.2.9.7", "10.3.0.1")).is_none());
    assert!(carrier(&mut pair, &flow("10.2.9.7", "10.3.0.2")).is_some());
}

/// Nobody can be called by an address that was not given: the packet that asks is refused, whichever of the connections it is for.
#[test]
fn a_packet_for_nobody_is_refused() {
    let mut pair = both();
    let entry = pair.gateway(B).data_plane.policies[0].id;
    pair.input(B, Input::Dataplane(Dataplane::Acquire { id: 9, policy: entry, flow: flow("10.2.0.7", "10.3.0.99") }));
    assert_eq!(pair.gateway(B).data_plane.refused.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [9]);
    // One that is there already needs no answer.
    pair.input(B, Input::Dataplane(Dataplane::Acquire { id: 10, policy: entry, flow: flow("10.2.0.7", "10.3.0.2") }));
    assert_eq!(pair.gateway(B).data_plane.refused.len(), 1);
}

/// A new configuration without the first of them leaves the other's SA in its place.
#[test]
fn who_stays_keeps_its_sa_when_another_connection_goes() {
    let mut pair = both();
    let mut less = users(B);
    less.connections.remove(0);
    pair.input(B, Input::Command(Command::Configure(Box::new(less))));
    pair.run(Duration::from_secs(10));
    assert_eq!((pair.established(B), pair.installed(B)), (1, 1));
    assert!(carrier(&mut pair, &flow("10.2.0.7", "10.3.0.2")).is_some());
}

/// One whose place in the SPD becomes another loses its SA, which the former entry names; it is set up again under the new one.
#[test]
fn an_entry_in_between_parts_them() {
    let mut pair = both();
    let mut parted = users(B);
    let discard = Policy {
        id: PolicyId(3),
        name: "no".into(),
        priority: 102,
        action: PolicyAction::Discard,
        local: vec!["10.2.9.0/24".parse().unwrap()],
        remote: vec![RANGE.parse().unwrap()],
        dscp: ipsec_types::DscpSet::ALL,
    };
    parted.connections[1].children[0].priority = 103;
    parted.policies.push(discard);
    pair.input(B, Input::Command(Command::Configure(Box::new(parted))));
    pair.run(Duration::from_secs(10));
    let mut entries = pair.gateway(B).data_plane.policies.clone();
    entries.sort_by_key(|policy| policy.priority);
    assert_eq!(entries.iter().map(|entry| entry.action).collect::<Vec<_>>(), {
        use PolicyAction::{Discard, Protect};
        [Protect, Discard, Protect]
    });
    assert!(carrier(&mut pair, &flow("10.2.0.7", "10.3.0.1")).is_some(), "the first has lost nothing");
    assert!(carrier(&mut pair, &flow("10.2.9.7", "10.3.0.2")).is_none(), "the operator's word is before it");
    connect(&mut pair, 2);
    assert!(carrier(&mut pair, &flow("10.2.200.7", "10.3.0.2")).is_some());
}

fn leases(pair: &mut Pair) -> Vec<String> {
    let [pool] = pair.gateway(B).endpoint.pools().try_into().unwrap();
    let who = |lease: &ike::io::LeaseStatus| lease.identity.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    pool.leases
        .iter()
        .map(|lease| format!("{} {} {}", lease.address, who(lease), if lease.online { "online" } else { "offline" }))
        .collect()
}

#[test]
fn the_pool_tells_who_has_which_address() {
    let mut pair = both();
    assert_eq!(leases(&mut pair), ["10.3.0.1 user-1.lab.test online", "10.3.0.2 user-2.lab.test online"]);
    pair.terminate(A, ike::io::Target::Connection("user-1".into()));
    pair.run(Duration::from_secs(2));
    assert_eq!(leases(&mut pair), ["10.3.0.1 user-1.lab.test offline", "10.3.0.2 user-2.lab.test online"]);
}

/// The SAs outlive the control plane, and so do the addresses that they are for: the next process gives them to nobody else.
#[test]
fn an_address_outlives_the_control_plane_as_long_as_the_sa() {
    let mut pair = Pair::new(3, users(A), users(B));
    connect(&mut pair, 1);
    pair.kill_control(B);
    pair.start_control(B, users(B), 2);
    pair.run(Duration::from_secs(1));
    assert_eq!(leases(&mut pair), ["10.3.0.1 ? online"]);
    connect(&mut pair, 2);
    assert_eq!(leases(&mut pair), ["10.3.0.1 ? online", "10.3.0.2 user-2.lab.test online"]);
    // It comes back from where it was, and asks for what it had.
    pair.kill_control(A);
    let mut again = users(A);
    again.connections[0].virtual_addresses = vec!["10.3.0.1".parse().unwrap()];
    pair.start_control(A, again, 2);
    pair.run(Duration::from_secs(1));
    connect(&mut pair, 1);
    assert_eq!(leases(&mut pair)[0], "10.3.0.1 user-1.lab.test online");
    pair.run(Duration::from_secs(40));
    assert_eq!(leases(&mut pair)[0], "10.3.0.1 user-1.lab.test online", "the SA of before is gone");
}

#[test]
fn an_address_is_free_once_nobody_has_come_back_for_it() {
    let mut pair = Pair::new(3, users(A), users(B));
    connect(&mut pair, 1);
    pair.kill_control(A);
    pair.kill_control(B);
    pair.start_control(B, users(B), 2);
    pair.run(Duration::from_secs(40));
    assert_eq!(leases(&mut pair), ["10.3.0.1 ? offline"]);
}
