//! Fragments to own addresses, as scapy cuts them: what they were cut from reaches its receiver, or is counted. And own packets beyond the MTU, which
//! scapy puts together.

use culvert_proto::dataplane::v1;
use serde_json::json;

use crate::harness::{
    ChildSa, Driver, Frame, GATEWAY_LAN, GATEWAY_WAN, GATEWAY_WAN6, Gateway, HOST, Options, PATIENCE, PEER, PEER_MAC, PEER6, PROTECTED,
    Side, Suite, address, hex, unhex, within,
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

/// What scapy makes of fragments of an IP version.
fn whole(gateway: &mut Gateway, version: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let list: Vec<String> = parts.iter().map(|part| format!("{version}(bytes.fromhex('{}'))", hex(part))).collect();
    let list = list.join(", ");
    let whole = if version == "IP" { format!("defragment([{list}])[0]") } else { format!("defragment6([{list}])") };
    gateway.scapy.build(&whole)
}

#[test]
fn an_ike_message_longer_than_the_mtu_leaves_in_fragments_of_either_version() {
    let mut gateway = Gateway::start_with(&Options { ipv6: true, ..Options::default() });
    let punt = gateway.controller.open_punt();
    gateway.controller.send_datagram(&punt, datagram(GATEWAY_WAN, PEER));
    let parts = [(); 3].map(|()| gateway.wire.expect_packet(Side::Wan, "part of the IKE message"));
    assert_eq!(parts.each_ref().map(Vec::len), [1500, 1500, 20 + 3008 - 2960]);
    let sent = whole(&mut gateway, "IP", &parts);
    let id = u16::from_be_bytes([sent[4], sent[5]]);
    let udp = format!("UDP(sport=500, dport=61000)/{}", message());
    let expected = gateway.scapy.build(&format!("IP(src='{GATEWAY_WAN}', dst='{PEER}', id={id})/{udp}"));
    assert_eq!(hex(&sent), hex(&expected));

    gateway.controller.send_datagram(&punt, datagram(GATEWAY_WAN6, PEER6));
    let is_fragment = |frame: &[u8]| (frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&44)).then(|| frame[14..].to_vec());
    let parts = [(); 3].map(|()| gateway.wire.expect(Side::Wan, "part of the IKE message", is_fragment));
    assert_eq!(parts.each_ref().map(Vec::len), [1496, 1496, 48 + 3008 - 2896]);
    let expected = gateway.scapy.build(&format!("IPv6(src='{GATEWAY_WAN6}', dst='{PEER6}')/{udp}"));
    assert_eq!(hex(&whole(&mut gateway, "IPv6", &parts)), hex(&expected));
    assert_eq!(["ike_sent", "own_fragmented"].map(|name| gateway.counters().of(name)), [2, 2]);
}

/// What a tunnel made too long for the path: put together, it is opened, and cut again for the link of its host.
#[test]
fn esp_in_fragments_is_opened_plain_and_in_udp_and_once() {
    for udp in [false, true] {
        let mut gateway = Gateway::start_with(&Options { driver: Driver::Pcap, ..Options::default() });
        gateway.set_policies();
        let sa = ChildSa::installed(&mut gateway, Suite { udp, ..Suite::PLAIN });
        let inner = |ttl: u8| format!("IP(src='{PROTECTED}', dst='{HOST}', id=7, ttl={ttl})/ICMP()/(b'x' * 3972)");
        let packet = gateway.scapy.build(&inner(64));
        let sealed = gateway.scapy.seal(&sa.sent_by_peer(), 1, &packet, None);
        let list = format!("fragment(IP(bytes.fromhex('{}')), 1400)", hex(&sealed));
        let before = gateway.counters();
        send(&mut gateway, [8, 0], &list, &[2, 0, 1]);
        let parts = [(); 3].map(|()| gateway.wire.expect_packet(Side::Lan, "part of the opened packet"));
        let expected = gateway.scapy.build(&inner(63));
        assert_eq!(hex(&whole(&mut gateway, "IP", &parts)), hex(&expected));
        gateway.expect_counters(
            &before,
            &[("punted_fragment", 3), ("reassembly_esp", 1), ("opened", 1), ("fragment_sent", 2), ("fragmented", 1)],
        );
        let before = gateway.counters();
        send(&mut gateway, [8, 0], &list, &[0, 1, 2]);
        gateway.expect_counters(&before, &[("reassembly_esp", 1), ("drop_replay", 1), ("opened", 0)]);
    }
}

