use super::*;
use crate::stats::PolicyCount;

#[test]
fn a_packet_crosses_two_gateways_and_loses_two_hops() {
    for (algorithm, integrity, numbers, udp) in [
        (EncryptionAlgorithm::AesGcm128, None, SequenceNumbers::Extended, false),
        (EncryptionAlgorithm::AesGcm256, None, SequenceNumbers::Standard, false),
        (EncryptionAlgorithm::AesGcm128, None, SequenceNumbers::Standard, true),
        (EncryptionAlgorithm::AesGcm256, None, SequenceNumbers::Extended, true),
        (EncryptionAlgorithm::AesCbc256, Some(IntegrityAlgorithm::HmacSha512), SequenceNumbers::Extended, true),
        (EncryptionAlgorithm::Null, Some(IntegrityAlgorithm::HmacSha1), SequenceNumbers::Standard, false),
    ] {
        let pair = Pair { algorithm: Some(algorithm), integrity, numbers, udp, ..Pair::default() };
        let (mut one, mut two) = (Gateway::protecting(1), Gateway::protecting(2));
        let (sa_one, sa_two) = (one.install(&pair), two.install(&pair));
        let inner = ip_packet(A, B, 100);

        let sent = one.expect(Verdict::Sealed, PROTECTED, &frame(PROTECTED, &inner));
        assert_eq!(sent.len(), 1);
        let outer = Ipv4::parse(packet_of(&sent[0])).unwrap();
        assert_eq!((outer.source().octets(), outer.destination().octets()), ([192, 0, 2, 1], [192, 0, 2, 2]));
        assert_eq!(outer.protocol(), if udp { 17 } else { 50 });
        assert_eq!((outer.total_len(), sa_one.state.outbound()), (pair.tunnel(1).outer_len(pair.layout(), 100), (1, 100)));

        let delivered = two.expect(Verdict::Opened, UNPROTECTED, &frame(UNPROTECTED, packet_of(&sent[0])));
        assert_eq!(delivered.len(), 1);
        let got = Ipv4::parse(packet_of(&delivered[0])).unwrap();
        assert_eq!((delivered[0].0, got.ttl()), (PROTECTED, 62));
        assert_eq!(got.payload(), &inner[20..]);
        assert_eq!((sa_two.state.inbound(), sa_two.state.last_inbound_ms()), ((1, 100), two.now_ms));
        assert_eq!(two.handle.stats().policy(PolicySlot(1)), PolicyCount { packets: 1, octets: 100 });
    }
}

#[test]
fn packets_go_where_the_sa_leads_now_under_the_next_number() {
    let pair = Pair { udp: true, ..Pair::default() };
    let (mut one, mut two) = (Gateway::protecting(1), Gateway::protecting(2));
    let sa = one.install(&pair);
    two.install(&pair);
    let elsewhere = IpAddr::from([192, 0, 2, 77]);
    one.snapshot.neighbors = Arc::new(Neighbors::new([(NextHop { port: UNPROTECTED, address: elsewhere }, PEER_MAC)]));
    one.publish();
    let moved = Tunnel {
        ends: Ends::new([192, 0, 2, 1].into(), elsewhere).unwrap(),
        udp: Some(UdpPorts { source: 4500, destination: 1024 }),
        ..pair.tunnel(1)
    };
    let packet = frame(PROTECTED, &ip_packet(A, B, 100));
    assert!(one.receive(PROTECTED, [&packet[..]]).is_empty(), "the former peer is not known: sealed, it waits");
    one.command(Command::Retarget { slot: sa.slot, tunnel: moved });
    let sent = one.expect(Verdict::Sealed, PROTECTED, &packet);
    let outer = Ipv4::parse(packet_of(&sent[0])).unwrap();
    let datagram = packet::udp::Udp::parse(outer.payload()).unwrap();
    assert_eq!((IpAddr::from(outer.destination()), datagram.destination_port), (elsewhere, 1024));
    assert_eq!(datagram.payload[4..8], [0, 0, 0, 2]);
    // The peer's NAT puts its address and port in again.
    let mut translated = packet_of(&sent[0]).to_vec();
    translated[16..20].copy_from_slice(&[192, 0, 2, 2]);
    translated[22..24].copy_from_slice(&4500_u16.to_be_bytes());
    resum(&mut translated);
    two.expect(Verdict::Opened, UNPROTECTED, &frame(UNPROTECTED, &translated));
    one.command(Command::Remove(sa.slot));
    one.command(Command::Retarget { slot: sa.slot, tunnel: moved });
    assert!(one.receive(PROTECTED, [&packet[..]]).is_empty(), "a slot that is empty stays so");
}

