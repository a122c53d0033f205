//! IKE travels between the network and the controller through the punt stream.

use culvert_proto::dataplane::v1;
use serde_json::json;

use crate::harness::{Driver, Frame, GATEWAY_WAN, Gateway, Options, PEER, PEER_MAC, Side, address, hex, unhex};

/// An IKE header (RFC 7296 section 3.1) of an IKE_SA_INIT request, and some octets behind it.
const MESSAGE: &str = "0102030405060708000000000000000021202208000000000000002cdeadbeefdeadbeefdeadbeefdeadbeef";
/// The same within an IKE SA: it has a responder's SPI.
const IN_SESSION: &str = "0102030405060708a1a2a3a4a5a6a7a82e202508000000010000002cdeadbeefdeadbeefdeadbeefdeadbeef";

#[test]
fn ike_arrives_and_leaves_on_both_ports() {
    let mut gateway = Gateway::start();
    // IKE speaks before there is any policy.
    let mut punt = gateway.controller.open_punt();
    for (port, marker) in [(500, ""), (4500, "00000000")] {
        for message in [MESSAGE, IN_SESSION] {
            let before = gateway.counters();
            gateway.send_built(Side::Wan, &ike(port, &format!("{marker}{message}")));
            let expected = v1::Datagram {
                local_address: address(GATEWAY_WAN).into(),
                local_port: port,
                remote_address: address(PEER).into(),
                remote_port: 61_000,
                payload: unhex(message).into(),
            };
            assert_eq!(gateway.controller.expect_datagram(&mut punt), expected);
            gateway.expect_counters(&before, &[("punted_ike", 1), ("ike_received", 1)]);

            // The gateway finds its peer by ARP, builds the headers, and scapy finds nothing wrong with them.
            gateway.controller.send_datagram(&punt, expected);
            let frame = gateway.wire.expect(Side::Wan, "IKE reply", |frame| frame.ipv4().map(|_| frame.to_vec()));
            assert!(gateway.scapy.approves(&frame), "{}", hex(&frame));
            let read = "[p.src, p.dst, p[IP].src, p[IP].dst, p[UDP].sport, p[UDP].dport, p[UDP].chksum != 0, bytes(p[UDP].payload).hex()]";
            let expected = json!([gateway.wan_mac, PEER_MAC, GATEWAY_WAN, PEER, port, 61_000, true, format!("{marker}{message}")]);
            assert_eq!(gateway.scapy.read(&frame, read), expected);
        }
    }
    gateway.wire.expect_silence();
}

/// RFC 3948 section 2.3: one octet, and no marker that would make an IKE message of it.
#[test]
fn a_nat_keepalive_leaves_without_a_marker() {
    let mut gateway = Gateway::start();
    let punt = gateway.controller.open_punt();
    let ends = v1::Datagram {
        local_address: address(GATEWAY_WAN).into(),
        local_port: 4500,
        remote_address: address(PEER).into(),
        remote_port: 61_000,
        ..v1::Datagram::default()
    };
    let before = gateway.counters();
    gateway.controller.send_keep_alive(&punt, ends);
    let frame = gateway.wire.expect(Side::Wan, "NAT-keepalive", |frame| frame.ipv4().map(|_| frame.to_vec()));
    assert!(gateway.scapy.approves(&frame), "{}", hex(&frame));
    let read = "[p[IP].src, p[IP].dst, p[UDP].sport, p[UDP].dport, p[UDP].len, bytes(p[UDP].payload)[:1].hex()]";
    assert_eq!(gateway.scapy.read(&frame, read), json!([GATEWAY_WAN, PEER, 4500, 61_000, 9, "ff"]));
    gateway.expect_counters(&before, &[("nat_keepalives_sent", 1), ("ike_sent", 0)]);
}

/// However long the packets are that the link takes.
#[test]
fn a_long_message_on_a_jumbo_link_arrives() {
    let mut gateway = Gateway::start_with(&Options { driver: Driver::Pcap, mtu: 9000, ..Options::default() });
    let mut punt = gateway.controller.open_punt();
    let message = format!("{IN_SESSION}{}", "5a".repeat(9000 - 28 - IN_SESSION.len() / 2));
    gateway.send_built(Side::Wan, &ike(500, &message));
    assert!(gateway.controller.expect_datagram(&mut punt).payload == unhex(&message), "it has changed under way");
}

#[test]
fn what_is_no_ike_is_not_punted() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let _punt = gateway.controller.open_punt();
    let udp = |options: &str, payload: &str| format!("IP(src='{PEER}', dst='{GATEWAY_WAN}')/UDP({options})/bytes.fromhex('{payload}')");
    let cases = [
        (ike(500, &MESSAGE[..54]), "drop_malformed_ike"),
        (udp("sport=500, dport=500, chksum=1", MESSAGE), "drop_malformed_ike"),
        (ike(4500, "ff"), "nat_keepalive"),
        (ike(4500, MESSAGE), "drop_spi_unknown"),
        (ike(4501, MESSAGE), "drop_unwanted_by_gateway"),
    ];
    for (packet, counter) in cases {
        let before = gateway.counters();
        gateway.send_built(Side::Wan, &packet);
        gateway.expect_counters(&before, &[(counter, 1), ("punted_ike", 0)]);
    }
}

/// Without a controller that listens IKE is dropped, and counted.
#[test]
fn without_a_punt_stream_ike_is_counted() {
    let mut gateway = Gateway::start();
    let before = gateway.counters();
    gateway.send_built(Side::Wan, &ike(500, MESSAGE));
    gateway.expect_counters(&before, &[("punted_ike", 1), ("ike_without_controller", 1)]);
}

/// The controller may speak from the gateway's own addresses only.
#[test]
fn a_datagram_from_a_foreign_address_is_not_sent() {
    let mut gateway = Gateway::start();
    let punt = gateway.controller.open_punt();
    let before = gateway.counters();
    let datagram = v1::Datagram {
        local_address: address("192.0.2.77").into(),
        local_port: 500,
        remote_address: address(PEER).into(),
        remote_port: 500,
        payload: unhex(MESSAGE).into(),
    };
    gateway.controller.send_datagram(&punt, datagram);
    gateway.expect_counters(&before, &[("ike_refused", 1), ("ike_sent", 0)]);
    gateway.wire.expect_silence();
}

fn ike(port: u32, payload: &str) -> String {
    format!("IP(src='{PEER}', dst='{GATEWAY_WAN}')/UDP(sport=61000, dport={port})/bytes.fromhex('{payload}')")
}
