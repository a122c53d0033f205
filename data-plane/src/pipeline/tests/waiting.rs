use super::*;

fn ping(n: u8) -> Vec<u8> {
    frame(PROTECTED, &ip_packet(A, B, 60 + usize::from(n)))
}

fn lengths(sent: &[(PortId, Vec<u8>)]) -> Vec<usize> {
    sent.iter().map(|sent| sent.1.len()).collect()
}

#[test]
fn the_first_packet_waits_for_its_sa_and_is_sent_first() {
    let mut gateway = Gateway::protecting(1);
    assert!(gateway.receive(PROTECTED, [&ping(0)[..], &ping(1)]).is_empty());
    assert!(gateway.receive(PROTECTED, [&ping(2)[..]]).is_empty());
    let notices = gateway.notices();
    let [Notice::Acquire { policy: PolicyId(1), slot: PolicySlot(1), flow }] = notices[..] else { panic!("one Acquire: {notices:?}") };
    assert_eq!((flow.source, flow.destination), (Ipv4Addr::from(A).into(), Ipv4Addr::from(B).into()));
    assert_eq!((gateway.handle.stats().tally(Tally::AcquireQueued), gateway.total()), (3, 0));

    let sa = gateway.install(&Pair { active: false, ..Pair::default() });
    gateway.later(1);
    assert!(gateway.sent().is_empty(), "parked");
    sa.state.activate();
    gateway.later(1);
    let outer = |n: usize| HEADER_LEN + Pair::default().tunnel(1).outer_len(Pair::default().layout(), 60 + n);
    assert_eq!(lengths(&gateway.sent()), [outer(0), outer(1), outer(2)]);
    assert_eq!((gateway.count(Verdict::Sealed), gateway.total()), (3, 3));
}

#[test]
fn more_packets_than_a_burst_are_sent_in_order() {
    let mut gateway = Gateway::protecting(1);
    for n in 0..50 {
        gateway.receive(PROTECTED, [&ping(n)[..]]);
    }
    gateway.install(&Pair::default());
    let expected: Vec<_> = (0..50).map(|n| HEADER_LEN + Pair::default().tunnel(1).outer_len(Pair::default().layout(), 60 + n)).collect();
    assert_eq!(lengths(&gateway.sent()), expected);
}

#[test]
fn a_packet_that_the_sa_does_not_cover_waits_on_and_times_out() {
    let mut gateway = Gateway::protecting(1);
    gateway.receive(PROTECTED, [&ping(0)[..]]);
    gateway.install(&Pair { remote: "10.9.0.0/16", ..Pair::default() });
    gateway.later(AcquireLimits::default().timeout_ms - 1);
    assert_eq!(gateway.total(), 0);
    gateway.later(1);
    assert_eq!((gateway.count(Verdict::AcquireTimeout), gateway.total()), (1, 1));
    assert_eq!(gateway.notices().len(), 1);
    gateway.receive(PROTECTED, [&ping(0)[..]]);
    assert_eq!(gateway.notices().len(), 1, "asked anew");
}

#[test]
fn a_refusal_drops_what_waits_and_what_comes_soon() {
    let mut gateway = Gateway::protecting(1);
    gateway.receive(PROTECTED, [&ping(0)[..], &ping(1)]);
    gateway.command(refuse(1, 100));
    assert_eq!((gateway.count(Verdict::AcquireRefused), gateway.notices().len()), (2, 1));
    gateway.later(99);
    gateway.expect(Verdict::AcquireRefused, PROTECTED, &ping(2));
    gateway.later(1);
    gateway.receive(PROTECTED, [&ping(3)[..]]);
    assert_eq!((gateway.total(), gateway.notices().len()), (3, 1));
    gateway.command(refuse(7, 100));
    gateway.command(refuse(8, 100));
    assert_eq!(gateway.total(), 3, "other policies, and one that cannot be");
}

