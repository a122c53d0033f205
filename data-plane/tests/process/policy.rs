//! The SPD decides (RFC 4301 sections 5.1 and 5.2), and each decision has its counter.

use crate::harness::{BYPASSED, ChildSa, DISCARDED, GATEWAY_LAN, Gateway, HOST, PROTECTED, Side, Suite, UNKNOWN, hex, inner, outbound};

#[test]
fn before_policies_arrive_nothing_is_forwarded() {
    let mut gateway = Gateway::start();
    let before = gateway.counters();
    for destination in [PROTECTED, DISCARDED, BYPASSED, UNKNOWN] {
        gateway.send_built(Side::Lan, &outbound(destination, "too early"));
        gateway.send_built(Side::Wan, &inner(destination, HOST, 64, "too early"));
    }
    gateway.expect_counters(&before, &[("drop_no_policy_set", 8)]);
    gateway.wire.expect_silence();
}

#[test]
fn outbound_packets_are_bypassed_discarded_or_unknown() {
    let mut gateway = Gateway::start();
    gateway.set_policies();

    let before = gateway.counters();
    gateway.send_built(Side::Lan, &outbound(BYPASSED, "in the clear"));
    let forwarded = gateway.scapy.build(&inner(HOST, BYPASSED, 63, "in the clear"));
    assert_eq!(hex(&gateway.wire.expect_packet(Side::Wan, "bypassed packet")), hex(&forwarded));
    gateway.expect_counters(&before, &[("bypassed_outbound", 1)]);

    expect_dropped(&mut gateway, Side::Lan, &outbound(DISCARDED, "x"), "drop_policy_discard");
    expect_dropped(&mut gateway, Side::Lan, &outbound(UNKNOWN, "x"), "drop_no_policy");
    expect_dropped(&mut gateway, Side::Lan, &inner("10.9.0.1", PROTECTED, 64, "x"), "drop_no_policy");
    expect_dropped(&mut gateway, Side::Lan, &inner(HOST, BYPASSED, 1, "x"), "drop_ttl_exceeded");

    let statuses = gateway.controller.stats().policies;
    let counted: Vec<_> = statuses.iter().map(|status| (status.id, status.packets, status.octets)).collect();
    // "in the clear" in UDP; the text of the other two is one octet.
    assert_eq!(counted, [(1, 0, 0), (2, 1, 29), (3, 2, 40 + 29)]);
}

#[test]
fn cleartext_from_the_unprotected_side_passes_by_bypass_only() {
    let mut gateway = Gateway::start();
    gateway.set_policies();

    let before = gateway.counters();
    gateway.send_built(Side::Wan, &inner(BYPASSED, HOST, 64, "in the clear"));
    let forwarded = gateway.scapy.build(&inner(BYPASSED, HOST, 63, "in the clear"));
    assert_eq!(hex(&gateway.wire.expect_packet(Side::Lan, "bypassed packet")), hex(&forwarded));
    gateway.expect_counters(&before, &[("bypassed_inbound", 1)]);

    expect_dropped(&mut gateway, Side::Wan, &inner(PROTECTED, HOST, 64, "x"), "drop_cleartext_protected");
    expect_dropped(&mut gateway, Side::Wan, &inner(PROTECTED, GATEWAY_LAN, 64, "x"), "drop_cleartext_protected");
    expect_dropped(&mut gateway, Side::Wan, &inner(DISCARDED, HOST, 64, "x"), "drop_policy_discard");
    expect_dropped(&mut gateway, Side::Wan, &inner(UNKNOWN, HOST, 64, "x"), "drop_no_policy");
}

/// An SA opens the door only for what was negotiated, whatever its peer puts inside (RFC 4301 section 5.2 step 4).
#[test]
fn an_inner_packet_outside_the_selectors_is_dropped() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let mut sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    sa.expect_opened(&mut gateway, "within");
    for (source, destination) in [("10.2.1.10", HOST), (BYPASSED, HOST), (PROTECTED, "10.1.1.10"), ("10.1.255.255", "10.2.0.0")] {
        let before = gateway.counters();
        sa.send_sealed(&mut gateway, &inner(source, destination, 64, "outside"));
        gateway.expect_counters(&before, &[("drop_selector_mismatch", 1), ("opened", 0)]);
    }
    gateway.wire.expect_silence();
}

/// What is no business of the gateway's is dropped by name, too.
#[test]
fn frames_that_cannot_be_forwarded_have_their_counters() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    expect_dropped(&mut gateway, Side::Lan, &inner(HOST, "224.0.0.5", 64, "x"), "drop_multicast");
    expect_dropped(&mut gateway, Side::Wan, &inner(PROTECTED, "192.0.2.1", 64, "x"), "drop_unwanted_by_gateway");
    let mac = gateway.lan_mac.clone();
    let frames = [
        (format!("Ether(src='02:00:00:00:00:09', dst='02:00:00:00:00:08')/{}", outbound(BYPASSED, "x")), "drop_not_for_us"),
        (format!("Ether(src='02:00:00:00:00:09', dst='{mac}', type=0x8847)/b'mpls'"), "drop_unknown_ethertype"),
        (format!("Ether(src='02:00:00:00:00:09', dst='{mac}', type=0x86dd)/b'six'"), "drop_malformed_ip"),
        (format!("Ether(src='02:00:00:00:00:09', dst='{mac}', type=0x0800)/b'short'"), "drop_malformed_ip"),
        (format!("Ether(src='02:00:00:00:00:09', dst='{mac}')/IP(src='{HOST}', dst='{BYPASSED}', chksum=1)/b'x'"), "drop_malformed_ip"),
    ];
    for (frame, counter) in frames {
        let before = gateway.counters();
        let frame = gateway.scapy.build(&frame);
        gateway.wire.send(Side::Lan, &frame);
        gateway.expect_counters(&before, &[(counter, 1)]);
    }
    gateway.wire.expect_silence();
}

fn expect_dropped(gateway: &mut Gateway, side: Side, packet: &str, counter: &str) {
    let before = gateway.counters();
    gateway.send_built(side, packet);
    gateway.expect_counters(&before, &[(counter, 1)]);
    gateway.wire.expect_silence();
}
