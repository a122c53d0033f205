//! Fragments to own addresses, as scapy cuts them: what they were cut from reaches its receiver, or is counted.

use culvert_proto::dataplane::v1;
use serde_json::json;

use crate::harness::{
    Driver, Frame, GATEWAY_LAN, GATEWAY_WAN, GATEWAY_WAN6, Gateway, HOST, Options, PATIENCE, PEER, PEER_MAC, PEER6, Side, address, unhex,
    within,
};

/// The IKE header of a message longer than any frame, as with certificates it will be: 3000 octets.
const HEADER: &str = "0102030405060708a1a2a3a4a5a6a7a82e2023080000000100000bb8";

/// The message, as an expression for scapy.
fn message() -> String {
    format!("(bytes.fromhex('{HEADER}') + b'Z' * 2972)")
}

fn datagram(local: &str, remote: &str) -> v1::Datagram {
    let (local_address, remote_address) = (address(local).into(), address(remote).into());
    v1::Datagram {
        local_address,
        local_port: 500,
        remote_address,
        remote_port: 61_000,
        payload: [unhex(HEADER), vec![b'Z'; 2972]].concat().into(),
    }
}

/// Sends each packet that scapy makes of an expression for a list of them, in the given order.
fn send(gateway: &mut Gateway, ethertype: [u8; 2], list: &str, order: &[usize]) {
    let destination = gateway.wan_mac.clone();
    for index in order {
        let packet = gateway.scapy.build(&format!("({list})[{index}]"));
        let ethernet = gateway.scapy.build(&format!("Ether(src='{PEER_MAC}', dst='{destination}')"));
        gateway.wire.send(Side::Wan, &[&ethernet[..12], &ethertype, &packet].concat());
    }
}

/// net_pcap, since with net_af_packet the kernel puts IPv4 fragments together.
#[test]
fn an_ike_message_in_ipv4_fragments_arrives_whole_in_any_order() {
    let mut gateway = Gateway::start_with(&Options { driver: Driver::Pcap, ..Options::default() });
    let mut punt = gateway.controller.open_punt();
    let orders: [&[usize]; 4] = [&[0, 1, 2], &[2, 1, 0], &[1, 2, 0], &[2, 2, 0, 0, 1]];
    for (id, order) in (1..).zip(orders) {
        let before = gateway.counters();
        let ip = format!("IP(src='{PEER}', dst='{GATEWAY_WAN}', id={id})");
        let list = format!("fragment({ip}/UDP(sport=61000, dport=500)/{}, 1200)", message());
        send(&mut gateway, [8, 0], &list, order);
        assert_eq!(gateway.controller.expect_datagram(&mut punt), datagram(GATEWAY_WAN, PEER));
        let copies = u64::try_from(order.len() - 3).unwrap();
        let fragments = u64::try_from(order.len()).unwrap();
        let rises = [("punted_fragment", fragments), ("reassembled", 1), ("ike_received", 1), ("fragments_duplicate", copies)];
        gateway.expect_counters(&before, &rises);
    }
}

#[test]
fn an_ike_message_in_ipv6_fragments_arrives_whole_in_any_order() {
    let mut gateway = Gateway::start_with(&Options { ipv6: true, ..Options::default() });
    let mut punt = gateway.controller.open_punt();
    let orders: [&[usize]; 3] = [&[0, 1, 2], &[2, 1, 0], &[1, 1, 0, 2]];
    for (id, order) in (1..).zip(orders) {
        let ip = format!("IPv6(src='{PEER6}', dst='{GATEWAY_WAN6}')/IPv6ExtHdrFragment(id={id})");
        let list = format!("fragment6({ip}/UDP(sport=61000, dport=500)/{}, 1280)", message());
        send(&mut gateway, [0x86, 0xdd], &list, order);
        assert_eq!(gateway.controller.expect_datagram(&mut punt), datagram(GATEWAY_WAN6, PEER6));
    }
    assert_eq!(gateway.counters().of("reassembled"), 3);
}

