//! IPv6 inside and outside: hosts 2001:db8:n::/64 behind site n, whose outer address is 2001:db8:ff::n.

use std::net::Ipv6Addr;

use packet::ip::Ip;
use packet::ipv6::{Ipv6, Ipv6Header, solicited_node};
use packet::udp;

use super::*;
use crate::command::Origin;

pub(super) const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
pub(super) const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
pub(super) const HEADER6: Ipv6Header = Ipv6Header { traffic_class: 0, next_header: 17, hop_limit: 64, source: A6, destination: B6 };

fn outer(site: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, site.into())
}

/// Site `n` with both IP versions on both sides.
pub(super) fn gateway(site: u8) -> Gateway {
    let mut gateway = Gateway::new(site);
    let inside = |host| Ipv6Addr::new(0x2001, 0xdb8, site.into(), 0, 0, 0, 0, host);
    let mut ports: Vec<PortInfo> = [PROTECTED, UNPROTECTED].map(|id| gateway.snapshot.ports.port(id).unwrap().clone()).to_vec();
    ports[0].addresses.push(inside(1).into());
    ports[1].addresses.push(outer(site).into());
    gateway.snapshot.ports = Arc::new(Ports::new(ports));
    let ipv4 = [
        ([10, site, 0, 0], 24, None, PROTECTED),
        ([192, 0, 2, 0], 24, None, UNPROTECTED),
        ([0, 0, 0, 0], 0, Some([192, 0, 2, 3 - site]), UNPROTECTED),
    ];
    let mut routes: Vec<Route> = Vec::new();
    for (destination, prefix, router, port) in ipv4 {
        routes.push(Route { destination: destination.into(), prefix, gateway: router.map(IpAddr::from), port });
    }
    let ipv6 = [(inside(0), 64, None, PROTECTED), (outer(0), 64, None, UNPROTECTED), (Ipv6Addr::UNSPECIFIED, 0, Some(ROUTER), UNPROTECTED)];
    for (destination, prefix, router, port) in ipv6 {
        routes.push(Route { destination: destination.into(), prefix, gateway: router.map(IpAddr::from), port });
    }
    gateway.snapshot.routes = Arc::new(Routes::new(routes));
    let hop = |port, address: IpAddr| NextHop { port, address };
    gateway.snapshot.neighbors = Arc::new(Neighbors::new([
        (hop(PROTECTED, [10, site, 0, 2].into()), HOST_MAC),
        (hop(UNPROTECTED, [192, 0, 2, 3 - site].into()), PEER_MAC),
        (hop(PROTECTED, inside(2).into()), HOST_MAC),
        (hop(UNPROTECTED, outer(3 - site).into()), PEER_MAC),
        (hop(UNPROTECTED, ROUTER.into()), PEER_MAC),
    ]));
    gateway.set_policies([both_versions(1, PolicyAction::Protect, site)]);
    gateway
}

