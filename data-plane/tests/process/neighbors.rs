//! The gateway among its neighbours: ARP and ICMP echo, answered and asked.

use serde_json::json;

use crate::harness::{
    BYPASSED, ChildSa, Frame, GATEWAY_LAN, GATEWAY_WAN, Gateway, HOST, HOST_MAC, PEER, PEER_MAC, PROTECTED, Side, Suite, inner,
};

#[test]
fn arp_and_echo_are_answered_on_own_addresses() {
    let mut gateway = Gateway::start();
    let lan = (Side::Lan, HOST, HOST_MAC, GATEWAY_LAN, gateway.lan_mac.clone());
    let wan = (Side::Wan, PEER, PEER_MAC, GATEWAY_WAN, gateway.wan_mac.clone());
    for (side, address, mac, own, own_mac) in [lan, wan] {
        let request = format!(
            "Ether(src='{mac}', dst='ff:ff:ff:ff:ff:ff')/ARP(op=1, hwsrc='{mac}', psrc='{address}', hwdst='00:00:00:00:00:00', pdst='{own}')"
        );
        let request = gateway.scapy.build(&request);
        gateway.wire.send(side, &request);
        let reply = gateway.wire.expect(side, "ARP reply", |frame| (frame[12..14] == [8, 6] && frame[21] == 2).then(|| frame.to_vec()));
        let read = gateway.scapy.read(&reply, "[p.src, p.dst, p[ARP].hwsrc, p[ARP].psrc, p[ARP].hwdst, p[ARP].pdst]");
        assert_eq!(read, json!([own_mac, mac, own_mac, own, mac, address]));

        gateway.send_built(side, &format!("IP(src='{address}', dst='{own}')/ICMP(id=77, seq=3)/b'are you there?'"));
        let reply = gateway.wire.expect(side, "echo reply", |frame| frame.ipv4().map(|_| frame.to_vec()));
        assert!(gateway.scapy.approves(&reply));
        let read = "[p.src, p.dst, p[IP].src, p[IP].dst, p[ICMP].type, p[ICMP].id, p[ICMP].seq, p[Raw].load.decode()]";
        let read = gateway.scapy.read(&reply, read);
        assert_eq!(read, json!([own_mac, mac, own, address, 0, 77, 3, "are you there?"]));
    }
    gateway.wire.expect_silence();
}

/// An address of the gateway may be inside a tunnel: the reply goes back the same way.
#[test]
fn an_echo_through_a_tunnel_is_answered_through_it() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let mut sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    sa.send_sealed(&mut gateway, &format!("IP(src='{PROTECTED}', dst='{GATEWAY_LAN}')/ICMP(id=77, seq=4)/b'inside'"));
    let reply = sa.expect_sealed(&mut gateway, 1);
    let frame = [&[0; 12], &[8, 0][..], &reply].concat();
    assert!(gateway.scapy.approves(&frame));
    let read = gateway.scapy.read(&frame, "[p[IP].src, p[IP].dst, p[ICMP].type, p[ICMP].seq, p[Raw].load.decode()]");
    assert_eq!(read, json!([GATEWAY_LAN, PROTECTED, 0, 4, "inside"]));
}

#[test]
fn a_packet_waits_until_its_neighbour_answers() {
    const LATE: &str = "10.1.0.77";
    const LATE_MAC: &str = "02:00:00:00:01:77";
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let before = gateway.counters();
    for n in 1..=3 {
        gateway.send_built(Side::Wan, &inner(BYPASSED, LATE, 64, &format!("packet {n}")));
    }
    gateway.expect_counters(&before, &[("neighbor_queued", 3), ("bypassed_inbound", 0)]);
    let request = gateway.wire.expect(Side::Lan, "ARP request", |frame| (frame[12..14] == [8, 6]).then(|| frame.to_vec()));
    let read = gateway.scapy.read(&request, "[p.src, p.dst, p[ARP].op, p[ARP].hwsrc, p[ARP].psrc, p[ARP].pdst]");
    let mac = gateway.lan_mac.clone();
    assert_eq!(read, json!([mac, "ff:ff:ff:ff:ff:ff", 1, mac, GATEWAY_LAN, LATE]));

    // It answers one of the requests that are repeated.
    gateway.wire.add_host(Side::Lan, LATE.parse().unwrap(), LATE_MAC);
    for n in 1..=3 {
        let frame = gateway.wire.expect(Side::Lan, "delivered packet", |frame| frame.ipv4().map(|_| frame.to_vec()));
        assert_eq!(gateway.scapy.read(&frame, "[p.dst, p[Raw].load.decode()]"), json!([LATE_MAC, format!("packet {n}")]));
    }
    gateway.expect_counters(&before, &[("neighbor_queued", 3), ("bypassed_inbound", 3)]);
}

#[test]
fn a_packet_for_nobody_is_given_up() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let before = gateway.counters();
    gateway.send_built(Side::Wan, &inner(BYPASSED, "10.1.0.99", 64, "nobody"));
    gateway.expect_counters(&before, &[("neighbor_queued", 1), ("drop_neighbor_timeout", 1), ("bypassed_inbound", 0)]);
    gateway.wire.expect_silence();
}