/// They have one address and one policy, but a port each. Where both want the same addresses, the newest has them for as long as it lives.
#[test]
fn each_of_two_peers_behind_one_nat_gets_its_own_packets() {
    let mut gateway = Gateway::protecting(1);
    let [first, second] = [(1, 1024, "10.2.0.0/24"), (2, 2048, "10.2.0.0/25")].map(|(slot, port, remote)| {
        let pair = Pair { slot, remote, udp: true, ..Pair::default() };
        let sa = gateway.install(&pair);
        let udp = Some(UdpPorts { source: 4500, destination: port });
        gateway.command(Command::Retarget { slot: sa.slot, tunnel: Tunnel { udp, ..pair.tunnel(1) } });
        sa.slot
    });
    let port_towards = |gateway: &mut Gateway, host| {
        let sent = gateway.expect(Verdict::Sealed, PROTECTED, &frame(PROTECTED, &ip_packet(A, [10, 2, 0, host], 100)));
        let outer = Ipv4::parse(packet_of(&sent[0])).unwrap();
        let datagram = packet::udp::Udp::parse(outer.payload()).unwrap();
        (datagram.destination_port, SaSlot::of(u32::from_be_bytes(*datagram.payload.first_chunk().unwrap())))
    };
    assert_eq!([2, 200, 3].map(|host| port_towards(&mut gateway, host)), [(2048, second), (1024, first), (2048, second)]);
    gateway.command(Command::Remove(second));
    assert_eq!([2, 200].map(|host| port_towards(&mut gateway, host)), [(1024, first); 2]);
}

#[test]
fn a_full_burst_of_several_sas_keeps_its_order() {
    let (mut one, mut two) = (Gateway::protecting(1), Gateway::protecting(2));
    let near = Pair { slot: 1, remote: "10.2.0.0/25", ..Pair::default() };
    let far = Pair { slot: 2, remote: "10.2.0.128/25", ..Pair::default() };
    for pair in [&near, &far] {
        one.install(pair);
        two.install(&Pair { remote: "10.1.0.0/24", ..pair.clone() });
    }
    let mut neighbors = vec![(NextHop { port: PROTECTED, address: B.into() }, HOST_MAC)];
    neighbors.push((NextHop { port: PROTECTED, address: [10, 2, 0, 200].into() }, HOST_MAC));
    two.snapshot.neighbors = Arc::new(Neighbors::new(neighbors));
    two.publish();

    let inner: Vec<Vec<u8>> = (0..BURST).map(|n| ip_packet(A, if n % 3 == 0 { B } else { [10, 2, 0, 200] }, 60 + n)).collect();
    let frames: Vec<_> = inner.iter().map(|packet| frame(PROTECTED, packet)).collect();
    let sent = one.receive(PROTECTED, frames.iter().map(Vec::as_slice));
    assert_eq!((sent.len(), one.count(Verdict::Sealed)), (BURST, BURST as u64));
    let frames: Vec<_> = sent.iter().map(|sent| frame(UNPROTECTED, packet_of(sent))).collect();
    let delivered = two.receive(UNPROTECTED, frames.iter().map(Vec::as_slice));
    let lengths: Vec<_> = delivered.iter().map(|sent| packet_of(sent).len()).collect();
    assert_eq!(lengths, (60..60 + BURST).collect::<Vec<_>>());
    assert_eq!(two.count(Verdict::Opened), BURST as u64);
}

#[test]
fn the_first_entry_that_selects_decides() {
    let mut gateway = Gateway::new(1);
    let packet = |last| frame(PROTECTED, &ip_packet(A, [10, 2, 0, last], 60));
    gateway.expect(Verdict::NoPolicySet, PROTECTED, &packet(2));
    gateway.set_policies([
        policy(3, PolicyAction::Bypass, 30, "0.0.0.0/0", "10.2.0.0/24"),
        policy(2, PolicyAction::Discard, 20, "0.0.0.0/0", "10.2.0.128/25"),
    ]);
    let sent = gateway.expect(Verdict::BypassedOutbound, PROTECTED, &packet(2));
    assert_eq!((sent[0].0, Ipv4::parse(packet_of(&sent[0])).unwrap().ttl()), (UNPROTECTED, 63));
    gateway.expect(Verdict::PolicyDiscard, PROTECTED, &packet(129));
    gateway.expect(Verdict::NoPolicy, PROTECTED, &frame(PROTECTED, &ip_packet(A, [10, 3, 0, 1], 60)));
    let stats = gateway.handle.stats();
    let once = PolicyCount { packets: 1, octets: 60 };
    assert_eq!((stats.policy(PolicySlot(2)), stats.policy(PolicySlot(3))), (once, once));
}

