use esp_crypto::{Aad, AeadKey, SealJob};
use proptest::prelude::*;

use super::*;
use crate::command::Origin;

/// The first packet of site 1 in an SA pair, and a site 2 that can open it.
fn receiver(pair: &Pair) -> (Gateway, OutboundSa) {
    let mut gateway = Gateway::protecting(2);
    gateway.install(pair);
    (gateway, pair.outbound(1))
}

#[test]
fn each_way_to_fail_has_its_own_counter() {
    let pair = Pair::default();
    let (mut gateway, outbound) = receiver(&pair);
    let inner = ip_packet(A, B, 80);
    let good = sealed_by(&pair, &outbound, &inner);
    let esp_at = HEADER_LEN + 20;

    for at in [esp_at + 8, esp_at + 30, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        gateway.expect(Verdict::Integrity, UNPROTECTED, &bad);
    }
    gateway.expect(Verdict::Opened, UNPROTECTED, &good);
    gateway.expect(Verdict::Replay, UNPROTECTED, &good);

    outbound.skip_to(100);
    gateway.expect(Verdict::Opened, UNPROTECTED, &sealed_by(&pair, &outbound, &inner));
    gateway.expect(Verdict::Integrity, UNPROTECTED, &good);
    let standard = Pair { numbers: SequenceNumbers::Standard, slot: 6, ..Pair::default() };
    let (mut narrow, sender) = receiver(&standard);
    let early = sealed_by(&standard, &sender, &inner);
    sender.skip_to(100);
    narrow.expect(Verdict::Opened, UNPROTECTED, &sealed_by(&standard, &sender, &inner));
    narrow.expect(Verdict::OutOfWindow, UNPROTECTED, &early);

    let mut other_spi = good.clone();
    other_spi[esp_at] ^= 0x10;
    gateway.expect(Verdict::SpiUnknown, UNPROTECTED, &other_spi);
    gateway.expect(Verdict::EspRunt, UNPROTECTED, &frame(UNPROTECTED, &esp_packet(&good[esp_at..esp_at + 7])));
    gateway.expect(Verdict::EspRunt, UNPROTECTED, &frame(UNPROTECTED, &esp_packet(&good[esp_at..esp_at + 33])));
    let mut fragment = ip_packet_with(&Ipv4Header { protocol: 50, source: [192, 0, 2, 1].into(), ..to_gateway() }, 60);
    fragment[6] = 0x20;
    resum(&mut fragment);
    gateway.expect(Verdict::PuntedFragment, UNPROTECTED, &frame(UNPROTECTED, &fragment));
}

/// RFC 4301 section 4.4.2.1: not one packet more, in the middle of a burst, too.
#[test]
fn a_worker_opens_nothing_beyond_the_hard_limit() {
    for hard in [hard_limit(Some(3), None), hard_limit(None, Some(201))] {
        let pair = Pair { quota: hard, ..Pair::default() };
        let mut gateway = Gateway::protecting(2);
        let (sa, outbound) = (gateway.install(&pair), pair.outbound(1));
        let frames: Vec<_> = (0..BURST).map(|_| sealed_by(&pair, &outbound, &ip_packet(A, B, 100))).collect();
        assert_eq!(gateway.receive(UNPROTECTED, frames.iter().map(Vec::as_slice)).len(), 3);
        assert_eq!([Verdict::Opened, Verdict::HardLimit].map(|verdict| gateway.count(verdict)), [3, BURST as u64 - 3]);
        assert_eq!((gateway.notices(), sa.state.inbound()), (vec![Notice::Spent(sa.id)], (3, 300)));
    }
}

