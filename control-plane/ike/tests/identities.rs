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