/// RFC 4301 section 4.1: several SAs between the same selectors, a class of traffic each.
#[test]
fn packets_of_each_class_cross_in_the_sa_of_their_own() {
    let mut gateway = Gateway::new(1);
    let expedited = Dscp::new(46).unwrap();
    let entry = |id, dscp| Policy { dscp, ..policy(id, PolicyAction::Protect, 10, "10.1.0.0/24", "10.2.0.0/24") };
    let only: DscpSet = [expedited].into_iter().collect();
    gateway.set_policies([entry(1, only), entry(2, DscpSet::ALL.without(only))]);
    let of_class = |traffic_class| {
        let header = Ipv4Header { traffic_class, source: A.into(), destination: B.into(), ..HEADER };
        frame(PROTECTED, &ip_packet_with(&header, 60))
    };
    // ECN is no part of the code point (RFC 3168 section 5).
    let packets = [(0, 2), (expedited.traffic_class(), 1), (expedited.traffic_class() | 3, 1), (0x28, 2)];
    gateway.receive(PROTECTED, [&of_class(0xb8)[..]]);
    assert!(matches!(gateway.notices()[..], [Notice::Acquire { policy: PolicyId(1), .. }]), "an SA for each class is asked for by itself");
    let sas = [1, 2].map(|slot| gateway.install(&Pair { slot, policy: PolicySlot(slot), ..Pair::default() }));
    assert_eq!(gateway.sent().len(), 1, "what has waited");
    let sealed = gateway.count(Verdict::Sealed);
    for (traffic_class, policy) in packets {
        let explained = gateway.explain(PROTECTED, &of_class(traffic_class), None);
        assert_eq!((explained.policy, explained.child_sa), (Some(PolicyId(policy)), Some(sas[policy as usize - 1].id)));
        let before = sas.each_ref().map(|sa| sa.state.outbound().0);
        assert_eq!(gateway.receive(PROTECTED, [&of_class(traffic_class)[..]]).len(), 1);
        let carried = sas.each_ref().map(|sa| sa.state.outbound().0);
        assert_eq!([carried[0] - before[0], carried[1] - before[1]], if policy == 1 { [1, 0] } else { [0, 1] });
    }
    assert_eq!(gateway.count(Verdict::Sealed) - sealed, 4);
    // Of what comes in in the clear the class is not looked at.
    for traffic_class in [0, 0xb8] {
        let header = Ipv4Header { traffic_class, source: B.into(), destination: A.into(), ..HEADER };
        gateway.expect(Verdict::CleartextProtected, UNPROTECTED, &frame(UNPROTECTED, &ip_packet_with(&header, 60)));
    }
}

#[test]
fn the_outer_packet_may_be_as_long_as_the_mtu_and_no_longer() {
    let mut gateway = Gateway::protecting(1);
    gateway.install(&Pair::default());
    // 20 + 8 + 8 + 1446 + 2 + 16 = 1500, without padding.
    let longest = 1446;
    for dont_fragment in [false, true] {
        let packet =
            |len| frame(PROTECTED, &ip_packet_with(&Ipv4Header { dont_fragment, source: A.into(), destination: B.into(), ..HEADER }, len));
        gateway.expect(Verdict::Sealed, PROTECTED, &packet(longest));
        let sent = gateway.receive(PROTECTED, [&packet(longest + 1)[..]]);
        assert_eq!((sent.len(), gateway.count(Verdict::FragmentationNeeded)), if dont_fragment { (0, 1) } else { (2, 0) });
    }
}

#[test]
fn a_packet_without_ttl_or_route_or_numbers_ends_here() {
    let mut gateway = Gateway::protecting(1);
    let sa = gateway.install(&Pair { numbers: SequenceNumbers::Standard, ..Pair::default() });
    for ttl in [0, 1] {
        let header = Ipv4Header { ttl, source: A.into(), destination: B.into(), ..HEADER };
        gateway.expect(Verdict::TtlExceeded, PROTECTED, &frame(PROTECTED, &ip_packet_with(&header, 60)));
    }
    let packet = frame(PROTECTED, &ip_packet(A, B, 60));
    sa.outbound.skip_to(u64::from(u32::MAX));
    gateway.expect(Verdict::Sealed, PROTECTED, &packet);
    for _ in 0..3 {
        gateway.expect(Verdict::SequenceExhausted, PROTECTED, &packet);
    }
    assert_eq!(gateway.notices(), [Notice::Spent(sa.id)], "once");
    gateway.snapshot.routes = Arc::new(Routes::default());
    gateway.publish();
    gateway.expect(Verdict::NoRoute, PROTECTED, &packet);
}

