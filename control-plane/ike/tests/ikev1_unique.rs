//! IKEv1: peers that call themselves the same. One that is where the other was is the same peer, which has begun phase 1 anew; one from elsewhere is
//! another, and the connection says what becomes of the first.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::IpAddr;
use std::time::Duration;

use ike::config::{Config, Unique, Version};
use ike::io::{Command, Dataplane, Event, Input, RequestId};
use ipsec_types::PolicyId;
use pair::Side::{A, B};
use pair::{Pair, config, esp};

const SECOND: Duration = Duration::from_secs(1);
const ADDRESSES: [&str; 2] = ["192.0.2.1", "192.0.2.77"];

/// A has two addresses, and is the same from both: two connections, each with a child of its own.
fn callers() -> Config {
    let mut a = Config { connections: vec![], ..config(A) };
    for (number, address) in ADDRESSES.into_iter().enumerate() {
        let mut connection = config(A).connections.remove(0);
        connection.name = format!("caller-{number}");
        connection.version = Version::V1;
        connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
        connection.local_addrs = vec![address.parse().unwrap()];
        // Nobody has heard of INITIAL-CONTACT.
        connection.unique = Unique::Never;
        let child = &mut connection.children[0];
        child.policy = PolicyId(u32::try_from(number).unwrap() + 1);
        child.proposals = vec![esp("aes128-sha256")];
        child.local_selectors = vec![format!("10.1.{number}.0/24").parse().unwrap()];
        a.connections.push(connection);
    }
    a
}

/// They call one after the other.
fn called(unique: Unique, calls: &[usize]) -> Pair {
    let mut b = config(B);
    let connection = &mut b.connections[0];
    connection.version = Version::V1;
    connection.unique = unique;
    connection.remote_addrs.clear();
    connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
    connection.children[0].proposals = vec![esp("aes128-sha256")];
    let mut pair = Pair::new(7, callers(), b);
    let local_addresses: Vec<IpAddr> = ADDRESSES.iter().map(|address| address.parse().unwrap()).collect();
    pair.input(A, Input::Dataplane(Dataplane::Attached { boot: [1; 16], epoch: 2, child_sas: vec![], local_addresses }));
    for number in calls {
        let request = RequestId(900 + *number as u64);
        pair.input(A, Input::Command(Command::Initiate { request, child: format!("caller-{number}/net") }));
        pair.run(SECOND * 5);
    }
    pair
}

fn told(pair: &mut Pair) -> Vec<(usize, bool, &'static str)> {
    let told = |event: &Event| match event {
        Event::IkeSaNotAlone { count, replaced, why, .. } => Some((*count, *replaced, *why)),
        _ => None,
    };
    pair.gateway(B).events.iter().filter_map(told).collect()
}

fn children(pair: &mut Pair) -> Vec<usize> {
    pair.ike_sas(B).iter().map(|sa| sa.children.len()).collect()
}

#[test]
fn another_from_elsewhere_is_left_alone_unless_it_is_said_otherwise() {
    for (unique, expected) in [(Unique::No, vec![(1, false, "unique = no")]), (Unique::Never, vec![])] {
        let mut pair = called(unique, &[0, 1]);
        assert_eq!(children(&mut pair), [1, 1], "each has its own: {:?}", pair.failures(B));
        assert_eq!(told(&mut pair), expected);
        assert_eq!((pair.established(A), pair.installed(A), pair.installed(B)), (2, 2, 2));
    }
}

#[test]
fn replace_ends_the_first() {
    let mut pair = called(Unique::Replace, &[0, 1]);
    assert_eq!(children(&mut pair), [1]);
    assert_eq!(told(&mut pair), [(1, true, "unique = replace")]);
    assert_eq!((pair.established(A), pair.installed(A), pair.installed(B)), (1, 1, 1), "the first has been told");
    assert_eq!(pair.ike_sas(B)[0].remote.ip().to_string(), ADDRESSES[1]);
}

#[test]
fn keep_refuses_the_second() {
    let mut pair = called(Unique::Keep, &[0, 1]);
    assert_eq!(children(&mut pair), [1]);
    assert_eq!(pair.ike_sas(B)[0].remote.ip().to_string(), ADDRESSES[0]);
    assert!(pair.failure(B).to_string().contains("a.lab.test has an IKE SA already, and that one is kept"), "{}", pair.failure(B));
    assert!(pair.failure(A).to_string().contains("AUTHENTICATION_FAILED"), "{}", pair.failure(A));
    assert_eq!((pair.established(A), pair.installed(A), pair.installed(B)), (1, 1, 1));
}

/// Whatever `unique` says: it has no other way to go on.
#[test]
fn the_same_peer_may_always_begin_phase_1_anew() {
    for unique in [Unique::No, Unique::Never, Unique::Replace, Unique::Keep] {
        let mut pair = called(unique, &[0]);
        let child = pair.only_child(B);
        pair.rekey(A, ike::io::Target::Connection("caller-0".into()));
        pair.run(SECOND * 5);
        assert_eq!((pair.established(A), pair.established(B), pair.only_child(B)), (1, 1, child), "{unique:?} {:?}", pair.failures(B));
        assert!(told(&mut pair).is_empty());
    }
}
