use super::*;
use crate::command::{Origin, Refusal};

impl Gateway {
    /// Whom the server is to tell of a refused packet, and what is quoted of it.
    fn refused(&self) -> Option<(Origin, Vec<u8>)> {
        let frame = self.handle.punted(PuntClass::Refused)?;
        let refused = (frame.origin(), frame.bytes().to_vec());
        self.handle.recycle(frame);
        Some(refused)
    }

    fn limited_to(per_second: u32) -> Self {
        let limits = Limits { sad_slots: 64, policy_slots: 8, icmp_errors: IcmpErrorLimits { per_second }, ..Limits::default() };
        let mut gateway = Self::worker(1, WorkerId(0), limits);
        gateway.set_policies([
            policy(1, PolicyAction::Protect, 1, "10.1.0.0/24", "10.2.0.0/16"),
            policy(2, PolicyAction::Bypass, 2, "10.1.0.0/24", "10.4.0.0/24"),
        ]);
        gateway.install(&Pair::default());
        gateway
    }
}

const LONG: Ipv4Header =
    Ipv4Header { dont_fragment: true, source: Ipv4Addr::from_octets(A), destination: Ipv4Addr::from_octets(B), ..HEADER };

#[test]
fn an_icmp_error_is_due_to_whoever_sent_too_much_or_too_far() {
    let mut gateway = Gateway::limited_to(100);
    let too_big = |mtu| Origin::Refused { sender: A.into(), refusal: Refusal::TooBig { mtu } };
    let in_tunnel = ip_packet_with(&LONG, 1447);
    gateway.expect(Verdict::FragmentationNeeded, PROTECTED, &frame(PROTECTED, &in_tunnel));
    assert_eq!(gateway.refused(), Some((too_big(1446), in_tunnel[..1232].to_vec())));
    let in_the_clear = ip_packet_with(&Ipv4Header { destination: [10, 4, 0, 2].into(), ..LONG }, 1501);
    gateway.expect(Verdict::FragmentationNeeded, PROTECTED, &frame(PROTECTED, &in_the_clear));
    assert_eq!(gateway.refused(), Some((too_big(1500), in_the_clear[..1232].to_vec())));
    let far = ip_packet_with(&Ipv4Header { ttl: 1, ..LONG }, 100);
    gateway.expect(Verdict::TtlExceeded, PROTECTED, &frame(PROTECTED, &far));
    let exceeded = Origin::Refused { sender: A.into(), refusal: Refusal::HopLimitExceeded };
    assert_eq!(gateway.refused(), Some((exceeded, far)), "unchanged");
}

#[test]
fn no_icmp_error_is_due_about_errors_and_later_fragments() {
    let mut gateway = Gateway::limited_to(100);
    let icmp = |kind: u8| {
        let mut packet = ip_packet_with(&Ipv4Header { protocol: 1, ..LONG }, 1447);
        packet[20] = kind;
        packet
    };
    let fragment = |offset: u8| {
        let mut packet = ip_packet_with(&LONG, 1447);
        packet[6..8].copy_from_slice(&[0x60, offset]);
        resum(&mut packet);
        packet
    };
    let cases = [(icmp(3), false), (icmp(11), false), (icmp(8), true), (fragment(0), true), (fragment(9), false)];
    for (number, (packet, due)) in cases.into_iter().enumerate() {
        gateway.expect(Verdict::FragmentationNeeded, PROTECTED, &frame(PROTECTED, &packet));
        assert_eq!(gateway.refused().is_some(), due, "case {number}");
    }
    let may_be_cut = ip_packet_with(&Ipv4Header { dont_fragment: false, ..LONG }, 1447);
    gateway.receive(PROTECTED, [&frame(PROTECTED, &may_be_cut)[..]]);
    assert_eq!((gateway.count(Verdict::Sealed), gateway.refused()), (2, None));
    assert_eq!(gateway.handle.stats().tally(Tally::IcmpErrorsLimited), 0);
}

#[test]
fn senders_behind_the_peer_are_told_too() {
    let pair = Pair::default();
    let mut gateway = Gateway::limited_to(100).with_mtus([1000, 1500]);
    let sender = pair.outbound(2);
    let header = Ipv4Header { source: B.into(), destination: A.into(), ..LONG };
    let inside = |refusal| Origin::RefusedInside { sender: B.into(), receiver: A.into(), refusal };
    let packet = ip_packet_with(&header, 1400);
    gateway.expect(Verdict::FragmentationNeeded, UNPROTECTED, &sealed_in(&pair.tunnel(2), &sender, &packet));
    assert_eq!(gateway.refused(), Some((inside(Refusal::TooBig { mtu: 1000 }), packet[..1232].to_vec())));
    let packet = ip_packet_with(&Ipv4Header { ttl: 1, ..header }, 100);
    gateway.expect(Verdict::TtlExceeded, UNPROTECTED, &sealed_in(&pair.tunnel(2), &sender, &packet));
    assert_eq!(gateway.refused(), Some((inside(Refusal::HopLimitExceeded), packet)));
    let error = ip_packet_with(&Ipv4Header { protocol: 1, ..header }, 1400);
    let error = [&error[..20], &[3], &error[21..]].concat();
    gateway.expect(Verdict::FragmentationNeeded, UNPROTECTED, &sealed_in(&pair.tunnel(2), &sender, &error));
    assert_eq!(gateway.refused(), None);
}

#[test]
fn icmp_errors_have_a_rate_limit() {
    let packet = frame(PROTECTED, &ip_packet_with(&LONG, 1447));
    let errors = |gateway: &mut Gateway, packets: usize| {
        let limited = gateway.handle.stats().tally(Tally::IcmpErrorsLimited);
        let mut errors = 0;
        for _ in 0..packets {
            gateway.expect(Verdict::FragmentationNeeded, PROTECTED, &packet);
            errors += usize::from(gateway.refused().is_some());
        }
        (errors, gateway.handle.stats().tally(Tally::IcmpErrorsLimited) - limited)
    };
    let mut gateway = Gateway::limited_to(10);
    assert_eq!(errors(&mut gateway, 15), (10, 5), "what a second brings at once");
    gateway.later(99);
    assert_eq!(errors(&mut gateway, 1), (0, 1));
    gateway.later(1);
    assert_eq!(errors(&mut gateway, 2), (1, 1), "one in 100 ms");
    gateway.later(60_000);
    assert_eq!(errors(&mut gateway, 12), (10, 2), "no more is saved up");
    assert_eq!(errors(&mut Gateway::limited_to(0), 3), (0, 3));
}