fn both_versions(id: u32, action: PolicyAction, site: u8) -> Policy {
    let selectors = |text: [String; 2]| text.map(|text| text.parse::<TrafficSelector>().unwrap()).to_vec();
    Policy {
        local: selectors([format!("10.{site}.0.0/24"), format!("2001:db8:{site}::/64")]),
        remote: selectors(["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()]),
        ..policy(id, action, 1, "0.0.0.0/0", "0.0.0.0/0")
    }
}

/// Where the SA of a site leads, with this outer version.
pub(super) fn tunnel(pair: &Pair, site: u8, six: bool) -> Tunnel {
    let ends = Ends::V6 { source: outer(site), destination: outer(3 - site) };
    if six { Tunnel { ends, ..pair.tunnel(site) } } else { pair.tunnel(site) }
}

/// The SA of a site, for both inner versions.
fn installed(pair: &Pair, site: u8) -> InstalledSa {
    let selectors = |text: [&str; 2]| text.map(|text| text.parse().unwrap()).to_vec();
    let all = || Selectors::new(selectors(["10.0.0.0/8", "2001:db8::/32"]), selectors(["10.0.0.0/8", "2001:db8::/32"]));
    let window = WindowSize::new(pair.window).unwrap();
    InstalledSa {
        inbound: InboundSa::new(pair.spi(site), pair.key(site), pair.numbers, window, all()).in_mode(pair.mode),
        outbound: pair.outbound(site),
        outbound_selectors: all(),
        ..pair.installed(site)
    }
}

fn install(gateway: &mut Gateway, pair: &Pair, six: bool) -> Arc<InstalledSa> {
    let tunnel = tunnel(pair, gateway.site, six);
    install_with(gateway, pair, tunnel)
}

pub(super) fn install_with(gateway: &mut Gateway, pair: &Pair, tunnel: Tunnel) -> Arc<InstalledSa> {
    let sa = Arc::new(installed(pair, gateway.site));
    let window = ReplayWindow::new(sa.inbound.window_size());
    gateway.command(Command::Install { sa: Arc::clone(&sa), tunnel, window: Some(window) });
    sa
}

pub(super) fn packet6(header: &Ipv6Header, payload: &[u8]) -> Vec<u8> {
    [&header.to_octets(payload.len()).unwrap()[..], payload].concat()
}

/// A packet between the hosts of two sites.
fn inner(six: bool, traffic_class: u8, payload: &[u8]) -> Vec<u8> {
    if six {
        return packet6(&Ipv6Header { traffic_class, ..HEADER6 }, payload);
    }
    let header = Ipv4Header { traffic_class, source: A.into(), destination: B.into(), ..HEADER };
    [&header.to_octets(payload.len()).unwrap()[..], payload].concat()
}

const MIXES: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];
const PAYLOAD: [u8; 61] = [0x5a; 61];

#[test]
fn all_four_mixes_cross_two_gateways_plain_in_udp_and_under_ah() {
    for (outer_six, inner_six) in MIXES {
        let ways = [Pair::default(), Pair { udp: true, ..Pair::default() }, transport::with_ah(Pair::default())];
        for (pair, protocol) in ways.into_iter().zip([50, 17, 51]) {
            let udp = pair.udp;
            let (mut one, mut two) = (gateway(1), gateway(2));
            install(&mut one, &pair, outer_six);
            install(&mut two, &pair, outer_six);
            let packet = inner(inner_six, 0, &PAYLOAD);

            let sent = one.expect(Verdict::Sealed, PROTECTED, &frame(PROTECTED, &packet));
            let outside = Ip::parse(packet_of(&sent[0])).unwrap();
            let tunnel = tunnel(&pair, 1, outer_six);
            assert_eq!((outside.source(), outside.destination()), (tunnel.ends.source(), tunnel.ends.destination()));
            assert_eq!((outside.protocol(), outside.hop_limit()), (protocol, 64));
            assert_eq!(outside.total_len(), tunnel.outer_len(pair.layout(), packet.len()));
            if udp {
                let datagram = udp::Udp::parse(outside.upper()).unwrap();
                assert_eq!(datagram.checksum != 0, outer_six, "RFC 8200 section 8.1, RFC 3948 section 2.1");
                assert!(datagram.checksum_ok(outside.source(), outside.destination()));
            }

            let delivered = two.expect(Verdict::Opened, UNPROTECTED, &frame(UNPROTECTED, packet_of(&sent[0])));
            let got = Ip::parse(packet_of(&delivered[0])).unwrap();
            assert_eq!((delivered[0].0, got.hop_limit(), got.upper()), (PROTECTED, 62, &PAYLOAD[..]));
        }
    }
}

#[test]
fn an_echo_request_crosses_in_transport_mode_to_the_slow_path_of_the_other_gateway() {
    for pair in transport::in_transport_mode() {
        let [mut one, mut two] = [1, 2].map(|site| {
            let mut gateway = gateway(site);
            let (ours, theirs) = (format!("{}", outer(site)), format!("{}", outer(3 - site)));
            gateway.set_policies([policy(1, PolicyAction::Protect, site, &ours, &theirs)]);
            install(&mut gateway, &pair, true);
            gateway
        });
        let mut packet =
            packet6(&Ipv6Header { next_header: 58, source: outer(1), destination: outer(2), ..HEADER6 }, &[128, 0, 0, 0, 0, 7, 0, 1]);
        packet::ip::fix_checksum(&mut packet).unwrap();
        one.command(Command::Transmit { via: Via::Policy, frame: Frame::outgoing(packet.clone()) });
        let sent = one.sent();
        assert_eq!(packet_of(&sent[0]).len(), tunnel(&pair, 1, true).outer_len(pair.layout().in_mode(Mode::Transport), packet.len()));
        two.expect(Verdict::PuntedSlowPath, UNPROTECTED, &frame(UNPROTECTED, packet_of(&sent[0])));
        let punted = two.handle.punted(PuntClass::SlowPath).unwrap();
        assert_eq!((punted.origin(), punted.bytes()), (Origin::Tunnel(ChildSaId(105)), &packet[..]));
    }
}

#[test]
fn a_udp_checksum_of_zero_is_taken_for_esp_and_not_for_ike() {
    let pair = Pair { udp: true, ..Pair::default() };
    let (mut one, mut two) = (gateway(1), gateway(2));
    install(&mut one, &pair, true);
    install(&mut two, &pair, true);
    let sent = one.expect(Verdict::Sealed, PROTECTED, &frame(PROTECTED, &inner(true, 0, &PAYLOAD)));
    let mut packet = packet_of(&sent[0]).to_vec();
    packet[46..48].fill(0);
    two.expect(Verdict::Opened, UNPROTECTED, &frame(UNPROTECTED, &packet));

    let ike = |checksum: bool| {
        let mut segment = [&udp::header_without_checksum(500, 500, 28).unwrap()[..], &[1; 28]].concat();
        if checksum {
            udp::fill_checksum(outer(1).into(), outer(2).into(), &mut segment);
        }
        frame(UNPROTECTED, &packet6(&Ipv6Header { source: outer(1), destination: outer(2), ..HEADER6 }, &segment))
    };
    two.expect(Verdict::MalformedIke, UNPROTECTED, &ike(false));
    two.expect(Verdict::PuntedIke, UNPROTECTED, &ike(true));
}

#[test]
fn dscp_ecn_and_df_of_the_outer_header_are_as_the_sa_says() {
    for (outer_six, inner_six) in MIXES {
        for copy_dscp in [true, false] {
            for dont_fragment in [DontFragment::Copy, DontFragment::Set, DontFragment::Clear] {
                let mut one = gateway(1);
                let tunnel = Tunnel { copy_dscp, dont_fragment, ..tunnel(&Pair::default(), 1, outer_six) };
                install_with(&mut one, &Pair::default(), tunnel);
                for class in 0..=255 {
                    let sent = one.expect(Verdict::Sealed, PROTECTED, &frame(PROTECTED, &inner(inner_six, class, &PAYLOAD)));
                    let outside = Ip::parse(packet_of(&sent[0])).unwrap();
                    assert_eq!(outside.traffic_class(), if copy_dscp { class } else { class & 3 });
                    if let Ip::V4(outside) = outside {
                        let copied = dont_fragment == DontFragment::Copy && inner_six;
                        assert_eq!(outside.dont_fragment(), copied || dont_fragment == DontFragment::Set);
                    }
                    if let Ip::V6(outside) = outside {
                        assert_eq!(outside.flow_label(), 0);
                    }
                }
            }
        }
    }
}

#[test]
fn the_outer_packet_may_be_as_long_as_the_mtu_over_ipv6_too() {
    let mut one = gateway(1);
    install(&mut one, &Pair::default(), true);
    // 40 + 8 + 8 + 1426 + 2 + 16 = 1500, without padding.
    one.expect(Verdict::Sealed, PROTECTED, &frame(PROTECTED, &inner(true, 0, &[0; 1386])));
    one.expect(Verdict::FragmentationNeeded, PROTECTED, &frame(PROTECTED, &inner(true, 0, &[0; 1387])));
    one.expect(Verdict::Sealed, PROTECTED, &frame(PROTECTED, &inner(false, 0, &[0; 1406])));
    one.receive(PROTECTED, [&frame(PROTECTED, &inner(false, 0, &[0; 1407]))[..]]);
    assert_eq!((one.count(Verdict::Sealed), one.handle.stats().tally(Tally::Fragmented)), (4, 1));
}

#[test]
fn the_hop_limit_ends_at_one_in_either_direction() {
    let (mut one, mut two) = (gateway(1), gateway(2));
    let sa = install(&mut one, &Pair::default(), true);
    install(&mut two, &Pair::default(), true);
    for hop_limit in [0, 1] {
        let packet = packet6(&Ipv6Header { hop_limit, ..HEADER6 }, &PAYLOAD);
        one.expect(Verdict::TtlExceeded, PROTECTED, &frame(PROTECTED, &packet));
        two.expect(Verdict::TtlExceeded, UNPROTECTED, &sealed_in(&tunnel(&Pair::default(), 1, true), &sa.outbound, &packet));
    }
}

/// An extension header of eight octets.
fn extension(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}

fn fragment_header(next: u8, offset: u16, more: bool) -> [u8; 8] {
    let [high, low] = (offset | u16::from(more)).to_be_bytes();
    [next, 0, high, low, 0, 0, 0, 9]
}

#[test]
fn ports_are_found_behind_extension_headers_and_not_in_later_fragments() {
    let mut one = gateway(1);
    one.set_policies([
        policy(1, PolicyAction::Discard, 1, "2001:db8:1::/64", "2001:db8:2::/64[tcp/443]"),
        policy(2, PolicyAction::Bypass, 2, "2001:db8:1::/64", "2001:db8:2::/64[tcp/0-442]"),
        policy(3, PolicyAction::Bypass, 3, "2001:db8:1::/64", "2001:db8:2::/64[tcp]"),
    ]);
    let tcp = |port: u16| [&[0x30, 0x39][..], &port.to_be_bytes(), &[0; 16]].concat();
    let send = |one: &mut Gateway, verdict, next_header, parts: &[&[u8]]| {
        one.expect(verdict, PROTECTED, &frame(PROTECTED, &packet6(&Ipv6Header { next_header, ..HEADER6 }, &parts.concat())));
    };
    let chain: [&[u8]; 2] = [&extension(60), &extension(6)];
    send(&mut one, Verdict::PolicyDiscard, 0, &[chain[0], chain[1], &tcp(443)]);
    send(&mut one, Verdict::BypassedOutbound, 0, &[chain[0], chain[1], &tcp(80)]);
    assert_eq!(one.handle.stats().policy(PolicySlot(2)).packets, 1);
    send(&mut one, Verdict::PolicyDiscard, 44, &[&fragment_header(6, 0, true), &tcp(443)]);
    send(&mut one, Verdict::BypassedOutbound, 44, &[&fragment_header(6, 24, true), &tcp(443)]);
    let stats = one.handle.stats();
    assert_eq!(
        (stats.policy(PolicySlot(2)).packets, stats.policy(PolicySlot(3)).packets),
        (1, 1),
        "a later fragment has no port, not port 0"
    );
    send(&mut one, Verdict::NoPolicy, 44, &[&fragment_header(60, 24, true), &extension(6), &tcp(443)]);
}

#[test]
fn chains_that_cannot_be_followed_end_in_counters_of_their_own() {
    let mut one = gateway(1);
    let send = |one: &mut Gateway, verdict, next_header, payload: &[u8]| {
        one.expect(verdict, PROTECTED, &frame(PROTECTED, &packet6(&Ipv6Header { next_header, ..HEADER6 }, payload)));
    };
    send(&mut one, Verdict::ExtensionTruncated, 60, &extension(17)[..7]);
    send(&mut one, Verdict::ExtensionTruncated, 60, &[17, 1, 0, 0, 0, 0, 0, 0]);
    send(&mut one, Verdict::ExtensionOrder, 60, &[extension(0), extension(17)].concat());
    send(&mut one, Verdict::ExtensionOrder, 44, &[fragment_header(44, 0, true), fragment_header(17, 0, true)].concat());
    send(&mut one, Verdict::ExtensionTooLong, 60, &[extension(60); 9].concat());
    let mut jumbo = packet6(&HEADER6, &PAYLOAD);
    jumbo[4..6].fill(0);
    jumbo[6] = 0;
    one.expect(Verdict::ExtensionTruncated, PROTECTED, &frame(PROTECTED, &jumbo));
    let cut = frame(PROTECTED, &packet6(&HEADER6, &PAYLOAD));
    one.expect(Verdict::MalformedIp, PROTECTED, &cut[..cut.len() - 1]);
}

#[test]
fn link_local_and_multicast_packets_are_not_forwarded() {
    let mut one = gateway(1);
    one.set_policies([policy(1, PolicyAction::Bypass, 1, "::/0", "::/0")]);
    let send = |one: &mut Gateway, verdict, source: Ipv6Addr, destination: Ipv6Addr| {
        for port in [PROTECTED, UNPROTECTED] {
            one.expect(verdict, port, &frame(port, &packet6(&Ipv6Header { source, destination, ..HEADER6 }, &PAYLOAD)));
        }
    };
    send(&mut one, Verdict::LinkLocal, ROUTER, B6);
    send(&mut one, Verdict::LinkLocal, A6, ROUTER);
    send(&mut one, Verdict::LinkLocal, Ipv6Addr::UNSPECIFIED, B6);
    send(&mut one, Verdict::Multicast, A6, "ff0e::1".parse().unwrap());
    send(&mut one, Verdict::Multicast, "ff0e::1".parse().unwrap(), B6);
    send(&mut one, Verdict::Multicast, A6, Ipv6Addr::LOCALHOST);
    send(&mut one, Verdict::Multicast, Ipv6Addr::LOCALHOST, B6);
}

#[test]
fn neighbor_discovery_reaches_the_slow_path() {
    let mut one = gateway(1);
    let icmp = |destination: Ipv6Addr, mac: MacAddress| {
        let header = Ipv6Header { next_header: 58, hop_limit: 255, source: ROUTER, destination, ..HEADER6 };
        let mut frame = frame(UNPROTECTED, &packet6(&header, &[135, 0, 0, 0, 0, 0, 0, 0]));
        frame[..6].copy_from_slice(&mac.0);
        frame
    };
    let group = |address: Ipv6Addr| {
        let [.., a, b, c, d] = address.octets();
        MacAddress([0x33, 0x33, a, b, c, d])
    };
    let all_nodes = "ff02::1".parse().unwrap();
    let own = solicited_node(outer(1));
    for frame in [icmp(outer(1), PORT_MACS[1]), icmp(own, group(own)), icmp(all_nodes, group(all_nodes))] {
        one.expect(Verdict::PuntedSlowPath, UNPROTECTED, &frame);
        let punted = one.handle.punted(PuntClass::SlowPath).unwrap();
        assert_eq!((punted.origin(), punted.bytes()), (Origin::Port(UNPROTECTED), &frame[..]));
        one.handle.recycle(punted);
    }
    let others = solicited_node("2001:db8::12:3456".parse().unwrap());
    one.expect(Verdict::Multicast, UNPROTECTED, &icmp(others, group(others)));
    let routers = "ff02::2".parse().unwrap();
    one.expect(Verdict::Multicast, UNPROTECTED, &icmp(routers, group(routers)));
    let mut udp = icmp(own, group(own));
    udp[HEADER_LEN + 6] = 17;
    one.expect(Verdict::Multicast, UNPROTECTED, &udp);
}

#[test]
fn a_packet_that_the_sender_routes_through_the_gateway_is_not_taken() {
    let mut two = gateway(2);
    let routed = |left: u8| {
        let header = Ipv6Header { next_header: 43, source: outer(1), destination: outer(2), ..HEADER6 };
        frame(UNPROTECTED, &packet6(&header, &[&[58, 0, 0, left, 0, 0, 0, 0][..], &[128, 0, 0, 0, 0, 0, 0, 0]].concat()))
    };
    two.expect(Verdict::UnwantedByGateway, UNPROTECTED, &routed(1));
    two.expect(Verdict::PuntedSlowPath, UNPROTECTED, &routed(0));
}

#[test]
fn fragments_of_what_the_gateway_takes_go_to_reassembly() {
    let mut two = gateway(2);
    let fragment = |next, offset| {
        let header = Ipv6Header { next_header: 44, source: outer(1), destination: outer(2), ..HEADER6 };
        frame(UNPROTECTED, &packet6(&header, &[&fragment_header(next, offset, true)[..], &[0; 16]].concat()))
    };
    for offset in [0, 64] {
        two.expect(Verdict::UnwantedByGateway, UNPROTECTED, &fragment(6, offset));
        for next in [17, 50, 58] {
            two.expect(Verdict::PuntedFragment, UNPROTECTED, &fragment(next, offset));
            two.handle.recycle(two.handle.punted(PuntClass::Fragment).unwrap());
        }
    }
}

#[test]
fn an_unknown_router_is_asked_for_and_the_packet_waits() {
    let mut one = gateway(1);
    one.set_policies([both_versions(1, PolicyAction::Bypass, 1)]);
    one.snapshot.neighbors = Arc::new(Neighbors::default());
    one.publish();
    let packet = frame(PROTECTED, &inner(true, 0, &PAYLOAD));
    assert!(one.receive(PROTECTED, [&packet[..]]).is_empty());
    assert_eq!(one.notices(), [Notice::NeighborMiss { port: UNPROTECTED, address: ROUTER.into() }]);
    one.snapshot.neighbors = Arc::new(Neighbors::new([(NextHop { port: UNPROTECTED, address: ROUTER.into() }, PEER_MAC)]));
    one.publish();
    let sent = one.sent();
    assert_eq!(Ipv6::parse(packet_of(&sent[0])).unwrap().hop_limit(), 63);
}

#[test]
fn the_first_packet_waits_for_its_sa() {
    let mut one = gateway(1);
    let packet = frame(PROTECTED, &inner(true, 0, &PAYLOAD));
    assert!(one.receive(PROTECTED, [&packet[..]]).is_empty());
    let [Notice::Acquire { flow, .. }] = one.notices()[..] else { panic!("no Acquire") };
    assert_eq!((flow.source, flow.destination), (A6.into(), B6.into()));
    install(&mut one, &Pair::default(), true);
    assert_eq!((one.sent().len(), one.count(Verdict::Sealed)), (1, 1));
}

#[test]
fn an_inner_packet_outside_the_selectors_or_of_the_other_version_is_dropped() {
    let (mut one, mut two) = (gateway(1), gateway(2));
    let sa = install(&mut one, &Pair::default(), true);
    // The selectors of this side know 10.0.0.0/8 only.
    two.install(&Pair::default());
    for (six, verdict) in [(true, Verdict::SelectorMismatch), (false, Verdict::Opened)] {
        let sealed = sealed_in(&tunnel(&Pair::default(), 1, true), &sa.outbound, &inner(six, 0, &PAYLOAD));
        two.expect(verdict, UNPROTECTED, &sealed);
    }
    assert!(matches!(two.notices()[..], [Notice::PeerMoved { address, .. }] if address == IpAddr::from(outer(1))));
}

/// RFC 2473 section 7.1: no sender goes below 1280 octets, so nobody is asked to.
#[test]
fn an_icmp_error_about_ipv6_never_asks_for_less_than_its_smallest_mtu() {
    let mut one = gateway(1);
    install(&mut one, &Pair::default(), true);
    let refused = |one: &mut Gateway, len: usize| {
        one.expect(Verdict::FragmentationNeeded, PROTECTED, &frame(PROTECTED, &packet6(&HEADER6, &vec![0; len - 40])));
        one.handle.punted(PuntClass::Refused).map(|frame| frame.origin())
    };
    let too_big = |mtu| Some(Origin::Refused { sender: A6.into(), refusal: crate::command::Refusal::TooBig { mtu } });
    assert_eq!(refused(&mut one, 1427), too_big(1426));
    let mut ports: Vec<PortInfo> = [PROTECTED, UNPROTECTED].map(|id| one.snapshot.ports.port(id).unwrap().clone()).to_vec();
    ports[1].mtu = 1300;
    one.snapshot.ports = Arc::new(Ports::new(ports));
    one.publish();
    assert_eq!(refused(&mut one, 1281), too_big(1280));
    one.receive(PROTECTED, [&frame(PROTECTED, &packet6(&HEADER6, &[0; 1240]))[..]]);
    one.receive(PROTECTED, [&frame(PROTECTED, &packet6(&HEADER6, &[0; 1240]))[..]]);
    assert_eq!((one.count(Verdict::Sealed), one.handle.punted(PuntClass::Refused).is_none()), (2, true));
}