/// Those with nothing special go together, and each other by itself: a host must not see that.
#[test]
fn packets_of_a_burst_leave_in_the_order_in_which_they_came() {
    let pair = Pair::default();
    let (mut gateway, outbound) = receiver(&pair);
    gateway.expect(Verdict::Opened, UNPROTECTED, &sealed_by(&pair, &outbound, &ip_packet(A, B, 60)));
    let inner = |len| ip_packet(A, B, len);
    let mut fragment = inner(101);
    fragment[6] |= 0x20;
    resum(&mut fragment);
    let late = ip_packet_with(&Ipv4Header { ttl: 1, source: A.into(), destination: B.into(), ..HEADER }, 104);
    let inners = [inner(100), fragment, inner(102), inner(103), late, inner(105)];
    let mut frames = inners.map(|inner| sealed_by(&pair, &outbound, &inner));
    *frames[3].last_mut().unwrap() ^= 1;
    let sent = gateway.receive(UNPROTECTED, frames.iter().map(Vec::as_slice));
    assert_eq!(sent.iter().map(|sent| packet_of(sent).len()).collect::<Vec<_>>(), [100, 101, 102, 105]);
    assert_eq!([Verdict::Opened, Verdict::Integrity, Verdict::TtlExceeded].map(|verdict| gateway.count(verdict)), [5, 1, 1]);
}

/// Nobody but the peer can use an SA up: neither with forgeries nor by sending again what it has sent.
#[test]
fn what_is_not_authentic_or_not_new_does_not_count() {
    let pair = Pair { numbers: SequenceNumbers::Standard, quota: hard_limit(Some(3), None), ..Pair::default() };
    let mut gateway = Gateway::protecting(2);
    let (sa, outbound) = (gateway.install(&pair), pair.outbound(1));
    let [early, first] = [1, 100].map(|number| {
        outbound.skip_to(number);
        sealed_by(&pair, &outbound, &ip_packet(A, B, 80))
    });
    gateway.expect(Verdict::Opened, UNPROTECTED, &first);
    let mut forged = sealed_by(&pair, &outbound, &ip_packet(A, B, 80));
    *forged.last_mut().unwrap() ^= 1;
    for _ in 0..10 {
        gateway.expect(Verdict::Integrity, UNPROTECTED, &forged);
        gateway.expect(Verdict::Replay, UNPROTECTED, &first);
        gateway.expect(Verdict::OutOfWindow, UNPROTECTED, &early);
    }
    let twice = sealed_by(&pair, &outbound, &ip_packet(A, B, 80));
    gateway.receive(UNPROTECTED, [&twice[..], &twice[..]]);
    assert_eq!((sa.state.inbound(), gateway.notices()), ((2, 160), vec![]), "the copy passed the first look at the window, not the second");
    // What is authentic counts, though nothing of it may pass.
    gateway.expect(Verdict::Dummy, UNPROTECTED, &sealed_by_hand(&pair, 200, b"whatever", &[1, 2, 2, 59]));
    gateway.expect(Verdict::HardLimit, UNPROTECTED, &sealed_by_hand(&pair, 201, b"whatever", &[1, 2, 2, 59]));
    assert_eq!((sa.state.inbound(), gateway.notices()), ((3, 160), vec![Notice::Spent(sa.id)]));
}

#[test]
fn what_is_wrong_inside_has_its_own_counter() {
    let pair = Pair { numbers: SequenceNumbers::Standard, ..Pair::default() };
    let (mut gateway, _) = receiver(&pair);
    let inner = ip_packet(A, B, 60);
    let cases: [(Verdict, &[u8], &[u8]); 7] = [
        (Verdict::Opened, &inner, &[1, 2, 2, 4]),
        (Verdict::BadPadding, &inner, &[1, 3, 2, 4]),
        (Verdict::BadPadding, &inner, &[1, 2, 200, 4]),
        (Verdict::BadNextHeader, &inner, &[1, 2, 2, 6]),
        (Verdict::MalformedInner, &inner, &[1, 2, 2, 41]),
        (Verdict::Dummy, b"whatever", &[1, 2, 2, 59]),
        (Verdict::MalformedInner, &inner[1..], &[1, 1, 4]),
    ];
    for (number, (verdict, payload, trailer)) in (1..).zip(cases) {
        gateway.expect(verdict, UNPROTECTED, &sealed_by_hand(&pair, number, payload, trailer));
    }
    let others_source = ip_packet([10, 1, 0, 2], [10, 2, 1, 2], 60);
    gateway.expect(Verdict::SelectorMismatch, UNPROTECTED, &sealed_by_hand(&pair, 20, &others_source, &[1, 2, 2, 4]));
    let sa = pair.spi(2).value();
    let opened = gateway.pipeline.sad.split().0.inbound(sa).unwrap().sa.state.inbound();
    assert_eq!(opened, (8, 60), "all were authentic, one was let in");
}