/// The server looks now and then only: meanwhile the worker itself keeps the SA to what it may carry, but for packets of the burst that it holds.
#[test]
fn a_worker_stops_at_the_hard_limit() {
    let packet = frame(PROTECTED, &ip_packet(A, B, 100));
    for hard in [hard_limit(Some(3), None), hard_limit(None, Some(300)), hard_limit(None, Some(201)), hard_limit(Some(3), Some(900))] {
        let mut gateway = Gateway::protecting(1);
        let sa = gateway.install(&Pair { quota: hard, ..Pair::default() });
        for _ in 0..3 {
            assert_eq!(gateway.notices(), []);
            gateway.expect(Verdict::Sealed, PROTECTED, &packet);
        }
        for _ in 0..3 {
            gateway.expect(Verdict::HardLimit, PROTECTED, &packet);
        }
        assert_eq!(gateway.notices(), [Notice::Spent(sa.id)], "once");
        assert_eq!(sa.state.outbound(), (3, 300));
    }
    let mut gateway = Gateway::protecting(1);
    gateway.install(&Pair { quota: hard_limit(Some(3), None), ..Pair::default() });
    gateway.receive(PROTECTED, vec![&packet[..]; BURST]);
    gateway.receive(PROTECTED, vec![&packet[..]; BURST]);
    assert_eq!([Verdict::Sealed, Verdict::HardLimit].map(|verdict| gateway.count(verdict)), [BURST as u64; 2]);
}

#[test]
fn the_newest_active_sa_is_used_and_a_retired_one_no_more() {
    let mut gateway = Gateway::protecting(1);
    let old = gateway.install(&Pair { slot: 1, ..Pair::default() });
    let new = gateway.install(&Pair { slot: 2, active: false, ..Pair::default() });
    let packet = frame(PROTECTED, &ip_packet(A, B, 60));
    gateway.expect(Verdict::Sealed, PROTECTED, &packet);
    assert_eq!((old.state.outbound().0, new.state.outbound().0), (1, 0));
    assert!(new.state.activate() && !new.state.activate());
    gateway.expect(Verdict::Sealed, PROTECTED, &packet);
    assert_eq!((old.state.outbound().0, new.state.outbound().0), (1, 1));
    gateway.command(Command::RetireOutbound(new.slot));
    gateway.expect(Verdict::Sealed, PROTECTED, &packet);
    assert_eq!(old.state.outbound().0, 2);
    gateway.command(Command::Remove(old.slot));
    assert!(matches!(gateway.handle.garbage(), Some(Garbage::Snapshot(_))));
    assert!(matches!(gateway.handle.garbage(), Some(Garbage::Sa { sa, window: Some(_) }) if sa.id == old.id));
    gateway.receive(PROTECTED, [&packet[..]]);
    assert!(matches!(gateway.notices()[..], [Notice::Acquire { policy: PolicyId(1), slot: PolicySlot(1), .. }]));
}

#[test]
fn the_gateways_own_packets_leave_as_they_were_asked_to() {
    let mut gateway = Gateway::protecting(1);
    gateway.install(&Pair::default());
    let send = |gateway: &mut Gateway, via, bytes: &[u8]| {
        gateway.command(Command::Transmit { via, frame: Frame::outgoing(bytes.to_vec()) });
        gateway.sent()
    };
    assert_eq!(send(&mut gateway, Via::Port(PROTECTED), b"any octets"), [(PROTECTED, b"any octets".to_vec())]);
    let ike = ip_packet([192, 0, 2, 1], [192, 0, 2, 2], 100);
    let sent = send(&mut gateway, Via::Route, &ike);
    assert_eq!((sent[0].0, packet_of(&sent[0])), (UNPROTECTED, &ike[..]), "with its own TTL");
    assert_eq!(gateway.count(Verdict::OwnSent), 2);
    let sent = send(&mut gateway, Via::Policy, &ip_packet([10, 1, 0, 1], B, 60));
    assert_eq!((sent.len(), gateway.count(Verdict::Sealed)), (1, 1));
    assert_eq!(Ipv4::parse(packet_of(&sent[0])).unwrap().protocol(), 50);
    send(&mut gateway, Via::Route, b"no packet");
    assert_eq!(gateway.count(Verdict::MalformedIp), 1);
    let returned = std::iter::from_fn(|| gateway.handle.garbage()).filter(|garbage| matches!(garbage, Garbage::Frame(_))).count();
    assert_eq!(returned, 4);
}
