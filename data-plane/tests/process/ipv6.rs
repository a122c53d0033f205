//! The gateway among IPv6 neighbours. The kernel is host and peer: it judges Neighbor Discovery, and is judged by nobody.

use culvert_proto::dataplane::v1;
use serde_json::json;

use crate::harness::{GATEWAY_LAN6, GATEWAY_WAN6, Gateway, HOST_MAC, Options, PATIENCE, PEER6, Side, address, within};

fn gateway() -> Gateway {
    Gateway::start_with(&Options { ipv6: true, ..Options::default() })
}

/// The address that a port makes of its MAC address, by scapy.
fn link_local(gateway: &mut Gateway, mac: &str) -> String {
    let read = format!("in6_ptop('fe80::' + in6_mactoifaceid('{mac}'))");
    gateway.scapy.read(&[0; 60], &read).as_str().unwrap().to_owned()
}

#[test]
fn the_kernel_finds_and_pings_the_gateway() {
    let mut gateway = gateway();
    let (lan_mac, wan_mac) = (gateway.lan_mac.clone(), gateway.wan_mac.clone());
    let on_link = link_local(&mut gateway, &lan_mac);
    for (target, link, mac) in [(GATEWAY_LAN6, "lan", &lan_mac), (GATEWAY_WAN6, "wan", &wan_mac), (&on_link, "lan", &lan_mac)] {
        let said = gateway.outside(&format!("ping -6 -n -c 1 -W 20 -I {link} {target}"));
        assert!(said.contains(" 0% packet loss"), "{said}");
        let entry = gateway.outside(&format!("ip -6 neigh show {target} dev {link}"));
        assert!(entry.contains(&format!("lladdr {mac} router")) && entry.contains("REACHABLE"), "{entry}");
    }
    // Everybody on the link, as much as the MTU carries, and more.
    let said = gateway.outside("ping -6 -n -c 1 -W 20 -I lan ff02::1");
    assert!(said.contains(&on_link), "{said}");
    gateway.outside(&format!("ping -6 -n -c 1 -W 20 -s {} {GATEWAY_WAN6}", 1500 - 40 - 8));
    let before = gateway.counters();
    gateway.outside(&format!("ping -6 -n -c 1 -W 20 -s 3000 {GATEWAY_WAN6}"));
    let rise = |gateway: &mut Gateway, name: &str| gateway.counters().of(name) - before.of(name);
    assert_eq!(["reassembled", "own_fragmented"].map(|name| rise(&mut gateway, name)), [1, 1]);
}

#[test]
fn the_gateway_finds_the_kernel() {
    let mut gateway = gateway();
    let punt = gateway.controller.open_punt();
    let (local_address, remote_address) = (address(GATEWAY_WAN6).into(), address(PEER6).into());
    let datagram = v1::Datagram { local_address, local_port: 500, remote_address, remote_port: 500, payload: vec![7; 28].into() };
    gateway.controller.send_datagram(&punt, datagram);
    let is_ipv6 =
        |frame: &[u8], next: u8| (frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&next)).then(|| frame.to_vec());
    let solicitation = gateway.wire.expect(Side::Wan, "solicitation", |frame| is_ipv6(frame, 58).filter(|frame| frame[54] == 135));
    let wan_mac = gateway.wan_mac.clone();
    let on_link = link_local(&mut gateway, &wan_mac);
    let read = "[p.dst, p[IPv6].src, p[IPv6].dst, p[IPv6].hlim, p[ICMPv6ND_NS].tgt, p[ICMPv6NDOptSrcLLAddr].lladdr]";
    let expected = json!(["33:33:ff:00:00:02", on_link, "ff02::1:ff00:2", 255, PEER6, wan_mac]);
    assert_eq!(gateway.scapy.read(&solicitation, read), expected);
    let message = gateway.wire.expect(Side::Wan, "IKE message", |frame| is_ipv6(frame, 17));
    let mac = gateway.outside("ip -o link show dev wan | grep -o 'link/ether [0-9a-f:]*' | cut -d' ' -f2");
    assert_eq!(gateway.scapy.read(&message, "[p.dst, p[UDP].dport, p[UDP].chksum != 0]"), json!([mac.trim(), 500, true]));
    assert!(gateway.scapy.approves(&message));
    let stats = gateway.counters();
    assert!(stats.of("neighbor_solicitations") >= 1 && stats.of("ike_sent") == 1);
}

