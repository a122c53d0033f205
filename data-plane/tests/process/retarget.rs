//! The peer's NAT forgets its mapping, or the peer moves: the gateway says so, and its SA follows where the controller tells it to, without starting its
//! numbers anew (RFC 7296 section 2.23).

use std::collections::BTreeSet;

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::event::Event;
use culvert_proto::dataplane::v1::failure::Reason;
use culvert_proto::dataplane::v1::operation::Operation;
use culvert_proto::dataplane::v1::outcome::Outcome;

use crate::harness::{ChildSa, GATEWAY_WAN, Gateway, HOST, Options, PEER, PROTECTED, Side, Suite, address, inner};

/// Where the peer goes.
const NEW_PEER: &str = "192.0.2.77";
const NEW_PEER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 0x77];
const NEW_PORT: u16 = 61_234;

fn retarget(sa: &ChildSa, remote: &str, remote_port: u16) -> Operation {
    Operation::Retarget(v1::Retarget {
        child_sa: sa.id,
        local_address: address(GATEWAY_WAN),
        remote_address: address(remote),
        encapsulation: Some(v1::UdpEncapsulation { local_port: 4500, remote_port: remote_port.into() }),
    })
}

/// The peer sends a packet under this number from a place of its choice; it arrives at the host.
fn receive_from(gateway: &mut Gateway, sa: &ChildSa, place: (&str, u16), number: u64) {
    let packet = gateway.scapy.build(&inner(PROTECTED, HOST, 64, &format!("number {number}")));
    let wire = gateway.scapy.seal(&sa.sent_by_peer_at(place.0, place.1), number, &packet, None);
    gateway.send_packet(Side::Wan, &wire);
    gateway.wire.expect_packet(Side::Lan, "opened packet");
}

/// The host sends packets of many flows, so that each worker has its share. They reach the peer at this place under these numbers, each once.
fn send_to(gateway: &mut Gateway, sa: &ChildSa, (peer, port): (&str, u16), mac: [u8; 6], numbers: std::ops::Range<u64>) {
    for number in numbers.clone() {
        let packet = format!("IP(src='{HOST}', dst='{PROTECTED}')/UDP(sport={}, dport=53)/b'{number}'", 20_000 + number);
        gateway.send_built(Side::Lan, &packet);
    }
    let mut seen = BTreeSet::new();
    for _ in numbers.clone() {
        let frame = gateway.wire.expect(Side::Wan, "sealed packet", |frame| (frame[12..14] == [8, 0]).then(|| frame.to_vec()));
        assert_eq!(frame[..6], mac, "the next hop");
        let opened = gateway.scapy.open(&sa.sent_to_peer_at(peer, port), 0, &frame[14..]).unwrap();
        assert_eq!(opened.spi, sa.outbound_spi);
        seen.insert(opened.sequence);
    }
    assert_eq!(seen, numbers.collect());
}

#[test]
fn packets_follow_a_peer_that_moves_and_their_numbers_go_on() {
    let mut gateway = Gateway::start_with(&Options { workers: vec![0, 1], ..Options::default() });
    gateway.set_policies();
    gateway.wire.add_host(Side::Wan, NEW_PEER.parse().unwrap(), "02:00:00:00:02:77");
    let mut events = gateway.controller.subscribe();
    let sa = ChildSa::installed(&mut gateway, Suite { udp: true, ..Suite::PLAIN });
    let before = gateway.counters();
    receive_from(&mut gateway, &sa, (PEER, 4500), 1);
    send_to(&mut gateway, &sa, (PEER, 4500), [2, 0, 0, 0, 2, 2], 1..21);

    receive_from(&mut gateway, &sa, (NEW_PEER, NEW_PORT), 2);
    let moved = gateway.controller.expect_event(&mut events, "PeerMoved", |event| match event {
        Event::PeerMoved(moved) => Some(moved),
        _ => None,
    });
    let expected = v1::PeerMoved { child_sa: sa.id, remote_address: address(NEW_PEER), remote_port: NEW_PORT.into() };
    assert_eq!(moved, expected);
    // Until it is told to, the gateway follows nobody.
    send_to(&mut gateway, &sa, (PEER, 4500), [2, 0, 0, 0, 2, 2], 21..41);

    gateway.controller.done(retarget(&sa, NEW_PEER, NEW_PORT));
    send_to(&mut gateway, &sa, (NEW_PEER, NEW_PORT), NEW_PEER_MAC, 41..81);
    receive_from(&mut gateway, &sa, (NEW_PEER, NEW_PORT), 3);
    let listed = gateway.controller.child_sa(sa.id).unwrap();
    assert_eq!((listed.remote_address, listed.outbound_sequence), (address(NEW_PEER), 81));
    assert_eq!(listed.encapsulation, Some(v1::UdpEncapsulation { local_port: 4500, remote_port: NEW_PORT.into() }));

    // Back again, and once more to the same place: repeating it is harmless.
    gateway.controller.done(retarget(&sa, PEER, 4500));
    gateway.controller.done(retarget(&sa, PEER, 4500));
    send_to(&mut gateway, &sa, (PEER, 4500), [2, 0, 0, 0, 2, 2], 81..101);
    gateway.expect_counters(&before, &[("sealed", 100), ("opened", 3)]);
    gateway.wire.expect_silence();

    gateway.controller.done(sa.retire(0));
    let outcome = gateway.controller.run(retarget(&sa, NEW_PEER, NEW_PORT));
    assert!(matches!(&outcome, Outcome::Failure(failure) if failure.reason() == Reason::NotFound), "{outcome:?}");
}
