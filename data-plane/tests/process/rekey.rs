//! Rekeying loses nothing (RFC 7296 section 2.8): the new SA receives at once and sends when the peer is known to have it.

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::operation::Operation;

use crate::harness::{ChildSa, Gateway, HOST, PATIENCE, PROTECTED, Side, Suite, inner, outbound, within};

/// Longer than any test.
const LONG_MS: u64 = 600_000;

fn gateway_with_sa() -> (Gateway, ChildSa) {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let mut sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    sa.expect_sent(&mut gateway, 1, "one");
    sa.expect_opened(&mut gateway, "one");
    (gateway, sa)
}

fn successor(gateway: &mut Gateway, old: &ChildSa, fallback_ms: u64) -> ChildSa {
    let new = ChildSa::prepare(gateway, Suite::PLAIN);
    let message = v1::Install { predecessor: old.id, parked: Some(v1::Parked { fallback_ms }), ..new.message() };
    gateway.controller.done(Operation::Install(message));
    new
}

fn is_parked(gateway: &mut Gateway, sa: &ChildSa) -> bool {
    gateway.controller.child_sa(sa.id).unwrap().outbound_parked
}

#[test]
fn the_first_authentic_inbound_packet_activates() {
    let (mut gateway, mut old) = gateway_with_sa();
    let mut new = successor(&mut gateway, &old, LONG_MS);
    assert!(is_parked(&mut gateway, &new));
    old.expect_sent(&mut gateway, 2, "still through the old one");
    old.expect_opened(&mut gateway, "the old one receives");

    // A forged packet proves nothing.
    let before = gateway.counters();
    let packet = gateway.scapy.build(&inner(PROTECTED, HOST, 64, "forged"));
    let wire = gateway.scapy.seal(&new.sent_by_peer(), 1, &packet, Some("icv"));
    gateway.send_packet(Side::Wan, &wire);
    gateway.expect_counters(&before, &[("drop_integrity", 1)]);
    assert!(is_parked(&mut gateway, &new));
    old.expect_sent(&mut gateway, 3, "still through the old one");

    new.expect_opened(&mut gateway, "the peer has the new one");
    assert!(!is_parked(&mut gateway, &new));
    new.expect_sent(&mut gateway, 1, "through the new one");

    // The old one is deleted, and what the peer has sent before is still understood.
    gateway.controller.done(old.retire(LONG_MS));
    old.expect_opened(&mut gateway, "late");
    new.expect_opened(&mut gateway, "on time");
    new.expect_sent(&mut gateway, 2, "through the new one");
    gateway.wire.expect_silence();
}

#[test]
fn activate_activates() {
    let (mut gateway, old) = gateway_with_sa();
    let new = successor(&mut gateway, &old, 0);
    assert!(is_parked(&mut gateway, &new));
    old.expect_sent(&mut gateway, 2, "through the old one");
    gateway.controller.done(Operation::Activate(v1::Activate { child_sa: new.id }));
    assert!(!is_parked(&mut gateway, &new));
    new.expect_sent(&mut gateway, 1, "through the new one");
    gateway.controller.done(old.retire(0));
    new.expect_sent(&mut gateway, 2, "through the new one");
}

#[test]
fn the_fallback_activates() {
    let (mut gateway, old) = gateway_with_sa();
    let new = successor(&mut gateway, &old, 300);
    within(PATIENCE, "the fallback", || (!is_parked(&mut gateway, &new)).then_some(()));
    assert!(gateway.controller.child_sa(new.id).unwrap().age_ms >= 300);
    new.expect_sent(&mut gateway, 1, "through the new one");
}

/// Where there is no older SA, packets wait for the parked one.
#[test]
fn packets_wait_for_a_parked_sa() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let mut sa = ChildSa::prepare(&mut gateway, Suite::PLAIN);
    gateway.controller.done(sa.install_parked(LONG_MS));
    let before = gateway.counters();
    gateway.send_built(Side::Lan, &outbound(PROTECTED, "early"));
    gateway.expect_counters(&before, &[("acquire_queued", 1), ("sealed", 0)]);
    gateway.wire.expect_silence();
    sa.expect_opened(&mut gateway, "the peer is there");
    let sent = gateway.scapy.build(&inner(HOST, PROTECTED, 63, "early"));
    assert_eq!(sa.expect_sealed(&mut gateway, 1), sent);
    sa.expect_sent(&mut gateway, 2, "next");
}