/// ESP as RFC 4303 and 4106 write it, without the crate under test.
fn sealed_by_hand(pair: &Pair, number: u32, payload: &[u8], trailer: &[u8]) -> Vec<u8> {
    let keymat: Vec<u8> = (0..20).map(|n| n ^ (2 << 6)).collect();
    let key = AeadKey::aes_gcm(&keymat[..16]).unwrap();
    let iv = [9, 9, 9, 9, 9, 9, 9, u8::try_from(number).unwrap()];
    let nonce: [u8; 12] = [&keymat[16..], &iv[..]].concat().try_into().unwrap();
    let mut data = [payload, trailer].concat();
    let mut icv = [0; 16];
    esp_crypto::seal_burst(&mut [SealJob::new(&key, nonce, Aad::new(pair.spi(2).value(), number), &mut data, &mut icv).unwrap()]);
    let esp = [&pair.spi(2).value().to_be_bytes()[..], &number.to_be_bytes(), &iv, &data, &icv].concat();
    frame(UNPROTECTED, &esp_packet(&esp))
}

fn to_gateway() -> Ipv4Header {
    Ipv4Header { protocol: 50, source: [192, 0, 2, 1].into(), destination: [192, 0, 2, 2].into(), ..HEADER }
}

fn esp_packet(esp: &[u8]) -> Vec<u8> {
    [&to_gateway().to_octets(esp.len()).unwrap()[..], esp].concat()
}

#[test]
fn one_burst_with_good_and_bad_packets_is_told_apart() {
    let pair = Pair::default();
    let (mut gateway, outbound) = receiver(&pair);
    let frames: Vec<Vec<u8>> = (0..BURST)
        .map(|n| {
            let mut frame = sealed_by(&pair, &outbound, &ip_packet(A, B, 60 + n));
            let last = frame.len() - 1;
            match n % 4 {
                0 => frame[last] ^= 0x80,
                1 => frame.truncate(HEADER_LEN + 20 + 5),
                _ => {}
            }
            frame
        })
        .collect();
    let delivered = gateway.receive(UNPROTECTED, frames.iter().map(Vec::as_slice));
    let lengths: Vec<_> = delivered.iter().map(|sent| packet_of(sent).len() - 60).collect();
    assert_eq!(lengths, (0..BURST).filter(|n| n % 4 > 1).collect::<Vec<_>>());
    assert_eq!((gateway.count(Verdict::Integrity), gateway.count(Verdict::MalformedIp)), (8, 8));
}

#[test]
fn the_same_packet_twice_in_a_burst_is_delivered_once() {
    let pair = Pair::default();
    let (mut gateway, outbound) = receiver(&pair);
    let good = sealed_by(&pair, &outbound, &ip_packet(A, B, 60));
    assert_eq!(gateway.receive(UNPROTECTED, [&good[..], &good, &good]).len(), 1);
    assert_eq!((gateway.count(Verdict::Opened), gateway.count(Verdict::Replay)), (1, 2));
}

#[test]
fn the_first_authentic_packet_activates_the_other_half() {
    let pair = Pair { active: false, ..Pair::default() };
    let mut gateway = Gateway::protecting(2);
    let sa = gateway.install(&pair);
    let outbound = pair.outbound(1);
    let mut forged = sealed_by(&pair, &outbound, &ip_packet(A, B, 60));
    forged[70] ^= 1;
    gateway.expect(Verdict::Integrity, UNPROTECTED, &forged);
    assert!(!sa.state.is_active() && sa.state.last_inbound_ms() == 0);
    gateway.receive(PROTECTED, [&frame(PROTECTED, &ip_packet(B, A, 60))[..]]);
    assert!(matches!(gateway.notices()[..], [Notice::Acquire { .. }]), "parked: nothing is sent yet");
    gateway.expect(Verdict::Opened, UNPROTECTED, &sealed_by(&pair, &outbound, &ip_packet(A, B, 60)));
    assert!(sa.state.is_active());
    assert_eq!(gateway.notices(), [Notice::Activated(sa.id)]);
    gateway.later(1);
    assert_eq!((gateway.sent().len(), gateway.count(Verdict::Sealed)), (1, 1), "what waited is sent");
}