/// The driver's buffers are as long as the MTU demands: a longer frame comes in several of them.
#[test]
fn a_frame_in_several_segments_is_copied_into_one_and_cut_for_its_sa() {
    let mut gateway = Gateway::start_with(&Options { driver: Driver::Pcap, ..Options::default() });
    gateway.widen_cables(9000);
    gateway.set_policies();
    let sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    let packet = |ttl: u8| format!("IP(src='{HOST}', dst='{PROTECTED}', id=7, ttl={ttl})/ICMP()/(b'x' * 3972)");
    let before = gateway.counters();
    gateway.send_built(Side::Lan, &packet(64));
    let parts = [1, 2, 3].map(|number| sa.expect_sealed(&mut gateway, number));
    let expected = gateway.scapy.build(&packet(63));
    assert_eq!(hex(&whole(&mut gateway, "IP", &parts)), hex(&expected));
    gateway.expect_counters(&before, &[("linearised", 1), ("fragmented", 1), ("sealed", 3), ("drop_malformed_frame", 0)]);
}

/// An echo request may come in pieces, and the answer goes in as many as it needs.
#[test]
fn echo_in_fragments_is_answered() {
    let mut gateway = Gateway::start_with(&Options { driver: Driver::Pcap, ..Options::default() });

    let before = gateway.counters();
    let echo =
        |id: u32, len: usize| format!("fragment(IP(src='{PEER}', dst='{GATEWAY_WAN}', id={id})/ICMP(id=7, seq={id})/(b'x' * {len}), 800)");
    send(&mut gateway, [8, 0], &echo(2, 1472), &[1, 0]);
    let reply = gateway.wire.expect(Side::Wan, "echo reply", |frame| frame.ipv4().map(|_| frame.to_vec()));
    let read = gateway.scapy.read(&reply, "[p[IP].src, p[ICMP].type, p[ICMP].seq, len(p[Raw].load), p[IP].flags.MF]");
    assert_eq!(read, json!([GATEWAY_WAN, 0, 2, 1472, false]));
    assert!(gateway.scapy.approves(&reply));
    send(&mut gateway, [8, 0], &echo(3, 1473), &[0, 1]);
    let parts = [(); 2].map(|()| gateway.wire.expect_packet(Side::Wan, "part of the echo reply"));
    let reply = whole(&mut gateway, "IP", &parts);
    let expected = gateway.scapy.build(&format!(
        "IP(src='{GATEWAY_WAN}', dst='{PEER}', id={})/ICMP(type=0, id=7, seq=3)/(b'x' * 1473)",
        u16::from_be_bytes([reply[4], reply[5]])
    ));
    assert_eq!(hex(&reply), hex(&expected));
    gateway.expect_counters(&before, &[("reassembled", 2), ("icmp_echo_replies", 2), ("own_fragmented", 1), ("punted_fragment", 4)]);
    // Only what the gateway has a use for is kept.
    let before = gateway.counters();
    let tcp = format!("fragment(IP(src='{HOST}', dst='{GATEWAY_WAN}', id=4)/TCP()/(b'x' * 1000), 800)");
    send(&mut gateway, [8, 0], &tcp, &[0]);
    let inside = format!("fragment(IP(src='{HOST}', dst='{GATEWAY_LAN}', id=5)/UDP()/(b'x' * 1000), 800)");
    let inside = gateway.scapy.build(&format!("({inside})[0]"));
    gateway.send_packet(Side::Lan, &inside);
    gateway.expect_counters(&before, &[("drop_unwanted_by_gateway", 2), ("punted_fragment", 0)]);
}