/// RFC 5722: nothing of the datagram is used, whatever comes later.
#[test]
fn fragments_that_overlap_spoil_their_datagram() {
    let mut gateway = Gateway::start_with(&Options { ipv6: true, ..Options::default() });
    let mut punt = gateway.controller.open_punt();
    let before = gateway.counters();
    let head = format!("IPv6(src='{PEER6}', dst='{GATEWAY_WAN6}')");
    let whole = format!("{head}/IPv6ExtHdrFragment(id=9)/UDP(sport=61000, dport=500)/{}", message());
    let evil = format!("{head}/IPv6ExtHdrFragment(id=9, offset=1, m=1, nh=17)/(b'evil' * 4)");
    let list = format!("fragment6({whole}, 1280) + [{evil}]");
    send(&mut gateway, [0x86, 0xdd], &list, &[0, 3, 1, 2, 0]);
    // Not exactly these alone: the kernel tells its link which groups it listens to.
    within(PATIENCE, "one overlap, and nothing of the datagram used", || {
        let now = gateway.counters();
        let rise = |name: &str| now.of(name) - before.of(name);
        let seen = ["punted_fragment", "reassembly_overlap", "fragments_given_up", "reassembled"].map(rise);
        (seen == [5, 1, 3, 0]).then_some(())
    });
    // The next message is not harmed.
    let list = format!("fragment6({}, 1280)", whole.replace("id=9", "id=10"));
    send(&mut gateway, [0x86, 0xdd], &list, &[2, 0, 1]);
    assert_eq!(gateway.controller.expect_datagram(&mut punt), datagram(GATEWAY_WAN6, PEER6));
}

/// ESP is not put together, and an echo request may come in pieces as long as the answer goes in one.
#[test]
fn esp_is_dropped_and_echo_answered() {
    let mut gateway = Gateway::start_with(&Options { driver: Driver::Pcap, ..Options::default() });
    let before = gateway.counters();
    let list = format!("fragment(IP(src='{PEER}', dst='{GATEWAY_WAN}', id=1, proto=50)/(b'x' * 2000), 1200)");
    send(&mut gateway, [8, 0], &list, &[0, 1]);
    gateway.expect_counters(&before, &[("drop_esp_fragment", 2), ("punted_fragment", 0)]);

    let before = gateway.counters();
    let echo =
        |id: u32, len: usize| format!("fragment(IP(src='{PEER}', dst='{GATEWAY_WAN}', id={id})/ICMP(id=7, seq={id})/(b'x' * {len}), 800)");
    send(&mut gateway, [8, 0], &echo(2, 1472), &[1, 0]);
    let reply = gateway.wire.expect(Side::Wan, "echo reply", |frame| frame.ipv4().map(|_| frame.to_vec()));
    let read = gateway.scapy.read(&reply, "[p[IP].src, p[ICMP].type, p[ICMP].seq, len(p[Raw].load), p[IP].flags.MF]");
    assert_eq!(read, json!([GATEWAY_WAN, 0, 2, 1472, false]));
    assert!(gateway.scapy.approves(&reply));
    send(&mut gateway, [8, 0], &echo(3, 1473), &[0, 1]);
    gateway.expect_counters(&before, &[("reassembled", 2), ("icmp_echo_replies", 1), ("icmp_too_big", 1), ("punted_fragment", 4)]);
    // Only what the gateway has a use for is kept.
    let before = gateway.counters();
    let tcp = format!("fragment(IP(src='{HOST}', dst='{GATEWAY_WAN}', id=4)/TCP()/(b'x' * 1000), 800)");
    send(&mut gateway, [8, 0], &tcp, &[0]);
    let inside = format!("fragment(IP(src='{HOST}', dst='{GATEWAY_LAN}', id=5)/UDP()/(b'x' * 1000), 800)");
    let inside = gateway.scapy.build(&format!("({inside})[0]"));
    gateway.send_packet(Side::Lan, &inside);
    gateway.expect_counters(&before, &[("drop_unwanted_by_gateway", 2), ("punted_fragment", 0)]);
}