#[test]
fn only_the_newest_number_tells_that_the_peer_has_moved() {
    let pair = Pair { udp: true, ..Pair::default() };
    let (mut gateway, outbound) = receiver(&pair);
    let from = |port: u16, mut frame: Vec<u8>| {
        frame[HEADER_LEN + 20..HEADER_LEN + 22].copy_from_slice(&port.to_be_bytes());
        frame
    };
    let [first, second, third] = [(); 3].map(|()| sealed_by(&pair, &outbound, &ip_packet(A, B, 60)));
    gateway.expect(Verdict::Opened, UNPROTECTED, &from(4500, second));
    gateway.expect(Verdict::Opened, UNPROTECTED, &from(1024, first));
    assert_eq!(gateway.notices(), [], "an old packet from elsewhere");
    gateway.expect(Verdict::Opened, UNPROTECTED, &from(1024, third));
    let moved = Notice::PeerMoved { child_sa: ChildSaId(105), address: [192, 0, 2, 1].into(), port: Some(1024) };
    assert_eq!(gateway.notices(), [moved]);
    gateway.receive(UNPROTECTED, [&from(1024, sealed_by(&pair, &outbound, &ip_packet(A, B, 60)))[..]]);
    assert_eq!(gateway.notices(), [], "once a second");
    gateway.later(1000);
    gateway.receive(UNPROTECTED, [&from(1024, sealed_by(&pair, &outbound, &ip_packet(A, B, 60)))[..]]);
    assert_eq!(gateway.notices(), [moved]);
}

/// RFC 7296 section 2.23: a peer may send with and without UDP; its place behind a NAT is known from packets in UDP only.
#[test]
fn a_packet_of_the_other_encapsulation_is_opened_and_tells_no_place() {
    for udp in [false, true] {
        let pair = Pair { udp, ..Pair::default() };
        let (mut gateway, outbound) = receiver(&pair);
        let ends = Ends::V4 { source: [192, 0, 2, 66].into(), destination: [192, 0, 2, 2].into() };
        let other = Tunnel { ends, ..Pair { udp: !udp, ..Pair::default() }.tunnel(1) };
        gateway.expect(Verdict::Opened, UNPROTECTED, &sealed_in(&other, &outbound, &ip_packet(A, B, 60)));
        assert_eq!(gateway.notices(), []);
        let moved = Tunnel { ends, ..pair.tunnel(1) };
        gateway.expect(Verdict::Opened, UNPROTECTED, &sealed_in(&moved, &outbound, &ip_packet(A, B, 60)));
        assert!(matches!(gateway.notices()[..], [Notice::PeerMoved { address, .. }] if address == ends.source()));
    }
}

#[test]
fn an_unknown_spi_is_reported_but_not_in_a_flood() {
    let mut gateway = Gateway::protecting(2);
    let pair = Pair::default();
    let outbound = pair.outbound(1);
    for expected in [1, 0, 1] {
        gateway.expect(Verdict::SpiUnknown, UNPROTECTED, &sealed_by(&pair, &outbound, &ip_packet(A, B, 60)));
        assert_eq!(gateway.notices().len(), expected);
        gateway.later(5);
    }
}

#[test]
fn a_ping_for_the_gateway_comes_out_of_the_tunnel_to_the_slow_path() {
    let pair = Pair::default();
    let (mut gateway, outbound) = receiver(&pair);
    let ping = |protocol| Ipv4Header { protocol, source: A.into(), destination: [10, 2, 0, 1].into(), ..HEADER };
    let inner = ip_packet_with(&ping(1), 60);
    gateway.expect(Verdict::PuntedSlowPath, UNPROTECTED, &sealed_by(&pair, &outbound, &inner));
    let punted = gateway.handle.punted(PuntClass::SlowPath).unwrap();
    assert_eq!((punted.origin(), punted.bytes()), (Origin::Tunnel(ChildSaId(105)), &inner[..]));
    gateway.expect(Verdict::UnwantedByGateway, UNPROTECTED, &sealed_by(&pair, &outbound, &ip_packet_with(&ping(6), 60)));
}