#[test]
fn a_refusal_goes_with_its_policy_and_what_waits_is_decided_anew() {
    let mut gateway = Gateway::protecting(1);
    let give_slot_to = |gateway: &mut Gateway, id, action| {
        let policy = policy(id, action, 1, "10.1.0.0/24", "10.0.0.0/8");
        gateway.snapshot.spd = Some(Arc::new(Spd::new([(PolicySlot(1), policy)])));
        gateway.publish();
        gateway.command(Command::PoliciesChanged([PolicySlot(1)].into_iter().collect()));
    };
    let asked = |gateway: &Gateway| -> Vec<u32> {
        gateway.notices().iter().map(|notice| if let Notice::Acquire { policy, .. } = notice { policy.0 } else { 0 }).collect()
    };
    gateway.receive(PROTECTED, [&ping(0)[..]]);
    gateway.command(refuse(1, 60_000));
    give_slot_to(&mut gateway, 1, PolicyAction::Protect);
    gateway.expect(Verdict::AcquireRefused, PROTECTED, &ping(1));
    assert_eq!(asked(&gateway), [1], "refused while its policy stays");

    give_slot_to(&mut gateway, 7, PolicyAction::Protect);
    gateway.receive(PROTECTED, [&ping(2)[..], &ping(3)]);
    assert_eq!((asked(&gateway), gateway.total()), (vec![7], 2));
    give_slot_to(&mut gateway, 8, PolicyAction::Protect);
    assert_eq!((asked(&gateway), gateway.total()), (vec![8], 2), "the next policy asks for what waits at once");
    give_slot_to(&mut gateway, 8, PolicyAction::Bypass);
    assert_eq!(lengths(&gateway.sent()), [HEADER_LEN + 62, HEADER_LEN + 63]);
    assert_eq!((gateway.count(Verdict::BypassedOutbound), gateway.total()), (2, 4));

    give_slot_to(&mut gateway, 9, PolicyAction::Protect);
    gateway.receive(PROTECTED, [&ping(4)[..]]);
    gateway.set_policies([]);
    assert_eq!((gateway.count(Verdict::NoPolicy), gateway.total()), (1, 5));
}

#[test]
fn an_installed_sa_ends_a_refusal() {
    let mut gateway = Gateway::protecting(1);
    gateway.command(refuse(1, 60_000));
    gateway.expect(Verdict::AcquireRefused, PROTECTED, &ping(0));
    let sa = gateway.install(&Pair { active: false, ..Pair::default() });
    gateway.receive(PROTECTED, [&ping(1)[..]]);
    sa.state.activate();
    gateway.later(1);
    assert_eq!((gateway.count(Verdict::Sealed), gateway.total()), (1, 2));
}

#[test]
fn what_waits_for_an_sa_is_bounded_by_policy_and_in_all() {
    let acquire = AcquireLimits { packets: 5, packets_per_policy: 3, timeout_ms: 1000 };
    let limits = Limits { sad_slots: 64, policy_slots: 8, acquire, ..Limits::default() };
    let mut gateway = Gateway::worker(1, WorkerId(0), limits);
    gateway.set_policies((1..=3).map(|id| policy(id, PolicyAction::Protect, 1, "10.1.0.0/24", &format!("10.{id}.0.0/16"))));
    let to = |id: u8| frame(PROTECTED, &ip_packet(A, [10, id, 5, 5], 60));
    for (id, overflows) in [(2, 0), (2, 0), (2, 0), (2, 1), (3, 1), (3, 1), (3, 2)] {
        gateway.receive(PROTECTED, [&to(id)[..]]);
        assert_eq!(gateway.count(Verdict::AcquireOverflow), overflows);
    }
    assert_eq!(gateway.notices().len(), 2);
    gateway.later(999);
    assert_eq!(gateway.count(Verdict::AcquireTimeout), 0);
    gateway.receive(PROTECTED, [&to(2)[..]]);
    gateway.later(1);
    assert_eq!((gateway.count(Verdict::AcquireTimeout), gateway.count(Verdict::AcquireOverflow)), (5, 3));
}

#[test]
fn an_acquire_that_found_the_queue_full_is_told_as_soon_as_there_is_room() {
    let mut gateway = Gateway::protecting(1);
    let other = Notice::NeighborMiss { port: UNPROTECTED, address: [192, 0, 2, 9].into() };
    while gateway.pipeline.end().notify(other) {}
    gateway.receive(PROTECTED, [&ping(0)[..], &ping(1)]);
    gateway.later(1);
    assert!(gateway.notices().iter().all(|notice| *notice == other));
    gateway.later(1);
    assert!(matches!(gateway.notices()[..], [Notice::Acquire { policy: PolicyId(1), slot: PolicySlot(1), .. }]));
    gateway.later(1);
    assert_eq!((gateway.notices(), gateway.total()), (vec![], 0));
}

