//! On which ports IKE is spoken, and ESP carried (RFC 7296 sections 2.11 and 2.23).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use ike::io::{Datagram, Input};
use ipsec_types::UdpEncapsulation;
use pair::Side::{A, B};
use pair::{Pair, config};

/// "UDP encapsulation MUST NOT be done on port 500": not even for a peer behind a NAT that goes on there, as it must not.
#[test]
fn esp_is_never_carried_on_port_500() {
    let mut b = config(B);
    b.connections[0].remote_addrs.clear();
    let mut pair = Pair::new(1, config(A), b);
    pair.nat = Some("198.51.100.7:10000".parse().unwrap());
    pair.acquire(A, 1);
    while pair.sent.len() < 3 {
        pair.step();
    }
    let payload = pair.sent[2].datagram.payload.clone();
    let (local, remote) = ("192.0.2.2:500".parse().unwrap(), "198.51.100.7:10500".parse().unwrap());
    pair.input(B, Input::Datagram(Datagram { local, remote, payload }));
    let answer = &pair.sent.last().unwrap().datagram;
    assert_eq!((answer.local, answer.remote), (local, remote), "IKE is answered where it was spoken");
    let sa = pair.gateway(B).data_plane.installed.values().next().unwrap();
    assert_eq!(sa.encapsulation, Some(UdpEncapsulation { local_port: 4500, remote_port: 10500 }));
}