#[test]
fn an_opened_packet_never_leaves_on_the_unprotected_side() {
    let pair = Pair::default();
    let (mut gateway, outbound) = receiver(&pair);
    gateway.snapshot.routes = Arc::new(Routes::new(vec![Route {
        destination: [0, 0, 0, 0].into(),
        prefix: 0,
        gateway: Some([192, 0, 2, 1].into()),
        port: UNPROTECTED,
    }]));
    gateway.publish();
    assert!(gateway.expect(Verdict::NotThroughTunnel, UNPROTECTED, &sealed_by(&pair, &outbound, &ip_packet(A, B, 60))).is_empty());
}

#[test]
fn a_packet_for_an_sa_of_another_worker_crosses_once() {
    let pair = Pair { owner: WorkerId(1), ..Pair::default() };
    let limits = Limits { sad_slots: 64, policy_slots: 8, ..Limits::default() };
    let [mut first, mut owner] = [0, 1].map(|id| Gateway::worker(2, WorkerId(id), limits));
    for gateway in [&mut first, &mut owner] {
        gateway.set_policies([policy(1, PolicyAction::Protect, 1, "10.2.0.0/24", "10.0.0.0/8")]);
        gateway.install(&pair);
    }
    let outbound = pair.outbound(1);
    let sealed = sealed_by(&pair, &outbound, &ip_packet(A, B, 60));
    assert!(first.receive(UNPROTECTED, [&sealed[..]]).is_empty());
    assert_eq!((first.handle.stats().tally(Tally::HandedOff), first.total()), (1, 0));

    let [(WorkerId(1), packet)] = <[_; 1]>::try_from(std::mem::take(&mut first.wire.handed)).unwrap() else { panic!("to the owner") };
    let again = packet.clone();
    let mut burst = Burst::new();
    burst.push(packet).unwrap();
    owner.pipeline.handed_off(&mut burst, &mut owner.wire);
    assert_eq!((owner.count(Verdict::Opened), owner.sent().len()), (1, 1));

    burst.push(again).unwrap();
    first.pipeline.handed_off(&mut burst, &mut first.wire);
    assert_eq!((first.count(Verdict::SpiUnknown), first.wire.handed.len()), (1, 0), "never handed on");
}

proptest! {
    /// Whatever arrives, nothing is lost and nothing panics: every packet has one verdict.
    #[test]
    fn any_frames_have_one_verdict_each(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..120), 0u8..6), 1..=BURST),
        port in 0u8..3,
    ) {
        let pair = Pair::default();
        let (mut gateway, outbound) = receiver(&pair);
        let good = sealed_by(&pair, &outbound, &ip_packet(A, B, 80));
        let frames: Vec<Vec<u8>> = frames.into_iter().map(|(noise, kind)| mutate(&good, &noise, kind)).collect();
        gateway.receive(PortId(port), frames.iter().map(Vec::as_slice));
        let queued = gateway.handle.stats().tally(Tally::AcquireQueued) + gateway.handle.stats().tally(Tally::NeighborQueued);
        prop_assert_eq!(gateway.total() + queued, frames.len() as u64);
    }
}

/// Noise; noise behind true headers; or a true packet with some octets changed.
fn mutate(good: &[u8], noise: &[u8], kind: u8) -> Vec<u8> {
    match kind {
        0 => noise.to_vec(),
        1 => frame(UNPROTECTED, noise),
        2 => frame(UNPROTECTED, &esp_packet(noise)),
        3 => frame(UNPROTECTED, &[&Ipv4Header { protocol: 17, ..to_gateway() }.to_octets(noise.len()).unwrap()[..], noise].concat()),
        4 => frame(
            PROTECTED,
            &[&Ipv4Header { source: A.into(), destination: B.into(), ..HEADER }.to_octets(noise.len()).unwrap()[..], noise].concat(),
        ),
        _ => {
            let mut bad = good.to_vec();
            for pair in noise.chunks_exact(2).take(2) {
                let at = usize::from(pair[0]) % bad.len();
                bad[at] ^= pair[1];
            }
            bad
        }
    }
}
