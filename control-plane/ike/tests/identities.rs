//! Every type of identity (RFC 7296 section 3.5) authenticates, and is compared as its type wants it.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use pair::Side::{A, B};
use pair::{Pair, config};

/// Whether A, which calls itself `own`, gets an IKE SA with B, which expects `expected`.
fn authenticates(own: &str, expected: &str) -> bool {
    let (mut a, mut b) = (config(A), config(B));
    a.connections[0].local_identity = own.parse().unwrap();
    b.connections[0].remote_identity = Some(expected.parse().unwrap());
    b.psks[0].owners = vec![expected.parse().unwrap()];
    let mut pair = Pair::new(7, a, b);
    pair.initiate(A);
    pair.run(Duration::from_secs(5));
    let established = pair.established(A);
    assert_eq!(established, pair.established(B));
    established == 1
}

#[test]
fn every_type_authenticates() {
    for own in [
        "192.0.2.77",
        "2001:db8::77",
        "gw.example.org",
        "user@example.org",
        "C=DE, O=Example\\, Inc., CN=gw",
        "keyid:site-a",
        "keyid:#00ff",
        "fqdn:192.0.2.77",
    ] {
        assert!(authenticates(own, own), "{own}");
    }
}

#[test]
fn another_type_or_value_does_not() {
    assert!(authenticates("GW.Example.org", "gw.example.org"));
    // CN=gw with the value as UTF8String, where text gives a PrintableString.
    assert!(authenticates("asn1dn:#300d310b300906035504030c026777", "CN=GW"));
    for (own, expected) in [
        ("C=DE, CN=gw", "CN=gw, C=DE"),
        ("C=DE, CN=gw", "C=DE, CN=gw2"),
        ("keyid:gw", "keyid:GW"),
        ("keyid:gw", "fqdn:gw"),
        ("fqdn:192.0.2.77", "192.0.2.77"),
    ] {
        assert!(!authenticates(own, expected), "{own} as {expected}");
    }
}

/// Wildcards as strongSwan has them.
#[test]
fn a_pattern_admits_those_that_it_stands_for() {
    for (own, expected) in [
        ("gw.example.org", "*.example.org"),
        ("alice@example.org", "*@example.org"),
        ("C=DE, O=Example, CN=gw-7", "C=DE, O=Example, CN=*"),
        ("C=DE, O=Example, CN=gw-7", "C=*, O=*, CN=*"),
    ] {
        assert!(authenticates(own, expected), "{own} as {expected}");
    }
    for (own, expected) in [
        ("gw.example.com", "*.example.org"),
        ("example.org", "*.example.org"),
        ("alice@example.org.evil.test", "*@example.org"),
        ("C=DE, O=Other, CN=gw-7", "C=DE, O=Example, CN=*"),
        ("C=DE, O=Example, OU=gw, CN=gw-7", "C=DE, O=Example, CN=*"),
    ] {
        assert!(!authenticates(own, expected), "{own} as {expected}");
    }
}

/// `%any` is an identity that is not there; what is said of a peer counts more than the order.
#[test]
fn of_several_connections_the_one_that_says_most_is_taken() {
    for (own, expected) in [("gw.example.org", "one"), ("other.example.org", "some"), ("other.example.com", "anybody")] {
        let (mut a, mut b) = (config(A), config(B));
        a.connections[0].local_identity = own.parse().unwrap();
        b.connections.clear();
        for (number, (name, id)) in
            [("anybody", None), ("some", Some("*.example.org")), ("one", Some("gw.example.org"))].into_iter().enumerate()
        {
            let mut connection = config(B).connections.remove(0);
            (connection.name, connection.remote_identity) = (name.into(), id.map(|id| id.parse().unwrap()));
            connection.children[0].policy = ipsec_types::PolicyId(u32::try_from(number).unwrap() + 1);
            b.connections.push(connection);
        }
        let mut pair = Pair::new(7, a, b);
        pair.initiate(A);
        pair.run(Duration::from_secs(5));
        assert_eq!(pair.ike_sas(B)[0].connection, expected, "{own}");
    }
}

/// An initiator that expects one of many names nobody, and takes whoever of them answers.
#[test]
fn an_initiator_may_expect_a_pattern() {
    for (expected, admitted) in [("*.lab.test", true), ("*.example.org", false)] {
        let mut a = config(A);
        a.connections[0].remote_identity = Some(expected.parse().unwrap());
        let mut pair = Pair::new(7, a, config(B));
        pair.initiate(A);
        pair.run(Duration::from_secs(5));
        assert_eq!(pair.established(A) == 1, admitted, "{expected}");
        let request = pair.traced(A).into_iter().find(|(_, title, _)| title == "IKE_AUTH request 1").unwrap().2;
        assert!(!request.contains("IDr"), "{request}");
    }
}
