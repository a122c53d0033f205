//! ESP through the whole process against scapy's, which shares no code with ours: it opens what the gateway seals, the gateway opens what it seals, and
//! each fault ends in its own drop counter.

use crate::harness::{ChildSa, Gateway, HOST, PROTECTED, Side, Suite, WINDOW, inner};

/// Every suite through this gateway, in both directions.
pub(crate) fn all_suites(gateway: &mut Gateway) {
    for suite in Suite::all() {
        let mut sa = ChildSa::installed(gateway, suite);
        seals(gateway, &sa);
        opens(gateway, &mut sa);
        gateway.controller.done(sa.retire(0));
    }
    gateway.wire.expect_silence();
}

#[test]
fn the_gateway_and_scapy_understand_each_other() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    all_suites(&mut gateway);
}

#[test]
fn each_fault_has_its_own_drop_counter() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    for suite in Suite::all() {
        let mut sa = ChildSa::installed(&mut gateway, suite);
        faults(&mut gateway, &mut sa);
        replays(&mut gateway, &mut sa);
        gateway.controller.done(sa.retire(0));
    }
    gateway.wire.expect_silence();
}

/// With extended sequence numbers both ends go on where the low half of the number wraps (RFC 4303 appendix A).
#[test]
fn an_extended_number_crosses_32_bits() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    for suite in Suite::all().into_iter().filter(|suite| suite.esn) {
        let mut sa = ChildSa::installed(&mut gateway, suite);
        // The receiver follows a jump ahead as long as its window lies behind it whole.
        for number in [1000, 0xffff_fff0, 0xffff_ffff, 1 << 32, (1 << 32) + 1] {
            sa.skip_to(number);
            sa.expect_opened(&mut gateway, &format!("number {number}"));
        }
        // A late one, from before the wrap and within the window.
        sa.skip_to(0xffff_fffe);
        sa.expect_opened(&mut gateway, "late");
        gateway.controller.done(sa.retire(0));
    }
}

/// Several sizes, numbered from 1 on.
fn seals(gateway: &mut Gateway, sa: &ChildSa) {
    let before = gateway.counters();
    for (number, len) in (1..).zip([0, 1, 2, 3, 4, 500, 1300]) {
        sa.expect_sent(gateway, number, &"x".repeat(len));
    }
    gateway.expect_counters(&before, &[("sealed", 7)]);
    let listed = gateway.controller.child_sa(sa.id).unwrap();
    assert_eq!((listed.outbound_packets, listed.outbound_sequence), (7, 8));
    assert_eq!(listed.outbound_octets, 7 * 28 + 10 + 1800);
}

fn opens(gateway: &mut Gateway, sa: &mut ChildSa) {
    let before = gateway.counters();
    for len in [0, 1, 2, 3, 4, 500, 1300] {
        sa.expect_opened(gateway, &"x".repeat(len));
    }
    gateway.expect_counters(&before, &[("opened", 7)]);
    let listed = gateway.controller.child_sa(sa.id).unwrap();
    assert_eq!((listed.inbound_packets, listed.inbound_octets), (7, 7 * 28 + 10 + 1800));
}

fn faults(gateway: &mut Gateway, sa: &mut ChildSa) {
    sa.expect_opened(gateway, "the first");
    let inner = gateway.scapy.build(&inner(PROTECTED, HOST, 64, "faulty"));
    let faults = [
        ("icv", "drop_integrity"),
        ("payload", "drop_integrity"),
        ("runt", "drop_esp_runt"),
        ("spi", "drop_spi_unknown"),
        ("padding", "drop_bad_padding"),
        ("next_header", "drop_bad_next_header"),
        ("dummy", "dummy"),
    ];
    for (fault, counter) in faults {
        let before = gateway.counters();
        let wire = gateway.scapy.seal(&sa.sent_by_peer(), sa.next_number(), &inner, Some(fault));
        // What is authentic has used its number up, whatever is wrong inside.
        sa.skip_to(sa.next_number() + 1);
        gateway.send_packet(Side::Wan, &wire);
        gateway.expect_counters(&before, &[(counter, 1), ("opened", 0)]);
    }
}

fn replays(gateway: &mut Gateway, sa: &mut ChildSa) {
    let packet = inner(PROTECTED, HOST, 64, "old");
    sa.skip_to(20);
    sa.expect_opened(gateway, "the twentieth");
    let old = {
        let inner = gateway.scapy.build(&packet);
        gateway.scapy.seal(&sa.sent_by_peer(), 20, &inner, None)
    };
    resend(gateway, &old, "drop_replay");

    // Number 20 is now the last one in the window.
    sa.skip_to(20 + WINDOW - 1);
    sa.expect_opened(gateway, "window full");
    resend(gateway, &old, "drop_replay");
    // And now the first below it. With ESN a number below the window means one 2^32 higher (RFC 4303 appendix A2), so that an old packet fails its
    // integrity check instead.
    sa.expect_opened(gateway, "window moved");
    resend(gateway, &old, if sa.suite.esn { "drop_integrity" } else { "drop_out_of_window" });
    // One that is late, but within the window and new.
    sa.skip_to(21);
    sa.expect_opened(gateway, "late");

    if sa.suite.esn {
        // As long as the window reaches below zero, numbers from before the first are out of it.
        let fresh = ChildSa::installed(gateway, sa.suite);
        let inner = gateway.scapy.build(&packet);
        let wire = gateway.scapy.seal(&fresh.sent_by_peer(), 0xffff_fff0, &inner, None);
        resend(gateway, &wire, "drop_out_of_window");
        gateway.controller.done(fresh.retire(0));
    }
}

fn resend(gateway: &mut Gateway, wire: &[u8], counter: &str) {
    let before = gateway.counters();
    gateway.send_packet(Side::Wan, wire);
    gateway.expect_counters(&before, &[(counter, 1), ("opened", 0)]);
}