#[test]
fn an_acquire_is_repeated_once_a_second_while_packets_come() {
    let mut gateway = Gateway::protecting(1);
    for (after, expected) in [(0, 1), (999, 0), (1, 1), (500, 0), (500, 1)] {
        gateway.later(after.max(1) - u64::from(after == 0));
        gateway.receive(PROTECTED, [&ping(0)[..]]);
        assert_eq!(gateway.notices().len(), expected, "after {after}");
    }
}

#[test]
fn a_packet_waits_for_its_next_hop_at_either_end() {
    let (mut one, mut two) = (Gateway::protecting(1), Gateway::protecting(2));
    let pair = Pair::default();
    for gateway in [&mut one, &mut two] {
        gateway.snapshot.neighbors = Arc::default();
        gateway.publish();
        gateway.install(&pair);
    }
    assert!(one.receive(PROTECTED, [&ping(0)[..], &ping(1)]).is_empty());
    assert_eq!(one.notices(), [Notice::NeighborMiss { port: UNPROTECTED, address: [192, 0, 2, 2].into() }]);
    one.snapshot.neighbors = snapshot(1).neighbors;
    one.publish();
    let sent = one.sent();
    assert_eq!((sent.len(), one.count(Verdict::Sealed)), (2, 2));

    let frames: Vec<_> = sent.iter().map(|sent| frame(UNPROTECTED, packet_of(sent))).collect();
    assert!(two.receive(UNPROTECTED, frames.iter().map(Vec::as_slice)).is_empty());
    assert_eq!(two.notices(), [Notice::NeighborMiss { port: PROTECTED, address: B.into() }]);
    two.later(WaitLimits::default().timeout_ms - 1);
    two.snapshot.neighbors = snapshot(2).neighbors;
    two.publish();
    assert_eq!(lengths(&two.sent()), [HEADER_LEN + 60, HEADER_LEN + 61]);
    assert_eq!((two.count(Verdict::Opened), two.total()), (2, 2));
}

#[test]
fn what_waits_for_a_next_hop_is_bounded_in_number_and_time() {
    let wait = WaitLimits { packets: 4, packets_per_hop: 3, hops: 2, timeout_ms: 100 };
    let limits = Limits { sad_slots: 64, policy_slots: 8, wait, ..Limits::default() };
    let mut gateway = Gateway::worker(1, WorkerId(0), limits);
    gateway.set_policies([policy(1, PolicyAction::Bypass, 1, "0.0.0.0/0", "0.0.0.0/0")]);
    let to = |last: u8| frame(PROTECTED, &ip_packet(A, [192, 0, 2, last], 60));
    for (last, overflows) in [(50, 0), (50, 0), (50, 0), (50, 1), (51, 1), (51, 2), (52, 3)] {
        gateway.receive(PROTECTED, [&to(last)[..]]);
        assert_eq!(gateway.count(Verdict::NeighborOverflow), overflows, "to {last}");
    }
    assert_eq!(gateway.notices().len(), 2, "a third hop is not even asked for");
    gateway.later(99);
    assert_eq!(gateway.count(Verdict::NeighborTimeout), 0);
    gateway.later(1);
    assert_eq!((gateway.count(Verdict::NeighborTimeout), gateway.total()), (4, 7));
    gateway.later(1000);
    gateway.receive(PROTECTED, [&to(52)[..]]);
    assert_eq!(gateway.notices(), [Notice::NeighborMiss { port: UNPROTECTED, address: [192, 0, 2, 52].into() }]);
}

#[test]
fn commands_wait_while_the_garbage_is_not_taken_away() {
    let mut gateway = Gateway::new(1);
    for _ in 0..16 {
        gateway.publish();
    }
    let ticket = gateway.handle.send(Command::Snapshot(Arc::new(gateway.snapshot.clone()))).unwrap();
    gateway.later(1);
    assert!(!gateway.handle.is_applied(ticket));
    assert!(gateway.handle.garbage().is_some());
    assert_eq!(gateway.pipeline.turn(gateway.now_ms, &mut gateway.wire), (Next::Continue, true));
    assert!(gateway.handle.is_applied(ticket));
    gateway.handle.garbage();
    let _ticket = gateway.handle.send(Command::Stop).unwrap();
    assert_eq!(gateway.pipeline.turn(gateway.now_ms, &mut gateway.wire), (Next::Stop, true));
}
