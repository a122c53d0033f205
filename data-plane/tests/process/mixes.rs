//! Both IP versions in both, through the whole process: scapy opens what the gateway seals and seals what the gateway opens. What IPv6 packets have in
//! front of their ports is followed, and what cannot be followed is counted.

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::operation::Operation;
use culvert_proto::dataplane::v1::policy::Action;
use serde_json::{Value, json};

use crate::harness::{
    ChildSa, GATEWAY_WAN, GATEWAY_WAN6, Gateway, HOST, HOST6, Options, PEER, PEER6, PROTECTED, PROTECTED6, Side, Suite, address, hex,
    policy, selector,
};

/// A gateway that protects 10.1.0.0/24 and fd00:1::/64 on their way to 10.2.0.0/24 and fd00:2::/64.
fn gateway() -> Gateway {
    let mut gateway = Gateway::start_with(&Options { ipv6: true, ..Options::default() });
    gateway.controller.set_policies(vec![both(1, Action::Protect)]);
    gateway
}

fn local() -> Vec<v1::TrafficSelector> {
    vec![selector("10.1.0.0", "10.1.0.255"), selector("fd00:1::", "fd00:1::ffff:ffff:ffff:ffff")]
}

fn remote() -> Vec<v1::TrafficSelector> {
    vec![selector("10.2.0.0", "10.2.0.255"), selector("fd00:2::", "fd00:2::ffff:ffff:ffff:ffff")]
}

fn both(id: u32, action: Action) -> v1::Policy {
    v1::Policy { local: local(), remote: remote(), ..policy(id, action, selector("0.0.0.0", "0.0.0.0")) }
}

/// An SA whose outer packets are of this version.
fn install(gateway: &mut Gateway, suite: Suite, outer6: bool) -> ChildSa {
    let sa = ChildSa::prepare(gateway, suite);
    let ends = if outer6 { (GATEWAY_WAN6, PEER6) } else { (GATEWAY_WAN, PEER) };
    gateway.controller.done(Operation::Install(v1::Install {
        local_address: address(ends.0),
        remote_address: address(ends.1),
        local_selectors: local(),
        remote_selectors: remote(),
        ..sa.message()
    }));
    sa
}

fn between(mut sa: Value, ends: (&str, &str)) -> Value {
    sa["source"] = json!(ends.0);
    sa["destination"] = json!(ends.1);
    sa
}

/// A packet that the kernel as its receiver takes no notice of.
fn inner(six: bool, outwards: bool, class: u8, hop_limit: u8) -> String {
    let (near, far) = if six { (HOST6, PROTECTED6) } else { (HOST, PROTECTED) };
    let (source, destination) = if outwards { (near, far) } else { (far, near) };
    if six {
        format!("IPv6(src='{source}', dst='{destination}', tc={class}, fl=0x12345, hlim={hop_limit}, nh=59)/Raw(b'nobody listens')")
    } else {
        format!("IP(src='{source}', dst='{destination}', tos={class}, ttl={hop_limit}, id=7, proto=59)/Raw(b'nobody listens')")
    }
}

/// The next packet of this version and protocol, without its Ethernet header.
fn packet(gateway: &mut Gateway, side: Side, six: bool, protocol: u8) -> Vec<u8> {
    gateway.wire.expect(side, "packet", |frame| {
        let (ethertype, at) = if six { ([0x86, 0xdd], 20) } else { ([0x08, 0x00], 23) };
        (frame.get(12..14)? == ethertype && *frame.get(at)? == protocol).then(|| frame[14..].to_vec())
    })
}

