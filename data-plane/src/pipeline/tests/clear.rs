use packet::ethernet::ETHERTYPE_ARP;

use super::*;
use crate::command::Origin;

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let header = Ipv4Header { source: [192, 0, 2, 2].into(), destination: [192, 0, 2, 1].into(), ..HEADER };
    let segment = [&packet::udp::header_without_checksum(4500, port, payload.len()).unwrap()[..], payload].concat();
    frame(UNPROTECTED, &[&header.to_octets(segment.len()).unwrap()[..], &segment].concat())
}

fn ike(responder_spi: u8) -> Vec<u8> {
    let mut message = vec![1; 28];
    message[8..16].fill(responder_spi);
    message
}

#[test]
fn ike_is_punted_by_class_whole_and_before_any_policy() {
    let mut gateway = Gateway::new(1);
    let marked = |message: Vec<u8>| [&[0; 4][..], &message].concat();
    let cases = [
        (PuntClass::IkeInit, udp(500, &ike(0))),
        (PuntClass::IkeSession, udp(500, &ike(9))),
        (PuntClass::IkeInit, udp(4500, &marked(ike(0)))),
        (PuntClass::IkeSession, udp(4500, &marked(ike(9)))),
    ];
    for (class, frame) in &cases {
        gateway.expect(Verdict::PuntedIke, UNPROTECTED, frame);
        let punted = gateway.handle.punted(*class).unwrap();
        assert_eq!((punted.origin(), punted.bytes()), (Origin::Port(UNPROTECTED), &frame[..]));
        gateway.handle.recycle(punted);
    }
    gateway.expect(Verdict::NatKeepalive, UNPROTECTED, &udp(4500, &[0xff]));
    gateway.expect(Verdict::EspRunt, UNPROTECTED, &udp(4500, &[1, 2, 3]));
    gateway.expect(Verdict::SpiUnknown, UNPROTECTED, &udp(4500, &[7; 60]));
    gateway.expect(Verdict::MalformedIke, UNPROTECTED, &udp(500, &ike(0)[..27]));
    gateway.expect(Verdict::MalformedIke, UNPROTECTED, &udp(4500, &marked(ike(0)[..27].to_vec())));
    let mut wrong_sum = udp(500, &ike(0));
    wrong_sum[HEADER_LEN + 27] = 1;
    gateway.expect(Verdict::MalformedIke, UNPROTECTED, &wrong_sum);
    gateway.expect(Verdict::UnwantedByGateway, UNPROTECTED, &udp(501, &ike(0)));
}

#[test]
fn classes_are_bounded_each_by_itself() {
    let mut gateway = Gateway::new(1);
    for _ in 0..4 {
        gateway.expect(Verdict::PuntedIke, UNPROTECTED, &udp(500, &ike(0)));
    }
    gateway.expect(Verdict::PuntOverflow, UNPROTECTED, &udp(500, &ike(0)));
    gateway.expect(Verdict::PuntedIke, UNPROTECTED, &udp(500, &ike(1)));
    // A frame that comes back makes room only once its place in the queue is free too.
    let frame = gateway.handle.punted(PuntClass::IkeInit).unwrap();
    gateway.handle.recycle(frame);
    gateway.expect(Verdict::PuntedIke, UNPROTECTED, &udp(500, &ike(0)));
}

#[test]
fn arp_and_icmp_for_the_gateway_go_to_the_slow_path() {
    let mut gateway = Gateway::new(1);
    for (port, address) in [(PROTECTED, [10, 1, 0, 1]), (UNPROTECTED, [192, 0, 2, 1])] {
        let arp = EthernetHeader { destination: MacAddress([0xff; 6]), source: HOST_MAC, ethertype: ETHERTYPE_ARP }.to_octets();
        gateway.expect(Verdict::PuntedSlowPath, port, &arp);
        let echo = Ipv4Header { protocol: 1, source: [10, 1, 0, 2].into(), destination: address.into(), ..HEADER };
        gateway.expect(Verdict::PuntedSlowPath, port, &frame(port, &ip_packet_with(&echo, 60)));
        let tcp = Ipv4Header { protocol: 6, ..echo };
        gateway.expect(Verdict::UnwantedByGateway, port, &frame(port, &ip_packet_with(&tcp, 60)));
        for _ in 0..2 {
            gateway.handle.recycle(gateway.handle.punted(PuntClass::SlowPath).unwrap());
        }
    }
    let esp_inside = Ipv4Header { protocol: 50, source: A.into(), destination: [10, 1, 0, 1].into(), ..HEADER };
    gateway.expect(Verdict::UnwantedByGateway, PROTECTED, &frame(PROTECTED, &ip_packet_with(&esp_inside, 60)));
}

#[test]
fn fragments_of_what_is_punted_are_punted() {
    let mut gateway = Gateway::new(1);
    let fragment = |port: PortId, protocol, destination: [u8; 4], offset: [u8; 2]| {
        let header = Ipv4Header { protocol, source: [10, 1, 0, 2].into(), destination: destination.into(), ..HEADER };
        let mut packet = ip_packet_with(&header, 60);
        packet[6..8].copy_from_slice(&offset);
        resum(&mut packet);
        frame(port, &packet)
    };
    let (inside, outside) = ([10, 1, 0, 1], [192, 0, 2, 1]);
    for offset in [[0x20, 0], [0x20, 7], [0, 7]] {
        gateway.expect(Verdict::PuntedFragment, UNPROTECTED, &fragment(UNPROTECTED, 17, outside, offset));
        gateway.expect(Verdict::PuntedFragment, PROTECTED, &fragment(PROTECTED, 1, inside, offset));
        gateway.expect(Verdict::PuntedFragment, UNPROTECTED, &fragment(UNPROTECTED, 50, outside, offset));
        for _ in 0..3 {
            gateway.handle.recycle(gateway.handle.punted(PuntClass::Fragment).unwrap());
        }
        gateway.expect(Verdict::UnwantedByGateway, UNPROTECTED, &fragment(UNPROTECTED, 6, outside, offset));
        gateway.expect(Verdict::UnwantedByGateway, PROTECTED, &fragment(PROTECTED, 17, inside, offset));
    }
}