#[test]
fn ike_over_ipv6_is_punted_and_needs_a_checksum() {
    let mut gateway = gateway();
    assert!(gateway.attached.local_addresses.contains(&address(GATEWAY_WAN6)), "where IKE may speak from");
    assert_eq!(gateway.attached.local_addresses.len(), 2, "no link-local address among them");
    let mut punt = gateway.controller.open_punt();
    let ike = "0102030405060708000000000000000021202208000000000000001c";
    let wan_mac = gateway.wan_mac.clone();
    let on_link = link_local(&mut gateway, &wan_mac);
    let frame = |destination: &str, udp: &str| {
        format!("Ether(src='{HOST_MAC}', dst='{wan_mac}')/IPv6(src='{PEER6}', dst='{destination}')/{udp}/bytes.fromhex('{ike}')")
    };
    let before = gateway.counters();
    for (destination, udp) in [
        (GATEWAY_WAN6, "UDP(sport=500, dport=500, chksum=0)"),
        (&on_link, "UDP(sport=500, dport=500)"),
        (GATEWAY_WAN6, "UDP(sport=500, dport=500)"),
    ] {
        let frame = gateway.scapy.build(&frame(destination, udp));
        gateway.wire.send(Side::Wan, &frame);
    }
    let datagram = gateway.controller.expect_datagram(&mut punt);
    assert_eq!((&datagram.local_address[..], &datagram.remote_address[..]), (&address(GATEWAY_WAN6)[..], &address(PEER6)[..]));
    within(PATIENCE, "one datagram, and the others dropped", || {
        let now = gateway.counters();
        let rise = |name: &str| now.of(name) - before.of(name);
        let seen = (rise("ike_received"), rise("drop_malformed_ike"), rise("drop_unwanted_by_gateway"));
        (seen == (1, 1, 1)).then_some(())
    });
}

/// Each would be answered, were it not for one rule of RFC 4861 section 7.1.1; the last one keeps them all.
#[test]
fn hostile_solicitations_are_not_answered() {
    let mut gateway = gateway();
    let wan_mac = gateway.wan_mac.clone();
    let stranger = "02:00:00:00:02:66";
    let head = |ip: &str| format!("Ether(src='{stranger}', dst='{wan_mac}')/IPv6({ip})/ICMPv6ND_NS(");
    let good = head(&format!("src='2001:db8::66', dst='{GATEWAY_WAN6}', hlim=255"));
    let option = format!("/ICMPv6NDOptSrcLLAddr(lladdr='{stranger}')");
    let frames = [
        good.replace("hlim=255", "hlim=254") + &format!("tgt='{GATEWAY_WAN6}'){option}"),
        format!("{good}tgt='{GATEWAY_WAN6}', cksum=1){option}"),
        format!("{good}tgt='{GATEWAY_WAN6}', code=1){option}"),
        format!("{good}tgt='2001:db8::77'){option}"),
        format!("{good}tgt='{GATEWAY_WAN6}')/ICMPv6NDOptSrcLLAddr(len=0, lladdr='{stranger}')"),
        head(&format!("src='::', dst='{GATEWAY_WAN6}', hlim=255")) + &format!("tgt='{GATEWAY_WAN6}')"),
        head("src='fe80::66', dst='ff02::1', hlim=255").replace("ICMPv6ND_NS(", "ICMPv6ND_RA()"),
        format!("{good}tgt='{GATEWAY_WAN6}'){option}"),
    ];
    let before = gateway.counters();
    for frame in &frames {
        let frame = gateway.scapy.build(frame);
        gateway.wire.send(Side::Wan, &frame);
    }
    let to_stranger = |frame: &[u8]| frame.starts_with(&[2, 0, 0, 0, 2, 0x66]).then(|| frame.to_vec());
    let answer = gateway.wire.expect(Side::Wan, "advertisement", to_stranger);
    let read = "[p[IPv6].src, p[IPv6].hlim, p[ICMPv6ND_NA].R, p[ICMPv6ND_NA].S, p[ICMPv6ND_NA].O, p[ICMPv6NDOptDstLLAddr].lladdr]";
    assert_eq!(gateway.scapy.read(&answer, read), json!([GATEWAY_WAN6, 255, 1, 1, 1, wan_mac]));
    within(PATIENCE, "the others ignored", || {
        let now = gateway.counters();
        let rise = |name: &str| now.of(name) - before.of(name);
        (rise("router_advertisements") == 1 && rise("slow_path_ignored") >= 6).then_some(())
    });
    assert_eq!(gateway.counters().of("neighbor_advertisements") - before.of("neighbor_advertisements"), 1);
}