#[test]
fn the_gateway_and_scapy_understand_each_other_in_all_four_mixes() {
    let mut gateway = gateway();
    for (outer6, inner6) in [(false, false), (false, true), (true, false), (true, true)] {
        for udp in [false, true] {
            let sa = install(&mut gateway, Suite { udp, ..Suite::PLAIN }, outer6);
            let (ours, theirs) = if outer6 { (GATEWAY_WAN6, PEER6) } else { (GATEWAY_WAN, PEER) };
            for (number, class) in (1..).zip([0x00, 0xb9, 0x4a, 0xff]) {
                gateway.send_built(Side::Lan, &inner(inner6, true, class, 64));
                let wire = packet(&mut gateway, Side::Wan, outer6, if udp { 17 } else { 50 });
                // scapy also holds the outer header against its own.
                let opened = gateway.scapy.open(&between(sa.sent_by_gateway(), (ours, theirs)), 0, &wire).unwrap();
                assert_eq!((opened.spi, opened.sequence), (sa.outbound_spi, number));
                let sent = gateway.scapy.build(&inner(inner6, true, class, 63));
                assert_eq!(hex(&opened.inner), hex(&sent));

                let inward = gateway.scapy.build(&inner(inner6, false, class, 64));
                let wire = gateway.scapy.seal(&between(sa.sent_by_peer(), (theirs, ours)), number, &inward, None);
                gateway.send_packet(Side::Wan, &wire);
                let delivered = gateway.scapy.build(&inner(inner6, false, class, 63));
                assert_eq!(hex(&packet(&mut gateway, Side::Lan, inner6, 59)), hex(&delivered));
            }
            gateway.controller.done(sa.retire(0));
        }
    }
}

#[test]
fn ports_are_found_behind_extension_headers_and_bad_chains_are_counted() {
    let mut gateway = gateway();
    let https = v1::TrafficSelector { protocol: 6, first_port: 443, last_port: 443, ..selector("fd00:2::", "fd00:2::ffff") };
    let low = v1::TrafficSelector { protocol: 6, first_port: 0, last_port: 442, ..selector("fd00:2::", "fd00:2::ffff") };
    let v6 = |id, action, remote| v1::Policy { local: local(), ..policy(id, action, remote) };
    let policies =
        vec![v6(2, Action::Discard, https), v6(3, Action::Bypass, low), v6(4, Action::Protect, selector("fd00:2::", "fd00:2::ffff"))];
    gateway.controller.set_policies(policies);
    let ip = format!("IPv6(src='{HOST6}', dst='{PROTECTED6}')");
    let chain = "IPv6ExtHdrHopByHop()/IPv6ExtHdrDestOpt()/IPv6ExtHdrRouting(addresses=['fd00:2::11'], segleft=0)";
    let cases = [
        (format!("{ip}/{chain}/TCP(dport=443)"), "drop_policy_discard"),
        (format!("{ip}/{chain}/TCP(dport=80)"), "bypassed_outbound"),
        (format!("{ip}/IPv6ExtHdrFragment(m=1, id=9)/TCP(dport=443)"), "drop_policy_discard"),
        // A later fragment has no port, so that the policies of ports do not select it: it waits for an SA.
        (format!("{ip}/IPv6ExtHdrFragment(offset=3, id=9, nh=6)/Raw(bytes(TCP(dport=443)))"), "acquire_queued"),
        (format!("{ip}/IPv6ExtHdrDestOpt()/IPv6ExtHdrHopByHop()/TCP(dport=443)"), "drop_extension_order"),
        (format!("{ip}/IPv6ExtHdrFragment(m=1)/IPv6ExtHdrFragment(m=1)/TCP(dport=443)"), "drop_extension_order"),
        (format!("{ip}/{}/TCP(dport=443)", ["IPv6ExtHdrDestOpt()"; 9].join("/")), "drop_extension_too_long"),
        (format!("{ip}/IPv6ExtHdrDestOpt(len=9)/TCP(dport=443)"), "drop_extension_truncated"),
        (format!("IPv6(src='fe80::1', dst='{PROTECTED6}')/TCP(dport=443)"), "drop_link_local"),
        (format!("IPv6(src='{HOST6}', dst='ff0e::1')/TCP(dport=443)"), "drop_multicast"),
        (format!("IPv6(src='{HOST6}', dst='{PROTECTED6}', hlim=1)/TCP(dport=80)"), "drop_ttl_exceeded"),
    ];
    for (packet, counter) in cases {
        let before = gateway.counters();
        gateway.send_built(Side::Lan, &packet);
        gateway.controller.await_counter(&before, counter);
    }
}