#[test]
fn frames_that_are_not_to_be_forwarded_are_told_apart() {
    let mut gateway = Gateway::protecting(1);
    let good = frame(PROTECTED, &ip_packet(A, B, 60));
    gateway.expect(Verdict::MalformedFrame, PROTECTED, &good[..13]);
    gateway.expect(Verdict::MalformedIp, PROTECTED, &good[..14]);
    gateway.expect(Verdict::MalformedIp, PROTECTED, &good[..73]);
    let mut other = good.clone();
    other[5] ^= 1;
    gateway.expect(Verdict::NotForUs, PROTECTED, &other);
    let mut group = good.clone();
    group[..6].fill(0xff);
    gateway.expect(Verdict::Multicast, PROTECTED, &group);
    let mut relabelled = good;
    relabelled[12..14].copy_from_slice(&[0x86, 0xdd]);
    gateway.expect(Verdict::MalformedIp, PROTECTED, &relabelled);
    relabelled[12..14].copy_from_slice(&[0x88, 0x47]);
    gateway.expect(Verdict::UnknownEthertype, PROTECTED, &relabelled);
    for nobody in [[224, 0, 0, 5], [255, 255, 255, 255], [127, 0, 0, 1], [0, 0, 0, 0]] {
        for packet in [ip_packet(A, nobody, 60), ip_packet(nobody, B, 60)] {
            gateway.expect(Verdict::Multicast, PROTECTED, &frame(PROTECTED, &packet));
        }
    }
    gateway.expect(Verdict::NoPolicySet, PortId(2), &frame(PROTECTED, &ip_packet(A, B, 60)));
}

#[test]
fn cleartext_from_the_unprotected_side_needs_a_bypass() {
    let mut gateway = Gateway::new(1);
    let from = |source| frame(UNPROTECTED, &ip_packet(source, A, 60));
    gateway.expect(Verdict::NoPolicySet, UNPROTECTED, &from(B));
    gateway.set_policies([
        policy(1, PolicyAction::Protect, 1, "10.1.0.0/24", "10.2.0.0/24"),
        policy(2, PolicyAction::Discard, 2, "10.1.0.0/24", "10.3.0.0/24"),
        policy(3, PolicyAction::Bypass, 3, "0.0.0.0/0", "10.4.0.0/24"),
    ]);
    gateway.expect(Verdict::CleartextProtected, UNPROTECTED, &from(B));
    gateway.expect(Verdict::PolicyDiscard, UNPROTECTED, &from([10, 3, 0, 2]));
    gateway.expect(Verdict::NoPolicy, UNPROTECTED, &from([10, 5, 0, 2]));
    let sent = gateway.expect(Verdict::BypassedInbound, UNPROTECTED, &from([10, 4, 0, 2]));
    assert_eq!((sent[0].0, packet_of(&sent[0])[8]), (PROTECTED, 63));
    let through = frame(UNPROTECTED, &ip_packet([10, 4, 0, 2], [198, 51, 100, 1], 60));
    assert!(gateway.expect(Verdict::NotThroughTunnel, UNPROTECTED, &through).is_empty());
}

#[test]
fn a_protected_address_of_the_gateway_is_reached_in_the_clear_by_a_bypass_only() {
    let mut gateway = Gateway::new(1);
    let to_inside = |source: [u8; 4], protocol| {
        let header = Ipv4Header { protocol, source: source.into(), destination: [10, 1, 0, 1].into(), ..HEADER };
        frame(UNPROTECTED, &ip_packet_with(&header, 60))
    };
    let (icmp, udp, esp) = (1, 17, 50);
    gateway.expect(Verdict::NoPolicySet, UNPROTECTED, &to_inside(B, icmp));
    gateway.set_policies([
        policy(1, PolicyAction::Protect, 1, "10.1.0.0/24", "10.2.0.0/24"),
        policy(2, PolicyAction::Discard, 2, "10.1.0.0/24", "10.3.0.0/24"),
        policy(3, PolicyAction::Bypass, 3, "0.0.0.0/0", "10.4.0.0/24"),
    ]);
    for protocol in [icmp, udp, esp] {
        gateway.expect(Verdict::CleartextProtected, UNPROTECTED, &to_inside(B, protocol));
        gateway.expect(Verdict::PolicyDiscard, UNPROTECTED, &to_inside([10, 3, 0, 2], protocol));
        gateway.expect(Verdict::NoPolicy, UNPROTECTED, &to_inside([10, 5, 0, 2], protocol));
    }
    let bypassed = to_inside([10, 4, 0, 2], icmp);
    gateway.expect(Verdict::PuntedSlowPath, UNPROTECTED, &bypassed);
    let punted = gateway.handle.punted(PuntClass::SlowPath).unwrap();
    assert_eq!((punted.origin(), punted.bytes()), (Origin::Port(UNPROTECTED), &bypassed[..]));
    gateway.expect(Verdict::UnwantedByGateway, UNPROTECTED, &to_inside([10, 4, 0, 2], udp));
    gateway.expect(Verdict::UnwantedByGateway, UNPROTECTED, &to_inside([10, 4, 0, 2], esp));
    assert_eq!(gateway.handle.stats().policy(PolicySlot(3)).packets, 3);
}
