//! Rekeying loses nothing (RFC 7296 section 2.8): the new SA receives at once and sends when the peer is known to have it.

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::operation::Operation;

use std::collections::BTreeMap;

use crate::harness::{ChildSa, Gateway, HOST, Options, PATIENCE, PROTECTED, Side, Suite, hex, inner, outbound, within};

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

/// How a parked SA comes to carry packets.
const WAYS: [fn(&mut Gateway, &ChildSa, &mut ChildSa); 3] = [
    |gateway, _, new| gateway.controller.done(Operation::Activate(v1::Activate { child_sa: new.id })),
    |gateway, _, new| {
        new.send_sealed(gateway, &inner(PROTECTED, HOST, 64, &format!("in {} first", new.id)));
    },
    // The old one just goes.
    |_, _, _| (),
];

/// A stream both ways, in UDP of many ports so that each worker has its share, while SAs replace each other: each packet arrives once.
fn stream(workers: Vec<usize>) {
    const REKEYS: u64 = 12;
    const PACKETS: u64 = 12;
    let mut gateway = Gateway::start_with(&Options { workers, ..Options::default() });
    gateway.set_policies();
    let mut old = ChildSa::installed(&mut gateway, Suite::PLAIN);
    old.expect_sent(&mut gateway, 1, "warm");
    old.expect_opened(&mut gateway, "warm");
    let before = gateway.counters();
    let (mut sent, mut received) = (0, 0);
    let mut sas = BTreeMap::from([(old.outbound_spi, old.clone())]);
    let mut send = |gateway: &mut Gateway, from: Option<&mut ChildSa>| {
        for _ in 0..PACKETS {
            let text = format!("IP(src='{HOST}', dst='{PROTECTED}')/UDP(sport={}, dport=53)/b'out {sent}'", 20_000 + sent);
            gateway.send_built(Side::Lan, &text);
            sent += 1;
        }
        let Some(from) = from else { return };
        for _ in 0..PACKETS {
            from.send_sealed(gateway, &inner(PROTECTED, HOST, 64, &format!("in {received}")));
            received += 1;
        }
    };
    let mut extra = 0;
    for round in 0..REKEYS {
        send(&mut gateway, Some(&mut old));
        let mut new = successor(&mut gateway, &old, LONG_MS);
        sas.insert(new.outbound_spi, new.clone());
        send(&mut gateway, Some(&mut old));
        let way = usize::try_from(round).unwrap() % WAYS.len();
        WAYS[way](&mut gateway, &old, &mut new);
        extra += u64::from(way == 1);
        send(&mut gateway, None);
        gateway.controller.done(old.retire(5000));
        // What the peer sent before it took the new one up is still under way.
        send(&mut gateway, Some(&mut old));
        old = new;
    }
    let (out, into) = (REKEYS * 4 * PACKETS, REKEYS * 3 * PACKETS + extra);
    let mut texts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for _ in 0..out {
        let wire = gateway.wire.expect_packet(Side::Wan, "sealed packet");
        let spi = u32::from_be_bytes(wire[20..24].try_into().unwrap());
        let opened = gateway.scapy.open(&sas[&spi].sent_by_gateway(), 0, &wire).unwrap_or_else(|e| panic!("{e} of {}", hex(&wire)));
        *texts.entry(opened.inner[28..].to_vec()).or_default() += 1;
    }
    let expected: BTreeMap<_, _> = (0..out).map(|n| (format!("out {n}").into_bytes(), 1)).collect();
    assert_eq!(texts, expected);
    let mut texts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for _ in 0..into {
        *texts.entry(gateway.wire.expect_packet(Side::Lan, "opened packet")[28..].to_vec()).or_default() += 1;
    }
    assert!(texts.len() as u64 == into && texts.values().all(|times| *times == 1), "{texts:?}");
    // Nothing waited for an SA, and nothing was dropped.
    gateway.expect_counters(&before, &[("sealed", out), ("opened", into), ("acquire_queued", 0)]);
    gateway.wire.expect_silence();
}

#[test]
fn a_stream_loses_and_doubles_nothing_through_rekeys() {
    stream(vec![0]);
}

#[test]
fn a_stream_over_two_workers_loses_and_doubles_nothing_either() {
    stream(vec![0, 1]);
}
